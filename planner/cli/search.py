"""Run the search with a progress line, and turn its outcome into text, JSON and an exit code."""

from typing import TYPE_CHECKING

import click

from planner.cli.interrupt import Interrupt
from planner.cli.output import echo_json
from planner.cli.progress import COMPILING, Line

if TYPE_CHECKING:
    from costmodels.architecture import Model
    from costmodels.configuration import Job
    from costmodels.hardware import Cluster
    from planner.expert_training import ExpertLoads
    from planner.mixed.solve import MixedOutcome
    from planner.solve import Outcome, Progress, SolveOptions


def search(
    cluster: "Cluster",
    model: "Model",
    job: "Job",
    options: "SolveOptions",
    interrupt: Interrupt | None = None,
    expert_loads: "ExpertLoads | None" = None,
) -> "Outcome":
    """Solve; ``interrupt`` tells afterwards whether Ctrl-C ended it."""
    from planner.solve import solve

    line, caught = Line(), interrupt or Interrupt()

    def tell(state: "Progress") -> None:
        caught.bounded |= state.stage in ("bound", "search")
        line.show(describe(state))

    try:
        with caught:
            return solve(cluster, model, job, options=options, progress=tell, expert_loads=expert_loads)
    finally:
        line.close()


def report_without_plan(outcome: "Outcome | MixedOutcome", as_json: bool) -> None:
    """What to say when there is no plan: why nothing fits, or that time ran out first."""
    report = outcome.infeasibility
    lines = report.lines if report else (f"{outcome.status}: the search was stopped before its first price",)
    if as_json:
        echo_json({"status": outcome.status, "reasons": lines, "infeasibility": report})
    else:
        click.echo("\n".join(lines))


def describe(state: "Progress") -> str:
    if state.stage == "compile":
        return COMPILING
    text = f"{state.stage}: {state.done:,} of {state.total:,} candidates"
    if state.best_seconds is not None:
        text += f", best {state.best_seconds:.4g} s"
    if state.bound_seconds is not None:
        text += f", nothing below {state.bound_seconds:.4g} s"
    return text
