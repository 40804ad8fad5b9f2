"""A grid problem as arrays for compiled loops."""

from typing import NamedTuple

import numpy as np

from solvers.mapping.problem import Floats, GridProblem, Ints


class Grid(NamedTuple):
    """``inverse``, ``latency`` [hosts, hosts]: of the worse direction, 0 on the diagonal. Messages are 0 where no
    latency is known. ``block_bytes`` [columns]; ``block_size`` 0 where there are no blocks, ``block_ring`` 1 where
    their traffic goes around. ``groups`` [hosts, k]: the shared links of each host, -1 past the last; ``capacity``
    [groups]."""

    inverse: Floats
    latency: Floats
    edge_bytes: Floats
    edge_messages: Floats
    ring_bytes: Floats
    ring_messages: Floats
    ring_offset: Floats
    counted: Ints
    block_size: int
    block_ring: int
    block_bytes: Floats
    groups: Ints
    capacity: Floats


def grid_of(problem: GridProblem) -> Grid:
    """The arrays of ``problem``, both directions of a link made the worse one."""
    hosts, p = problem.hosts, problem.columns
    bandwidth = problem.bandwidth.copy()
    np.fill_diagonal(bandwidth, np.inf)
    inverse = 1.0 / np.minimum(bandwidth, bandwidth.T)
    latency = np.zeros((hosts, hosts)) if problem.latency is None else np.maximum(problem.latency, problem.latency.T)
    latency = latency.copy()
    np.fill_diagonal(latency, 0.0)
    of_host: list[list[int]] = [[] for _ in range(hosts)]
    for g, link in enumerate(problem.shared):
        for host in link.members:
            of_host[host].append(g)
    groups = np.full((hosts, max([1, *map(len, of_host)])), -1, dtype=np.int64)
    for host, mine in enumerate(of_host):
        groups[host, : len(mine)] = mine
    blocks = problem.blocks
    return Grid(
        inverse=inverse,
        latency=latency,
        edge_bytes=np.array(problem.edge_bytes, dtype=float),
        edge_messages=np.array(problem.edge_messages, dtype=float) * (problem.latency is not None),
        ring_bytes=np.array(problem.ring_bytes, dtype=float),
        ring_messages=np.array(problem.ring_messages, dtype=float) * (problem.latency is not None),
        ring_offset=np.array(problem.ring_offset, dtype=float),
        counted=np.array(problem.counted, dtype=np.int64),
        block_size=blocks.size if blocks is not None and blocks.size > 1 else 0,
        block_ring=int(blocks is not None and blocks.kind == "ring"),
        block_bytes=np.array(blocks.bytes_per_column if blocks is not None else (0.0,) * p, dtype=float),
        groups=groups,
        capacity=np.array([link.bytes_per_second for link in problem.shared], dtype=float),
    )


def alone(grid: Grid) -> Floats:
    """1/bw [hosts, hosts] of a flow that has every shared link to itself: what no flow beats."""
    inverse = grid.inverse.copy()
    for g, capacity in enumerate(grid.capacity):
        inside = (grid.groups == g).any(axis=1)
        crossing = inside[:, None] != inside[None, :]
        inverse[crossing] = np.maximum(inverse[crossing], 1.0 / capacity)
    return inverse
