"""What an order costs, in plain Python: the oracle of the compiled evaluation."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from solvers.mapping.grid import Grid, grid_of
from solvers.mapping.problem import GridProblem, Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds: ``rows`` [rows], ``columns`` [columns] (None: not counted), ``value`` their largest, added up."""

    rows: tuple[float, ...]
    columns: tuple[float | None, ...]

    @property
    def value(self) -> float:
        return max(self.rows) + max((column for column in self.columns if column is not None), default=0.0)


Inverse = Callable[[int, int], float]


def evaluate(problem: GridProblem, order: Order) -> Cost:
    """The formulas of ``solvers.mapping.problem``, term by term."""
    grid = grid_of(problem)
    n, p = problem.rows, problem.columns
    host = [[int(h) for h in row] for row in order]
    edges = [(e, r, host[r][e], host[r][e + 1]) for e in range(p - 1) for r in range(n)]
    slow = _sharing(grid, [(i, j) for _, _, i, j in edges], 1.0)
    rows = [0.0] * n
    for e, r, i, j in edges:
        rows[r] += grid.edge_bytes[e] * slow(i, j) + grid.edge_messages[e] * grid.latency[i, j]
    _add_blocks(grid, host, rows)
    columns: list[float | None] = [None] * p
    rings = [(c, host[r][c], host[(r + 1) % n][c]) for c in range(p) if problem.counted[c] for r in range(n) if n > 1]
    slow = _sharing(grid, [(i, j) for _, i, j in rings], 0.5)
    for c in range(p):
        if problem.counted[c]:
            around = (
                grid.ring_bytes[c] * slow(i, j) + grid.ring_messages[c] * grid.latency[i, j]
                for k, i, j in rings
                if k == c
            )
            columns[c] = float(grid.ring_offset[c] + max(around, default=0.0))
    return Cost(rows=tuple(float(row) for row in rows), columns=tuple(columns))


def _add_blocks(grid: Grid, host: list[list[int]], rows: list[float]) -> None:
    if not grid.block_size:
        return
    links = [(first, c, list(_links(grid, host, first, c))) for first, c in _blocks(grid, host)]
    slow = _sharing(grid, [pair for _, _, pairs in links for pair in pairs], 0.5 if grid.block_ring else 1.0)
    for first, c, pairs in links:
        seconds = grid.block_bytes[c] * max(slow(i, j) for i, j in pairs)
        for r in range(first, first + grid.block_size):
            rows[r] += seconds


def _blocks(grid: Grid, host: list[list[int]]) -> Iterator[tuple[int, int]]:
    for first in range(0, len(host), grid.block_size):
        for c in range(len(host[0])):
            yield first, c


def _links(grid: Grid, host: list[list[int]], first: int, c: int) -> Iterator[tuple[int, int]]:
    members = [host[r][c] for r in range(first, first + grid.block_size)]
    if grid.block_ring:
        yield from zip(members, members[1:] + members[:1], strict=True)
    else:
        yield from combinations(members, 2)


def _sharing(grid: Grid, links: list[tuple[int, int]], weight: float) -> Inverse:
    """1/bw between two hosts while all ``links`` are in use; each that crosses counts ``weight`` in a direction."""
    flows: Counter[int] = Counter()
    for i, j in links:
        flows.update(_crossed(grid, i, j))

    def inverse(i: int, j: int) -> float:
        shared = (weight * flows[g] / grid.capacity[g] for g in _crossed(grid, i, j))
        return float(max(grid.inverse[i, j], max(shared, default=0.0)))

    return inverse


def _crossed(grid: Grid, i: int, j: int) -> set[int]:
    """Shared links between ``i`` and ``j``: of groups that hold one of the two."""
    return {int(g) for g in grid.groups[i] if g >= 0} ^ {int(g) for g in grid.groups[j] if g >= 0}
