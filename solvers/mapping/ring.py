"""Exact for a single column of up to 18 hosts: the ring whose dearest link is cheapest.

For a threshold on the link's cost, ends(U) = the hosts at which a path over exactly the set U can end that begins at
U's lowest host; a ring over U exists where one of them has a link to it. The threshold is found by bisection over the
distinct costs.
"""

import numpy as np

from solvers.compiled import compiled
from solvers.mapping.grid import grid_of
from solvers.mapping.problem import GridProblem, Ints, Order

MOST_HOSTS = 18


def _ring(near: Ints, length: int, ends: Ints, ring: Ints) -> bool:
    """Whether a ring of ``length`` hosts exists in the graph ``near`` [hosts] (masks); writes it to ``ring``."""
    count = near.shape[0]
    ends[:] = 0
    for h in range(count):
        ends[1 << h] = 1 << h
    for mask in range(1, 1 << count):
        if ends[mask] == 0:
            continue
        size, low = 0, -1
        for h in range(count):
            if mask >> h & 1:
                size += 1
                if low < 0:
                    low = h
        if size == length:
            closing = ends[mask] & near[low] if length > 1 else ends[mask]
            if closing == 0:
                continue
            at, left = 0, mask
            while not closing >> at & 1:
                at += 1
            for k in range(length - 1, -1, -1):
                ring[k] = at
                left &= ~(1 << at)
                if k > 0:
                    before = ends[left] & near[at]
                    at = 0
                    while not before >> at & 1:
                        at += 1
            return True
        for h in range(low + 1, count):
            if not mask >> h & 1 and near[h] & ends[mask]:
                ends[mask | 1 << h] |= 1 << h
    return False


find_ring = compiled(_ring)


def suits(problem: GridProblem) -> bool:
    plain = problem.blocks is None and not problem.shared and not problem.fixed
    return plain and problem.columns == 1 and len(problem.usable) <= MOST_HOSTS and problem.rows > 1


def best_ring(problem: GridProblem) -> Order:
    """[rows, 1], optimal."""
    grid, hosts = grid_of(problem), problem.usable
    link = grid.ring_bytes[0] * grid.inverse + grid.ring_messages[0] * grid.latency
    link = link[np.ix_(hosts, hosts)] * float(problem.counted[0])
    costs = np.unique(link[~np.eye(len(hosts), dtype=bool)])
    ends, ring = np.zeros(1 << len(hosts), dtype=np.int64), np.zeros(problem.rows, dtype=np.int64)
    low, high = 0, len(costs) - 1
    while low < high:
        middle = (low + high) // 2
        if find_ring(_masks(link <= costs[middle]), problem.rows, ends, ring):
            high = middle
        else:
            low = middle + 1
    find_ring(_masks(link <= costs[low]), problem.rows, ends, ring)
    order: Order = hosts[ring][:, None]
    return order


def _masks(near: np.ndarray) -> Ints:
    near = near & ~np.eye(len(near), dtype=bool)
    masks: Ints = (near.astype(np.int64) << np.arange(len(near))[None, :]).sum(axis=1)
    return masks
