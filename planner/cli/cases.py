"""``plan cases``: the bundled clusters, models and jobs."""

from pathlib import Path
from typing import Any

import click

from planner.cli.completing import case_names, source_names
from planner.cli.interrupt import Interrupt

PUBLISHED = "published"
"""The name under which ``run`` knows the tables of published training runs."""


@click.group(short_help="Bundled clusters, models and jobs: list them, run them.")
def command() -> None:
    """Bundled cases: a cluster, a model and a job each; and published training runs to compare with."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def list_command(as_json: bool) -> None:
    """List the cases, and the names of bundled clusters and models."""
    import cases
    from planner.cli.output import echo_json, table

    if as_json:
        names = {"clusters": cases.cluster_names(), "models": cases.model_names()}
        echo_json({"cases": cases.list_cases(), **names, "published": list(cases.published_sources()["sources"])})
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
    click.echo(f"\npublished runs ('plan cases run published'): {', '.join(cases.published_sources()['sources'])}")


@command.command("run")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=case_names)
@click.option("--time-limit", type=click.FloatRange(0, min_open=True), metavar="S", help="Per case, in seconds.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="S",
    shell_complete=source_names,
    help="published: only this source (repeatable).",
)
@click.option("--worst", type=click.IntRange(0), metavar="N", help="published: how many of the worst rows to show.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.svg",
    help="published: predicted against measured; FILE.png with matplotlib.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.csv",
    help="published: every row with its errors.",
)
@click.option("--markdown", is_flag=True, help="published: the README's accuracy table.")
@click.option("--calibration", type=click.Path(path_type=Path), help="published: your figures, over the catalogue's.")
@click.pass_context
def run_command(
    ctx: click.Context, /, names: tuple[str, ...], time_limit: float | None, as_json: bool, **published: Any
) -> None:
    """Solve the cases NAME..., or all of them with 'all'. Exit code 1 when one ends unexpectedly.

    'published' instead predicts the bundled published training runs and shows how good that is: errors by
    source, rank correlation and regret of sweeps, verdicts on memory, and the worst rows.
    """
    from planner.cli.published import Wanted, run_published

    wanted = Wanted(**published)
    if names == (PUBLISHED,):
        if time_limit is not None:
            raise click.UsageError("--time-limit goes with cases that are solved, not with 'published'.")
        if as_json and wanted.markdown:
            raise click.UsageError("--json and --markdown exclude each other.")
        run_published(wanted, as_json)
        return
    if PUBLISHED in names:
        raise click.UsageError("'published' stands alone: run the other cases with a second command.")
    if wanted.anything:
        options = "--source, --worst, --plot, --output, --markdown and --calibration"
        raise click.UsageError(f"{options} go with 'plan cases run published'.")
    _solve_cases(ctx, names, time_limit, as_json)


def _solve_cases(ctx: click.Context, names: tuple[str, ...], time_limit: float | None, as_json: bool) -> None:
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
    interrupt, found = Interrupt(), []
    for name in chosen:
        found.append(_run(bundled[name], time_limit, interrupt))
        if interrupt.asked:
            break
    if as_json:
        echo_json(found)
    else:
        header = ("case", "status", "step s", "tokens/s/GPU", "MFU %", "peak GB", "candidates", "configuration")
        rows = [
            (*(r["case"], r["status"]), *_figures(r), r["configuration"] or "; ".join(r["reasons"][:1])) for r in found
        ]
        click.echo(table(header, rows, text=(0, 1, 7)))
    if interrupt.asked:
        raise KeyboardInterrupt
    unexpected = [r["case"] for r in found if not r["as_expected"]]
    if unexpected:
        click.echo(f"not as expected: {', '.join(unexpected)}", err=True)
    ctx.exit(1 if unexpected else 0)


def _run(case: dict[str, Any], time_limit: float | None, interrupt: Interrupt) -> dict[str, Any]:
    """Solve one case: what it gave, and whether that was expected."""
    from planner.cli.search import search
    from planner.cli.summary import configuration_line
    from planner.solve import SolveOptions
    from planner.specs import load_cluster, load_model, make_job

    inputs = load_cluster(case["cluster"]), load_model(case["model"]), make_job(**case["job"])
    outcome = search(*inputs, SolveOptions(time_limit_seconds=time_limit), interrupt)
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
