"""``plan skip``: which stages each micro-batch runs, where and when, from one small file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.exit_codes import EXIT_CODES
from planner.cli.solver_options import solver_options
from planner.exports.skipping import SKIP_TARGETS

if TYPE_CHECKING:
    from planner.plan.skip_result import SkipResult
    from planner.skip_problem import SkipRequest

LISTED = "\n".join(f"  {name}: {summary}" for name, summary in SKIP_TARGETS.items())


@click.command(
    short_help="Which stages each micro-batch runs, where and when.",
    help="Find arrangement, paths and order of the partial pipeline in PROBLEM (YAML or JSON, 'plan schema skip'; "
    "SkipPipe's instances as they are).\n\nExit code 0: proven optimal, 3: feasible but unproven, 4: proven "
    "infeasible, 1: an error, or an export that the runtime cannot express. Ctrl-C ends the search with the best so "
    f"far.\n\nFormats of --export:\n\n\b\n{LISTED}",
)
@click.argument("problem", type=click.Path(path_type=Path))
@click.option("--micro-batches", type=click.IntRange(1), metavar="M", help="In all; before the file's own.")
@click.option("--path-length", type=click.IntRange(1), metavar="K", help="Stages of a micro-batch; before the file's.")
@click.option(
    "--profile", type=click.Choice(["skippipe", "forced-ends"]), help="Which rules hold; before the file's own."
)
@click.option(
    "--keep-arrangement/--free-arrangement",
    "keep_arrangement",
    default=None,
    help="Keep the file's nodes of each stage, or search them too.",
)
@click.option("--survive-one-failure", is_flag=True, help="Re-plan after the loss of every node, and report the worst.")
@click.option("--curve", is_flag=True, help="Also the makespan for every skip ratio from 0 to 50 %.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the curve here (FILE.svg).")
@solver_options("schedule", output="Write the JSON, or the export.")
@click.option("--export", "target", type=click.Choice(list(SKIP_TARGETS)), help="Write -o for this runtime.")
@click.pass_context
def command(
    ctx: click.Context,
    problem: Path,
    micro_batches: int | None,
    path_length: int | None,
    profile: str | None,
    keep_arrangement: bool | None,
    survive_one_failure: bool,
    curve: bool,
    plot: Path | None,
    time_limit: float,
    seed: int,
    as_json: bool,
    target: str | None,
    output: Path | None,
) -> None:
    if target is not None and output is None:
        raise click.UsageError("--export needs -o FILE.")
    if plot is not None and not curve:
        raise click.UsageError("--plot draws the curve: it needs --curve.")
    if plot is not None and plot.suffix != ".svg":
        raise click.BadParameter(f"{plot}: write FILE.svg.", param_hint="--plot")
    from planner.cli.inputs import check_writable
    from planner.cli.output import plain
    from planner.cli.skip_summary import summarize
    from planner.plan.writing import render
    from planner.skip_problem import SkipChoices, describe_outliers, load_skip

    check_writable(output)
    check_writable(plot)
    choices = SkipChoices(
        micro_batches=micro_batches,
        path_length=path_length,
        profile=profile,
        keep_arrangement=keep_arrangement,
        any_path_length=curve,
    )
    request = load_skip(problem, choices)
    for line in describe_outliers(request.outliers, request.names):
        click.echo(f"warning: {line}", err=True)
    for note in request.notes:
        click.echo(f"note: {note}", err=True)
    result = _planned(request, survive_one_failure, curve, time_limit, seed)
    text = render(plain(result)) if as_json or (output is not None and target is None) else ""
    click.echo(text.rstrip("\n") if as_json else summarize(result))
    if plot is not None:
        from planner.skip_plot import curve_svg

        plot.write_text(curve_svg(result), encoding="utf-8")
        click.echo(f"Curve drawn in {plot}", err=True)
    if output is not None and target is None:
        output.write_text(text, encoding="utf-8")
        click.echo(f"Schedule written to {output}", err=True)
    if output is not None and target is not None and not _exported(request, result, target, output):
        ctx.exit(1)
    ctx.exit(EXIT_CODES[result.status])


def _planned(request: "SkipRequest", survive: bool, curve: bool, time_limit: float, seed: int) -> "SkipResult":
    from planner.cli.interrupt import Interrupt
    from planner.cli.progress import COMPILING, Line
    from planner.skip import plan_skip
    from solvers.skip.solve import solve_skip

    line, caught = Line(), Interrupt(solve_skip, "schedule")

    def tell(text: str) -> None:
        caught.bounded = True
        line.show(text)

    try:
        with caught:
            return plan_skip(
                request,
                time_limit_seconds=time_limit,
                seed=seed,
                survive_one_failure=survive,
                curve=curve,
                on_progress=tell,
                on_compiling=lambda: line.show(COMPILING),
            )
    finally:
        line.close()


def _exported(request: "SkipRequest", result: "SkipResult", target: str, output: Path) -> bool:
    """Whether the file was written; what the runtime cannot express is named."""
    from planner.exports.skip import ExportRefused, export_skip

    try:
        output.write_text(export_skip(result, target, request.problem.memory_cap), encoding="utf-8")
    except ExportRefused as refusal:
        click.echo(f"refused: {target} cannot express this schedule", err=True)
        for reason in refusal.reasons:
            click.echo(f"  {reason}", err=True)
        return False
    click.echo(f"{target} file written to {output}", err=True)
    return True
