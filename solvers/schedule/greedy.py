"""Schedules from rules of precedence: what a device runs first, and how far it runs ahead.

A rule ranks the kinds (input gradients before forwards before weight gradients, the latter to fill
gaps; and others), says which of several ready chunks comes first (the deepest, the first, or the
oldest micro-batch), and for devices of several chunks how many micro-batches may be between F and I of a
chunk of the first and of the second half of the pipe. ``dispatch`` keeps every one within the caps.
"""

from collections.abc import Iterator
from itertools import product

from solvers.schedule.dispatch import Rules, dispatch
from solvers.schedule.graph import OperationGraph, Orders
from solvers.schedule.problem import Kind

FORWARD, BACKWARD, WEIGHTS, PASSES = "FBW+"
_LETTER = {Kind.F: FORWARD, Kind.I: BACKWARD, Kind.B: BACKWARD, Kind.W: WEIGHTS}

RANKINGS = (
    {PASSES: 0, BACKWARD: 1, FORWARD: 2, WEIGHTS: 3},
    {BACKWARD: 0, FORWARD: 1, PASSES: 2, WEIGHTS: 3},
    {PASSES: 0, FORWARD: 1, BACKWARD: 2, WEIGHTS: 3},
    {PASSES: 0, BACKWARD: 1, WEIGHTS: 2, FORWARD: 3},
    {PASSES: 0, BACKWARD: 1, FORWARD: 1, WEIGHTS: 3},
)
DIRECTIONS = (-1, 1, 0)
"""Of equal rank first: the deepest chunk, the first one, the oldest micro-batch."""

MOST_OPERATIONS = 400_000
"""Operations placed by all rules together, if one rule alone does not place more: a few seconds."""


def rule_orders(graph: OperationGraph, most: int = MOST_OPERATIONS) -> Iterator[Orders]:
    """Orders within the caps, the most promising rules first. Raises ``ValueError`` for a cap below one micro-batch."""
    for count, (ranking, direction, gates, patience) in enumerate(_rules(graph)):
        if count and (count + 1) * len(graph) > most:
            return
        keys = _keys(graph, ranking, direction)
        yield dispatch(graph, Rules(keys=keys, gates=gates, patience=[patience] * len(graph.lanes)))


def _rules(graph: OperationGraph) -> Iterator[tuple[dict[str, int], int, dict[int, tuple[int, int]], float]]:
    chunks = 1 + max(lane.chunk for lane in graph.lanes)
    several = chunks > graph.devices
    directions = DIRECTIONS if several else DIRECTIONS[:1]
    for ranking, direction in product(RANKINGS, directions):
        yield ranking, direction, {}, 0.0
    for patience, ranking in product((0.5, 1.0), RANKINGS):
        yield ranking, directions[0], {}, patience
    if several:
        most = min(graph.microbatches, chunks) + 1
        limits = [n for n in (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64) if n < most]
        for first, second, ranking, direction in product(limits, limits, RANKINGS[:3], directions):
            yield ranking, direction, _gates(graph, chunks, first, second), 0.0
    elif chunks == graph.devices:
        for more, ranking in product((0, 1, 2), RANKINGS[:2]):
            yield ranking, directions[0], _falling_gates(graph, chunks, more), 0.0


def _gates(graph: OperationGraph, chunks: int, first: int, second: int) -> dict[int, tuple[int, int]]:
    backward = Kind.I if (Kind.I, 0) in graph.number else Kind.B
    return {
        graph.number[Kind.F, c]: (graph.number[backward, c], first if 2 * c < chunks else second) for c in range(chunks)
    }


def _falling_gates(graph: OperationGraph, chunks: int, more: int) -> dict[int, tuple[int, int]]:
    """As many ahead as devices further down the pipe, and ``more``."""
    backward = Kind.I if (Kind.I, 0) in graph.number else Kind.B
    return {graph.number[Kind.F, c]: (graph.number[backward, c], chunks - c + more) for c in range(chunks)}


def _keys(graph: OperationGraph, ranking: dict[str, int], direction: int) -> list[float]:
    m, chunks = graph.microbatches, 1 + max(lane.chunk for lane in graph.lanes)
    keys = []
    for lane in graph.lanes:
        rank = ranking[_LETTER.get(lane.kind, PASSES)] * (m * (chunks + 1))
        base = rank + (direction * lane.chunk % chunks) * m if direction else rank
        keys += [float(base + k) for k in range(m)]
    return keys
