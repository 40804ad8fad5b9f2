"""A schedule of paths: the order of every node's operations, when each starts, and what that takes.

Starts follow from paths and orders: each operation starts as early as its predecessor's message and the operation
before it on its node allow. What a node keeps in flight follows from its order alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from solvers.skip.problem import Kind, Path, SkipProblem

Order: TypeAlias = tuple[tuple[Kind, int], ...]
"""(kind, micro-batch) of one node's operations, in the order it runs them."""


class Operation(NamedTuple):
    kind: Kind
    microbatch: int
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipSchedule:
    """``stage_of_node`` [nodes], ``paths`` [micro-batches], ``operations`` [nodes] in order with seconds,
    ``makespan`` and ``copy_seconds`` (the exchange among copies that is added to it) in seconds,
    ``peak_in_flight`` [nodes] in micro-batches."""

    problem: SkipProblem
    stage_of_node: tuple[int, ...]
    paths: tuple[Path, ...]
    operations: tuple[tuple[Operation, ...], ...]
    makespan: float
    copy_seconds: float
    peak_in_flight: tuple[int, ...]

    @property
    def value(self) -> float:
        """What is minimised."""
        return self.makespan + self.copy_seconds

    @property
    def orders(self) -> tuple[Order, ...]:
        return tuple(tuple((o.kind, o.microbatch) for o in row) for row in self.operations)

    @property
    def over_cap(self) -> tuple[int, ...]:
        """Nodes that keep more in flight than their cap."""
        caps = zip(self.peak_in_flight, self.problem.memory_cap, strict=True)
        return tuple(node for node, (peak, cap) in enumerate(caps) if peak > cap)


def timed(
    problem: SkipProblem, stage_of_node: Sequence[int], paths: Sequence[Path], orders: Sequence[Order]
) -> SkipSchedule:
    """The schedule of given paths and orders. It is not delayed for memory: ``over_cap`` tells where it does not fit.

    Raises ``ValueError`` where an order is not its node's operations, each once, and where nodes wait for each other
    for ever.
    """
    _check(problem, paths, orders)
    sequences = [problem.sequence(path) for path in paths]
    place = {(kind, k, node): j for k, row in enumerate(sequences) for j, (kind, node) in enumerate(row)}
    at = [0] * problem.nodes
    free, link_free = [0.0] * problem.nodes, [0.0] * problem.nodes
    ready: dict[tuple[int, int], float] = {(k, 0): 0.0 for k in range(len(paths))}
    rows: list[list[Operation]] = [[] for _ in range(problem.nodes)]
    waiting = [node for node in range(problem.nodes) if orders[node]]
    while waiting:
        node = waiting.pop()
        while at[node] < len(orders[node]):
            kind, k = orders[node][at[node]]
            j = place[kind, k, node]
            if (k, j) not in ready:
                break
            start = max(free[node], ready[k, j])
            end = start + problem.seconds(kind, node)
            rows[node].append(Operation(kind, k, start, end))
            free[node] = end
            at[node] += 1
            if j + 1 < len(sequences[k]):
                following, other = sequences[k][j + 1]
                sent = end
                if other != node:
                    if problem.rules.serial_links:
                        sent = link_free[node] = max(end, link_free[node]) + problem.link_seconds[node][other]
                    else:
                        sent = end + problem.link_seconds[node][other]
                ready[k, j + 1] = sent
                if other != node and at[other] < len(orders[other]) and orders[other][at[other]] == (following, k):
                    waiting.append(other)
    stuck = [node for node in range(problem.nodes) if at[node] < len(orders[node])]
    if stuck:
        kind, k = orders[stuck[0]][at[stuck[0]]]
        raise ValueError(
            f"orders: nodes {', '.join(map(str, stuck))} wait for ever, node {stuck[0]} for {kind.name}{k}"
        )
    return SkipSchedule(
        problem=problem,
        stage_of_node=tuple(map(int, stage_of_node)),
        paths=tuple(tuple(map(int, path)) for path in paths),
        operations=tuple(map(tuple, rows)),
        makespan=max(row[-1].end for row in rows if row),
        copy_seconds=problem.copy_seconds(stage_of_node),
        peak_in_flight=tuple(_peak(order) for order in orders),
    )


def _peak(order: Order) -> int:
    alive = most = 0
    for kind, _ in order:
        alive += kind is Kind.F
        most = max(most, alive)
        alive -= kind is Kind.B
    return most


def _check(problem: SkipProblem, paths: Sequence[Path], orders: Sequence[Order]) -> None:
    wanted: list[list[tuple[Kind, int]]] = [[] for _ in range(problem.nodes)]
    for k, path in enumerate(paths):
        for kind, node in problem.sequence(path):
            wanted[node].append((kind, k))
    if len(orders) != problem.nodes:
        raise ValueError(f"orders: {len(orders)} for {problem.nodes} nodes")
    for node, order in enumerate(orders):
        if sorted(order) != sorted(wanted[node]):
            raise ValueError(f"orders[{node}]: not the operations of the paths through node {node}, each once")
