"""How soon 1f1b can end once its first stages hold what they hold, whatever the stages behind them do.

The first j stages run their own operations in their own order; all behind them is one delay: a micro-batch
that stage j - 1 has run forward comes back for its backward pass no sooner than the rest of the chain, both
ways, takes it alone. Timing these operations alone leaves constraints out, hence the end of stage 0's last
backward pass is below every makespan with those first stages.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.timeline.graph import Graph, level_order
from costmodels.timeline.operations import BACKWARD, FORWARD, Order
from costmodels.timeline.simulation import relax

Seconds = NDArray[np.float64]


def prefix_bounds(
    order: Order,
    forward_seconds: ArrayLike,
    backward_seconds: ArrayLike,
    rest_seconds: ArrayLike,
    link_seconds: ArrayLike,
) -> Seconds:
    """[k]: seconds below the makespan of a 1f1b ``order`` whose first j stages take ``forward_seconds`` and
    ``backward_seconds`` [k, j], and the others, their links included, at least ``rest_seconds`` [k] both ways.
    ``link_seconds`` is [stages - 1]."""
    forward, backward, rest = (
        np.asarray(part, dtype=np.float64) for part in (forward_seconds, backward_seconds, rest_seconds)
    )
    rows, stages = forward.shape
    graph, last = _prefix_graph(order, stages)
    links = np.append(np.asarray(link_seconds, dtype=np.float64)[: stages - 1], 0.0)
    cost = np.concatenate([forward, backward, rest[:, None]], axis=1)
    return np.asarray(relax(graph, cost, np.broadcast_to(links, (rows, stages)))[last])


@lru_cache(maxsize=64)
def _prefix_graph(order: Order, stages: int) -> tuple[Graph, int]:
    """The graph of the first ``stages`` and the delay of each micro-batch; the row of stage 0's last operation."""
    kind, microbatch = order.kind[:stages], order.microbatch[:stages]
    operations, own = kind.shape[1], kind.size
    total = own + order.microbatches
    where = np.empty((2, stages, order.microbatches), dtype=np.intp)
    stage = np.broadcast_to(np.arange(stages)[:, None], kind.shape)
    where[kind, stage, microbatch] = np.arange(own).reshape(kind.shape)
    delays = own + np.arange(order.microbatches)
    after = np.arange(total) - 1
    after[:own:operations] = total
    after[delays] = total
    fed_by, cost, lag = np.full(total, total), np.full(total, 2 * stages), np.full(total, stages - 1)
    for j in range(stages):
        front, back = where[FORWARD, j], where[BACKWARD, j]
        cost[front], cost[back] = j, stages + j
        if j:
            fed_by[front], lag[front] = where[FORWARD, j - 1], j - 1
        if j < stages - 1:
            fed_by[back], lag[back] = where[BACKWARD, j + 1], j
    fed_by[where[BACKWARD, stages - 1]] = delays
    fed_by[delays] = where[FORWARD, stages - 1]
    sorted_ids, levels = level_order(after, fed_by)
    row = np.empty(total + 1, dtype=np.intp)
    row[sorted_ids], row[total] = np.arange(total), total
    graph = Graph(
        row=row[:own].reshape(kind.shape),
        after=row[after[sorted_ids]],
        fed_by=row[fed_by[sorted_ids]],
        cost=cost[sorted_ids],
        lag=lag[sorted_ids],
        levels=levels,
    )
    return graph, int(row[operations - 1])
