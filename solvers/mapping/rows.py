"""Exact for up to 18 hosts and few rows: first which hosts share a row, then who stands where in it.

For every set U of at most p hosts and a in U (Held and Karp's recursion over subsets)

    tail(U, a) = least cost of the last |U| columns of a row, held by U, the first of them by a
               = min over b in U - a of edge(p - |U|, a, b) + tail(U - a, b)

so a row of the set S costs least(S) = min over a of tail(S, a) or more. A better order than the best so far has rows
with least(S) + (what no column is below) < value: the sets of such an order are found by covering the lowest host
that is left, again and again. For such sets and each order of them around the rings (the first stays, reversals
count once) the columns are filled one after another; a row then pays at least what it has paid and its tail(U, a),
which is exact, and a column the ring links between placed neighbours. Behind the last counted column rows are
independent, and their tails are what they cost.
"""

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from solvers.compiled import compiled
from solvers.mapping.grid import Grid, grid_of
from solvers.mapping.problem import Floats, GridProblem, Ints, Order

MOST_HOSTS = 18
MOST_ROWS = 6


def _tails(grid: Grid, hosts: Ints, p: int) -> Floats:
    """tail [2 ** hosts, hosts], inf where the host is not in the set or the set is larger than a row."""
    count = hosts.shape[0]
    tail = np.full((1 << count, count), np.inf)
    for mask in range(1, 1 << count):
        size = 0
        rest = mask
        while rest:
            rest &= rest - 1
            size += 1
        if size > p:
            continue
        for a in range(count):
            if not mask >> a & 1:
                continue
            if size == 1:
                tail[mask, a] = 0.0
                continue
            e = p - size
            without = mask & ~(1 << a)
            least = np.inf
            for b in range(count):
                if without >> b & 1:
                    i, j = hosts[a], hosts[b]
                    cost = grid.edge_bytes[e] * grid.inverse[i, j] + grid.edge_messages[e] * grid.latency[i, j]
                    least = min(least, cost + tail[without, b])
            tail[mask, a] = least
    return tail


tails = compiled(_tails)


def _align(
    grid: Grid,
    hosts: Ints,
    tail: Floats,
    sets: Ints,
    around: Ints,
    last_counted: int,
    least_column: float,
    best_value: float,
    best: Order,
) -> float:
    """The best order with row around[k] of ``sets`` in place k around the rings; kept if below ``best_value``."""
    n, p = sets.shape[0], best.shape[1]
    places = n * p
    left = np.empty(n, np.int64)  # of each row, before the current column
    paid = np.zeros((n, p + 1))
    order = np.full((n, p), -1, np.int64)
    tried = np.zeros(places + 1, np.int64)
    rings = np.zeros(places + 1)
    need = np.zeros((n, p + 1))  # what the row costs at least, with its places up to a column
    for r in range(n):
        left[r] = sets[around[r]]
        need[r, 0] = tail[left[r]].min()
    depth = 0
    while depth >= 0:
        c, r = depth // n, depth % n
        if order[r, c] >= 0:
            left[r] |= 1 << order[r, c]
            order[r, c] = -1
        placed = False
        k = tried[depth]
        while k < hosts.shape[0] and not placed:
            a = k
            k += 1
            if not left[r] >> a & 1:
                continue
            cost = paid[r, c]
            if c > 0:
                i, j = hosts[order[r, c - 1]], hosts[a]
                e = c - 1
                cost += grid.edge_bytes[e] * grid.inverse[i, j] + grid.edge_messages[e] * grid.latency[i, j]
            row = cost + tail[left[r], a]
            ring = rings[depth]
            if grid.counted[c] == 1:
                if r > 0:
                    i, j = hosts[order[r - 1, c]], hosts[a]
                    link = grid.ring_bytes[c] * grid.inverse[i, j] + grid.ring_messages[c] * grid.latency[i, j]
                    ring = max(ring, grid.ring_offset[c] + link)
                if r == n - 1 and n > 1:
                    i, j = hosts[order[0, c]], hosts[a]
                    link = grid.ring_bytes[c] * grid.inverse[i, j] + grid.ring_messages[c] * grid.latency[i, j]
                    ring = max(ring, grid.ring_offset[c] + link)
                ring = max(ring, grid.ring_offset[c])
            most = row
            for other in range(r):
                most = max(most, need[other, c + 1])
            for other in range(r + 1, n):
                most = max(most, need[other, c])
            if most + max(ring, least_column) >= best_value * (1.0 - 1e-12):
                continue
            tried[depth] = k
            order[r, c] = a
            left[r] &= ~(1 << a)
            need[r, c + 1] = row
            paid[r, c + 1] = cost
            rings[depth + 1] = ring
            placed = True
            if r == n - 1 and c >= last_counted:
                best_value = most + ring
                for q in range(n):
                    for d in range(c + 1):
                        best[q, d] = hosts[order[q, d]]
                    mask, at = left[q], order[q, c]
                    for d in range(c + 1, p):
                        chosen, least = -1, np.inf
                        for b in range(hosts.shape[0]):
                            if mask >> b & 1:
                                i, j = hosts[at], hosts[b]
                                e = d - 1
                                link = (
                                    grid.edge_bytes[e] * grid.inverse[i, j] + grid.edge_messages[e] * grid.latency[i, j]
                                )
                                if link + tail[mask, b] < least:
                                    chosen, least = b, link + tail[mask, b]
                        best[q, d] = hosts[chosen]
                        mask &= ~(1 << chosen)
                        at = chosen
                left[r] |= 1 << a
                order[r, c] = -1
                placed = False
                continue
            depth += 1
            tried[depth] = 0
        if not placed:
            tried[depth] = 0
            depth -= 1
    return best_value


align = compiled(_align, inner=True)


def _cover(
    grid: Grid,
    hosts: Ints,
    tail: Floats,
    sets: Ints,
    least: Floats,
    starts: Ints,
    arounds: Ints,
    spare: int,
    last_counted: int,
    least_column: float,
    best_value: float,
    best: Order,
    chosen: Ints,
    position: Ints,
    skipped: Ints,
    depth_of: Ints,
    most: int,
) -> float:
    """Goes on covering hosts with ``sets`` (sorted by lowest host, those of host h from starts[h]) for ``most`` steps.

    ``position``: the set tried at each level, or -1 where its lowest host stays spare; ``skipped`` the mask of spare
    hosts before the level; depth_of[0] the level, -1 when done.
    """
    count, n = hosts.shape[0], chosen.shape[0]
    level, steps = depth_of[0], 0
    covered = np.zeros(n + 1, np.int64)
    largest = np.zeros(n + 1)
    for k in range(level):
        covered[k + 1] = covered[k] | sets[chosen[k]]
        largest[k + 1] = max(largest[k], least[chosen[k]])
    group = np.empty(n, np.int64)
    while level >= 0 and steps < most:
        steps += 1
        gone = covered[level] | skipped[level]
        low = 0
        while low < count and gone >> low & 1:
            low += 1
        k = position[level]
        found = False
        while low < count and k < starts[low + 1]:
            if k < starts[low]:
                k = starts[low]
                continue
            if sets[k] & gone == 0 and max(largest[level], least[k]) + least_column < best_value * (1.0 - 1e-12):
                found = True
                break
            k += 1
        if not found:
            spares = 0
            for h in range(count):
                spares += skipped[level] >> h & 1
            if low < count and spares < spare:  # the lowest host stays spare
                skipped[level] |= 1 << low
                position[level] = 0
                continue
            level -= 1
            continue
        position[level] = k + 1
        chosen[level] = k
        covered[level + 1] = covered[level] | sets[k]
        largest[level + 1] = max(largest[level], least[k])
        if level + 1 < n:
            level += 1
            position[level] = 0
            skipped[level] = skipped[level - 1]
            continue
        for q in range(n):
            group[q] = sets[chosen[q]]
        for q in range(arounds.shape[0]):
            best_value = align(grid, hosts, tail, group, arounds[q], last_counted, least_column, best_value, best)
        steps += 10
    depth_of[0] = level
    return best_value


cover = compiled(_cover)


def suits(problem: GridProblem) -> bool:
    """Whether this search can solve ``problem``: no option that makes rows differ or depend on each other's links."""
    plain = problem.blocks is None and not problem.shared and not problem.fixed
    return plain and len(problem.usable) <= MOST_HOSTS and problem.rows <= MOST_ROWS and problem.columns > 1


class RowSearch:
    """The search in slices: ``run`` until ``finished``, then ``best`` is optimal."""

    def __init__(self, problem: GridProblem, best: Order, best_value: float, least: tuple[float, float]) -> None:
        """``least``: what no row term and no column term is below."""
        n, p = problem.rows, problem.columns
        self.grid = grid_of(problem)
        self.hosts = problem.usable
        self.least_column = least[1]
        self.best, self.best_value = best.copy(), best_value
        self.tail = tails(self.grid, self.hosts, p)
        self._list_sets(p)
        self.arounds = around_the_rings(n)
        self.spare = len(self.hosts) - n * p
        self.last_counted = max((c for c in range(p) if problem.counted[c]), default=0)
        self.chosen, self.position = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self.skipped, self.depth = np.zeros(n, dtype=np.int64), np.zeros(1, dtype=np.int64)

    def _list_sets(self, p: int) -> None:
        count = len(self.hosts)
        masks = np.arange(1 << count, dtype=np.int64)
        size = sum((masks >> h & 1 for h in range(count)), np.zeros_like(masks))
        masks = masks[size == p]
        least = self.tail[masks].min(axis=1)
        keep = least + self.least_column < self.best_value
        masks, least = masks[keep], least[keep]
        lowest: NDArray[np.int64] = np.round(np.log2(masks & -masks)).astype(np.int64)
        by = np.lexsort((least, lowest))
        self.sets, self.set_least = masks[by], least[by]
        self.starts = np.searchsorted(lowest[by], np.arange(count + 1)).astype(np.int64)

    @property
    def finished(self) -> bool:
        return bool(self.depth[0] < 0)

    def run(self, nodes: int) -> None:
        self.best_value = cover(
            self.grid,
            self.hosts,
            self.tail,
            self.sets,
            self.set_least,
            self.starts,
            self.arounds,
            self.spare,
            self.last_counted,
            self.least_column,
            self.best_value,
            self.best,
            self.chosen,
            self.position,
            self.skipped,
            self.depth,
            nodes,
        )


def around_the_rings(rows: int) -> Ints:
    """Orders of the rows around a ring, [orders, rows]: the first row stays, of two directions one is kept."""
    found = [(0, *rest) for rest in permutations(range(1, rows)) if rows < 3 or rest[0] < rest[-1]]
    return np.array(found, dtype=np.int64)
