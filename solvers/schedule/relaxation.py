"""What every schedule must respect between operations of different micro-batches: earliest starts, latest ends.

Beyond the graph's own edges,
- operations of one lane run in the order of their micro-batches, one after another on their device;
- memory: let r wait for x, both on device d. When operation k of x starts, its micro-batch holds whatever
  was acquired before it and is released behind it; and each of the n micro-batches among the first k + 1
  whose r is not over holds all that is acquired by x or before it and released by r or behind it. With q the
  latter amounts on d and q' the other ones of the former, n q + q' <= cap: so r of micro-batch
  k - floor((cap - q') / q) is over when x of k starts.

All of these are precedences: longest paths over them are lower bounds (*heads*: before an operation's start;
*tails*: behind its end).
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from solvers.schedule.graph import Floats, OperationGraph
from solvers.schedule.schedule import TOLERANCE

Window: TypeAlias = tuple[int, int, int]
"""(r, x, n): x of micro-batch k waits for the end of r of k - n; lanes of one device."""


def memory_windows(graph: OperationGraph) -> tuple[Window, ...]:
    """The precedences that the caps force; a cap below one micro-batch forces none that are meant here."""
    found = []
    for first in sorted({hold.first for hold in graph.holds}):
        cap = graph.cap[graph.lanes[first].device]
        if cap == math.inf:
            continue
        behind = graph.descendants[first]
        held = [
            hold
            for hold in graph.holds
            if graph.lanes[hold.first].device == graph.lanes[first].device
            and first in graph.descendants[hold.first]
            and hold.last in behind
        ]
        for last in sorted({hold.last for hold in held}):
            each = sum(hold.amount for hold in held if hold.last in graph.descendants[last])
            other = sum(hold.amount for hold in held) - each
            count = math.floor((cap - other) / each * (1 + TOLERANCE) + TOLERANCE)
            if 1 <= count < graph.microbatches:
                found.append((last, first, count))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relaxation:
    """``heads`` and ``tails`` [lanes, microbatches] in seconds."""

    heads: Floats
    tails: Floats


def relaxed(graph: OperationGraph, since: int | None = None) -> Relaxation:
    """Longest paths before each operation's start and behind its end; from the start of the first operation
    of device ``since`` and to the end of its last one, if given (-inf: no path)."""
    windows = memory_windows(graph)
    heads = _heads(graph, windows, since)
    tails = _heads(graph.reversed(), tuple((first, last, count) for last, first, count in windows), since)
    return Relaxation(heads=heads, tails=tails[:, ::-1])


def _heads(graph: OperationGraph, windows: tuple[Window, ...], since: int | None) -> Floats:
    m = graph.microbatches
    seconds = [lane.seconds for lane in graph.lanes]
    least = [0.0 if since is None or lane.device == since else -math.inf for lane in graph.lanes]
    heads = [[bound] * m for bound in least]
    over: list[list[tuple[int, int]]] = [[] for _ in graph.lanes]
    for last, first, count in windows:
        over[first].append((last, count))
    for k in range(m):
        for lane in graph.upstream:
            head = least[lane]
            if k:
                head = max(head, heads[lane][k - 1] + seconds[lane])
            for before, lag in graph.predecessors[lane]:
                at = heads[before][k] + seconds[before] + lag
                if at > head:
                    head = at
            for last, count in over[lane]:
                if k >= count:
                    head = max(head, heads[last][k - count] + seconds[last])
            heads[lane][k] = head
    return np.array(heads)
