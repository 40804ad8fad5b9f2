"""``plan solve`` on unlike groups of nodes: the search, its plan, and what overlooking the differences would cost."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.inputs import Asked
from planner.cli.interrupt import Interrupt
from planner.cli.output import percent
from planner.cli.progress import Line
from planner.cli.search import describe, report_without_plan

if TYPE_CHECKING:
    from costmodels.architecture import Model
    from costmodels.configuration import Job
    from planner.expert_training import ExpertLoads
    from planner.mixed.islands import Islands
    from planner.mixed.solve import MixedOutcome
    from planner.solve import Progress, SolveOptions

SHOWN = ("tp", "cp", "pp", "dp", "mbs", "zero", "recompute")


def solve_unlike(
    islands: "Islands",
    asked: Asked,
    model: "Model",
    job: "Job",
    options: "SolveOptions",
    output: Path | None,
    as_json: bool,
    loads: "ExpertLoads | None",
) -> str:
    """Solves and prints; the status of the outcome."""
    from planner.cli.summary import summarize
    from planner.mixed.solve import solve_mixed

    if loads is not None:
        raise click.UsageError("--expert-loads: experts are placed on equal nodes alone; leave it out.")
    line, caught = Line(), Interrupt()

    def tell(state: "Progress") -> None:
        caught.bounded = True
        line.show(describe(state))

    try:
        with caught:
            outcome = solve_mixed(islands, model, job, options=options, progress=tell)
    finally:
        line.close()
    if outcome.plan is None:
        report_without_plan(outcome, as_json)
        return outcome.status
    if output is not None:
        outcome.plan.save(output)
    click.echo(outcome.plan.text().rstrip("\n") if as_json else summarize(outcome.plan))
    click.echo("\n" + "\n".join(comparison(islands, outcome)), err=as_json)
    if output is not None:
        click.echo(f"Plan written to {output}", err=True)
    elif not as_json:
        click.echo("No plan file written; -o plan.json writes it.", err=True)
    return outcome.status


def comparison(islands: "Islands", outcome: "MixedOutcome") -> Iterator[str]:
    """Lines on groups that are left out and on the plans that overlook the differences."""
    from planner.mixed.ground import groups_used

    assert outcome.standing is not None
    used = groups_used(outcome.standing.lanes)
    for number, group in enumerate(islands.groups):
        if number not in used:
            yield f"Left out       {group.name}: with it no plan is faster"
    idle = sum(islands.groups[g].gpus for g in used) - outcome.standing.configuration.gpus
    if idle:
        yield f"Idle           {idle} GPUs of the groups in use"
    yield "Overlooked     what plans take on the same machines that do not look at the differences:"
    for one in outcome.baselines:
        if one.seconds is None:
            yield f"               {one.name}: {one.why}"
            continue
        degrees = " ".join(f"{name}={getattr(one.configuration, name)}" for name in SHOWN)
        longer = one.seconds / outcome.standing.seconds - 1
        against = f"{percent(abs(longer))} {'longer' if longer >= 0 else 'shorter'}"
        yield f"               {one.name}: {one.seconds:.4g} s, {against} ({degrees})"
