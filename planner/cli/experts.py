"""``plan experts``: which experts stand on which GPU, from one small file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.exit_codes import EXIT_CODES
from planner.cli.solver_options import solver_options
from planner.exports.experts.targets import EXPERT_TARGETS

if TYPE_CHECKING:
    from planner.expert_problem import ExpertProblem
    from planner.plan.experts_result import ExpertsResult

LISTED = "\n".join(f"  {name}: {target.summary}" for name, target in EXPERT_TARGETS.items())


@click.command(
    short_help="Which experts stand on which GPU, from one small file.",
    help="Place the experts of PROBLEM (YAML or JSON, 'plan schema experts') on its GPUs.\n\n"
    "Exit code 0: proven optimal, 3: feasible but unproven, 4: proven infeasible, 1: an error, or an export that the "
    f"runtime cannot express. Ctrl-C ends the search with the best so far.\n\nFormats of --export:\n\n\b\n{LISTED}",
)
@click.argument("problem", type=click.Path(path_type=Path))
@solver_options(
    "placement",
    seconds=None,
    limit="Search for S seconds; without it every solver ends after its usual effort.",
    output="Write the JSON, or the export.",
)
@click.option("--export", "target", type=click.Choice(list(EXPERT_TARGETS)), help="Write -o for this runtime.")
@click.pass_context
def command(
    ctx: click.Context,
    problem: Path,
    time_limit: float | None,
    seed: int,
    as_json: bool,
    target: str | None,
    output: Path | None,
) -> None:
    if target is not None and output is None:
        raise click.UsageError("--export needs -o FILE.")
    from planner.cli.experts_summary import summarize
    from planner.cli.inputs import check_writable
    from planner.cli.output import plain
    from planner.expert_problem import load_experts
    from planner.plan.writing import render

    check_writable(output)
    asked = load_experts(problem)
    for note in asked.notes:
        click.echo(f"note: {note}", err=True)
    result = _planned(asked, time_limit, seed)
    text = render(plain(result)) if as_json or (output is not None and target is None) else ""
    click.echo(text.rstrip("\n") if as_json else summarize(result))
    if output is not None and target is None:
        output.write_text(text, encoding="utf-8")
        click.echo(f"Placement written to {output}", err=True)
    if output is not None and target is not None and not _exported(result, target, output):
        ctx.exit(1)
    ctx.exit(EXIT_CODES[result.status])


def _planned(problem: "ExpertProblem", time_limit: float | None, seed: int) -> "ExpertsResult":
    from planner.cli.interrupt import Asked
    from planner.cli.progress import Line
    from planner.experts import plan_experts

    line = Line()
    try:
        with Asked() as asked:
            return plan_experts(problem, time_limit_seconds=time_limit, seed=seed, stop=asked, on_progress=line.show)
    finally:
        line.close()


def _exported(result: "ExpertsResult", target: str, output: Path) -> bool:
    """Whether the file was written; what the runtime cannot express is named."""
    from planner.experts import served_placement
    from planner.exports.experts import ExportRefused, export_experts

    if not result.physical_to_logical:
        click.echo(f"nothing to export: {result.status}", err=True)
        return True
    try:
        output.write_bytes(export_experts(served_placement(result), target))
    except ExportRefused as refusal:
        click.echo(f"refused: {target} cannot express this placement", err=True)
        for reason in refusal.reasons:
            click.echo(f"  {reason}", err=True)
        return False
    click.echo(f"{target} file written to {output}", err=True)
    return True
