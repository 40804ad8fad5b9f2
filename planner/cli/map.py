"""``plan map``: which host takes which place of pipelines and stages, over links that differ."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.exit_codes import EXIT_CODES
from planner.cli.inputs import check_writable
from planner.cli.solver_options import solver_options

if TYPE_CHECKING:
    from planner.mapping_problem import MappingProblem
    from planner.plan.mapping_result import MappingResult


@click.command(short_help="Which host takes which stage of which pipeline, from one small file.")
@click.argument("problem", type=click.Path(path_type=Path))
@solver_options("order")
@click.pass_context
def command(
    ctx: click.Context, problem: Path, time_limit: float, seed: int, as_json: bool, output: Path | None
) -> None:
    """Find the best order of the hosts in PROBLEM (YAML or JSON, 'plan schema map') over pipelines and stages.

    Exit code 0: proven optimal, 3: unproven. Ctrl-C ends the search with the best so far.
    """
    from planner.cli.mapping_summary import summarize
    from planner.cli.output import plain
    from planner.mapping_problem import load_mapping
    from planner.plan.writing import render

    check_writable(output)
    mapping = load_mapping(problem)
    result = _mapped(mapping, time_limit, seed)
    text = render(plain(result)) if as_json or output is not None else ""
    if output is not None:
        output.write_text(text, encoding="utf-8")
    click.echo(text.rstrip("\n") if as_json else summarize(mapping, result))
    if output is not None:
        click.echo(f"Order written to {output}", err=True)
    ctx.exit(EXIT_CODES[result.status])


def _mapped(mapping: "MappingProblem", time_limit: float, seed: int) -> "MappingResult":
    from planner.cli.interrupt import Asked
    from planner.cli.progress import COMPILING, Line
    from planner.mapping import plan_mapping
    from solvers.mapping.solve import Progress

    line, asked = Line(), Asked()

    def tell(state: Progress) -> None:
        line.show(f"best {state.value * 1e3:.6g} ms, nothing below {state.lower_bound * 1e3:.6g} ms")

    try:
        with asked:
            return plan_mapping(
                mapping,
                time_limit_seconds=time_limit,
                seed=seed,
                stop=asked,
                on_progress=tell,
                on_compiling=lambda: line.show(COMPILING),
            )
    finally:
        line.close()
