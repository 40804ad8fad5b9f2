"""The decoder, compiled: a schedule from paths and priorities.

The decoder places operations one by one. A micro-batch has one operation waiting at a time. Of all nodes the one is
taken whose waiting operations can complete first (nothing that is not placed yet can reach it sooner); of these,
among those that can start within ``patience`` times the rest of that time (0: no node waits while it could work; 1:
any active schedule, Giffler & Thompson 1960), the one of least priority number runs:

    offset[k] + detail[k, j] + by_arrival * arrival - by_tail * tail[k, j]

with tail the time that micro-batch k needs by itself from the start of its operation j on. A forward pass waits
while its node is full. Weights (1, 0) without offsets are first in, first out; ties go to the lower micro-batch.
"""

import numpy as np
from numpy.typing import NDArray

from solvers.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STUCK = 1e300
"""The makespan where nodes wait for each other for ever."""


def _kind_of(j: int, length: int, loss: int) -> int:
    """F, L or B (0, 1, 2) of a micro-batch's operation j."""
    if j < length:
        return 0
    return 1 if loss and j == length else 2


kind_of = compiled(_kind_of, inline=True)


def _node_of(paths: Ints, k: int, j: int, loss: int) -> int:
    """Where operation j of micro-batch k runs."""
    length = paths.shape[1]
    if j < length:
        return int(paths[k, j])
    if loss and j == length:
        return int(paths[k, 0])
    return int(paths[k, 2 * length + loss - 1 - j])


node_of = compiled(_node_of, inline=True)


def _rank(
    seconds: Floats,
    link: Floats,
    loss: int,
    paths: Ints,
    k: int,
    by_tail: float,
    offset: Floats,
    detail: Floats,
    rank: Floats,
) -> None:
    """Fills row k of ``rank`` [micro-batches, operations]: the priority number but for what the arrival adds."""
    tail = 0.0
    last = rank.shape[1] - 1
    for j in range(last, -1, -1):
        n = node_of(paths, k, j, loss)
        if j < last:
            after = node_of(paths, k, j + 1, loss)
            if after != n:
                tail += link[n, after]
        tail += seconds[kind_of(j, paths.shape[1], loss), n]
        rank[k, j] = offset[k] + detail[k, j] - by_tail * tail


rank_operations = compiled(_rank)


def _first_to_end(earliest: Floats) -> int:
    """The node whose waiting operations can complete first; -1: none can."""
    node, least = -1, STUCK
    for n in range(earliest.shape[0]):
        if earliest[n] < least:
            node, least = n, earliest[n]
    return node


first_to_end = compiled(_first_to_end, inline=True)


def _chosen(
    node: int,
    queue: Ints,
    waiting: Ints,
    place: Ints,
    arrival: Floats,
    rank: Floats,
    by_arrival: float,
    free: Floats,
    until: float,
    able: int,
) -> int:
    """The place in the queue of ``node`` of what it runs next: the least priority number that can start by ``until``
    among operations from ``able`` on."""
    best, at = STUCK, -1
    for q in range(waiting[node]):
        k = queue[node, q]
        j = place[k]
        if j < able or max(free[node], arrival[k]) > until:
            continue
        value = rank[k, j] + by_arrival * arrival[k]
        if value < best or (value == best and k < queue[node, at]):
            best, at = value, q
    return at


chosen = compiled(_chosen, inline=True)


def _look_ahead(
    node: int,
    queue: Ints,
    waiting: Ints,
    place: Ints,
    arrival: Floats,
    length: int,
    loss: int,
    seconds: Floats,
    free: Floats,
    able: int,
    first: Floats,
    earliest: Floats,
) -> None:
    """Fills when the first of a node's waiting operations can start (``first``) and the first can end (``earliest``),
    of those from ``able`` on."""
    soon, done = STUCK, STUCK
    for q in range(waiting[node]):
        k = queue[node, q]
        j = place[k]
        if j < able:
            continue
        begin = max(free[node], arrival[k])
        soon = min(soon, begin)
        done = min(done, begin + seconds[kind_of(j, length, loss), node])
    first[node], earliest[node] = soon, done


look_ahead = compiled(_look_ahead, inline=True)


def _decode(
    seconds: Floats,
    link: Floats,
    cap: Ints,
    loss: int,
    serial: int,
    paths: Ints,
    weights: Floats,
    offset: Floats,
    detail: Floats,
    start: Floats,
    finish: Floats,
) -> float:
    """The makespan; fills ``start`` [micro-batches, operations] and ``finish`` [micro-batches].

    ``seconds`` [3, nodes] by kind; ``weights`` (by_arrival, by_tail, patience).
    """
    micro, length = paths.shape
    nodes = cap.shape[0]
    count = 2 * length + loss
    by_arrival, by_tail, patience = weights[0], weights[1], weights[2]
    rank = np.empty((micro, count))
    arrival, place = np.zeros(micro), np.zeros(micro, np.int64)
    queue, waiting = np.empty((nodes, micro), np.int64), np.zeros(nodes, np.int64)
    free, link_free, alive = np.zeros(nodes), np.zeros(nodes), np.zeros(nodes, np.int64)
    first, earliest = np.full(nodes, STUCK), np.full(nodes, STUCK)
    for k in range(micro):
        rank_operations(seconds, link, loss, paths, k, by_tail, offset, detail, rank)
        n = paths[k, 0]
        queue[n, waiting[n]] = k
        waiting[n] += 1
    for n in range(nodes):
        if waiting[n] and cap[n] > 0:
            first[n], earliest[n] = 0.0, seconds[0, n]
    makespan = 0.0
    for _ in range(micro * count):
        node = first_to_end(earliest)
        if node < 0:
            return STUCK
        until = first[node] + patience * (earliest[node] - first[node])
        # a full node runs no forward pass
        able = length if alive[node] >= cap[node] else 0
        at = chosen(node, queue, waiting, place, arrival, rank, by_arrival, free, until, able)
        k = queue[node, at]
        j = place[k]
        kind = kind_of(j, length, loss)
        begin = max(free[node], arrival[k])
        end = begin + seconds[kind, node]
        start[k, j], free[node] = begin, end
        makespan = max(makespan, end)
        if kind == 0:
            alive[node] += 1
        elif kind == 2:
            alive[node] -= 1
        waiting[node] -= 1
        queue[node, at] = queue[node, waiting[node]]
        place[k] = j + 1
        other = node
        if j + 1 == count:
            finish[k] = end
        else:
            other = node_of(paths, k, j + 1, loss)
            sent = end
            if other != node:
                if serial:
                    sent = max(end, link_free[node])
                sent += link[node, other]
                link_free[node] = sent
            arrival[k] = sent
            queue[other, waiting[other]] = k
            waiting[other] += 1
        for turn in range(1 if other == node else 2):
            n = node if turn == 0 else other
            able = length if alive[n] >= cap[n] else 0
            look_ahead(n, queue, waiting, place, arrival, length, loss, seconds, free, able, first, earliest)
    return makespan


decode = compiled(_decode)
