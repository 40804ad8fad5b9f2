"""From the machines of a cluster spec to unlike groups and the trunks between them.

Nodes of one kind make a group, unless the switches cut them off from one another: below a root of at most ``MOST_CUT``
switches whose links upward carry less than a quarter of what the cards below do, the nodes of each switch are an island
of their own. A trunk's share is what the slowest pair of nodes attains alone, over the GPUs of a node; what crosses it
together is what as many pairs as the larger side has nodes get at once (``Topology.bandwidth_under``). Traffic on
several trunks at once is not added up where they share an uplink.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from costmodels.hardware import Cluster, Link
from costmodels.topology import Topology
from planner.mixed.islands import Islands, Trunk
from planner.specs.machines import Machines

MOST_CUT = 4
OVERSUBSCRIBED = 4.0
"""An uplink that carries a quarter of the cards or less cuts an island off; assumed: fat trees are built of 1 to 3."""

Ints = NDArray[np.intp]


def islands_of(machines: Machines) -> Islands | None:
    """The groups of ``machines``; None where all nodes are alike and no switch cuts them off."""
    parts = [part for group in range(len(machines.groups)) for part in _parts(machines, group)]
    if len(parts) == 1:
        return None
    clusters = tuple(_named(cluster, nodes, machines.topology, i) for i, (cluster, nodes) in enumerate(parts))
    count = len(parts)
    trunks: list[list[Trunk | None]] = [[None] * count for _ in parts]
    for a, b in combinations(range(count), 2):
        trunks[a][b] = trunks[b][a] = _trunk(machines.topology, parts[a][1], parts[b][1], clusters[a].gpus_per_node)
    return Islands(
        name=machines.groups[0].name,
        groups=clusters,
        between=tuple(tuple(row) for row in trunks),
        nodes=tuple(tuple(machines.topology.names[i] for i in nodes) for _, nodes in parts),
    )


def _parts(machines: Machines, group: int) -> list[tuple[Cluster, Ints]]:
    cluster, nodes = machines.groups[group], np.array(machines.nodes_of(group), dtype=np.intp)
    cut = [nodes[np.isin(nodes, members)] for members in _cut_off(machines.topology)]
    cut = [part for part in cut if len(part)]
    if len(cut) < 2 or sum(map(len, cut)) < len(nodes):
        return [(cluster.resized(cluster.nodes), nodes)]
    return [(_alone(cluster, machines.topology, part), part) for part in cut]


def _cut_off(topology: Topology) -> list[Ints]:
    """Nodes of every switch below the root, where all are cut off."""
    tops = {name for switch in topology.switches for name in switch.switches}
    roots = [switch for switch in topology.switches if switch.name not in tops]
    if len(roots) != 1 or not 2 <= len(roots[0].switches) <= MOST_CUT:
        return []
    position = {switch.name: i for i, switch in enumerate(topology.switches)}
    members = topology.tree.members()
    found = []
    for name in roots[0].switches:
        below = members[position[name]]
        uplink = topology.switches[position[name]].uplink_bytes_per_second
        if uplink * OVERSUBSCRIBED > topology.nominal_cards[below].sum():
            return []
        found.append(below)
    return found


def _alone(cluster: Cluster, topology: Topology, nodes: Ints) -> Cluster:
    """Of nodes of one island: their own network."""
    kept = {topology.names[i] for i in nodes}
    own = topology.without(set(topology.names) - kept)
    share = own.slowest_share() / cluster.gpus_per_node if len(kept) > 1 else np.inf
    link = replace(cluster.scale_out, latency_seconds=own.worst_latency())
    cards = float(topology.nominal_cards[nodes].min()) / cluster.gpus_per_node
    return replace(cluster.resized(len(nodes)), scale_out=replace(link, bytes_per_second=min(share, cards)))


def _named(cluster: Cluster, nodes: Ints, topology: Topology, number: int) -> Cluster:
    names = [topology.names[i] for i in nodes]
    where = names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}"
    return replace(cluster, name=f"group {number} ({len(names)} x {cluster.gpus_per_node} {cluster.gpu.name}, {where})")


def _trunk(topology: Topology, here: Ints, there: Ints, gpus_per_node: int) -> Trunk:
    alone = float(topology.bandwidth_between(here[:, None], there[None, :]).min())
    latency = float(topology.latency_between(here[:, None], there[None, :]).max())
    pairs = np.arange(max(len(here), len(there)))
    flows = np.stack([here[pairs % len(here)], there[pairs % len(there)]], axis=1)
    together = float(topology.bandwidth_under(flows).sum())
    share = Link(bytes_per_second=alone / gpus_per_node, latency_seconds=latency)
    return Trunk(link=share, bytes_per_second=together)
