"""The ways to use machines of which something is lost, and what it costs to leave nodes out."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from planner.cli.inputs import Asked
from planner.cli.interrupt import Interrupt
from planner.cli.output import percent
from planner.cli.search import search

if TYPE_CHECKING:
    from costmodels.architecture import Model
    from costmodels.configuration import Job
    from costmodels.hardware import Cluster
    from planner.expert_training import ExpertLoads
    from planner.solve import Outcome, SolveOptions
    from planner.specs import Machines


def solve_best_way(
    machines: "Machines", model: "Model", job: "Job", options: "SolveOptions", loads: "ExpertLoads | None"
) -> "Outcome":
    """The outcome with the shortest step of all ways to use the machines, told on stderr where there are several.

    Proven only where every way was; the time limit is of all of them together.
    """
    started = time.monotonic()
    outcomes: list[Outcome] = []
    for choice in machines.alternatives:
        limit, caught = options.time_limit_seconds, Interrupt()
        left = None if limit is None else limit - (time.monotonic() - started)
        if outcomes and left is not None and left <= 0:
            click.echo(f"{choice.note}: not searched, the time limit came first", err=True)
            outcomes.append(replace(outcomes[0], status="unknown", plan=None, infeasibility=None))
            continue
        own = replace(options, time_limit_seconds=left)
        outcomes.append(search(choice.cluster, model, job, own, caught, expert_loads=loads))
        if choice.note:
            click.echo(f"{choice.note}: {_told(outcomes[-1])}", err=True)
        if caught.asked:
            break
    best = min(outcomes, key=_seconds)
    complete = len(outcomes) == len(machines.alternatives) and all(_proves(one, _seconds(best)) for one in outcomes)
    return best if complete or best.status != "optimal" else replace(best, status="feasible")


def cost_of_excluding(
    asked: Asked, outcome: "Outcome", options: "SolveOptions", loads: "ExpertLoads | None", started: float
) -> str:
    """A line on the step with the nodes that ``--exclude`` names, searched in what is left of the time limit since
    ``started`` (``time.monotonic``)."""
    limit = options.time_limit_seconds
    left = None if limit is None else limit - (time.monotonic() - started)
    if outcome.plan is None or (left is not None and left <= 0):
        return excluded_line(asked, "what it costs is not known: no time is left for the search with all nodes")
    machines, model, job = replace(asked, exclude=None).load()
    full = machines.groups[0]
    whole = search(full, model, job, replace(options, time_limit_seconds=left), expert_loads=loads)
    if whole.plan is None:
        return excluded_line(asked, f"with all {full.nodes:,} nodes: {_told(whole)}")
    text = against(_seconds(outcome), _seconds(whole), full, "proven" if whole.status == "optimal" else "not proven")
    return excluded_line(asked, text)


def excluded_line(asked: Asked, text: str) -> str:
    return f"\nExcluded       {asked.exclude}; {text}"


def against(seconds: float, full_seconds: float, full: "Cluster", how: str) -> str:
    """The step without some nodes against that of the ``full`` cluster; ``how`` is said of the latter."""
    longer = f"{percent(abs(seconds / full_seconds - 1))} {'longer' if seconds >= full_seconds else 'shorter'}"
    return f"step {seconds:.4g} s, {longer} than with all {full.nodes:,} nodes ({full_seconds:.4g} s, {how})"


def tell_notes(machines: "Machines") -> None:
    """On stderr, what of the machines stays unused."""
    for note in machines.notes:
        click.echo(note, err=True)


def _seconds(outcome: "Outcome") -> float:
    return float("inf") if outcome.plan is None else outcome.plan.prediction.step_seconds


def _told(outcome: "Outcome") -> str:
    if outcome.plan is None:
        return {"infeasible": "nothing fits"}.get(outcome.status, "stopped before its first price")
    return f"step {_seconds(outcome):.4g} s ({outcome.status})"


def _proves(outcome: "Outcome", seconds: float) -> bool:
    """Whether nothing below ``seconds`` is left in what ``outcome`` was searched for."""
    if outcome.plan is None:
        return outcome.status == "infeasible"
    return outcome.status == "optimal" or outcome.plan.certificate.lower_bound >= seconds
