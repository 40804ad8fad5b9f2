"""Annealing over orders, compiled: small changes of the grid, priced by the edges and ring links that they touch.

Changes: two hosts swapped, the first anywhere or at the dearest edge or ring link, the second anywhere, or near the
first or near a neighbour of its place in the line of hosts (leaves of a cluster are stretches of the line); three hosts
in turn; stretches of two rows swapped; a stretch of a row or of a column reversed or turned by one; rows reversed or
turned by one. The score that is followed is the value plus smooth stand-ins for the two maxima,

    max row + max column + WEIGHT (norm of the rows + norm of the columns),    norm(x) = (mean of x ** 8) ** (1 / 8),

since many orders have the same maximum.
"""

import numpy as np

from solvers.compiled import compiled
from solvers.mapping.grid import Grid
from solvers.mapping.kernels import copy, largest
from solvers.mapping.problem import Floats, Ints, Order
from solvers.mapping.tables import ALL, Tables, add_flows, price, reached

MOVES = 10
SWAP, SWAP_NEAR, NEAR_DEAREST, SWAP_DEAREST, CYCLE, SEGMENTS, ALONG_ROW, ALONG_COLUMN, REVERSE_ROWS, TURN_ROWS = range(
    MOVES
)
SMALL = 0.95
"""Share of changes that leave whole rows alone: those touch up to every place."""

WEIGHT = 0.5


def _pick(random: np.random.Generator, count: int) -> int:
    """One of 0 to ``count`` - 1."""
    return int(random.random() * count)


pick = compiled(_pick, inner=True)


def _where_largest(figures: Floats) -> int:
    at = 0
    for k in range(figures.shape[0]):
        if figures[k] > figures[at]:
            at = k
    return at


where_largest = compiled(_where_largest, inner=True)


def _dearest(tables: Tables, random: np.random.Generator) -> int:
    """A place at the dearest edge of the largest row, or at the dearest link of the largest column."""
    n, p = tables.row.shape[0], tables.column.shape[0]
    if random.random() < 0.5 and p > 1:
        r = where_largest(tables.row)
        return int(r * p + where_largest(tables.edge[r]) + pick(random, 2))
    c = where_largest(tables.column)
    return int((where_largest(tables.link[c]) + pick(random, 2)) % n * p + c)


dearest = compiled(_dearest, inner=True)


def _stretch(first: int, last: int, at: int, turned: bool) -> int:
    """Where the ``at``-th of a stretch comes from: reversed, or turned by one."""
    if turned:
        return at + 1 if at < last else first
    return first + last - at


stretch = compiled(_stretch, inner=True)


def _neighbour(order: Order, place: int, random: np.random.Generator) -> int:
    """The host of a place that shares an edge or a ring link with this one."""
    n, p = order.shape
    r, c = place // p, place % p
    side = 1 if random.random() < 0.5 else -1
    if p > 1 and (n == 1 or random.random() < 0.5):
        return int(order[r, c + side if 0 <= c + side < p else c - side])
    return int(order[(r + side) % n, c])


neighbour = compiled(_neighbour, inner=True)


def _propose(
    kind: int,
    order: Order,
    place_of: Ints,
    line: Ints,
    rank: Ints,
    worst: int,
    random: np.random.Generator,
    cells: Ints,
    hosts: Ints,
) -> int:
    """Writes the places to change and their new hosts; returns how many (0: nothing to change)."""
    n, p = order.shape
    if kind <= CYCLE:
        a = worst if kind in (NEAR_DEAREST, SWAP_DEAREST) else pick(random, n * p)
        here = order[a // p, a % p]
        if kind in (SWAP_NEAR, NEAR_DEAREST):
            reach = 2 << pick(random, 5)
            near = here if random.random() < 0.5 else neighbour(order, a, random)
            to = rank[near] + pick(random, 2 * reach + 1) - reach
            if to < 0 or to >= line.shape[0]:
                return 0
            there = line[to]
        else:
            there = line[pick(random, line.shape[0])]
        if here == there:
            return 0
        b = place_of[there]
        cells[0], hosts[0] = a, there
        if b < 0:  # a spare host
            return 1
        cells[1], hosts[1] = b, here
        if kind != CYCLE:
            return 2
        c = pick(random, n * p)
        if c in (a, b):
            return 0
        cells[2], hosts[1], hosts[2] = c, order[c // p, c % p], here
        return 3
    size = 0
    turned = kind == TURN_ROWS or random.random() < 0.5
    of_row = kind in (SEGMENTS, ALONG_ROW)
    span = p if of_row else n
    first, last = pick(random, span), pick(random, span)
    first, last = min(first, last), max(first, last)
    if kind == SEGMENTS:
        r, s = pick(random, n), pick(random, n)
        if r == s:
            return 0
        for a, b in ((r, s), (s, r)):
            for c in range(first, last + 1):
                cells[size], hosts[size] = a * p + c, order[b, c]
                size += 1
        return size
    if kind == ALONG_ROW:
        r = pick(random, n)
        for c in range(first, last + 1):
            cells[size], hosts[size] = r * p + c, order[r, stretch(first, last, c, turned)]
            size += 1
        return size
    columns = 1 if kind == ALONG_COLUMN else p
    begin = pick(random, p) if kind == ALONG_COLUMN else 0
    if kind == REVERSE_ROWS:
        turned = False
    for r in range(first, last + 1):
        other = stretch(first, last, r, turned)
        for c in range(begin, begin + columns):
            cells[size], hosts[size] = r * p + c, order[other, c]
            size += 1
    return size


propose = compiled(_propose, inner=True)


def _norm(figures: Floats, most: float) -> float:
    """``most``: the largest of them."""
    if most <= 0.0:
        return 0.0
    per = 1.0 / most
    total = 0.0
    for k in range(figures.shape[0]):
        share = figures[k] * per
        share *= share
        share *= share
        total += share * share
    return float(most * (total / figures.shape[0]) ** 0.125)


norm = compiled(_norm, inner=True)


def _score(row: Floats, column: Floats) -> float:
    rows, columns = largest(row), largest(column)
    return float(rows + columns + WEIGHT * (norm(row, rows) + norm(column, columns)))


score_of = compiled(_score, inner=True)


def _anneal(
    grid: Grid,
    order: Order,
    tables: Tables,
    fixed: Ints,
    line: Ints,
    group: Ints,
    iterations: int,
    hot: float,
    cold: float,
    random: np.random.Generator,
    best: Order,
) -> float:
    """Anneals ``order`` [rows, columns] in place, writes the best to ``best``, returns its value.

    ``tables``: its costs (``fill``), and then those of what it became. ``fixed`` [rows, columns]: the host that has to
    be there, or -1. ``line``: usable hosts, near ones side by side. ``group`` [hosts]: a host is followed by one of
    its group only. The temperature goes from ``hot`` to ``cold``
    seconds, geometrically.
    """
    n, p = order.shape
    row, column, cells, flows = tables.row, tables.column, tables.cells, tables.flows
    hosts, before = np.empty(n * p, np.int64), np.empty(n * p, np.int64)
    flows_before = np.empty((3, flows.shape[1]))
    sharing = grid.capacity.shape[0] > 0
    place_of, rank = np.empty(grid.inverse.shape[0], np.int64), np.empty(grid.inverse.shape[0], np.int64)
    for host in range(place_of.shape[0]):
        place_of[host] = rank[host] = -1
    for k in range(line.shape[0]):
        rank[line[k]] = k
    for k in range(n * p):
        place_of[order[k // p, k % p]] = k
    score = score_of(row, column)
    best_value = largest(row) + largest(column)
    copy(order, best)
    temperature = hot
    cooling = (cold / hot) ** (1.0 / max(1, iterations))
    for _ in range(iterations):
        temperature *= cooling
        kind = pick(random, REVERSE_ROWS) if random.random() < SMALL else pick(random, MOVES)
        worst = dearest(tables, random) if kind in (NEAR_DEAREST, SWAP_DEAREST) else 0
        size = propose(kind, order, place_of, line, rank, worst, random, cells, hosts)
        allowed = size > 0
        for k in range(size):
            r, c = cells[k] // p, cells[k] % p
            allowed = allowed and (fixed[r, c] < 0 or fixed[r, c] == hosts[k])
            allowed = allowed and group[order[r, c]] == group[hosts[k]]
        if not allowed:
            continue
        for k in range(size):
            tables.bits[k], tables.listed[cells[k]] = ALL, k + 1
        if sharing:
            copy(flows, flows_before)
            add_flows(grid, order, tables, size, -1.0)
        for k in range(size):
            r, c = cells[k] // p, cells[k] % p
            before[k] = order[r, c]
            order[r, c] = hosts[k]
        every = size
        if sharing:
            add_flows(grid, order, tables, size, 1.0)
            every = reached(grid, tables, flows_before, place_of, size)
        for k in range(every):
            tables.listed[cells[k]] = 0
        price(grid, order, tables, every)
        new = score_of(row, column)
        if new <= score or random.random() < np.exp((score - new) / temperature):
            score = new
            if size == 1:
                place_of[before[0]] = -1
            for k in range(size):
                place_of[hosts[k]] = cells[k]
            now = largest(row) + largest(column)
            if now < best_value:
                best_value = now
                copy(order, best)
        else:
            for k in range(size):
                order[cells[k] // p, cells[k] % p] = before[k]
            if sharing:
                copy(flows_before, flows)
            price(grid, order, tables, every)
    return float(best_value)


anneal = compiled(_anneal)
