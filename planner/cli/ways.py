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
    from planner.expert_training import ExpertLoads
    from planner.solve import Outcome, SolveOptions
    from planner.specs import Machines


def solve_best_way(
    machines: "Machines", model: "Model", job: "Job", options: "SolveOptions", loads: "ExpertLoads | None"
) -> "Outcome":
    """The outcome with the shortest step of all ways to use the machines, told on stderr where there are several.

    Proven only where every way was; the time limit is of all of them together. A way that no configuration makes as
    fast as those before it is told by its bound, and not searched.
    """
    return _best_way(machines, model, job, options, loads)[0]


def _best_way(
    machines: "Machines",
    model: "Model",
    job: "Job",
    options: "SolveOptions",
    loads: "ExpertLoads | None",
    prefix: str = "",
) -> "tuple[Outcome, str]":
    """``solve_best_way`` and what its way leaves unused; ``prefix`` stands before what is told."""
    from planner.solve import least_step_seconds

    started, slower = time.monotonic(), 0
    ways: list[tuple[Outcome, str]] = []
    for choice in machines.alternatives:
        fastest = min((_seconds(outcome) for outcome, _ in ways), default=float("inf"))
        limit, caught = options.time_limit_seconds, Interrupt()
        left = None if limit is None else limit - (time.monotonic() - started)
        if ways and left is not None and left <= 0:
            click.echo(f"{prefix}{choice.note}: not searched, the time limit came first", err=True)
            ways.append((replace(ways[0][0], status="unknown", plan=None, infeasibility=None), choice.note))
            continue
        if fastest < float("inf"):
            try:
                least = least_step_seconds(choice.cluster, model, job, options=options, expert_loads=loads)
            except KeyboardInterrupt:  # what was found stays
                break
            if least >= fastest:
                found = "nothing fits" if least == float("inf") else f"no step below {least:.4g} s"
                click.echo(f"{prefix}{choice.note}: {found}", err=True)
                slower += 1
                continue
            left = None if limit is None else max(1e-3, limit - (time.monotonic() - started))
        own = replace(options, time_limit_seconds=left)
        ways.append((search(choice.cluster, model, job, own, caught, expert_loads=loads), choice.note))
        if choice.note:
            click.echo(f"{prefix}{choice.note}: {_told(ways[-1][0])}", err=True)
        if caught.asked:
            break
    best, note = min(ways, key=lambda way: _seconds(way[0]))
    everyone = len(ways) + slower == len(machines.alternatives)
    complete = everyone and all(_proves(one, _seconds(best)) for one, _ in ways)
    return (best if complete or best.status != "optimal" else replace(best, status="feasible")), note


def cost_of_excluding(
    asked: Asked, outcome: "Outcome", options: "SolveOptions", loads: "ExpertLoads | None", started: float
) -> str:
    """A line on the step with the nodes that ``--exclude`` names, every way to use them searched in what is left of the
    time limit since ``started`` (``time.monotonic``)."""
    limit = options.time_limit_seconds
    left = None if limit is None else limit - (time.monotonic() - started)
    if outcome.plan is None or (left is not None and left <= 0):
        return excluded_line(asked, "what it costs is not known: no time is left for the search with all nodes")
    machines, model, job = replace(asked, exclude=None).load()
    limited, nodes = replace(options, time_limit_seconds=left), len(machines.topology.names)
    whole, note = _best_way(machines, model, job, limited, loads, f"with {asked.exclude}: ")
    if whole.plan is None:
        return excluded_line(asked, f"with all {nodes:,} nodes: {_told(whole)}")
    how = "proven" if whole.status == "optimal" else "not proven"
    return excluded_line(asked, against(_seconds(outcome), _seconds(whole), nodes, how, note))


def excluded_line(asked: Asked, text: str) -> str:
    return f"\nExcluded       {asked.exclude}; {text}"


def against(seconds: float, full_seconds: float, nodes: int, how: str, note: str = "") -> str:
    """The step without some nodes against that with all ``nodes``; ``how`` and what even these leave unused are said
    of the latter."""
    longer = f"{percent(abs(seconds / full_seconds - 1))} {'longer' if seconds >= full_seconds else 'shorter'}"
    unused = f"; {note}" if note else ""
    return f"step {seconds:.4g} s, {longer} than with all {nodes:,} nodes ({full_seconds:.4g} s, {how}{unused})"


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
