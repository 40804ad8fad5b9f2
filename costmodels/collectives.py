"""Seconds of collectives over a group of ranks: latency and bandwidth of the links they cross.

Sizes follow nccl-tests: ``size_bytes`` is the whole per-rank buffer. All-reduce and broadcast: the
array. All-gather: the gathered result; reduce-scatter: the array before. All-to-all: what one rank
sends, its own part included. Send: the message.

A ring over r ranks in each domain leaves it through r NICs, so its bus bandwidth is the smaller of
NVLink's and r times one GPU's NIC share; point-to-point and all-to-all get no such bonus.

Inside a domain a ring takes one step per rank. Its steps and its bytes keep each other busy: they add
in quadrature, sqrt(steps^2 + transfer^2), which fits NCCL better than their sum. Large and small
messages run different protocols (NCCL's Simple; LL and LL128, whose words carry flags instead of
waiting for fences): the faster one counts. Trees and switches take a step per doubling. Rings of more
than 8 ranks in a domain were not measured; there a step per doubling is added.

A group of one rank, or no bytes, costs nothing. Every time is non-decreasing in size and latency and
non-increasing in bandwidths.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.calibration import Calibration
from costmodels.groups import Group
from costmodels.hardware import Cluster

Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class _Paths:
    """Attained bandwidths and latencies between the ranks of a group."""

    group: Group
    cluster: Cluster
    calibration: Calibration

    @property
    def up(self) -> float:
        return self.cluster.scale_up.bytes_per_second * self.calibration.scale_up_fraction

    @property
    def out(self) -> float:
        return self.cluster.scale_out.bytes_per_second * self.calibration.scale_out_fraction

    @property
    def bus(self) -> Seconds:
        """Of a ring through all ranks."""
        rails = np.minimum(self.up, self.group.ranks_per_domain * self.out)
        return np.asarray(np.where(self.group.domains > 1, rails, self.up))

    def sent(self, ranks: NDArray[np.int64], *, times: float = 1.0) -> Seconds:
        """Share of a buffer that a rank of ``ranks`` sends, ``times`` round the ring; the part it keeps is
        copied once."""
        return np.asarray((times * (ranks - 1) + self.calibration.own_part_fraction) / ranks)

    @cached_property
    def per_domain(self) -> NDArray[np.int64]:
        return np.asarray(-(-self.group.size // self.group.domains))

    @cached_property
    def ring_steps(self) -> Seconds:
        """Of a ring inside a domain: one per further rank, beyond 8 growing with doublings."""
        ranks = self.per_domain
        if ranks.max(initial=1) <= 8:
            return np.asarray(ranks - 1.0)
        return np.asarray(np.where(ranks <= 8, ranks - 1.0, 7.0 / 3.0 * np.log2(ranks)))

    @property
    def inside_step(self) -> float:
        return self.calibration.scale_up_step_factor * self.cluster.scale_up.latency_seconds

    def ring(self, transfer: Seconds, *, times: float = 1.0) -> Seconds:
        """``times`` round the ranks of a domain beside ``transfer``, and from domain to domain, one after
        the other."""
        steps = times * self.inside_step * self.ring_steps
        hops = times * self.cluster.scale_out.latency_seconds * (self.group.domains - 1)
        return np.asarray(np.sqrt(transfer * transfer + steps * steps) + hops)

    def tree(self, transfer: Seconds) -> Seconds:
        """Up and down a binary tree in the domain beside ``transfer``, and one of domains."""
        steps = 2.0 * self.inside_step * np.ceil(np.log2(self.per_domain))
        levels = 2.0 * self.cluster.scale_out.latency_seconds * np.ceil(np.log2(self.group.domains))
        return np.asarray(np.sqrt(transfer * transfer + steps * steps) + levels)

    def timed(self, seconds: Seconds, size: NDArray[np.float64], *, rings: float = 0.0) -> Seconds:
        """``seconds`` after the launch; or ``rings`` times round one domain as a small message, if faster."""
        c, n = self.calibration, self.group.size
        launched = seconds + c.collective_launch_seconds
        if rings:
            words = rings / (self.cluster.scale_up.bytes_per_second * c.low_latency_fraction) * (n - 1) / n * size
            small = c.low_latency_launch_seconds + rings * c.low_latency_step_seconds * self.ring_steps + words
            launched = np.where((self.group.domains == 1) & (small < launched), small, launched)
        return np.asarray(np.where((n > 1) & (size > 0), launched, 0.0))


def all_gather_seconds(size_bytes: ArrayLike, group: Group, cluster: Cluster, calibration: Calibration) -> Seconds:
    """Every rank ends with ``size_bytes``, 1/n from each: a ring, (n-1)/n of the bytes."""
    size = np.asarray(size_bytes, dtype=np.float64)
    paths = _Paths(group, cluster, calibration)
    return paths.timed(paths.ring(paths.sent(group.size) * size / paths.bus), size, rings=1.0)


def reduce_scatter_seconds(size_bytes: ArrayLike, group: Group, cluster: Cluster, calibration: Calibration) -> Seconds:
    """Every rank ends with 1/n of the sum of ``size_bytes``: an all-gather run backwards."""
    return all_gather_seconds(size_bytes, group, cluster, calibration)


def all_reduce_seconds(size_bytes: ArrayLike, group: Group, cluster: Cluster, calibration: Calibration) -> Seconds:
    """Every rank ends with the sum of ``size_bytes`` S, by the fastest of two ways.

    Ring: 2 (n-1)/n S. Double tree over D domains (Sanders et al. 2009, as in NCCL): 2 (D-1)/D S leave
    each domain through its r rails while inside it r ranks reduce and spread S, 2 (r-1)/r S by a ring
    or (r+1)/r S where the switches reduce. Without such switches a tree is as fast as the ring at best
    (published A100 runs with tensor groups over two nodes), only sooner.
    """
    size = np.asarray(size_bytes, dtype=np.float64)
    paths = _Paths(group, cluster, calibration)
    r, domains = group.ranks_per_domain, group.domains
    inside = paths.sent(r, times=2.0) * size / paths.up
    if calibration.in_network_fraction > 0:
        switched = cluster.scale_up.bytes_per_second * calibration.in_network_fraction
        inside = np.minimum(inside, (r + 1) / r * size / switched)
    across = 2.0 * (domains - 1) / domains * size / (r * paths.out)
    if calibration.in_network_fraction == 0:
        across = paths.sent(group.size, times=2.0) * size / paths.bus
    tree = paths.tree(np.maximum(inside, across))
    ring = paths.ring(paths.sent(group.size, times=2.0) * size / paths.bus, times=2.0)
    return paths.timed(np.minimum(ring, tree), size, rings=2.0)


def broadcast_seconds(size_bytes: ArrayLike, group: Group, cluster: Cluster, calibration: Calibration) -> Seconds:
    """One rank's ``size_bytes`` to all others, in a pipelined chain."""
    size = np.asarray(size_bytes, dtype=np.float64)
    paths = _Paths(group, cluster, calibration)
    return paths.timed(paths.ring(size / paths.bus), size)


def all_to_all_seconds(
    size_bytes: ArrayLike,
    group: Group,
    cluster: Cluster,
    calibration: Calibration,
    *,
    merged_copies: ArrayLike | None = None,
) -> Seconds:
    """Every rank sends 1/n of ``size_bytes`` to each rank: what stays in the domain over NVLink, what
    leaves it over the rank's own NIC share, at the same time.

    ``merged_copies`` k: the buffer holds k copies of each token, for experts drawn evenly; copies to one
    domain cross once and are spread there, copies to one rank are sent once. Of k draws, (D-1) (1 - (1 -
    1/D)^k) cross (expected distinct other domains of D) and (n-1) (1 - (1 - 1/n)^k) move over NVLink
    (expected distinct other ranks of n).
    """
    size = np.asarray(size_bytes, dtype=np.float64)
    n, r, domains = group.size, group.ranks_per_domain, group.domains
    own = calibration.own_part_fraction
    crossing = np.where(domains > 1, (n - r) / n, 0.0)
    staying = (r - 1 + own) / n
    if merged_copies is not None:
        copies = np.asarray(merged_copies, dtype=np.float64)
        crossing = (domains - 1) * (1.0 - (1.0 - 1.0 / domains) ** copies) / copies
        staying = ((n - 1) * (1.0 - (1.0 - 1.0 / n) ** copies) + own) / copies
    return exchange_seconds(staying * size, crossing * size, group, cluster, calibration)


def exchange_seconds(
    near_bytes: ArrayLike, far_bytes: ArrayLike, group: Group, cluster: Cluster, calibration: Calibration
) -> Seconds:
    """An all-to-all of unequal parts, as long as its busiest links: ``near_bytes`` over one rank's NVLink beside
    ``far_bytes`` over one rank's share of the NICs."""
    near, far = (np.asarray(moved, dtype=np.float64) for moved in (near_bytes, far_bytes))
    paths = _Paths(group, cluster, calibration)
    moving = np.maximum(near / paths.up, far / paths.out)
    hop = np.where(group.domains > 1, cluster.scale_out.latency_seconds, cluster.scale_up.latency_seconds)
    return paths.timed(moving / calibration.all_to_all_fraction + hop, near + far)


def send_seconds(size_bytes: ArrayLike, crosses: ArrayLike, cluster: Cluster, calibration: Calibration) -> Seconds:
    """``size_bytes`` from one GPU to another; ``crosses``: out of the domain, over one NIC share."""
    size = np.asarray(size_bytes, dtype=np.float64)
    up, out = cluster.scale_up, cluster.scale_out
    near = up.latency_seconds + size / (up.bytes_per_second * calibration.scale_up_fraction)
    far = out.latency_seconds + size / (out.bytes_per_second * calibration.scale_out_fraction)
    seconds = np.where(crosses, far, near) + calibration.collective_launch_seconds
    return np.asarray(np.where(size > 0, seconds, 0.0))
