"""The shortest period within the memory caps, by CP-SAT over patterns of one period after another."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count

from solvers.schedule.graph import OperationGraph, operation_graph
from solvers.schedule.periodic import Pattern, busiest_work, pattern_of
from solvers.schedule.periodic_cpsat import Limits, find_pattern
from solvers.schedule.periodic_units import common_unit
from solvers.schedule.problem import ScheduleProblem
from solvers.solution import Solution, Stop, relative_gap

SHARE = 0.25
"""Of the time left that one period may take; one that is then neither found nor refuted is given up."""


def least_period(
    problem: ScheduleProblem,
    *,
    together: int = 1,
    start: Pattern | None = None,
    gap: float = 1e-3,
    time_limit_seconds: float | None = None,
    seed: int = 0,
    workers: int = 1,
) -> Solution[Pattern]:
    """The pattern of the shortest period within ``problem``'s caps; its micro-batches do not count.

    ``value``: seconds for each of the ``together`` micro-batches of a period. A pattern that admits a period
    admits every longer one: the shortest is found by bisection between ``period_bound`` and the best pattern,
    ``start`` if given, until they differ by at most ``gap``. ``lower_bound`` is proven for all patterns of ``together``
    micro-batches a period; what holds for every schedule, however long, is ``period_bound``. ``infeasible``: a cap
    is below one micro-batch.
    """
    started = time.perf_counter()
    graph = operation_graph(replace(problem, microbatches=1))
    short = [need - cap for need, cap in zip(problem.least_memory(), problem.memory_cap, strict=True)]
    unit = common_unit([lane.seconds for lane in graph.lanes] + [edge.lag for edge in graph.edges])
    bound = period_bound(graph, problem.memory_cap) * together
    floor, best, tried, branches = bound, start, 0, 0
    stop: Stop = "exhausted"
    while max(short) <= 0 and (best is None or relative_gap(best.period, floor) > gap):
        left = None if time_limit_seconds is None else time_limit_seconds - (time.perf_counter() - started)
        if left is not None and left <= 0:
            stop = "time_limit"
            break
        period = floor if not tried and best is None else _next(floor, best, unit)
        answer = find_pattern(
            graph,
            period,
            together=together,
            caps=problem.memory_cap,
            hint=None if best is None else best.rounds,
            limits=Limits(seconds=None if left is None else max(left * SHARE, 0.05), seed=seed, workers=workers),
        )
        tried, branches = tried + 1, branches + answer.branches
        if answer.rounds is not None:
            found = pattern_of(graph, answer.rounds, together)
            if best is not None and found.period >= best.period:
                break  # but for rounding, the period tried is that of the best
            best = found
        elif answer.found == "infeasible":
            floor = bound = period
        else:
            floor, stop = period, "time_limit"
    value = math.inf if best is None else best.seconds_per_microbatch
    optimal = best is not None and relative_gap(best.period, bound) <= gap
    infeasible = max(short) > 0
    return Solution(
        value=value,
        lower_bound=math.inf if infeasible else min(bound / together, value),
        status="infeasible" if infeasible else "optimal" if optimal else "feasible",
        stop="gap" if optimal and bound / together < value else stop,
        choice=best,
        seconds=time.perf_counter() - started,
        seed=seed,
        shortfall=max(0.0, *short),
        counts={"periods": tried, "branches": branches},
    )


def period_bound(graph: OperationGraph, cap: Sequence[float]) -> float:
    """Seconds that a micro-batch takes at least in any schedule of many, whatever its ``cap`` [devices].

    The busiest device's work; and for each device the least memory times seconds that a micro-batch
    occupies there (each chunk's from its F to I and W along the longest chain of edges, as it would be
    alone in the pipeline) over its cap.
    """
    occupied = [0.0] * graph.devices
    for hold in graph.holds:
        occupied[graph.lanes[hold.first].device] += hold.amount * _least_time(graph, hold.first, hold.last)
    needed = [area / room for area, room in zip(occupied, cap, strict=True) if area]
    return max([busiest_work(graph), *needed])


def _least_time(graph: OperationGraph, first: int, last: int) -> float:
    """From the start of a micro-batch's operation of one lane to the end of that of another: the longest chain."""
    since = {first: 0.0}
    for lane in graph.upstream:
        if lane in since:
            end = since[lane] + graph.lanes[lane].seconds
            for after, lag in graph.successors[lane]:
                since[after] = max(since.get(after, 0.0), end + lag)
    return since[last] + graph.lanes[last].seconds


def _next(floor: float, best: Pattern | None, unit: Fraction | None) -> float:
    """A simple multiple of ``unit`` in the middle half of what lies between (without a unit: the middle)."""
    ceiling = 2.0 * floor if best is None else best.period
    if unit is None:
        return (floor + ceiling) / 2
    low, high = floor / unit, ceiling / unit
    for parts in count(1):
        nearest = round((low + high) / 2 * parts) / parts
        if abs(nearest - (low + high) / 2) <= (high - low) / 4:
            return float(nearest * unit)
    raise AssertionError
