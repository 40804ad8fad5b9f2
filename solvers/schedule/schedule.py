"""A schedule: the order of each device's operations, when each starts, and what that takes.

Starts follow from the orders. For the makespan each operation starts as early as it can: the longest path
over what it waits for and the operation before it on its device. For the span the first operations start
as late as is good. With L(d, e) the longest path from the start of device d's first operation to the end
of e's last, first starts f and a span s are possible just when f(e) + s >= f(d) + L(d, e) for all d, e,
that is when no cycle of L has a mean above s: the least span of given orders is the largest cycle mean of
L (Karp 1978), and longest paths of L - s are such f.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from solvers.schedule.graph import Floats, OperationGraph, Orders
from solvers.schedule.problem import Objective

TOLERANCE = 1e-9
"""Of a cap or a length: what rounding may add to sums of figures that fit exactly."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Schedule:
    """``start`` [operations] in seconds, barriers included, the first at 0; ``orders`` per device.
    ``makespan`` and ``span`` in seconds, ``peak_memory`` [devices] in the caps' unit; ``over_cap`` the
    devices whose peak exceeds their cap."""

    graph: OperationGraph
    orders: Orders
    start: Floats
    makespan: float
    span: float
    peak_memory: tuple[float, ...]

    @property
    def over_cap(self) -> tuple[int, ...]:
        return tuple(d for d, peak in enumerate(self.peak_memory) if not fits(peak, self.graph.cap[d]))

    def value(self, objective: Objective) -> float:
        return self.makespan if objective == "makespan" else self.span


def fits(memory: float, cap: float) -> bool:
    """Whether ``memory`` is within ``cap``, but for rounding."""
    return memory <= cap + TOLERANCE * abs(cap)


def timed(graph: OperationGraph, orders: Sequence[Sequence[int]], objective: Objective = "makespan") -> Schedule:
    """The schedule of given device orders (operations of the graph). They are not delayed for memory: an
    order is what a runtime executes; ``over_cap`` tells where it does not fit.

    Raises ``ValueError`` where a device's order is not its operations, each once, and where the devices
    wait for each other for ever.
    """
    _check(graph, orders)
    start, sorted_operations = _earliest(graph, orders, [0.0] * graph.devices)
    if objective == "span":
        firsts = _first_starts(graph, orders, sorted_operations)
        start, _ = _earliest(graph, orders, firsts)
    starts = np.array(start)
    firsts = [starts[order[0]] for order in orders]
    ends = [starts[order[-1]] + graph.seconds[order[-1]] for order in orders]
    return Schedule(
        graph=graph,
        orders=tuple(tuple(int(operation) for operation in order) for order in orders),
        start=starts - min(firsts),
        makespan=float(max(ends) - min(firsts)),
        span=float(max(end - first for first, end in zip(firsts, ends, strict=True))),
        peak_memory=memory_of(graph, orders),
    )


def memory_of(graph: OperationGraph, orders: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """[devices]: the most that each keeps alive at once in its order, whatever the times."""
    peaks = []
    for order in orders:
        operations = np.asarray(order, dtype=np.intp)
        alive = np.cumsum(graph.acquired[operations])
        alive[1:] -= np.cumsum(graph.released[operations])[:-1]
        peaks.append(float(alive.max(initial=0.0)))
    return tuple(peaks)


def _check(graph: OperationGraph, orders: Sequence[Sequence[int]]) -> None:
    if len(orders) != graph.devices:
        raise ValueError(f"orders: {len(orders)} for {graph.devices} devices")
    for device, order in enumerate(orders):
        count = np.bincount(np.asarray(order, dtype=np.intp), minlength=len(graph))
        wrong = np.flatnonzero(count != (graph.device == device))
        if len(wrong) or len(count) != len(graph):
            raise ValueError(f"orders[{device}]: not the device's operations, each once ({len(wrong)} differ)")


def _earliest(
    graph: OperationGraph, orders: Sequence[Sequence[int]], firsts: Sequence[float]
) -> tuple[list[float], list[int]]:
    """Starts of all operations, a device's first not before ``firsts``, and the operations so sorted that
    each is behind those it waits for."""
    m, lanes = graph.microbatches, graph.lanes
    seconds, successors = [lane.seconds for lane in lanes], graph.successors
    waits = [len(before) for before in graph.predecessors for _ in range(m)]
    follower = [-1] * len(graph)
    start = [0.0] * len(graph)
    for device, order in enumerate(orders):
        start[order[0]] = firsts[device]
        for one, other in pairwise(order):
            follower[one] = other
            waits[other] += 1
    done = [operation for operation, count in enumerate(waits) if not count]
    for operation in done:  # grows as it goes
        lane, microbatch = divmod(operation, m)
        end = start[operation] + seconds[lane]
        for after, lag in successors[lane]:
            next_one = after * m + microbatch
            if end + lag > start[next_one]:
                start[next_one] = end + lag
            waits[next_one] -= 1
            if not waits[next_one]:
                done.append(next_one)
        next_one = follower[operation]
        if next_one >= 0:
            if end > start[next_one]:
                start[next_one] = end
            waits[next_one] -= 1
            if not waits[next_one]:
                done.append(next_one)
    if len(done) < len(graph):
        raise ValueError(f"orders: {len(graph) - len(done)} operations wait for each other for ever")
    return start, done


def _first_starts(graph: OperationGraph, orders: Sequence[Sequence[int]], sorted_operations: list[int]) -> list[float]:
    """[devices]: when each device's first operation starts in a schedule of least span."""
    longest = _between(graph, orders, sorted_operations)
    span = largest_cycle_mean(longest)
    firsts = np.zeros(graph.devices)
    for _ in range(graph.devices):
        firsts = np.maximum(firsts, (firsts[:, None] + longest - span).max(axis=0))
    return list((firsts - firsts.min()).tolist())


def _between(graph: OperationGraph, orders: Sequence[Sequence[int]], sorted_operations: list[int]) -> Floats:
    """[devices, devices]: longest path from the start of one's first to the end of the other's last operation."""
    m, lanes = graph.microbatches, graph.lanes
    path = np.full((len(graph), graph.devices), -np.inf)
    follower = [-1] * len(graph)
    for device, order in enumerate(orders):
        path[order[0], device] = 0.0
        for one, other in pairwise(order):
            follower[one] = other
    for operation in sorted_operations:
        lane, microbatch = divmod(operation, m)
        end = path[operation] + lanes[lane].seconds
        for after, lag in graph.successors[lane]:
            row = path[after * m + microbatch]
            np.maximum(row, end + lag, out=row)
        if follower[operation] >= 0:
            row = path[follower[operation]]
            np.maximum(row, end, out=row)
    lasts = [order[-1] for order in orders]
    return np.asarray((path[lasts] + graph.seconds[lasts][:, None]).T)


def largest_cycle_mean(weights: Floats) -> float:
    """Of a complete graph with ``weights`` [nodes, nodes] (-inf: no edge), the largest mean of a cycle (Karp 1978).

    Raises ``ValueError`` for a graph without a cycle.
    """
    nodes = len(weights)
    walks = [np.zeros(nodes)]
    for _ in range(nodes):
        walks.append((walks[-1][:, None] + weights).max(axis=0))
    steps = np.arange(nodes, 0, -1)[:, None]
    with np.errstate(invalid="ignore"):
        means = ((walks[nodes] - np.array(walks[:nodes])) / steps).min(axis=0)
    means = means[np.isfinite(walks[nodes])]
    if not len(means):
        raise ValueError("weights: the graph has no cycle")
    return float(means.max())
