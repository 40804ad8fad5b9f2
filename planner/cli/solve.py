"""``plan solve``: the best configuration for a cluster, a model and a job, with its proof."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.inputs import Asked, check_writable, job_options

if TYPE_CHECKING:
    from costmodels.architecture import Model
    from planner.expert_training import ExpertLoads


@click.command(short_help="Find the best configuration and prove it.")
@job_options
@click.option("--pin", default="", metavar="tp=8,pp=4", help="Hold fields of the configuration fixed.")
@click.option(
    "--forbid",
    default="",
    metavar="cp,ep",
    help="Leave these kinds of parallelism out; folding: keep experts in the attention's own groups.",
)
@click.option(
    "--allow",
    default="",
    metavar="recompute,schedule,vocabulary",
    help="Search these too: recompute per stage, schedules and splits of the vocabulary that few runtimes execute.",
)
@click.option(
    "--expert-loads",
    metavar="FILE",
    help="Tokens of each expert, [layers, experts]: place experts by them, and price each layer's busiest rank.",
)
@click.option(
    "--gap",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Relative gap that counts as proven.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Stop after S seconds with the best so far.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, help="Of what is improved after the search; that draws none."
)
@click.option(
    "--skip-ratio",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="R",
    help="Every micro-batch skips about this share of the stages; few runtimes can.",
)
@click.option("--top-k", type=click.IntRange(1, 100), default=5, help="How many of the best to rank.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan here.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan document instead of the summary.")
@click.pass_context
def command(
    ctx: click.Context,
    asked: Asked,
    calibration: Path | None,
    pin: str,
    forbid: str,
    allow: str,
    expert_loads: str | None,
    gap: float,
    time_limit: float | None,
    seed: int,
    skip_ratio: float | None,
    top_k: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Find the fastest configuration of MODEL on CLUSTER (a bundled name or a spec file).

    Exit code 0: proven optimal or within --gap, 3: feasible but unproven, 4: proven infeasible.
    Ctrl-C ends the search with the best plan so far.
    """
    from planner.cli.exit_codes import EXIT_CODES
    from planner.cli.pairs import parse_allowed, parse_forbidden, parse_pairs
    from planner.cli.search import report_without_plan
    from planner.cli.summary import summarize
    from planner.cli.ways import cost_of_excluding, solve_best_way
    from planner.solve import SolveOptions

    pins, forbidden, allowed = parse_pairs(pin), parse_forbidden(forbid), parse_allowed(allow)
    if both := sorted(forbidden & pins.keys()):
        raise click.UsageError(f"{', '.join(both)}: both pinned and forbidden.")
    if both := sorted(allowed & {*pins, *forbidden}):
        raise click.UsageError(f"{', '.join(both)}: allowed, and also pinned or forbidden.")
    if not asked.complete():
        raise click.UsageError("needs CLUSTER, --model, and --global-batch with --seq-len or --job FILE.")
    machines, network, job = asked.load(unlike=True)
    loads = _loads(expert_loads, network)
    check_writable(output)
    options = SolveOptions(
        pins=pins,
        forbid=forbidden,
        allow=allowed,
        gap=gap,
        time_limit_seconds=time_limit,
        seed=seed,
        top_k=top_k,
        skip_ratio=skip_ratio,
        calibration=calibration,
    )
    from planner.mixed.of_spec import islands_of

    islands = islands_of(machines)
    if islands is not None:
        from planner.cli.mixed import solve_unlike

        ctx.exit(EXIT_CODES[solve_unlike(islands, asked, network, job, options, output, as_json, loads)])
    started = time.monotonic()
    outcome = solve_best_way(machines, network, job, options, loads)
    if outcome.plan is None:
        report_without_plan(outcome, as_json)
    else:
        if output is not None:
            outcome.plan.save(output)
        click.echo(outcome.plan.text().rstrip("\n") if as_json else summarize(outcome.plan))
        if asked.exclude is not None:
            click.echo(cost_of_excluding(asked, outcome, options, loads, started), err=as_json)
        if output is not None:
            click.echo(f"Plan written to {output}", err=True)
        elif not as_json:
            click.echo("No plan file written; -o plan.json writes it.", err=True)
    ctx.exit(EXIT_CODES[outcome.status])


def _loads(file: str | None, model: "Model") -> "ExpertLoads | None":
    if file is None:
        return None
    from planner.expert_training import load_expert_loads

    return load_expert_loads(file, model)
