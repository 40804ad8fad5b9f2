"""Exact timing of an order: every operation starts as soon as what it waits for has ended.

With d(o) the seconds of operation o, a(o) the operation before it on its device, s(o) the one that
feeds it and l(o) the seconds of the link between their chunks,

    start(o) = max(end(a(o)), end(s(o)) + l(o)),   end(o) = start(o) + d(o).

Transfers do not occupy the devices. There is no closed formula here: the recursion is run level by
level (``graph``), over the devices and over a batch of cost vectors at once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.timeline.graph import Graph, dependency_graph
from costmodels.timeline.operations import Order
from costmodels.timeline.vocabulary import VocabularySeconds, vocabulary_graph

Seconds = NDArray[np.float64]

BLOCK = 1 << 21  # operations x cost vectors timed at once: 16 MiB an array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timeline:
    """``start`` and ``end`` seconds, [..., devices, operations] in the order's own layout."""

    order: Order
    start: Seconds
    end: Seconds

    @property
    def makespan_seconds(self) -> Seconds:
        """[...]: from the start of the first operation to the end of the last."""
        return np.asarray(self.device_end_seconds.max(axis=-1))

    @property
    def device_end_seconds(self) -> Seconds:
        """[..., devices]: when each device ends its last operation."""
        return np.asarray(self.end[..., -1])

    @property
    def busy_seconds(self) -> Seconds:
        """[..., devices]: how long each device computes."""
        return np.asarray((self.end - self.start).sum(axis=-1))

    @property
    def device_start_seconds(self) -> Seconds:
        """[..., devices]: when each device starts its first operation."""
        return np.asarray(self.start[..., 0])

    @property
    def span_seconds(self) -> Seconds:
        """[..., devices]: from the start of each device's first operation to the end of its last, what a
        zero-bubble schedule fills; the makespan has the ramp beside it."""
        return self.device_end_seconds - self.device_start_seconds

    @property
    def idle_seconds(self) -> Seconds:
        """[..., devices]: the bubble, makespan less busy time."""
        return self.makespan_seconds[..., None] - self.busy_seconds


def simulate(
    order: Order,
    forward_seconds: ArrayLike,
    backward_seconds: ArrayLike,
    link_seconds: ArrayLike,
    vocabulary: VocabularySeconds | None = None,
    weight_grad_seconds: ArrayLike | None = None,
) -> Timeline:
    """Times every operation of ``order``.

    ``forward_seconds`` and ``backward_seconds`` are [..., chunks], ``link_seconds`` [..., chunks - 1]
    (chunk c to c + 1, and back); the leading axes broadcast and may be absent. ``vocabulary`` goes
    with the orders that have its passes, and only with them, as ``weight_grad_seconds`` [..., chunks]
    goes with those that split the backward pass: ``backward_seconds`` is then of I alone.
    Raises ``ValueError`` on a wrong number of chunks or a negative duration.
    """
    seconds = (forward_seconds, backward_seconds, link_seconds, vocabulary, weight_grad_seconds)
    graph, batch, cost, lag = _prepare(order, *seconds)
    start, end = np.empty((2, len(cost), *order.kind.shape))
    for block in _blocks(order, len(cost)):
        ends = relax(graph, cost[block], lag[block])
        starts = np.maximum(ends[graph.after], ends[graph.fed_by] + lag[block].T[graph.lag])
        start[block], end[block] = (rows[graph.row].transpose(2, 0, 1) for rows in (starts, ends))
    shape = (*batch, *order.kind.shape)
    return Timeline(order=order, start=start.reshape(shape), end=end.reshape(shape))


def makespan_seconds(
    order: Order,
    forward_seconds: ArrayLike,
    backward_seconds: ArrayLike,
    link_seconds: ArrayLike,
    vocabulary: VocabularySeconds | None = None,
    weight_grad_seconds: ArrayLike | None = None,
) -> Seconds:
    """[...]: the makespan alone; arguments and errors are ``simulate``'s."""
    seconds = (forward_seconds, backward_seconds, link_seconds, vocabulary, weight_grad_seconds)
    return np.asarray(device_end_seconds(order, *seconds).max(axis=-1))


def device_end_seconds(
    order: Order,
    forward_seconds: ArrayLike,
    backward_seconds: ArrayLike,
    link_seconds: ArrayLike,
    vocabulary: VocabularySeconds | None = None,
    weight_grad_seconds: ArrayLike | None = None,
) -> Seconds:
    """[..., devices]: when each device ends its last operation; arguments and errors are ``simulate``'s."""
    seconds = (forward_seconds, backward_seconds, link_seconds, vocabulary, weight_grad_seconds)
    graph, batch, cost, lag = _prepare(order, *seconds)
    ends = [relax(graph, cost[block], lag[block])[graph.row[:, -1]].T for block in _blocks(order, len(cost))]
    return np.concatenate(ends).reshape(*batch, order.devices) if ends else np.empty((*batch, order.devices))


def check_costs(
    order: Order,
    forward_seconds: ArrayLike,
    backward_seconds: ArrayLike,
    link_seconds: ArrayLike,
    weight_grad_seconds: ArrayLike | None = None,
) -> tuple[list[Seconds], Seconds]:
    """Costs of the passes of each chunk, and links, as floats, their last axis checked against the order."""
    if order.splits_backward != (weight_grad_seconds is not None):
        wanted = "runs W apart; give its" if order.splits_backward else "runs no W apart; leave its"
        raise ValueError(
            f"weight_grad_seconds: {order.schedule} {wanted} seconds{'' if order.splits_backward else ' out'}"
        )
    arrays: list[Seconds] = []
    for name, values, expected in (
        ("forward_seconds", forward_seconds, order.chunks),
        ("backward_seconds", backward_seconds, order.chunks),
        ("weight_grad_seconds", weight_grad_seconds, order.chunks),
        ("link_seconds", link_seconds, order.chunks - 1),
    ):
        if values is None:
            continue
        array = np.asarray(values, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != expected:
            raise ValueError(f"{name}: shape {array.shape} must end in {expected} for {order.chunks} chunks")
        if not (array >= 0).all():
            raise ValueError(f"{name}: {array.min()} must not be negative or undefined")
        arrays.append(array)
    return arrays[:-1], arrays[-1]


def _prepare(
    order: Order,
    forward_seconds: ArrayLike,
    backward_seconds: ArrayLike,
    link_seconds: ArrayLike,
    vocabulary: VocabularySeconds | None,
    weight_grad_seconds: ArrayLike | None,
) -> tuple[Graph, tuple[int, ...], Seconds, Seconds]:
    """Graph, leading axes, and costs and lags as one row per cost vector."""
    splits_vocabulary = order.splits_vocabulary
    costs, link = check_costs(order, forward_seconds, backward_seconds, link_seconds, weight_grad_seconds)
    none = np.zeros(1)
    lags = [link, none]
    if splits_vocabulary:
        if vocabulary is None:
            raise ValueError(f"vocabulary: {order.schedule} has passes of its own; give their seconds")
        passes, collectives = vocabulary.checked(order.devices)
        costs, lags = [*costs, *passes], [*lags, *collectives]
    elif vocabulary is not None:
        raise ValueError(f"vocabulary: {order.schedule} has no passes of its own; leave their seconds out")
    costs = [*costs, none]
    batch = np.broadcast_shapes(*(part.shape[:-1] for part in (*costs, *lags)))
    rows = int(np.prod(batch))
    cost, lag = (
        np.concatenate([np.broadcast_to(part, (*batch, part.shape[-1])) for part in parts], axis=-1)
        for parts in (costs, lags)
    )
    graph = vocabulary_graph(order) if splits_vocabulary else dependency_graph(order)
    return graph, batch, cost.reshape(rows, cost.shape[-1]), lag.reshape(rows, lag.shape[-1])


def _blocks(order: Order, rows: int) -> list[slice]:
    step = max(1, BLOCK // order.kind.size)
    return [slice(begin, min(begin + step, rows)) for begin in range(0, rows, step)]


def relax(graph: Graph, cost: Seconds, lag: Seconds) -> Seconds:
    """End seconds by row of the graph, one column per cost vector."""
    duration = cost.T[graph.cost]
    delay = lag.T[graph.lag]
    end = np.zeros((len(duration) + 1, len(cost)))
    if len(graph.levels) == len(duration) and not delay.any():  # one after the other
        np.cumsum(duration, axis=0, out=end[:-1])
        return end
    for begin, stop in graph.levels:
        free = end.take(graph.after[begin:stop], axis=0)
        fed = end.take(graph.fed_by[begin:stop], axis=0)
        fed += delay[begin:stop]
        np.maximum(free, fed, out=free)
        np.add(free, duration[begin:stop], out=end[begin:stop])
    return end
