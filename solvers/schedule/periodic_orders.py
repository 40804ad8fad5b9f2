"""Good device orders of a whole step, made from its steady state: for problems too large to solve at once."""

import time
from collections.abc import Iterator
from dataclasses import replace

from solvers.schedule.graph import Orders, operation_graph
from solvers.schedule.periodic import Pattern, pattern_of, together_from_one
from solvers.schedule.periodic_cpsat import Limits, find_pattern
from solvers.schedule.periodic_throughput import least_period, period_bound
from solvers.schedule.periodic_unroll import justified
from solvers.schedule.problem import ScheduleProblem
from solvers.schedule.schedule import Schedule

MOST_TOGETHER = 3


def periodic_orders(
    problem: ScheduleProblem, time_limit_seconds: float = 10.0, seed: int = 0, *, workers: int = 1
) -> list[Orders]:
    """Device orders of all micro-batches, best makespan first; none where no pattern was found in the time.

    The shortest period of one micro-batch, of two and of three, as long as more together may still be
    faster; of the patterns that reach it one with small peaks, as few in flight means short ramps; repeated for
    all micro-batches, and both ramps filled by list scheduling. All within the caps and free of deadlock. A
    source of orders for ``solve_schedule``.
    """
    graph = operation_graph(problem)
    found: list[Schedule] = []
    for pattern in _patterns(problem, time_limit_seconds, seed, workers):
        found.append(justified(graph, pattern.orders(graph), problem.objective))
    found.sort(key=lambda schedule: schedule.value(problem.objective))
    return [schedule.orders for schedule in found]


def _patterns(problem: ScheduleProblem, time_limit_seconds: float, seed: int, workers: int) -> Iterator[Pattern]:
    until = time.perf_counter() + time_limit_seconds
    graph = operation_graph(replace(problem, microbatches=1))
    least = period_bound(graph, problem.memory_cap)
    one: Pattern | None = None
    best: Pattern | None = None
    for together in range(1, min(MOST_TOGETHER, problem.microbatches) + 1):
        left = (until - time.perf_counter()) / 2
        if left <= 0 or (best is not None and best.seconds_per_microbatch <= least * (1 + 1e-6)):
            return
        start = None
        if together > 1:
            if one is None:
                return
            start = pattern_of(graph, together_from_one(graph, one.rounds, together), together)
        answer = least_period(
            problem, together=together, start=start, time_limit_seconds=left, seed=seed, workers=workers
        )
        pattern = answer.choice
        if pattern is None:
            continue
        if together == 1:
            one = pattern
        if best is not None and pattern.seconds_per_microbatch >= best.seconds_per_microbatch * (1 - 1e-9):
            continue
        lean = find_pattern(
            graph,
            pattern.period,
            together=together,
            caps=problem.memory_cap,
            least=range(problem.devices),
            sum_of_peaks=True,
            hint=pattern.rounds,
            limits=Limits(seconds=left / 2, seed=seed, workers=workers),
        )
        best = pattern if lean.rounds is None else pattern_of(graph, lean.rounds, together)
        yield best
