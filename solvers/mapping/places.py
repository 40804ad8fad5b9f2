"""Exact for few hosts, with every option: depth-first over the places, row by row, pruned by what is already paid.

A partial order pays for its complete rows, the edges of its last row, the ring links between placed neighbours, and
at least the cheapest walk over what is left of the row; every flow is priced as if it had shared links to itself, and
complete orders with their flows. Hosts that no figure tells apart are tried once. Where neither blocks nor fixed
places tell the rows apart, the first row holds the lowest first host, and of a ring's two directions one is tried.
"""

import numpy as np

from solvers.compiled import compiled
from solvers.mapping.grid import Grid, alone, grid_of
from solvers.mapping.kernels import copy, value
from solvers.mapping.problem import Floats, GridProblem, Ints, Order


def host_classes(problem: GridProblem, grid: Grid) -> Ints:
    """A number for each host, equal where two hosts can change places without changing any figure."""
    hosts = problem.hosts
    classes = np.full(hosts, -1, dtype=np.int64)
    fixed = set(problem.fixed.values())
    for i in range(hosts):
        if classes[i] >= 0:
            continue
        classes[i] = i
        for j in range(i + 1, hosts):
            if classes[j] < 0 and i not in fixed and j not in fixed and _alike(grid, i, j):
                classes[j] = i
    return classes


def _alike(grid: Grid, i: int, j: int) -> bool:
    if sorted(grid.groups[i].tolist()) != sorted(grid.groups[j].tolist()):
        return False
    others = np.ones(grid.inverse.shape[0], dtype=bool)
    others[[i, j]] = False
    return bool(
        np.array_equal(grid.inverse[i, others], grid.inverse[j, others])
        and np.array_equal(grid.latency[i, others], grid.latency[j, others])
    )


def walks(grid: Grid, inverse: Floats, usable: Ints) -> tuple[Floats, Floats]:
    """[columns, hosts]: the cheapest walk, hosts repeated or not, from the first column to a host in this one, and
    from a host in this column to the last."""
    p, hosts = grid.ring_bytes.shape[0], inverse.shape[0]
    onward, back = np.zeros((p, hosts)), np.zeros((p, hosts))
    closed = np.full((hosts, hosts), np.inf)
    closed[np.ix_(usable, usable)] = 0.0
    np.fill_diagonal(closed, np.inf)
    for e in range(p - 1):
        cost = grid.edge_bytes[e] * inverse + grid.edge_messages[e] * grid.latency + closed
        onward[e + 1] = (onward[e][:, None] + cost).min(axis=0)
    for e in reversed(range(p - 1)):
        cost = grid.edge_bytes[e] * inverse + grid.edge_messages[e] * grid.latency + closed
        back[e] = (cost + back[e + 1][None, :]).min(axis=1)
    return onward, back


def _search(
    grid: Grid,
    inverse: Floats,
    rest: Floats,
    least_row: float,
    least_column: float,
    classes: Ints,
    usable: Ints,
    fixed: Ints,
    symmetric: bool,
    best_value: float,
    best: Order,
    state: Ints,
    row_at: Floats,
    column_at: Floats,
    order: Order,
    most: int,
) -> float:
    """Goes on from ``state`` (depth, then the position tried at each place) for ``most`` nodes; state[0] -1: done."""
    n, p = order.shape
    places = n * p
    depth = state[0]
    used = np.zeros(classes.shape[0], np.int64)
    for d in range(depth):
        used[order[d // p, d % p]] = 1
    nodes = 0
    while depth >= 0 and nodes < most:
        r, c = depth // p, depth % p
        if order[r, c] >= 0:
            used[order[r, c]] = 0
            order[r, c] = -1
        k = state[1 + depth]
        placed = False
        while k < usable.shape[0] and not placed:
            h = usable[k]
            k += 1
            if used[h] == 1 or (fixed[r, c] >= 0 and fixed[r, c] != h):
                continue
            if fixed[r, c] < 0:
                first = True  # of its class among the unused
                for other in usable:
                    if other >= h:
                        break
                    if classes[other] == classes[h] and used[other] == 0:
                        first = False
                if not first:
                    continue
            if symmetric and c == 0 and r > 0:
                if classes[h] < classes[order[0, 0]]:
                    continue
                if n > 2 and r == n - 1 and classes[h] < classes[order[1, 0]]:
                    continue
            nodes += 1
            whole = row_at[depth] if c == 0 else 0.0
            if c == 0:
                partial = 0.0
            else:
                i = order[r, c - 1]
                partial = row_at[depth] + grid.edge_bytes[c - 1] * inverse[i, h]
                partial += grid.edge_messages[c - 1] * grid.latency[i, h]
            ring = column_at[depth]
            if grid.counted[c] == 1 and r > 0:
                i = order[r - 1, c]
                cost = grid.ring_bytes[c] * inverse[i, h] + grid.ring_messages[c] * grid.latency[i, h]
                ring = max(ring, grid.ring_offset[c] + cost)
                if r == n - 1:
                    i = order[0, c]
                    cost = grid.ring_bytes[c] * inverse[i, h] + grid.ring_messages[c] * grid.latency[i, h]
                    ring = max(ring, grid.ring_offset[c] + cost)
            done = row_at[(depth // p) * p] if c > 0 else whole  # the largest of the complete rows
            bound = max(max(done, least_row), partial + rest[c, h]) + max(ring, least_column)
            if bound >= best_value * (1.0 - 1e-12):
                continue
            order[r, c] = h
            used[h] = 1
            placed = True
            state[1 + depth] = k
            if depth + 1 == places:
                found = value(grid, order)
                if found < best_value:
                    best_value = found
                    copy(order, best)
                used[h] = 0
                order[r, c] = -1
                placed = False
                continue
            column_at[depth + 1] = ring
            row_at[depth + 1] = max(done, partial) if c == p - 1 else partial
            depth += 1
            state[1 + depth] = 0
        if not placed:
            state[1 + depth] = 0
            depth -= 1
    state[0] = depth
    return best_value


search = compiled(_search)


class PlaceSearch:
    """The search in slices: ``run`` until ``finished``, then ``best`` is optimal."""

    def __init__(self, problem: GridProblem, best: Order, best_value: float, least: tuple[float, float]) -> None:
        """``least``: what no row term and no column term is below."""
        n, p = problem.rows, problem.columns
        self.grid = grid_of(problem)
        self.inverse = alone(self.grid)
        self.least = least
        self.classes = host_classes(problem, self.grid)
        self.usable = problem.usable
        self.rest = walks(self.grid, self.inverse, self.usable)[1]
        self.fixed = np.full((n, p), -1, dtype=np.int64)
        for place, host in problem.fixed.items():
            self.fixed[place] = host
            # a fixed host is nowhere else: its place alone takes it
        self.symmetric = problem.blocks is None and not problem.fixed
        self.best, self.best_value = best.copy(), best_value
        self.state = np.zeros(n * p + 1, dtype=np.int64)
        self.row_at, self.column_at = np.zeros(n * p + 1), np.zeros(n * p + 1)
        self.order = np.full((n, p), -1, dtype=np.int64)

    @property
    def finished(self) -> bool:
        return bool(self.state[0] < 0)

    def run(self, nodes: int) -> None:
        self.best_value = search(
            self.grid,
            self.inverse,
            self.rest,
            *self.least,
            self.classes,
            self.usable,
            self.fixed,
            self.symmetric,
            self.best_value,
            self.best,
            self.state,
            self.row_at,
            self.column_at,
            self.order,
            nodes,
        )
