"""Timing of orders with a split vocabulary: what their operations cost and wait for.

Beside the operation before it on its device, each waits for one more event. With X(k) the last
device's output, p devices and d = 2 (vocab-1) or 1 (vocab-2) barriers:

| event | when | then |
|---|---|---|
| broadcast of X(k), and gradient of loss k - 1 | before B(k - d) of the last device, R(k - 1) done | V(k) on all |
| R(k), reduction of statistics and dX | V(k) is done on all | B(k + 1 - d) of the last device |
| sum of the lookups of j | IF(j) is done on all | F(j) of device 0 |
| broadcast of the lookup's gradient | B(j) of device 0 | IB(j) on all |

Interlaced, V(k) starts on all devices together, after a broadcast of X(k), its collectives are part
of it, and devices stop for the sum of the lookups (IB of another micro-batch may run meanwhile). A
wait for all devices is a tree of joins that take no time, so that every node of the graph waits for
two others (``graph``).

Orders that run S and T apart are any that an optimiser finds, over any placement of the chunks, with whole
or halved backward passes. There X(k) is broadcast when F(k) of the last chunk ends, a reduction ends each
pass that another waits for, and nothing else delays them: S(k) on all, then T(k) on all and, in vocab-2,
the last chunk's B(k) or I(k), which in vocab-1 waits for T(k) on all.
"""

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.timeline.graph import Graph, Index, level_order
from costmodels.timeline.operations import (
    BACKWARD,
    FORWARD,
    IDLE,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    INPUT_GRAD,
    OUTPUT_S,
    OUTPUT_T,
    VOCABULARY,
    VOCABULARY_KINDS,
    WEIGHT_GRAD,
    Order,
)

Seconds = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularySeconds:
    """Seconds of the vocabulary's passes and collectives.

    Of each device, [..., devices]: ``first_step`` is S alone, ``step`` T of a micro-batch and S of the
    next, ``last_step`` T alone; ``input_forward`` and ``input_backward`` the lookup. Of all, [..., 1]:
    ``broadcast`` of X, ``reduce`` of statistics and dX, ``lookup`` the sum of the looked-up rows and
    the broadcast of their gradient.
    """

    first_step: ArrayLike
    step: ArrayLike
    last_step: ArrayLike
    input_forward: ArrayLike
    input_backward: ArrayLike
    broadcast: ArrayLike
    reduce: ArrayLike
    lookup: ArrayLike

    def checked(self, devices: int) -> tuple[list[Seconds], list[Seconds]]:
        """Costs of passes and lags of collectives; ``ValueError`` on a wrong length or a negative one."""
        arrays: list[Seconds] = []
        for field in fields(self):
            array = np.asarray(getattr(self, field.name), dtype=np.float64)
            expected = 1 if field.name in LAGS else devices
            if array.ndim == 0 or array.shape[-1] != expected:
                raise ValueError(f"vocabulary.{field.name}: shape {array.shape} must end in {expected}")
            if not (array >= 0).all():
                raise ValueError(f"vocabulary.{field.name}: {array.min()} must not be negative or undefined")
            arrays.append(array)
        return arrays[: -len(LAGS)], arrays[-len(LAGS) :]


LAGS = ("broadcast", "reduce", "lookup")


@lru_cache(maxsize=64)
def vocabulary_graph(order: Order) -> Graph:
    """The graph of an order with a split vocabulary.

    Costs: F and B of each chunk, or F, I and W, the five passes of ``VocabularySeconds`` of each device, zero.
    Lags: the links, zero, the three collectives.
    """
    build = _Builder(order)
    build.pipeline()
    build.lookups()
    if order.runs_s_and_t_apart:
        build.apart()
    elif order.schedule == "interlaced":
        build.lockstep()
    else:
        build.deferred(2 if order.schedule == "vocab-1" else 1)
    return build.graph()


class _Builder:
    """Nodes are the operations, device by device, then joins; node ``start`` (-1) is the step's start."""

    def __init__(self, order: Order) -> None:
        self.order, self.devices = order, order.devices
        operations = order.kind.shape[1]
        ids = np.arange(order.kind.size).reshape(order.kind.shape)
        self.after = [int(i) for i in np.where(np.arange(operations) > 0, ids - 1, -1).ravel()]
        self.fed_by = [-1] * len(self.after)
        self.no_lag = order.chunks - 1
        self.lag = [self.no_lag] * len(self.after)
        self.backward = INPUT_GRAD if order.splits_backward else BACKWARD
        device = np.broadcast_to(np.arange(self.devices)[:, None], order.kind.shape)
        where = np.where(np.isin(order.kind, VOCABULARY_KINDS), device, order.chunk)  # a device's, or a chunk's
        self.node = np.full((OUTPUT_T + 1, order.chunks, order.microbatches + 1), -1)
        self.node[order.kind, where, order.microbatch] = ids

    def on_all(self, kind: int, microbatch: int) -> list[int]:
        return [int(node) for node in self.node[kind, : self.devices, microbatch]]

    def feed(self, node: int, source: int, lag: int) -> None:
        self.fed_by[node], self.lag[node] = source, lag

    def event(self, after: int, fed_by: int, lag: int | None = None) -> int:
        """A node that takes no time, once two others are done, the second with a lag."""
        self.after.append(after)
        self.fed_by.append(fed_by)
        self.lag.append(self.no_lag if lag is None else lag)
        return len(self.after) - 1

    def join(self, nodes: list[int]) -> int:
        while len(nodes) > 1:
            pairs = [self.event(a, b) for a, b in zip(nodes[::2], nodes[1::2], strict=False)]
            nodes = pairs + nodes[len(pairs) * 2 :]
        return nodes[0]

    def collective(self, name: str) -> int:
        return self.order.chunks + LAGS.index(name)

    def pipeline(self) -> None:
        """F, B or I, and W along the chunks; the last chunk's B or I is fed by the vocabulary."""
        for chunk in range(self.order.chunks):
            for m in range(self.order.microbatches):
                if chunk:
                    self.feed(self.node[FORWARD, chunk, m], self.node[FORWARD, chunk - 1, m], chunk - 1)
                    self.feed(self.node[self.backward, chunk - 1, m], self.node[self.backward, chunk, m], chunk - 1)
                if self.order.splits_backward:
                    self.feed(self.node[WEIGHT_GRAD, chunk, m], self.node[INPUT_GRAD, chunk, m], self.no_lag)

    def lookups(self) -> None:
        lag = self.collective("lookup")
        for m in range(self.order.microbatches):
            done = self.join(self.on_all(INPUT_FORWARD, m))
            self.feed(self.node[FORWARD, 0, m], done, lag)
            if self.order.schedule == "interlaced":
                self._stop_for(done, m, lag)
            for node in self.on_all(INPUT_BACKWARD, m):
                self.feed(node, self.node[self.backward, 0, m], lag)

    def apart(self) -> None:
        """S and T wait for nothing but what they compute with."""
        broadcast, reduce = self.collective("broadcast"), self.collective("reduce")
        last = self.order.chunks - 1
        for m in range(self.order.microbatches):
            for node in self.on_all(OUTPUT_S, m):
                self.feed(node, self.node[FORWARD, last, m], broadcast)
            normalised = self.join(self.on_all(OUTPUT_S, m))
            for node in self.on_all(OUTPUT_T, m):
                self.feed(node, normalised, reduce)
            done = normalised if self.order.schedule == "vocab-2" else self.join(self.on_all(OUTPUT_T, m))
            self.feed(self.node[self.backward, last, m], done, reduce)

    def _stop_for(self, done: int, microbatch: int, lag: int) -> None:
        """Of each device, the next operation but IB after its lookup of ``microbatch``."""
        kind = self.order.kind.ravel()
        for node in self.on_all(INPUT_FORWARD, microbatch):
            follower = node + 1 + (kind[node + 1] == INPUT_BACKWARD)
            self.after[follower] = self.event(self.after[follower], done, lag)

    def deferred(self, delay: int) -> None:
        broadcast, reduce = self.collective("broadcast"), self.collective("reduce")
        forward, backward, steps = (self.node[kind] for kind in (FORWARD, BACKWARD, VOCABULARY))
        last, reduced = self.devices - 1, -1
        for k in range(self.order.microbatches + 1):
            if k == 0:
                issued = forward[last, 0]
            else:
                # with the backward pass that the last device turns to next, or with V itself
                next_up = (
                    backward[last, k - delay] if delay <= k < self.order.microbatches + delay - 1 else steps[last, k]
                )
                issued = self.event(self.after[next_up], reduced, reduce)
            for node in self.on_all(VOCABULARY, k):
                self.feed(node, issued, broadcast)
            reduced = self.join(self.on_all(VOCABULARY, k))
            if 0 <= k + 1 - delay < self.order.microbatches:
                self.feed(backward[last, k + 1 - delay], reduced, reduce)

    def lockstep(self) -> None:
        for k in range(self.order.microbatches):
            steps = self.on_all(VOCABULARY, k)
            together = self.join([self.after[node] for node in steps])
            for node in steps:
                self.feed(node, together, self.collective("broadcast"))

    def graph(self) -> Graph:
        order = self.order
        total = len(self.after)
        after, fed_by, lag = (np.array(values, dtype=np.intp) for values in (self.after, self.fed_by, self.lag))
        after[after < 0] = fed_by[fed_by < 0] = total
        sorted_ids, levels = level_order(after, fed_by)
        row = np.empty(total + 1, dtype=np.intp)
        row[sorted_ids], row[total] = np.arange(total), total
        cost = np.concatenate([self._cost(), np.full(total - order.kind.size, self._blocks()[IDLE], dtype=np.intp)])
        return Graph(
            row=row[: order.kind.size].reshape(order.kind.shape),
            after=row[after[sorted_ids]],
            fed_by=row[fed_by[sorted_ids]],
            cost=cost[sorted_ids],
            lag=lag[sorted_ids],
            levels=levels,
        )

    def _blocks(self) -> Index:
        """Where the costs of each kind begin: those of F, B or I, and W by chunk, those of the passes by device;
        of IDLE, the zero."""
        chunks, devices = self.order.chunks, self.devices
        passes = chunks * (3 if self.order.splits_backward else 2)
        found = np.zeros(OUTPUT_T + 1, dtype=np.intp)
        found[[BACKWARD, INPUT_GRAD, WEIGHT_GRAD]] = chunks, chunks, 2 * chunks
        found[[OUTPUT_S, VOCABULARY, OUTPUT_T, INPUT_FORWARD, INPUT_BACKWARD]] = passes + devices * np.arange(5)
        found[IDLE] = passes + 5 * devices
        return found

    def _cost(self) -> Index:
        kind, microbatch = self.order.kind, self.order.microbatch
        blocks = self._blocks()
        block = blocks[kind]
        if self.order.schedule != "interlaced":  # the first step is S alone, the last one T alone
            step = kind == VOCABULARY
            block = np.where(step & (microbatch == 0), blocks[OUTPUT_S], block)
            block = np.where(step & (microbatch == self.order.microbatches), blocks[OUTPUT_T], block)
        device = np.arange(self.devices)[:, None]
        where = np.where(np.isin(kind, VOCABULARY_KINDS), device, np.where(kind == IDLE, 0, self.order.chunk))
        return np.asarray(block + where, dtype=np.intp).ravel()
