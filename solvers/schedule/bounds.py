"""Lower bounds on the makespan and the span of every schedule within the caps.

All rest on the heads and tails of ``solvers.schedule.relaxation``. For the span they are taken from a
device's first start and to its last end: then each bound holds for that device's own span.

``chain``. The longest of head + seconds + tail: a path of operations that wait for each other; with caps it
goes through as many round trips as the micro-batches that fit make necessary.

``device``. The operations of a device run one at a time, each within its head and tail. Allowed to
interrupt them, the best is to run of those released the one of the longest tail (Jackson 1955; Carlier 1982):
the largest completion + tail is no more than any schedule's.

``ramps``. Let device d not have the memory for all its acquisitions at once. Some operation there then
releases memory before the last acquiring one starts. Before the start of A, the first releasing operation
on d, only operations run there that wait for no release on d, and all they acquire is alive together, within
the cap: work of at most u(d). Likewise, in reverse, behind the end of B, the last acquiring one, only
operations that no acquisition on d waits for, and what they release was all alive at that end: work of at most
v(d). A starts no sooner than a, the least head of a releasing operation, and b, the least tail of an acquiring
one, is left behind B's end; between lies the rest of d's work w(d), as A ends before B starts:

    value >= a + (w - min(u, a - least head) - min(v, b - least tail)) + b

``memory``. Each hold of amount q lasts at least the longest path from its start to its end: the sum of q
times that is an area under d's memory over time, which stays below the cap and, at either end, below
what can have been acquired so soon or is still to be released so late: area + what these ramps lack <=
cap x value, where the ramps do not meet.
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from solvers.schedule.graph import Floats, OperationGraph
from solvers.schedule.problem import Objective
from solvers.schedule.relaxation import Relaxation, relaxed
from solvers.schedule.schedule import TOLERANCE

MOST_RELATIVE = 2_000_000
"""Operations times devices up to which every device's own heads are computed for the span; else the first
and the last device's and the busiest one's (any subset gives a valid bound)."""


class Bound(NamedTuple):
    """No schedule has a smaller value; ``device`` -1 where it is not of one device."""

    seconds: float
    name: str
    device: int = -1


def lower_bound(graph: OperationGraph, objective: Objective = "makespan") -> Bound:
    """The largest of all bounds, in seconds; of equal ones the first."""
    found = [Bound(0.0, "none")]
    if objective == "makespan":
        relaxation = relaxed(graph)
        found.append(Bound(chain(graph, relaxation), "chain"))
        for device in range(graph.devices):
            found.extend(_of_device(graph, relaxation, device, max(found).seconds))
    else:
        for device in _asked(graph):
            found.extend(_of_device(graph, relaxed(graph, since=device), device, 0.0))
    best = max(bound.seconds for bound in found)
    return next(bound for bound in found if bound.seconds == best)


def _asked(graph: OperationGraph) -> Iterable[int]:
    if len(graph) * graph.devices <= MOST_RELATIVE:
        return range(graph.devices)
    work = [sum(graph.lanes[lane].seconds for lane in lanes) for lanes in graph.lanes_of]
    return sorted({0, graph.devices - 1, work.index(max(work))})


def _of_device(graph: OperationGraph, relaxation: Relaxation, device: int, known: float) -> Iterable[Bound]:
    whole = Bound(one_device(graph, relaxation, device), "device", device)
    yield whole
    yield Bound(ramps(graph, relaxation, device), "ramps", device)
    yield Bound(memory(graph, relaxation, device, max(known, whole.seconds)), "memory", device)


def chain(graph: OperationGraph, relaxation: Relaxation) -> float:
    seconds = np.array([lane.seconds for lane in graph.lanes])[:, None]
    return float((relaxation.heads + seconds + relaxation.tails).max())


def one_device(graph: OperationGraph, relaxation: Relaxation, device: int) -> float:
    """The value of Jackson's preemptive schedule."""
    lanes = list(graph.lanes_of[device])
    heads = relaxation.heads[lanes].ravel()
    tails = relaxation.tails[lanes].ravel().tolist()
    left = np.repeat([graph.lanes[lane].seconds for lane in lanes], graph.microbatches).tolist()
    order = np.argsort(heads, kind="stable").tolist()
    at_head = heads.tolist()
    waiting: list[tuple[float, int]] = []
    now, value, position = -math.inf, 0.0, 0
    while position < len(order) or waiting:
        if not waiting:
            now = max(now, at_head[order[position]])
        while position < len(order) and at_head[order[position]] <= now:
            heapq.heappush(waiting, (-tails[order[position]], order[position]))
            position += 1
        tail, operation = waiting[0]
        until = at_head[order[position]] if position < len(order) else math.inf
        if now + left[operation] <= until:
            heapq.heappop(waiting)
            now += left[operation]
            value = max(value, now - tail)
        else:
            left[operation] -= until - now
            now = until
    return value


def ramps(graph: OperationGraph, relaxation: Relaxation, device: int) -> float:
    lanes, cap = graph.lanes_of[device], graph.cap[device]
    acquired = graph.microbatches * sum(graph.lanes[lane].acquired for lane in lanes)
    if not acquired > cap * (1 + TOLERANCE):
        return 0.0
    work = graph.microbatches * sum(graph.lanes[lane].seconds for lane in lanes)
    before = _before_release(graph, relaxation.heads, device)
    behind = _before_release(graph.reversed(), relaxation.tails[:, ::-1], device)
    return before.time + (work - before.work - behind.work) + behind.time


class _Ramp(NamedTuple):
    time: float
    work: float


def _before_release(graph: OperationGraph, heads: Floats, device: int) -> _Ramp:
    """Before the start of a device's first releasing operation: the least time, and the most work."""
    lanes = graph.lanes_of[device]
    releasing = [lane for lane in lanes if graph.lanes[lane].released]
    blocked = frozenset[int]().union(*(graph.descendants[lane] for lane in releasing))
    early = [lane for lane in lanes if lane not in blocked]
    time = min(float(heads[lane][0]) for lane in releasing)
    begin = min(float(heads[lane][0]) for lane in lanes)
    return _Ramp(time, min(_most_work(graph, early, graph.cap[device]), time - begin))


def _most_work(graph: OperationGraph, lanes: Sequence[int], cap: float) -> float:
    """Seconds of operations of ``lanes`` that acquire no more than ``cap`` together.

    A lane that acquires nothing runs no more often than the last one of those that it waits for.
    """
    of = graph.lanes
    acquiring = [lane for lane in graph.upstream if lane in lanes and of[lane].acquired]
    seconds = {lane: of[lane].seconds for lane in acquiring}
    work = 0.0
    for lane in lanes:
        if not of[lane].acquired:
            needed = [one for one in acquiring if lane in graph.descendants[one]]
            if needed:
                seconds[needed[-1]] += of[lane].seconds
            else:
                work += graph.microbatches * of[lane].seconds
    if len(acquiring) == 1:
        count = math.floor(cap / of[acquiring[0]].acquired * (1 + TOLERANCE))
        return work + min(count, graph.microbatches) * seconds[acquiring[0]]
    for lane in sorted(acquiring, key=lambda lane: -seconds[lane] / of[lane].acquired):
        count_of = min(cap / of[lane].acquired, graph.microbatches)
        cap -= count_of * of[lane].acquired
        work += count_of * seconds[lane]
    return work


def memory(graph: OperationGraph, relaxation: Relaxation, device: int, known: float) -> float:
    """``known`` is another lower bound, in seconds: it tells whether the ramps can meet."""
    cap = graph.cap[device]
    holds = [hold for hold in graph.holds if graph.lanes[hold.first].device == device]
    if not holds or not 0 < cap < math.inf:
        return 0.0
    area = graph.microbatches * sum(hold.amount * _least_seconds(graph, hold.first, hold.last) for hold in holds)
    up = _ramp(graph, relaxation.heads, device, cap)
    down = _ramp(graph.reversed(), relaxation.tails[:, ::-1], device, cap)
    lacking = up.lacking + down.lacking if up.seconds + down.seconds <= known else max(up.lacking, down.lacking)
    return (area + lacking) / cap


def _least_seconds(graph: OperationGraph, first: int, last: int) -> float:
    """The longest path from the start of one lane's to the end of another's operation."""
    end = {first: graph.lanes[first].seconds}
    for lane in graph.upstream:
        ends = [end[before] + lag for before, lag in graph.predecessors[lane] if before in end]
        if ends and lane != first:
            end[lane] = max(ends) + graph.lanes[lane].seconds
    return end[last]


class _Shortage(NamedTuple):
    lacking: float
    seconds: float


def _ramp(graph: OperationGraph, heads: Floats, device: int, cap: float) -> _Shortage:
    """The area between the cap and the most that can be alive at each time, until these meet.

    The j-th acquisition starts no sooner than the j-th least head, nor than j - 1 of the shortest
    acquiring operations take; the sum of those begun is no more than that of the j largest, nor than that
    of all whose heads have passed.
    """
    lanes = [lane for lane in graph.lanes_of[device] if graph.lanes[lane].acquired]
    at = heads[lanes].ravel()
    order = np.argsort(at, kind="stable")
    by_head = np.cumsum(np.repeat([graph.lanes[lane].acquired for lane in lanes], graph.microbatches)[order])
    most, shortest = max(graph.lanes[lane].acquired for lane in lanes), min(graph.lanes[lane].seconds for lane in lanes)
    count = np.arange(len(order))
    times = np.concatenate([at[order], count * shortest])
    times = np.unique(np.append(times, 0.0))
    times = times[times >= 0.0]
    level = np.append(by_head, 0.0)[np.searchsorted(at[order], times, side="right") - 1]
    if shortest > 0:
        # a little more time than has passed, as sums of floats may fall short of it
        level = np.minimum(level, most * (1 + np.floor(times / shortest * (1 + TOLERANCE) + TOLERANCE)))
    short = np.maximum(cap - level, 0.0)
    full = int(np.argmax(short <= 0)) if (short <= 0).any() else len(times) - 1
    return _Shortage(float((short[:full] * np.diff(times[: full + 1])).sum()), float(times[full]))
