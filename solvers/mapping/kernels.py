"""What an order costs, compiled; the twin in plain Python is ``solvers.mapping.evaluate``.

Helpers take the arrays that they need and not the whole grid: handing that over costs more than an edge.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.compiled import compiled
from solvers.mapping.grid import Grid
from solvers.mapping.problem import Floats, Ints, Order


def _largest(figures: Floats) -> float:
    most = figures[0]
    for k in range(figures.shape[0]):
        most = max(most, figures[k])
    return float(most)


largest = compiled(_largest, inner=True)


def _copy(of: NDArray[Any], to: NDArray[Any]) -> None:
    """Two dimensions; a slice takes seconds to compile."""
    for r in range(of.shape[0]):
        for c in range(of.shape[1]):
            to[r, c] = of[r, c]


copy = compiled(_copy, inner=True)


def _crossed(groups: Ints, i: int, j: int, k: int) -> int:
    """The k-th group of ``i`` where ``j`` is not in it, else -1."""
    g = groups[i, k]
    if g >= 0:
        for other in range(groups.shape[1]):
            if groups[j, other] == g:
                return -1
    return int(g)


crossed = compiled(_crossed, inner=True)


def _count(groups: Ints, i: int, j: int, weight: float, flows: Floats) -> None:
    for k in range(groups.shape[1]):
        g = crossed(groups, i, j, k)
        if g >= 0:
            flows[g] += weight
        g = crossed(groups, j, i, k)
        if g >= 0:
            flows[g] += weight


count = compiled(_count, inner=True)


def _shared(groups: Ints, capacity: Floats, flows: Floats, i: int, j: int, inverse: float) -> float:
    """1/bw of a flow among ``flows``, which has ``inverse`` to itself."""
    for k in range(groups.shape[1]):
        g = crossed(groups, i, j, k)
        if g >= 0:
            inverse = max(inverse, flows[g] / capacity[g])
        g = crossed(groups, j, i, k)
        if g >= 0:
            inverse = max(inverse, flows[g] / capacity[g])
    return inverse


shared = compiled(_shared, inner=True)


def _add_blocks(grid: Grid, order: Order, row: Floats, flows: Floats) -> None:
    n, p = order.shape
    size, around = grid.block_size, grid.block_ring == 1
    inverse, groups, capacity, block_bytes = grid.inverse, grid.groups, grid.capacity, grid.block_bytes
    sharing = capacity.shape[0] > 0
    weight = 0.5 if around else 1.0
    if sharing:
        flows[:] = 0.0
        for first in range(0, n, size):
            for c in range(p):
                for a in range(size):
                    for b in range(a + 1, a + 2 if around else size):
                        count(groups, order[first + a, c], order[first + b % size, c], weight, flows)
    for first in range(0, n, size):
        for c in range(p):
            worst = 0.0
            for a in range(size):
                for b in range(a + 1, a + 2 if around else size):
                    i, j = order[first + a, c], order[first + b % size, c]
                    link = inverse[i, j]
                    if sharing:
                        link = shared(groups, capacity, flows, i, j, link)
                    worst = max(worst, link)
            for a in range(size):
                row[first + a] += block_bytes[c] * worst


add_blocks = compiled(_add_blocks, inner=True)


def _terms(grid: Grid, order: Order, row: Floats, column: Floats) -> None:
    """Fills ``row`` [rows] and ``column`` [columns] (0: not counted)."""
    n, p = order.shape
    inverse, latency, groups, capacity = grid.inverse, grid.latency, grid.groups, grid.capacity
    counted, offset = grid.counted, grid.ring_offset
    flows = np.zeros(max(1, capacity.shape[0]))
    sharing = capacity.shape[0] > 0
    if sharing:
        for r in range(n):
            for e in range(p - 1):
                count(groups, order[r, e], order[r, e + 1], 1.0, flows)
    row[:] = 0.0
    for e in range(p - 1):
        size, messages = grid.edge_bytes[e], grid.edge_messages[e]
        for r in range(n):
            i, j = order[r, e], order[r, e + 1]
            link = inverse[i, j]
            if sharing:
                link = shared(groups, capacity, flows, i, j, link)
            row[r] += size * link
            if messages > 0.0:
                row[r] += messages * latency[i, j]
    if grid.block_size > 0:
        add_blocks(grid, order, row, flows)
    column[:] = 0.0
    if sharing:
        flows[:] = 0.0
        for c in range(p):
            if counted[c] == 1 and n > 1:
                for r in range(n):
                    count(groups, order[r, c], order[(r + 1) % n, c], 0.5, flows)
    for c in range(p):
        if counted[c] == 0:
            continue
        worst = 0.0
        size, messages = grid.ring_bytes[c], grid.ring_messages[c]
        for r in range(n if n > 1 else 0):
            i, j = order[r, c], order[(r + 1) % n, c]
            link = inverse[i, j]
            if sharing:
                link = shared(groups, capacity, flows, i, j, link)
            link *= size
            if messages > 0.0:
                link += messages * latency[i, j]
            worst = max(worst, link)
        column[c] = offset[c] + worst


terms = compiled(_terms)


def _value(grid: Grid, order: Order) -> float:
    """Seconds of ``order``."""
    row, column = np.empty(order.shape[0]), np.empty(order.shape[1])
    terms(grid, order, row, column)
    return float(largest(row) + largest(column))


value = compiled(_value)
