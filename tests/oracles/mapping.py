"""Hosts over a grid the slow way: every arrangement of every choice of hosts, all priced at once with numpy."""

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from solvers.mapping.problem import GridProblem


def every_order(problem: GridProblem) -> NDArray[np.int64]:
    """[orders, rows, columns], those that keep to fixed places and excluded hosts."""
    hosts = [h for h in range(problem.bandwidth.shape[0]) if h not in problem.excluded]
    found = np.array(list(permutations(hosts, problem.rows * problem.columns)), dtype=np.int64)
    found = found.reshape(-1, problem.rows, problem.columns)
    for (r, c), host in problem.fixed.items():
        found = found[found[:, r, c] == host]
    return found


def values(problem: GridProblem, orders: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds of each of ``orders``: the formulas of the grid problem, over all of them together."""
    n, p = problem.rows, problem.columns
    edges = [[(orders[:, r, e], orders[:, r, e + 1]) for e in range(p - 1)] for r in range(n)]
    flows = _flows(problem, [pair for row in edges for pair in row], 1.0)
    rows = np.zeros((n, len(orders)))
    for r in range(n):
        for e, (i, j) in enumerate(edges[r]):
            rows[r] += problem.edge_bytes[e] * _slowness(problem, i, j, flows)
            rows[r] += problem.edge_messages[e] * _latency(problem, i, j)
    if problem.blocks is not None:
        rows += _blocks(problem, orders)
    rings = {
        c: [(orders[:, r, c], orders[:, (r + 1) % n, c]) for r in range(n)]
        for c in range(p)
        if problem.counted[c] and n > 1
    }
    flows = _flows(problem, [pair for ring in rings.values() for pair in ring], 0.5)
    columns = [np.full(len(orders), problem.ring_offset[c]) for c in range(p) if problem.counted[c] and n == 1]
    for c, ring in rings.items():
        links = [
            problem.ring_bytes[c] * _slowness(problem, i, j, flows) + problem.ring_messages[c] * _latency(problem, i, j)
            for i, j in ring
        ]
        columns.append(problem.ring_offset[c] + np.max(links, axis=0))
    return np.max(rows, axis=0) + (np.max(columns, axis=0) if columns else 0.0)


def _blocks(problem: GridProblem, orders: NDArray[np.int64]) -> NDArray[np.float64]:
    assert problem.blocks is not None
    n, p, b = problem.rows, problem.columns, problem.blocks.size
    around = problem.blocks.kind == "ring"
    pairs = {
        (first, c): [
            (orders[:, first + x, c], orders[:, first + y, c])
            for x in range(b)
            for y in ([(x + 1) % b] if around else range(x + 1, b))
        ]
        for first in range(0, n, b)
        for c in range(p)
    }
    flows = _flows(problem, [pair for block in pairs.values() for pair in block], 0.5 if around else 1.0)
    rows = np.zeros((n, len(orders)))
    for (first, c), block in pairs.items():
        slowest = np.max([_slowness(problem, i, j, flows) for i, j in block] or [np.zeros(len(orders))], axis=0)
        rows[first : first + b] += problem.blocks.bytes_per_column[c] * slowest
    return rows


Pair = tuple[NDArray[np.int64], NDArray[np.int64]]


def _crosses(problem: GridProblem, group: int, pair: Pair) -> NDArray[np.bool_]:
    members = list(problem.shared[group].members)
    crossing: NDArray[np.bool_] = np.isin(pair[0], members) ^ np.isin(pair[1], members)
    return crossing


def _flows(problem: GridProblem, pairs: list[Pair], weight: float) -> list[NDArray[np.float64]]:
    return [np.sum([weight * _crosses(problem, g, pair) for pair in pairs], axis=0) for g in range(len(problem.shared))]


def _slowness(
    problem: GridProblem, i: NDArray[np.int64], j: NDArray[np.int64], flows: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    slow = np.where(i == j, 0.0, 1.0 / np.minimum(problem.bandwidth[i, j], problem.bandwidth[j, i]))
    for g, link in enumerate(problem.shared):
        slow = np.where(_crosses(problem, g, (i, j)), np.maximum(slow, flows[g] / link.bytes_per_second), slow)
    return slow


def _latency(problem: GridProblem, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
    if problem.latency is None:
        return np.zeros(len(i))
    return np.where(i == j, 0.0, np.maximum(problem.latency[i, j], problem.latency[j, i]))


def best(problem: GridProblem) -> float:
    return float(values(problem, every_order(problem)).min())
