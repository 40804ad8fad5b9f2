"""What hosts can send one another, alone and all at once. A host is a node, or an NVLink domain of several."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.hardware import Cluster

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostNetwork:
    """``bandwidth`` [hosts, hosts] bytes/s of all GPUs of a host together to another, one pair alone, the worse
    direction; ``latency`` [hosts, hosts] seconds; ``cards`` [hosts] bytes/s a host sends in all; ``shared``: members of
    each group of hosts [groups, hosts] and what they send the others together, [groups]."""

    names: tuple[tuple[str, ...], ...]
    host_gpus: int
    bandwidth: Floats
    latency: Floats
    cards: Floats
    members: NDArray[np.bool_]
    capacities: Floats

    @classmethod
    def of(cls, cluster: Cluster) -> "HostNetwork":
        """The hosts of a cluster, in its order. Nodes of one NVLink domain send at once, each to its like: a pair of
        domains is as fast as its slowest pair of nodes, for every node. Uplinks inside a domain are left out."""
        topology, size = cluster.fabric(), max(1, cluster.domain_gpus // cluster.gpus_per_node)
        hosts = cluster.nodes // size
        bandwidth, latency = topology.pair_bandwidth(), topology.pair_latency()
        bandwidth, latency = np.minimum(bandwidth, bandwidth.T), np.maximum(latency, latency.T)
        of_hosts = (hosts, size, hosts, size)
        bandwidth = size * bandwidth.reshape(of_hosts).min(axis=(1, 3))
        latency = latency.reshape(of_hosts).max(axis=(1, 3))
        np.fill_diagonal(bandwidth, np.inf)
        np.fill_diagonal(latency, 0.0)
        masks, capacities = [], []
        for cut in topology.shared_links:
            mask = cut.mask(cluster.nodes).reshape(hosts, size)
            if len(cut.members) > 1 and (mask.all(axis=1) == mask.any(axis=1)).all() and mask.any(axis=1).sum() > 1:
                masks.append(mask[:, 0])
                capacities.append(cut.bytes_per_second)
        names = topology.names
        return cls(
            names=tuple(names[i * size : (i + 1) * size] for i in range(hosts)),
            host_gpus=size * cluster.gpus_per_node,
            bandwidth=bandwidth,
            latency=latency,
            cards=topology.cards_bytes_per_second.reshape(hosts, size).min(axis=1) * size,
            members=np.array(masks, dtype=np.bool_).reshape(len(masks), hosts),
            capacities=np.array(capacities),
        )

    def together(self, senders: Ints, receivers: Ints) -> Floats:
        """Bytes/s of flows that run at the same time, arrays of one shape: each as fast as its pair alone, or as its
        equal share of what it crosses with others."""
        rate = self.bandwidth[senders, receivers].copy()
        for mask, capacity in zip(self.members, self.capacities, strict=True):
            here, there = mask[senders], mask[receivers]
            for crossing in (here & ~there, there & ~here):
                if flows := int(crossing.sum()):
                    rate[crossing] = np.minimum(rate[crossing], capacity / flows)
        return rate

    def even(self) -> bool:
        """Whether any two hosts are as good as any others."""
        apart = ~np.eye(len(self.bandwidth), dtype=np.bool_)
        rates, waits = self.bandwidth[apart], self.latency[apart]
        return not len(self.capacities) and (not rates.size or bool(np.ptp(rates) == 0 and np.ptp(waits) == 0))
