"""What an order costs, compiled; the twin in plain Python is ``solvers.mapping.evaluate``."""

import numpy as np

from solvers.compiled import compiled
from solvers.mapping.grid import Grid
from solvers.mapping.problem import Floats, Ints, Order


def _holds(groups: Ints, host: int, group: int) -> bool:
    found = False
    for k in range(groups.shape[1]):
        found |= groups[host, k] == group
    return found


holds = compiled(_holds)


def _count(grid: Grid, i: int, j: int, weight: float, flows: Floats) -> None:
    for k in range(grid.groups.shape[1]):
        g = grid.groups[i, k]
        if g >= 0 and not holds(grid.groups, j, g):
            flows[g] += weight
        g = grid.groups[j, k]
        if g >= 0 and not holds(grid.groups, i, g):
            flows[g] += weight


count = compiled(_count)


def _shared(grid: Grid, i: int, j: int, flows: Floats) -> float:
    inverse = grid.inverse[i, j]
    if grid.capacity.shape[0] > 0:
        for k in range(grid.groups.shape[1]):
            g = grid.groups[i, k]
            if g >= 0 and not holds(grid.groups, j, g):
                inverse = max(inverse, flows[g] / grid.capacity[g])
            g = grid.groups[j, k]
            if g >= 0 and not holds(grid.groups, i, g):
                inverse = max(inverse, flows[g] / grid.capacity[g])
    return float(inverse)


shared = compiled(_shared)


def _edge_seconds(grid: Grid, order: Order, r: int, e: int, flows: Floats) -> float:
    i, j = order[r, e], order[r, e + 1]
    seconds = grid.edge_bytes[e] * shared(grid, i, j, flows)
    if grid.edge_messages[e] > 0.0:
        seconds += grid.edge_messages[e] * grid.latency[i, j]
    return float(seconds)


edge_seconds = compiled(_edge_seconds)


def _link_seconds(grid: Grid, order: Order, r: int, c: int, flows: Floats) -> float:
    """Of the ring of column ``c`` from row ``r`` to the next."""
    i, j = order[r, c], order[(r + 1) % order.shape[0], c]
    seconds = grid.ring_bytes[c] * shared(grid, i, j, flows)
    if grid.ring_messages[c] > 0.0:
        seconds += grid.ring_messages[c] * grid.latency[i, j]
    return float(seconds)


link_seconds = compiled(_link_seconds)


def _row_seconds(grid: Grid, order: Order, r: int, flows: Floats) -> float:
    total = 0.0
    for e in range(order.shape[1] - 1):
        total += edge_seconds(grid, order, r, e, flows)
    return total


row_seconds = compiled(_row_seconds)


def _column_seconds(grid: Grid, order: Order, c: int, flows: Floats) -> float:
    if grid.counted[c] == 0:
        return 0.0
    worst = 0.0
    if order.shape[0] > 1:
        for r in range(order.shape[0]):
            worst = max(worst, link_seconds(grid, order, r, c, flows))
    return float(grid.ring_offset[c] + worst)


column_seconds = compiled(_column_seconds)


def _add_blocks(grid: Grid, order: Order, row: Floats, flows: Floats) -> None:
    n, p = order.shape
    size = grid.block_size
    if grid.capacity.shape[0] > 0:
        flows[:] = 0.0
        for first in range(0, n, size):
            for c in range(p):
                for a in range(size):
                    if grid.block_ring == 1:
                        count(grid, order[first + a, c], order[first + (a + 1) % size, c], 0.5, flows)
                    else:
                        for b in range(a + 1, size):
                            count(grid, order[first + a, c], order[first + b, c], 1.0, flows)
    for first in range(0, n, size):
        for c in range(p):
            worst = 0.0
            for a in range(size):
                if grid.block_ring == 1:
                    worst = max(worst, shared(grid, order[first + a, c], order[first + (a + 1) % size, c], flows))
                else:
                    for b in range(a + 1, size):
                        worst = max(worst, shared(grid, order[first + a, c], order[first + b, c], flows))
            for a in range(size):
                row[first + a] += grid.block_bytes[c] * worst


add_blocks = compiled(_add_blocks)


def _terms(grid: Grid, order: Order, row: Floats, column: Floats) -> None:
    """Fills ``row`` [rows] and ``column`` [columns] (0: not counted)."""
    n, p = order.shape
    flows = np.zeros(max(1, grid.capacity.shape[0]))
    sharing = grid.capacity.shape[0] > 0
    if sharing:
        for r in range(n):
            for e in range(p - 1):
                count(grid, order[r, e], order[r, e + 1], 1.0, flows)
    for r in range(n):
        row[r] = row_seconds(grid, order, r, flows)
    if grid.block_size > 0:
        add_blocks(grid, order, row, flows)
    if sharing:
        flows[:] = 0.0
        for c in range(p):
            if grid.counted[c] == 1 and n > 1:
                for r in range(n):
                    count(grid, order[r, c], order[(r + 1) % n, c], 0.5, flows)
    for c in range(p):
        column[c] = column_seconds(grid, order, c, flows)


terms = compiled(_terms)


def _value(grid: Grid, order: Order) -> float:
    """Seconds of ``order``."""
    row, column = np.empty(order.shape[0]), np.empty(order.shape[1])
    terms(grid, order, row, column)
    return float(row.max() + column.max())


value = compiled(_value)
