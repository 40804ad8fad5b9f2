"""From the keys of a cluster spec that say what joins its nodes to a ``Topology``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from costmodels.attained import Attained
from costmodels.switch_tree import Fault, Switch, SwitchTree, faults
from costmodels.topology import Degraded, Domain, Nodes, Topology
from planner.specs.cluster import ClusterSpec, SwitchSpec
from planner.specs.document import Place
from planner.specs.errors import shown
from planner.specs.names import meant
from planner.specs.reporter import Reporter


def node_names(spec: ClusterSpec, reporter: Reporter) -> list[tuple[str, ...]]:
    """Of each group: those given, or node0, node1, ... by position in the cluster."""
    found: list[tuple[str, ...]] = []
    owner: dict[str, int] = {}
    position = 0
    for i, group in enumerate(spec.node_groups):
        names = group.names or tuple(f"node{position + j}" for j in range(group.count))
        place = ("node_groups", i, "names")
        if len(names) != group.count:
            reporter.wrong(place, f"{len(names)} names for {group.count} nodes: name each of count nodes once")
        for name in names:
            if name in owner:
                message = f"names a node of node_groups[{owner[name]}] again: give every node a name of its own"
                reporter.wrong(place, message, name)
            owner.setdefault(name, i)
        found.append(names)
        position += group.count
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyBuilder:
    """``names`` of each group of ``spec``'s nodes; ``domains``: those that span nodes. What is wrong goes to
    ``reporter``; a topology is built only where nothing was."""

    spec: ClusterSpec
    names: list[tuple[str, ...]]
    domains: tuple[Domain, ...]
    reporter: Reporter

    def check(self) -> None:
        """Reports what is wrong with switches, degraded nodes and cards of GPUs."""
        self._check_switches()
        self._check_degraded()
        for i, group in enumerate(self.spec.node_groups):
            if group.nic_of_gpu is None:
                continue
            place: Place = ("node_groups", i, "nic_of_gpu")
            cards = group.nics.count if group.nics else 0
            if len(group.nic_of_gpu) != group.gpus_per_node:
                message = f"has {len(group.nic_of_gpu)} cards for {group.gpus_per_node} GPUs: give one for each GPU"
                self.reporter.wrong(place, message)
            for j, card in enumerate(group.nic_of_gpu):
                if card >= cards:
                    self.reporter.wrong((*place, j), f"there are {cards} cards, counted from 0", card)

    def build(self, attained: Attained | None) -> Topology:
        """The topology of a spec without problems. Without switches the fabric's oversubscription is of every node's
        cards, as it is where one figure stands for the network."""
        flat = Topology(
            nodes=self._nodes(1.0 if self.spec.topology else self.spec.fabric.oversubscription),
            latency_seconds=self.spec.fabric.latency,
            domains=self.domains,
            degraded=tuple(
                Degraded(names=tuple(one.nodes or [one.node or ""]), bytes_per_second=one.bandwidth, gpus=one.gpus)
                for one in self.spec.degraded
            ),
            attained=attained,
        )
        return replace(flat, switches=self._switches(flat)) if self.spec.topology else flat

    def _nodes(self, oversubscription: float) -> tuple[Nodes, ...]:
        return tuple(
            Nodes(
                names=names,
                gpus=group.gpus_per_node,
                cards=group.nics.count if group.nics else 0,
                cards_bytes_per_second=(
                    group.nics.count * group.nics.bandwidth / oversubscription if group.nics else 0.0
                ),
                card_latency_seconds=group.nics.latency if group.nics else 0.0,
                card_of_gpu=tuple(group.nic_of_gpu or ()),
            )
            for group, names in zip(self.spec.node_groups, self.names, strict=True)
        )

    def _switches(self, flat: Topology) -> tuple[Switch, ...]:
        """With the uplinks that the switches above them give."""
        written = self._written()
        members = SwitchTree.of(flat.names, written).members()
        cards = flat.nominal_cards
        below = {switch.name: float(cards[nodes].sum()) for switch, nodes in zip(written, members, strict=True)}
        uplinks: dict[str, float] = {}
        for switch in self.spec.topology.switches if self.spec.topology else []:
            for name in switch.switches or ():
                uplinks[name] = switch.uplink or below[name] / (switch.oversubscription or 1.0)
        return tuple(
            replace(switch, uplink_bytes_per_second=uplinks[switch.name]) if switch.name in uplinks else switch
            for switch in written
        )

    def _written(self) -> list[Switch]:
        topology = self.spec.topology
        return [
            Switch(
                name=switch.name,
                nodes=switch.nodes or (),
                switches=switch.switches or (),
                latency_seconds=switch.latency,
                rails=bool(topology and topology.rails and switch.nodes),
            )
            for switch in (topology.switches if topology else [])
        ]

    def _check_switches(self) -> None:
        topology = self.spec.topology
        if topology is None:
            return
        if self.spec.fabric.oversubscription != 1.0:
            message = "beside topology: write it at the switches whose links from below are oversubscribed"
            self.reporter.wrong(("fabric", "oversubscription"), message, self.spec.fabric.oversubscription)
        nodes = [name for names in self.names for name in names]
        names = [switch.name for switch in topology.switches]
        for i, switch in enumerate(topology.switches):
            for key, message in _misplaced(switch):
                self.reporter.wrong(("topology", "switches", i, key), message)
        for fault in faults(nodes, self._written()):
            self.reporter.wrong(self._place(fault), _told(fault, nodes, names), fault.value)

    @staticmethod
    def _place(fault: Fault) -> Place:
        place: Place = ("topology", "switches")
        return place if fault.switch is None else (*place, fault.switch, fault.key)

    def _check_degraded(self) -> None:
        gpus = {
            name: group.gpus_per_node
            for group, names in zip(self.spec.node_groups, self.names, strict=True)
            for name in names
        }
        domain = {name: i for i, one in enumerate(self.domains) for name in one.names}
        for i, one in enumerate(self.spec.degraded):
            place: Place = ("degraded", i)
            if (one.node is None) == (one.nodes is None):
                self.reporter.wrong(place, "give either node, or nodes for the link between two")
                continue
            self._check_named(place, one.nodes or [one.node or ""], gpus)
            if one.nodes is not None:
                if one.gpus is not None:
                    self.reporter.wrong((*place, "gpus"), "is of one node: give node instead of nodes", one.gpus)
                if one.bandwidth is None:
                    self.reporter.wrong((*place, "bandwidth"), "missing: what the two nodes attain, e.g. 10 GB/s")
                first, second = one.nodes
                if first == second:
                    self.reporter.wrong((*place, "nodes"), "names one node twice: give two, or node", first)
                elif first in domain and domain[first] == domain.get(second):
                    message = "share an NVLink domain, which is taken to be sound: leave one of the two out by exclude"
                    self.reporter.wrong((*place, "nodes"), message, one.nodes)
            elif one.bandwidth is None and one.gpus is None:
                self.reporter.wrong(place, "give bandwidth (of the node's cards), or gpus (that can be used)")
            elif one.gpus is not None and one.gpus > gpus.get(one.node or "", one.gpus):
                message = f"the node has {gpus[one.node or '']}: give how many of them can be used"
                self.reporter.wrong((*place, "gpus"), message, one.gpus)

    def _check_named(self, place: Place, names: list[str], known: Mapping[str, int]) -> None:
        for j, name in enumerate(names):
            if name not in known:
                where = (*place, "node") if len(names) == 1 else (*place, "nodes", j)
                self.reporter.wrong(where, f"there is no such node{nearest_name(name, list(known))}", name)


def _misplaced(switch: SwitchSpec) -> Iterator[tuple[str, str]]:
    """(key, what is wrong) of figures of links that are not there, or given twice."""
    for key in ("oversubscription", "uplink"):
        if getattr(switch, key) is not None and switch.nodes:
            message = "is of links to switches below, this one has nodes: write it at the switch above"
            yield key, f"{message} (a node's own links are its nics)"
    if switch.oversubscription is not None and switch.uplink is not None and not switch.nodes:
        yield "uplink", "beside oversubscription: give one of the two"


def _told(fault: Fault, nodes: list[str], switches: list[str]) -> str:
    if fault.unknown is None:
        return fault.message
    return fault.message + nearest_name(fault.value, nodes if fault.unknown == "node" else switches)


MOST_COMPARED = 5000


def nearest_name(name: str, known: list[str]) -> str:
    """The nearest of so many names; of more, where they begin and end."""
    if len(known) > MOST_COMPARED:
        return f"; there are {known[0]} to {known[-1]}"
    return meant(name, known) or f"; there are {shown(known[0])} to {shown(known[-1])}"
