"""The fewest activations in flight that keep the busiest device busy, by CP-SAT over patterns."""

import time
from dataclasses import replace

from solvers.schedule.graph import OperationGraph, operation_graph
from solvers.schedule.periodic import Pattern, busiest_work, pattern_of
from solvers.schedule.periodic_cpsat import Answer, Limits, find_pattern
from solvers.schedule.problem import ScheduleProblem
from solvers.solution import Solution


def least_in_flight(
    problem: ScheduleProblem,
    *,
    together: int = 1,
    time_limit_seconds: float | None = None,
    seed: int = 0,
    workers: int = 1,
) -> Solution[Pattern]:
    """The pattern whose rate is the busiest device's and whose first device keeps least alive.

    ``value``: the first chunk's device's peak, in activations of all its chunks together (1F1B: p on p
    devices), within the caps of ``problem``; its micro-batches do not count. Of the patterns that reach it,
    ``choice`` is one whose devices' peaks have a small sum (the least, if the time suffices). ``lower_bound``
    holds for all patterns of ``together`` micro-batches a period: ``infeasible`` says that none keeps the
    busiest device busy within the caps. Where the figures have no common unit the period is met but for
    rounding, 1e-5 of it a lane. Raises ``ValueError`` where the first device keeps nothing alive.
    """
    started = time.perf_counter()
    if not _activation(problem, problem.device_of_chunk[0]):
        raise ValueError("activation: the chunks of the first device keep nothing alive")
    graph = operation_graph(replace(problem, microbatches=1))
    period, first = busiest_work(graph) * together, problem.device_of_chunk[0]

    def limits() -> Limits:
        left = None if time_limit_seconds is None else time_limit_seconds - (time.perf_counter() - started)
        return Limits(seconds=left, seed=seed, workers=workers)

    answer = find_pattern(graph, period, together=together, caps=problem.memory_cap, least=[first], limits=limits())
    rounds, branches = answer.rounds, answer.branches
    if rounds is not None:
        lean = _leaner(graph, problem, together, answer, limits())
        rounds, branches = lean.rounds or rounds, branches + lean.branches
    return Solution(
        value=answer.value,
        lower_bound=answer.bound,
        status="feasible" if answer.found == "unknown" else answer.found,
        stop="time_limit" if answer.found in ("feasible", "unknown") else "exhausted",
        choice=None if rounds is None else pattern_of(graph, rounds, together),
        seconds=time.perf_counter() - started,
        seed=seed,
        counts={"branches": branches},
    )


def _leaner(graph: OperationGraph, problem: ScheduleProblem, together: int, answer: Answer, limits: Limits) -> Answer:
    """The least sum of peaks with the first device's as it is."""
    first = problem.device_of_chunk[0]
    caps = list(problem.memory_cap)
    caps[first] = min(caps[first], answer.value * _activation(problem, first))
    return find_pattern(
        graph,
        busiest_work(graph) * together,
        together=together,
        caps=caps,
        least=range(graph.devices),
        sum_of_peaks=True,
        hint=answer.rounds,
        limits=limits,
    )


def _activation(problem: ScheduleProblem, device: int) -> float:
    return sum(a for a, d in zip(problem.activation, problem.device_of_chunk, strict=True) if d == device)
