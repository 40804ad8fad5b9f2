"""Annealing over orders, compiled: small changes of the grid, priced by the edges and ring links that they touch.

Changes: two hosts swapped, the first anywhere or at the dearest edge or ring link, the second anywhere, or near the
first or near a neighbour of its place in the line of hosts (leaves of a cluster are stretches of the line); three hosts
in turn; stretches of two rows swapped; a stretch of a row or of a column reversed or turned by one; rows reversed or
turned by one. The score that is followed is the value plus smooth stand-ins for the two maxima,

    max row + max column + WEIGHT (norm of the rows + norm of the columns),    norm(x) = (mean of x ** 8) ** (1 / 8),

since many orders have the same maximum. With shared links or blocks every order is priced as a whole.
"""

import numpy as np

from solvers.compiled import compiled
from solvers.mapping.grid import Grid
from solvers.mapping.kernels import terms
from solvers.mapping.problem import Floats, Ints, Order

MOVES = 10
SWAP, SWAP_NEAR, NEAR_DEAREST, SWAP_DEAREST, CYCLE, SEGMENTS, ALONG_ROW, ALONG_COLUMN, REVERSE_ROWS, TURN_ROWS = range(
    MOVES
)
SMALL = 0.95
"""Share of changes that leave whole rows alone: those touch up to every place."""

WEIGHT = 0.5


def _dearest(grid: Grid, row: Floats, column: Floats, edge: Floats, link: Floats, random: np.random.Generator) -> int:
    """A place at the dearest edge of the largest row, or at the dearest link of the largest column."""
    n, p = row.shape[0], column.shape[0]
    if random.random() < 0.5 and p > 1:
        r = int(np.argmax(row))
        return int(r * p + np.argmax(edge[r]) + random.integers(0, 2))
    c = int(np.argmax(column))
    return int((np.argmax(link[c]) + random.integers(0, 2)) % n * p + c)


dearest = compiled(_dearest)


def _stretch(first: int, last: int, at: int, turned: bool) -> int:
    """Where the ``at``-th of a stretch comes from: reversed, or turned by one."""
    if turned:
        return at + 1 if at < last else first
    return first + last - at


stretch = compiled(_stretch)


def _neighbour(order: Order, place: int, random: np.random.Generator) -> int:
    """The host of a place that shares an edge or a ring link with this one."""
    n, p = order.shape
    r, c = place // p, place % p
    side = 1 if random.random() < 0.5 else -1
    if p > 1 and (n == 1 or random.random() < 0.5):
        return int(order[r, c + side if 0 <= c + side < p else c - side])
    return int(order[(r + side) % n, c])


neighbour = compiled(_neighbour)


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
        a = worst if kind in (NEAR_DEAREST, SWAP_DEAREST) else int(random.integers(0, n * p))
        here = order[a // p, a % p]
        if kind in (SWAP_NEAR, NEAR_DEAREST):
            reach = 1 << int(random.integers(1, 6))
            near = here if random.random() < 0.5 else neighbour(order, a, random)
            to = rank[near] + int(random.integers(-reach, reach + 1))
            if to < 0 or to >= line.shape[0]:
                return 0
            there = line[to]
        else:
            there = line[int(random.integers(0, line.shape[0]))]
        if here == there:
            return 0
        b = place_of[there]
        cells[0], hosts[0] = a, there
        if b < 0:  # a spare host
            return 1
        cells[1], hosts[1] = b, here
        if kind != CYCLE:
            return 2
        c = int(random.integers(0, n * p))
        if c in (a, b):
            return 0
        cells[2], hosts[1], hosts[2] = c, order[c // p, c % p], here
        return 3
    size = 0
    turned = kind == TURN_ROWS or random.random() < 0.5
    of_row = kind in (SEGMENTS, ALONG_ROW)
    span = p if of_row else n
    first, last = int(random.integers(0, span)), int(random.integers(0, span))
    first, last = min(first, last), max(first, last)
    if kind == SEGMENTS:
        r, s = int(random.integers(0, n)), int(random.integers(0, n))
        if r == s:
            return 0
        for a, b in ((r, s), (s, r)):
            for c in range(first, last + 1):
                cells[size], hosts[size] = a * p + c, order[b, c]
                size += 1
        return size
    if kind == ALONG_ROW:
        r = int(random.integers(0, n))
        for c in range(first, last + 1):
            cells[size], hosts[size] = r * p + c, order[r, stretch(first, last, c, turned)]
            size += 1
        return size
    columns = 1 if kind == ALONG_COLUMN else p
    begin = int(random.integers(0, p)) if kind == ALONG_COLUMN else 0
    if kind == REVERSE_ROWS:
        turned = False
    for r in range(first, last + 1):
        other = stretch(first, last, r, turned)
        for c in range(begin, begin + columns):
            cells[size], hosts[size] = r * p + c, order[other, c]
            size += 1
    return size


propose = compiled(_propose)


def _norm(figures: Floats) -> float:
    largest = figures.max()
    if largest <= 0.0:
        return 0.0
    total = 0.0
    for figure in figures:
        share = figure / largest
        share *= share
        share *= share
        total += share * share
    return float(largest * (total / figures.shape[0]) ** 0.125)


norm = compiled(_norm)


def _score(row: Floats, column: Floats) -> float:
    return float(row.max() + column.max() + WEIGHT * (norm(row) + norm(column)))


score_of = compiled(_score)


def _price(
    grid: Grid, order: Order, cells: Ints, size: int, edge: Floats, link: Floats, row: Floats, column: Floats
) -> None:
    """Prices again what the first ``size`` of ``cells`` touch: ``edge`` [rows, columns - 1], ``link`` [columns, rows].

    Written out in one piece: a call for each edge would cost more than the edge.
    """
    n, p = order.shape
    inverse, latency = grid.inverse, grid.latency
    edge_bytes, edge_messages = grid.edge_bytes, grid.edge_messages
    ring_bytes, ring_messages = grid.ring_bytes, grid.ring_messages
    offset, counted = grid.ring_offset, grid.counted
    for k in range(size):
        r, c = cells[k] // p, cells[k] % p
        here = order[r, c]
        for e in range(max(0, c - 1), min(c + 1, p - 1)):
            there = order[r, e] if e < c else order[r, e + 1]
            edge[r, e] = edge_bytes[e] * inverse[here, there]
            if edge_messages[e] > 0.0:
                edge[r, e] += edge_messages[e] * latency[here, there]
        if counted[c] == 1 and n > 1:
            for side in range(2):
                other = (r + 1) % n if side == 0 else (r - 1) % n
                there = order[other, c]
                at = r if side == 0 else other
                link[c, at] = ring_bytes[c] * inverse[here, there]
                if ring_messages[c] > 0.0:
                    link[c, at] += ring_messages[c] * latency[here, there]
    for k in range(size):
        r, c = cells[k] // p, cells[k] % p
        if k == 0 or r != cells[k - 1] // p:
            total = 0.0
            for e in range(p - 1):
                total += edge[r, e]
            row[r] = total
        if counted[c] == 1 and (size <= 3 or k == 0 or (k < p and c != cells[k - 1] % p)):
            largest = 0.0
            for at in range(n):
                largest = max(largest, link[c, at])
            column[c] = offset[c] + largest


price = compiled(_price)


def _anneal(
    grid: Grid,
    order: Order,
    fixed: Ints,
    line: Ints,
    iterations: int,
    hot: float,
    cold: float,
    random: np.random.Generator,
    best: Order,
) -> float:
    """Anneals ``order`` [rows, columns] in place, writes the best to ``best``, returns its value.

    ``fixed`` [rows, columns]: the host that has to be there, or -1. ``line``: usable hosts, near ones side by side.
    The temperature goes from ``hot`` to ``cold`` seconds, geometrically.
    """
    n, p = order.shape
    row, column = np.empty(n), np.empty(p)
    edge, link = np.zeros((n, max(1, p - 1))), np.zeros((p, n))
    row_before, column_before = np.empty(n), np.empty(p)
    cells, hosts, before = np.empty(n * p, np.int64), np.empty(n * p, np.int64), np.empty(n * p, np.int64)
    whole = grid.capacity.shape[0] > 0 or grid.block_size > 0
    place_of, rank = np.full(grid.inverse.shape[0], -1, np.int64), np.full(grid.inverse.shape[0], -1, np.int64)
    for k in range(line.shape[0]):
        rank[line[k]] = k
    for k in range(n * p):
        cells[k] = k
        place_of[order[k // p, k % p]] = k
    price(grid, order, cells, n * p, edge, link, row, column)
    terms(grid, order, row, column)
    score = score_of(row, column)
    best_value = row.max() + column.max()
    best[:] = order
    temperature = hot
    cooling = (cold / hot) ** (1.0 / max(1, iterations))
    for _ in range(iterations):
        temperature *= cooling
        kind = int(random.integers(0, REVERSE_ROWS)) if random.random() < SMALL else int(random.integers(0, MOVES))
        worst = dearest(grid, row, column, edge, link, random) if kind in (NEAR_DEAREST, SWAP_DEAREST) else 0
        size = propose(kind, order, place_of, line, rank, worst, random, cells, hosts)
        allowed = size > 0
        for k in range(size):
            must = fixed[cells[k] // p, cells[k] % p]
            allowed = allowed and (must < 0 or must == hosts[k])
        if not allowed:
            continue
        row_before[:] = row
        column_before[:] = column
        for k in range(size):
            r, c = cells[k] // p, cells[k] % p
            before[k] = order[r, c]
            order[r, c] = hosts[k]
        price(grid, order, cells, size, edge, link, row, column)
        if whole:
            terms(grid, order, row, column)
        new = score_of(row, column)
        if new <= score or random.random() < np.exp((score - new) / temperature):
            score = new
            if size == 1:
                place_of[before[0]] = -1
            for k in range(size):
                place_of[hosts[k]] = cells[k]
            if row.max() + column.max() < best_value:
                best_value = row.max() + column.max()
                best[:] = order
        else:
            for k in range(size):
                order[cells[k] // p, cells[k] % p] = before[k]
            price(grid, order, cells, size, edge, link, row, column)
            row[:] = row_before
            column[:] = column_before
    return float(best_value)


anneal = compiled(_anneal)
