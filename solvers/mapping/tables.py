"""What every edge, ring link and block of an order costs, priced again where the order changes, compiled.

A change touches the edges, links and blocks of its places and, where these cross shared links that are now more or
less crowded, those of all members of such a group: ``reached`` finds them, ``price`` prices them. Flows are counted
beside, what an order gives up (sign -1) and what it gains (+1).
"""

from typing import NamedTuple

import numpy as np

from solvers.compiled import compiled
from solvers.mapping.grid import Grid
from solvers.mapping.kernels import count, shared
from solvers.mapping.problem import Floats, Ints, Order

EDGES, RINGS, BLOCKS, ALL = 1, 2, 4, 7
"""What of a place is to be priced, as bits."""


class Tables(NamedTuple):
    """Seconds: ``edge`` [rows, columns - 1], ``link`` [columns, rows], ``block`` [blocks of rows, columns], ``row``,
    ``column``. ``flows`` [edges, rings or blocks; groups]. ``members`` [groups, most] hosts of a group, -1 past the
    last; ``quiet`` [groups]: flows that it carries as fast as any two hosts across it are joined.

    The rest is for the loops: the places to price and which of their costs (bits), what is where in that list (0: not),
    marks, and a counter that makes marks old.
    """

    edge: Floats
    link: Floats
    block: Floats
    row: Floats
    column: Floats
    flows: Floats
    members: Ints
    quiet: Floats
    cells: Ints
    bits: Ints
    listed: Ints
    row_mark: Ints
    column_mark: Ints
    block_mark: Ints
    now: Ints


def empty_tables(grid: Grid, rows: int) -> Tables:
    """Room for the costs of orders of ``rows`` rows; ``fill`` prices one."""
    n, p, groups = rows, grid.ring_bytes.shape[0], grid.capacity.shape[0]
    blocks = n // grid.block_size if grid.block_size else 1
    inside = [np.flatnonzero((grid.groups == g).any(axis=1)) for g in range(groups)]
    members = np.full((max(1, groups), max([1, *map(len, inside)])), -1, dtype=np.int64)
    quiet = np.full(max(1, groups), np.inf)
    for g, hosts in enumerate(inside):
        members[g, : len(hosts)] = hosts
        outside = np.setdiff1d(np.arange(grid.inverse.shape[0]), hosts)
        quiet[g] = grid.capacity[g] * grid.inverse[np.ix_(hosts, outside)].min(initial=np.inf)
    return Tables(
        edge=np.zeros((n, max(1, p - 1))),
        link=np.zeros((p, n)),
        block=np.zeros((blocks, p)),
        row=np.zeros(n),
        column=np.zeros(p),
        flows=np.zeros((3, max(1, groups))),
        members=members,
        quiet=quiet,
        cells=np.zeros(n * p, np.int64),
        bits=np.zeros(n * p, np.int64),
        listed=np.zeros(n * p, np.int64),
        row_mark=np.zeros(n, np.int64),
        column_mark=np.zeros(p, np.int64),
        block_mark=np.zeros((blocks, p), np.int64),
        now=np.zeros(1, np.int64),
    )


def _add_flows(grid: Grid, order: Order, tables: Tables, size: int, sign: float) -> None:
    """Counts the flows of the first ``size`` places listed, each edge, link and block once."""
    n, p = order.shape
    groups, flows, listed = grid.groups, tables.flows, tables.listed
    block = grid.block_size
    tables.now[0] += 1
    now = tables.now[0]
    for k in range(size):
        cell = tables.cells[k]
        r, c = cell // p, cell % p
        here = order[r, c]
        if c < p - 1:
            count(groups, here, order[r, c + 1], sign, flows[0])
        if c > 0 and listed[cell - 1] == 0:
            count(groups, order[r, c - 1], here, sign, flows[0])
        if grid.counted[c] == 1 and n > 1:
            count(groups, here, order[(r + 1) % n, c], 0.5 * sign, flows[1])
            above = (r - 1) % n
            if listed[above * p + c] == 0:
                count(groups, order[above, c], here, 0.5 * sign, flows[1])
        if block > 0 and tables.block_mark[r // block, c] != now:
            tables.block_mark[r // block, c] = now
            first = r // block * block
            around = grid.block_ring == 1
            for a in range(block):
                for b in range(a + 1, a + 2 if around else block):
                    weight = 0.5 * sign if around else sign
                    count(groups, order[first + a, c], order[first + b % block, c], weight, flows[2])


add_flows = compiled(_add_flows, inner=True)


def _reached(grid: Grid, tables: Tables, before: Floats, place_of: Ints, size: int) -> int:
    """Lists, behind the ``size`` places that a change touches, those of members of groups whose flows it changed, and
    that this slows down or no longer does; returns how many are listed then."""
    flows, listed = tables.flows, tables.listed
    for g in range(grid.capacity.shape[0]):
        for phase in range(3):
            was, is_ = before[phase, g], flows[phase, g]
            if was == is_ or max(was, is_) <= tables.quiet[g]:
                continue
            for m in range(tables.members.shape[1]):
                host = tables.members[g, m]
                if host < 0:
                    break
                cell = place_of[host]
                if cell < 0:
                    continue
                if listed[cell] == 0:
                    tables.cells[size], tables.bits[size] = cell, 0
                    size += 1
                    listed[cell] = size
                tables.bits[listed[cell] - 1] |= 1 << phase
    return size


reached = compiled(_reached, inner=True)


def _price(grid: Grid, order: Order, tables: Tables, size: int) -> None:
    """Prices again what the first ``size`` places listed touch, with the flows counted now.

    Written out in one piece: a call for each edge would cost more than the edge.
    """
    n, p = order.shape
    inverse, latency, groups, capacity = grid.inverse, grid.latency, grid.groups, grid.capacity
    edge_bytes, edge_messages = grid.edge_bytes, grid.edge_messages
    ring_bytes, ring_messages = grid.ring_bytes, grid.ring_messages
    edge, link, flows = tables.edge, tables.link, tables.flows
    sharing, block, around = capacity.shape[0] > 0, grid.block_size, grid.block_ring == 1
    tables.now[0] += 1
    now = tables.now[0]
    for k in range(size):
        cell, bits = tables.cells[k], tables.bits[k]
        r, c = cell // p, cell % p
        here = order[r, c]
        if bits & EDGES:
            tables.row_mark[r] = now
            for e in range(max(0, c - 1), min(c + 1, p - 1)):
                there = order[r, e] if e < c else order[r, e + 1]
                slow = inverse[here, there]
                if sharing:
                    slow = shared(groups, capacity, flows[0], here, there, slow)
                edge[r, e] = edge_bytes[e] * slow
                if edge_messages[e] > 0.0:
                    edge[r, e] += edge_messages[e] * latency[here, there]
        if bits & RINGS and grid.counted[c] == 1:
            tables.column_mark[c] = now
            for side in range(2 if n > 1 else 0):
                other = (r + 1) % n if side == 0 else (r - 1) % n
                there = order[other, c]
                at = r if side == 0 else other
                slow = inverse[here, there]
                if sharing:
                    slow = shared(groups, capacity, flows[1], here, there, slow)
                link[c, at] = ring_bytes[c] * slow
                if ring_messages[c] > 0.0:
                    link[c, at] += ring_messages[c] * latency[here, there]
        if bits & BLOCKS and block > 0 and tables.block_mark[r // block, c] != now:
            tables.block_mark[r // block, c] = now
            first, worst = r // block * block, 0.0
            for a in range(block):
                tables.row_mark[first + a] = now
                for b in range(a + 1, a + 2 if around else block):
                    i, j = order[first + a, c], order[first + b % block, c]
                    slow = inverse[i, j]
                    if sharing:
                        slow = shared(groups, capacity, flows[2], i, j, slow)
                    worst = max(worst, slow)
            tables.block[r // block, c] = grid.block_bytes[c] * worst
    for r in range(n):
        if tables.row_mark[r] == now:
            total = 0.0
            for e in range(p - 1):
                total += edge[r, e]
            if block > 0:
                for c in range(p):
                    total += tables.block[r // block, c]
            tables.row[r] = total
    for c in range(p):
        if tables.column_mark[c] == now:
            largest = 0.0
            for r in range(n):
                largest = max(largest, link[c, r])
            tables.column[c] = grid.ring_offset[c] + largest


price = compiled(_price, inner=True)


def _fill(grid: Grid, order: Order, tables: Tables) -> None:
    """Prices all of ``order``."""
    places = order.shape[0] * order.shape[1]
    for phase in range(3):
        for g in range(tables.flows.shape[1]):
            tables.flows[phase, g] = 0.0
    for k in range(places):
        tables.cells[k], tables.bits[k], tables.listed[k] = k, ALL, k + 1
    if grid.capacity.shape[0] > 0:
        add_flows(grid, order, tables, places, 1.0)
    price(grid, order, tables, places)
    for k in range(places):
        tables.listed[k] = 0


fill = compiled(_fill)
