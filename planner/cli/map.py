"""``plan map``: which host takes which place of pipelines and stages, over links that differ."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.exit_codes import EXIT_CODES
from planner.cli.inputs import check_writable

if TYPE_CHECKING:
    from planner.mapping_problem import MappingProblem
    from planner.plan.mapping_result import MappingResult


@click.command(short_help="Which host takes which stage of which pipeline, from one small file.")
@click.argument("problem", type=click.Path(path_type=Path))
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Stop after S seconds with the best so far.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of the solver's random choices.")
@click.option("--json", "as_json", is_flag=True, help="Print the order as JSON instead of the summary.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the JSON here.")
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
