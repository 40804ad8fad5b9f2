"""The operations of a pipeline and what each waits for: a job shop whose jobs are all alike.

A *lane* is all operations of one kind on one chunk (F, B, I, W), of one vocabulary pass on one device, or
of one barrier: one operation per micro-batch. Micro-batches are alike, so lanes say everything once:
operation ``lane * microbatches + k`` belongs to micro-batch k, and an edge (before, after, lag) between
two lanes says for every k that ``after``'s starts no sooner than ``lag`` seconds past the end of ``before``'s.

Barriers are lanes without device and time, behind which their lag begins: one between IF and the first
chunk's F, one between S and T, and in vocab-1 one between T and the last chunk's I. What one operation
sends to all devices (F of the last chunk to S, I of the first to IB) needs no such lane.

An operation acquires memory at its start and releases memory at its end, all on its own device. A device
runs one operation at a time, so what it keeps alive follows from its order alone.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from solvers.schedule.problem import Kind, ScheduleProblem

Index: TypeAlias = NDArray[np.intp]
Floats: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = tuple[tuple[int, ...], ...]
"""Per device its operations, in the order it runs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """All operations of one ``kind`` on one chunk (-1: a vocabulary pass or barrier) of a device
    (-1: a barrier)."""

    kind: Kind
    chunk: int
    device: int
    seconds: float
    acquired: float
    released: float


@dataclass(frozen=True, slots=True)
class Edge:
    """``after``'s operations start no sooner than ``lag`` seconds past the end of ``before``'s (lanes)."""

    before: int
    after: int
    lag: float


@dataclass(frozen=True, slots=True)
class Hold:
    """``amount`` of memory on their device is alive from the start of ``first``'s to the end of ``last``'s
    operation (lanes) of a micro-batch."""

    first: int
    last: int
    amount: float


@dataclass(frozen=True, kw_only=True, eq=False)
class OperationGraph:
    """``lanes`` and ``edges`` between them, for every one of ``microbatches``; ``cap`` [devices]; ``holds``
    say from when to when what is acquired stays alive. ``upstream`` is all lanes, each behind those it waits
    for and before those that take more memory than it does: in this order one micro-batch alone needs least.

    ``kind``, ``chunk``, ``microbatch``, ``device``, ``seconds``, ``acquired`` and ``released`` are
    [operations], as are ``before``, ``after`` and ``lag`` [edges * microbatches] over operations.
    """

    devices: int
    microbatches: int
    lanes: tuple[Lane, ...]
    edges: tuple[Edge, ...]
    holds: tuple[Hold, ...]
    cap: tuple[float, ...]
    upstream: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.lanes) * self.microbatches

    @cached_property
    def kind(self) -> Index:
        return self._each(np.array([lane.kind for lane in self.lanes], dtype=np.intp))

    @cached_property
    def chunk(self) -> Index:
        return self._each(np.array([lane.chunk for lane in self.lanes], dtype=np.intp))

    @cached_property
    def device(self) -> Index:
        return self._each(np.array([lane.device for lane in self.lanes], dtype=np.intp))

    @cached_property
    def microbatch(self) -> Index:
        return np.tile(np.arange(self.microbatches), len(self.lanes))

    @cached_property
    def seconds(self) -> Floats:
        return np.repeat([lane.seconds for lane in self.lanes], self.microbatches)

    @cached_property
    def acquired(self) -> Floats:
        return np.repeat([lane.acquired for lane in self.lanes], self.microbatches)

    @cached_property
    def released(self) -> Floats:
        return np.repeat([lane.released for lane in self.lanes], self.microbatches)

    @cached_property
    def before(self) -> Index:
        return self._along([edge.before for edge in self.edges])

    @cached_property
    def after(self) -> Index:
        return self._along([edge.after for edge in self.edges])

    @cached_property
    def lag(self) -> Floats:
        return np.repeat([edge.lag for edge in self.edges], self.microbatches)

    @cached_property
    def lanes_of(self) -> tuple[tuple[int, ...], ...]:
        """[devices]: the lanes that each device runs."""
        return tuple(
            tuple(number for number, lane in enumerate(self.lanes) if lane.device == device)
            for device in range(self.devices)
        )

    @cached_property
    def number(self) -> dict[tuple[Kind, int], int]:
        """The lane of (kind, chunk), or of (pass, device) for the vocabulary's S, T, IF and IB."""
        return {
            (lane.kind, lane.chunk if lane.chunk >= 0 else lane.device): number
            for number, lane in enumerate(self.lanes)
            if lane.kind is not Kind.BARRIER
        }

    @cached_property
    def successors(self) -> tuple[tuple[tuple[int, float], ...], ...]:
        """[lanes]: (lane, lag) of those that wait for it."""
        return tuple(tuple((e.after, e.lag) for e in self.edges if e.before == n) for n in range(len(self.lanes)))

    @cached_property
    def predecessors(self) -> tuple[tuple[tuple[int, float], ...], ...]:
        """[lanes]: (lane, lag) of those that it waits for."""
        return tuple(tuple((e.before, e.lag) for e in self.edges if e.after == n) for n in range(len(self.lanes)))

    @cached_property
    def descendants(self) -> tuple[frozenset[int], ...]:
        """[lanes]: those that wait for it, directly or not, and itself."""
        found: list[frozenset[int]] = [frozenset()] * len(self.lanes)
        for lane in reversed(self.upstream):
            found[lane] = frozenset([lane]).union(*(found[after] for after, _ in self.successors[lane]))
        return tuple(found)

    def reversed(self) -> "OperationGraph":
        """Time run backwards: what waited is waited for, what was acquired is released. The orders of its
        schedules, read backwards with micro-batch k named m - 1 - k, are those of this graph."""
        return OperationGraph(
            devices=self.devices,
            microbatches=self.microbatches,
            lanes=tuple(replace(lane, acquired=lane.released, released=lane.acquired) for lane in self.lanes),
            edges=tuple(Edge(edge.after, edge.before, edge.lag) for edge in self.edges),
            holds=tuple(Hold(hold.last, hold.first, hold.amount) for hold in self.holds),
            cap=self.cap,
            upstream=self.upstream[::-1],
        )

    def orders(self, rows: Iterable[Iterable[tuple[Kind, int, int]]]) -> Orders:
        """Device orders given as (kind, chunk, micro-batch), a vocabulary pass with any chunk.

        Raises ``ValueError`` for an operation that the problem does not have.
        """
        found = []
        for device, row in enumerate(rows):
            operations = []
            for kind, chunk, microbatch in row:
                passed = kind in (Kind.S, Kind.T, Kind.IF, Kind.IB)
                lane = self.number.get((Kind(kind), device if passed else chunk))
                if lane is None or not 0 <= microbatch < self.microbatches:
                    name = f"{Kind(kind).name} of chunk {chunk}, micro-batch {microbatch}"
                    raise ValueError(f"device {device}: there is no operation {name}")
                operations.append(lane * self.microbatches + microbatch)
            found.append(tuple(operations))
        return tuple(found)

    def _each(self, of_lanes: Index) -> Index:
        return np.repeat(of_lanes, self.microbatches)

    def _along(self, lanes: list[int]) -> Index:
        first = np.array(lanes, dtype=np.intp) * self.microbatches
        return (first[:, None] + np.arange(self.microbatches)).ravel()


def operation_graph(problem: ScheduleProblem) -> OperationGraph:
    """The graph of ``problem``, as ``solvers.schedule.problem`` states it."""
    lanes, edges = _pipeline(problem)
    if problem.vocabulary is not None:
        _add_vocabulary(problem, lanes, edges)
    return OperationGraph(
        devices=problem.devices,
        microbatches=problem.microbatches,
        lanes=tuple(lanes),
        edges=tuple(edges),
        holds=tuple(hold for hold in _holds(problem, lanes) if hold.amount),
        cap=tuple(map(float, problem.memory_cap)),
        upstream=_upstream(lanes, edges),
    )


def _pipeline(problem: ScheduleProblem) -> tuple[list[Lane], list[Edge]]:
    """F of all chunks, then I (or B) of all, then W of all; each waits as its docstring in the problem says."""
    chunks, last = problem.chunks, problem.chunks - 1
    forward = [_lane(problem, Kind.F, c, problem.forward_seconds[c], problem.activation[c], 0.0) for c in range(chunks)]
    links = list(enumerate(problem.p2p_seconds))
    edges = [Edge(c, c + 1, lag) for c, lag in links]
    edges += [Edge(chunks + c + 1, chunks + c, lag) for c, lag in links]
    edges.append(Edge(last, chunks + last, 0.0))
    if not problem.split_backward:
        both = [i + w for i, w in zip(problem.input_grad_seconds, problem.weight_grad_seconds, strict=True)]
        backward = [_lane(problem, Kind.B, c, both[c], 0.0, problem.activation[c]) for c in range(chunks)]
        return forward + backward, edges
    by_input, by_weight = problem.released_by_input_grad, problem.released_by_weight_grad
    backward = [
        _lane(problem, Kind.I, c, problem.input_grad_seconds[c], max(0.0, -by_input[c]), max(0.0, by_input[c]))
        for c in range(chunks)
    ]
    weights = [_lane(problem, Kind.W, c, problem.weight_grad_seconds[c], 0.0, by_weight[c]) for c in range(chunks)]
    edges += [Edge(chunks + c, 2 * chunks + c, 0.0) for c in range(chunks)]
    return forward + backward + weights, edges


def _lane(problem: ScheduleProblem, kind: Kind, chunk: int, seconds: float, acquired: float, released: float) -> Lane:
    device = problem.device_of_chunk[chunk]
    return Lane(
        kind=kind,
        chunk=chunk,
        device=device,
        seconds=float(seconds),
        acquired=float(acquired),
        released=float(released),
    )


def _add_vocabulary(problem: ScheduleProblem, lanes: list[Lane], edges: list[Edge]) -> None:
    vocabulary, devices, chunks = problem.vocabulary, range(problem.devices), problem.chunks
    assert vocabulary is not None
    barrier = vocabulary.barrier_seconds
    kept = vocabulary.kept or (0.0,) * problem.devices

    def on_all(kind: Kind, seconds: Sequence[float], acquired: Sequence[float], released: Sequence[float]) -> list[int]:
        first = len(lanes)
        lanes.extend(
            Lane(
                kind=kind,
                chunk=-1,
                device=d,
                seconds=float(seconds[d]),
                acquired=float(acquired[d]),
                released=float(released[d]),
            )
            for d in devices
        )
        return list(range(first, len(lanes)))

    def behind_all(before: list[int], after: list[int]) -> int:
        lanes.append(Lane(kind=Kind.BARRIER, chunk=-1, device=-1, seconds=0.0, acquired=0.0, released=0.0))
        edges.extend(Edge(one, len(lanes) - 1, 0.0) for one in before)
        edges.extend(Edge(len(lanes) - 1, one, barrier) for one in after)
        return len(lanes) - 1

    nothing = (0.0,) * problem.devices
    first_forward, last_forward, first_backward, last_backward = 0, chunks - 1, chunks, 2 * chunks - 1
    lookups = on_all(Kind.IF, vocabulary.input_forward_seconds, nothing, nothing)
    behind_all(lookups, [first_forward])
    first_half = on_all(Kind.S, vocabulary.s_seconds, kept, nothing)
    second_half = on_all(Kind.T, vocabulary.t_seconds, nothing, kept)
    edges.extend(Edge(last_forward, one, vocabulary.broadcast_seconds) for one in first_half)
    if vocabulary.passes == "vocab-1":
        behind_all(first_half, second_half)
        behind_all(second_half, [last_backward])
    else:
        behind_all(first_half, [*second_half, last_backward])
    lookup_gradients = on_all(Kind.IB, vocabulary.input_backward_seconds, nothing, nothing)
    edges.extend(Edge(first_backward, one, barrier) for one in lookup_gradients)


def _upstream(lanes: list[Lane], edges: list[Edge]) -> tuple[int, ...]:
    waits = Counter(edge.after for edge in edges)
    following: dict[int, list[int]] = {}
    for edge in edges:
        following.setdefault(edge.before, []).append(edge.after)
    ready = [(lane.acquired - lane.released, number) for number, lane in enumerate(lanes) if not waits[number]]
    heapify(ready)
    found = []
    while ready:
        _, number = heappop(ready)
        found.append(number)
        for after in following.get(number, ()):
            waits[after] -= 1
            if not waits[after]:
                heappush(ready, (lanes[after].acquired - lanes[after].released, after))
    return tuple(found)


def _holds(problem: ScheduleProblem, lanes: list[Lane]) -> Iterator[Hold]:
    chunks = problem.chunks
    for c in range(chunks):
        if not problem.split_backward:
            yield Hold(c, chunks + c, problem.activation[c])
            continue
        by_input, by_weight = problem.released_by_input_grad[c], problem.released_by_weight_grad[c]
        yield Hold(c, chunks + c, max(0.0, by_input))
        yield Hold(c, 2 * chunks + c, min(by_weight, problem.activation[c]))
        yield Hold(chunks + c, 2 * chunks + c, max(0.0, -by_input))
    first = {lane.device: number for number, lane in enumerate(lanes) if lane.kind is Kind.S}
    second = {lane.device: number for number, lane in enumerate(lanes) if lane.kind is Kind.T}
    for device, number in first.items():
        yield Hold(number, second[device], lanes[number].acquired)
