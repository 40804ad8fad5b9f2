"""``plan cases``: the bundled clusters, models and jobs."""

from typing import Any

import click


@click.group(short_help="Bundled clusters, models and jobs: list them, run them.")
def command() -> None:
    """Bundled cases: a cluster, a model and a job each."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def list_command(as_json: bool) -> None:
    """List the cases, and the names of bundled clusters and models."""
    import cases
    from planner.cli.output import echo_json, table

    if as_json:
        names = {"clusters": cases.cluster_names(), "models": cases.model_names()}
        echo_json({"cases": cases.list_cases(), **names})
        return
    rows = [
        (
            case["name"],
            f"{case['gpus']:,}",
            case["cluster"],
            case["model"],
            f"{case['job']['global_batch']:,} x {case['job']['sequence_length']:,} {case['job']['precision']}",
        )
        for case in cases.list_cases()
    ]
    click.echo(table(("case", "GPUs", "cluster", "model", "job"), rows, text=(0, 2, 3)))
    click.echo(f"\nclusters: {', '.join(cases.cluster_names())}")
    click.echo(f"\nmodels: {', '.join(cases.model_names())}")


@command.command("run")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), metavar="S", help="Per case, in seconds.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_context
def run_command(ctx: click.Context, names: tuple[str, ...], time_limit: float | None, as_json: bool) -> None:
    """Solve the cases NAME..., or all of them with 'all'. Exit code 1 when one ends unexpectedly."""
    import cases
    from planner.cli.output import echo_json, table

    bundled = {case["name"]: case for case in cases.list_cases()}
    unknown = [name for name in names if name not in bundled and name != "all"]
    if unknown:
        import difflib

        close = difflib.get_close_matches(unknown[0], bundled, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else " 'plan cases list' shows them."
        raise click.BadParameter(f"no case '{unknown[0]}'.{hint}", param_hint="NAME")
    chosen = list(bundled) if "all" in names else names
    found = [_run(bundled[name], time_limit) for name in chosen]
    if as_json:
        echo_json(found)
    else:
        header = ("case", "status", "step s", "tokens/s/GPU", "MFU %", "peak GB", "candidates", "configuration")
        rows = [
            (*(r["case"], r["status"]), *_figures(r), r["configuration"] or "; ".join(r["reasons"][:1])) for r in found
        ]
        click.echo(table(header, rows, text=(0, 1, 7)))
    ctx.exit(0 if all(r["as_expected"] for r in found) else 1)


def _run(case: dict[str, Any], time_limit: float | None) -> dict[str, Any]:
    """Solve one case: what it gave, and whether that was expected."""
    from planner.cli.inputs import load_inputs
    from planner.cli.search import search
    from planner.cli.summary import configuration_line
    from planner.solve import SolveOptions

    job = case["job"]
    inputs = load_inputs(case["cluster"], case["model"], job["global_batch"], job["sequence_length"], job["precision"])
    outcome = search(*inputs, SolveOptions(time_limit_seconds=time_limit))
    plan = outcome.plan
    return {
        "case": case["name"],
        "status": outcome.status,
        "as_expected": (plan is not None) == (case["expect"] == "feasible"),
        "reasons": list(outcome.infeasibility.lines) if outcome.infeasibility else [],
        "configuration": configuration_line(plan.parallelism) if plan else None,
        "candidates": plan.certificate.searched.candidates if plan else None,
        "prediction": plan.prediction.model_dump(mode="json") if plan else None,
    }


def _figures(run: dict[str, Any]) -> tuple[str, ...]:
    found = run["prediction"]
    if found is None:
        return ("-",) * 5
    return (
        f"{found['step_seconds']:.4g}",
        f"{found['tokens_per_second_per_gpu']:,.0f}",
        f"{found['mfu'] * 100:.1f}",
        f"{found['peak_memory_bytes'] / 1e9:.1f}",
        f"{run['candidates']:,}",
    )
