"""What each operation of an order waits for, and the operations that can be timed side by side.

An operation waits for the one before it on its device and for the one that feeds it: F of chunk c
for F of chunk c - 1, B of chunk c for B of chunk c + 1 (the last chunk's B for its own F), of the
same micro-batch; I as B, and W for its own I. Its level is one more than the larger level of these
two. Levels depend on the order alone, and a device has at most one operation in each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from costmodels.timeline.operations import BACKWARD, FORWARD, IDLE, INPUT_GRAD, WEIGHT_GRAD, Order

Index = NDArray[np.intp]

_PART = np.zeros(IDLE + 1, dtype=np.intp)
"""Of each kind: 0 the forward pass, 1 the backward pass or its first half, 2 its second half."""
_PART[[FORWARD, BACKWARD, INPUT_GRAD, WEIGHT_GRAD]] = 0, 1, 1, 2
_FED_BY_PART = np.array([0, 1, 1])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """The operations of an order sorted by level; N operations, row N stands for the start.

    ``row`` [devices, operations] is each operation's row. ``after`` and ``fed_by`` [N] are the rows
    of its two predecessors. ``cost`` [N] picks from forward costs followed by backward costs (of I and
    of W, where the order splits them) and a zero; ``lag`` [N] from the links followed by a zero.
    ``levels`` are the (first, last + 1) rows of each.
    """

    row: Index
    after: Index
    fed_by: Index
    cost: Index
    lag: Index
    levels: tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def dependency_graph(order: Order) -> Graph:
    """The graph of ``order``. Raises ``ValueError`` if its devices wait for each other for ever."""
    devices, operations = order.kind.shape
    total = devices * operations
    fed_by, lag = _feeds(order)
    sorted_ids, levels = _sort_by_level(fed_by.reshape(devices, operations))
    row = np.empty(total + 1, dtype=np.intp)
    row[sorted_ids], row[total] = np.arange(total), total
    after = np.arange(total) - 1
    after[::operations] = total
    cost = (_PART[order.kind] * np.intp(order.chunks) + order.chunk).ravel()
    cost[order.kind.ravel() == IDLE] = order.chunks * (3 if order.splits_backward else 2)
    return Graph(
        row=row[:total].reshape(devices, operations),
        after=row[after[sorted_ids]],
        fed_by=row[fed_by[sorted_ids]],
        cost=cost[sorted_ids],
        lag=lag[sorted_ids],
        levels=levels,
    )


def _feeds(order: Order) -> tuple[Index, Index]:
    """Of each operation, device by device: who feeds it, and over which link."""
    total, last = order.kind.size, order.chunks - 1
    kind, chunk, microbatch = order.kind.ravel(), order.chunk.ravel(), order.microbatch.ravel()
    part = _PART[kind]
    forward, weight_grad, idle = part == _PART[FORWARD], part == _PART[WEIGHT_GRAD], kind == IDLE
    where = np.empty((3, order.chunks, order.microbatches), dtype=np.intp)
    busy = np.flatnonzero(~idle)
    where[part[busy], chunk[busy], microbatch[busy]] = busy
    turn = (part == _PART[BACKWARD]) & (chunk == last)
    source = np.where(forward, chunk - 1, np.where(weight_grad, chunk, np.minimum(chunk + 1, last)))
    fed_by = where[np.where(turn, _PART[FORWARD], _FED_BY_PART[part]), source, microbatch]
    nothing = idle | (forward & (chunk == 0))
    fed_by[nothing] = total
    local = turn | nothing | weight_grad
    return fed_by, np.where(local, last, np.minimum(chunk, source)).astype(np.intp)


def _sort_by_level(fed_by: Index) -> tuple[Index, tuple[tuple[int, int], ...]]:
    """Operations [devices, operations] in level order, and where each level begins and ends."""
    devices, operations = fed_by.shape
    waits = np.concatenate([fed_by, np.zeros((devices, 1), dtype=np.intp)], axis=1).ravel()
    done = np.zeros(fed_by.size + 1, dtype=np.bool_)
    done[-1] = True
    first = np.arange(devices) * operations
    position = np.zeros(devices, dtype=np.intp)
    line = np.arange(devices) * (operations + 1)
    batches: list[Index] = []
    left = fed_by.size
    while left:
        ready = (done[waits[line + position]] & (position < operations)).nonzero()[0]
        if not len(ready):
            raise ValueError(f"order: {left} operations wait for each other for ever")
        batch = first[ready] + position[ready]
        done[batch] = True
        position[ready] += 1
        batches.append(batch)
        left -= len(batch)
    return np.concatenate(batches), tuple(_slices(batches))


def _slices(batches: list[Index]) -> Iterator[tuple[int, int]]:
    begin = 0
    for batch in batches:
        yield begin, begin + len(batch)
        begin += len(batch)


def level_order(after: Index, fed_by: Index) -> tuple[Index, tuple[tuple[int, int], ...]]:
    """Nodes [N] of any graph with two predecessors each (N: none) in level order, and where each level
    begins and ends. Raises ``ValueError`` if they wait for each other for ever."""
    total = len(after)
    batches: list[Index] = []
    followers = np.argsort(np.concatenate([after, fed_by]), kind="stable") % total
    begin = np.searchsorted(np.sort(np.concatenate([after, fed_by])), np.arange(total + 2))
    waits = np.full(total, 2)
    ready = np.array([total], dtype=np.intp)
    left = total
    while len(ready):
        freed = np.concatenate([followers[begin[node] : begin[node + 1]] for node in ready])
        np.subtract.at(waits, freed, 1)
        ready = np.unique(freed[waits[freed] == 0])
        left -= len(ready)
        if len(ready):
            batches.append(ready)
    if left:
        raise ValueError(f"order: {left} operations wait for each other for ever")
    return np.concatenate(batches), tuple(_slices(batches))
