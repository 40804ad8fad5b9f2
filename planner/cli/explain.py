"""``plan explain``: a plan file as a summary, what binds in it, and why an alternative lost."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from planner.plan import Plan
    from planner.solve import Outcome


@click.command(short_help="What binds in a plan, and why an alternative lost.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--why-not", metavar="tp=4,pp=2", help="Search again with these fields held, and compare.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def command(plan: Path, why_not: str | None, as_json: bool) -> None:
    """Show the summary of PLAN, what binds, and with --why-not the best plan of another kind."""
    from planner.cli.binding import compare, what_binds
    from planner.cli.output import echo_json, plain
    from planner.cli.pairs import parse_pairs
    from planner.cli.pipeline_report import cut_table, cuts_and_stages, skip_table, stage_table
    from planner.cli.search import report_without_plan
    from planner.cli.summary import summarize
    from planner.plan import Plan
    from planner.plan.expert_groups import expert_groups
    from planner.skip_use import skip_uses

    pins = parse_pairs(why_not) if why_not is not None else None
    if pins == {}:
        raise click.BadParameter("names no field; e.g. --why-not tp=4,pp=2.", param_hint="--why-not")
    document = Plan.load(plan)
    if pins is not None and document.ground is not None:
        message = "the links of this plan's nodes are not in it; search with plan solve CLUSTER --pin instead."
        raise click.BadParameter(message, param_hint="--why-not")
    outcome = _search_again(document, pins) if pins is not None else None
    other = outcome.plan if outcome else None
    rules, uses = cuts_and_stages(document) if len(document.stages) > 1 else ((), ())
    skipping, lying = skip_uses(document), expert_groups(document)
    if as_json:
        echo_json(
            {
                "ranks": document.ranks,
                **({"expert_groups": plain(lying)} if lying is not None else {}),
                "prediction": document.prediction,
                "certificate": document.certificate,
                "cuts": [
                    {
                        **plain(rule),
                        "pipeline_seconds": _finite(rule.pipeline_seconds),
                        "step_seconds": _finite(rule.step_seconds),
                    }
                    for rule in rules
                ],
                "stages": [{**plain(use), "idle_seconds": use.idle_seconds} for use in uses],
                **(
                    {"skip": [{**plain(use), "idle_seconds": use.idle_seconds} for use in skipping]} if skipping else {}
                ),
                "why_not": outcome
                and {
                    "status": outcome.status,
                    "reasons": list(outcome.infeasibility.lines) if outcome.infeasibility else [],
                    "parallelism": other and other.parallelism,
                    "prediction": other and other.prediction,
                },
            }
        )
        return
    click.echo(f"{summarize(document)}\n\n{what_binds(document)}")
    if uses:
        click.echo(f"\n{cut_table(document, rules)}\n\n{stage_table(document, uses)}")
    if skipping:
        click.echo(f"\n{skip_table(document, skipping)}")
    if outcome is not None:
        click.echo(f"\nWhy not {why_not}?")
        if other is None:
            report_without_plan(outcome, as_json=False)
        else:
            click.echo(compare(document, other))


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def _search_again(plan: "Plan", pins: "dict[str, int | str]") -> "Outcome":
    """The same inputs and calibration, with ``pins`` held."""
    from planner.cli.search import search
    from planner.expert_training import ExpertLoads
    from planner.solve import SolveOptions

    options = SolveOptions(pins=pins, gap=plan.inputs.options.gap, top_k=1, calibration=plan.calibration())
    given = plan.inputs.expert_loads
    loads = ExpertLoads.of_input(given) if given is not None else None
    return search(plan.cluster(), plan.model(), plan.job(), options, expert_loads=loads)
