"""What joins the nodes of a cluster: cards, switches, NVLink domains that span nodes, and what was measured.

A message from node a to node b climbs from a's cards to the lowest switch over both and down to b's cards. One pair
alone gets

    bandwidth[a, b] = min(cards of a, cards of b, uplinks of the switches below the one where they meet)
    latency[a, b]   = base + the larger card latency of the two + latencies of the switches on the way

Nodes of one NVLink domain talk over it instead. A measured figure takes the place of the minimum; a degraded node or
pair is never faster than said, measured or not. Figures are of a node's cards (or GPUs) all together, one direction.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.attained import Attained
from costmodels.link_sharing import equal_share, max_min_share
from costmodels.switch_tree import Switch, SwitchTree, faults

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

BLOCK = 256
"""Rows of a matrix worked out at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """Nodes of one kind: ``gpus`` in each (before any is lost), ``cards`` in each, which carry
    ``cards_bytes_per_second`` together. ``card_of_gpu``: the card each GPU sends by, where it is known."""

    names: tuple[str, ...]
    gpus: int
    cards: int
    cards_bytes_per_second: float
    card_latency_seconds: float = 0.0
    card_of_gpu: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Nodes that share one NVLink domain; each GPU sends ``bytes_per_second`` in it."""

    names: tuple[str, ...]
    bytes_per_second: float
    latency_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """What is worse than it should be: the cards of one node, the link between two (both directions), or the number of
    one node's GPUs."""

    names: tuple[str, ...]
    bytes_per_second: float | None = None
    gpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A link that many pairs share: what goes from ``members`` (indices of nodes, ascending) to other nodes has
    ``bytes_per_second`` together, and as much the other way. NVLink inside a domain does not cross it."""

    name: str
    members: tuple[int, ...]
    bytes_per_second: float

    def mask(self, nodes: int) -> NDArray[np.bool_]:
        """[nodes]: which are members."""
        mask = np.zeros(nodes, dtype=np.bool_)
        mask[list(self.members)] = True
        return mask


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The nodes, in order, and what joins them. ``switches``: a tree (``costmodels.switch_tree``); none: one switch
    that limits nothing. ``latency_seconds``: between any two nodes, cards and switches not counted.

    Raises ``ValueError`` for nodes of one name, names that are not known, and switches that are no tree.
    """

    nodes: tuple[Nodes, ...]
    latency_seconds: float
    switches: tuple[Switch, ...] = ()
    domains: tuple[Domain, ...] = ()
    degraded: tuple[Degraded, ...] = ()
    attained: Attained | None = None

    def __post_init__(self) -> None:
        known = set(self.names)
        if len(known) != len(self.names):
            raise ValueError("two nodes have the same name")
        if self.switches and (
            found := [f"{fault.value} {fault.message}" for fault in faults(self.names, self.switches)]
        ):
            raise ValueError("; ".join(found))
        named = [
            *(name for one in self.domains for name in one.names),
            *(name for one in self.degraded for name in one.names),
        ]
        if unknown := [name for name in named if name not in known]:
            raise ValueError(f"there is no node {unknown[0]}")
        if len(placed := [name for domain in self.domains for name in domain.names]) != len(set(placed)):
            raise ValueError("a node is in two NVLink domains")
        if self.attained is not None:
            size = int(self._per_node("gpus").sum()) if self.attained.of_gpus else len(known)
            if len(self.attained.matrix) != size:
                raise ValueError(f"attained bandwidths are of {len(self.attained.matrix)}, not {size}")

    # the nodes

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(name for kind in self.nodes for name in kind.names)

    @cached_property
    def gpus(self) -> Ints:
        """[nodes]: GPUs that can be used."""
        usable = self._per_node("gpus").astype(np.intp)
        for one in self.degraded:
            if one.gpus is not None:
                at = self._index[one.names[0]]
                usable[at] = min(usable[at], one.gpus)
        return usable

    @cached_property
    def cards(self) -> Ints:
        """[nodes]: network cards."""
        return self._per_node("cards").astype(np.intp)

    @cached_property
    def nominal_cards(self) -> Floats:
        """[nodes]: bytes/s of a node's cards together, were nothing degraded or measured."""
        return self._per_node("cards_bytes_per_second")

    @cached_property
    def cards_bytes_per_second(self) -> Floats:
        """[nodes]: what a node's cards carry together; where links were measured, the most that its own attained."""
        return np.minimum(self._sound_cards, self._caps)

    @cached_property
    def _sound_cards(self) -> Floats:
        """The same if no node were degraded."""
        nominal = self.nominal_cards
        if (attained := self._attained_nodes) is not None:
            outside = np.where(self._same_domain_matrix() | np.isinf(attained), 0.0, attained)
            most = np.maximum(outside.max(axis=0, initial=0.0), outside.max(axis=1, initial=0.0))
            most = np.where(most > 0, most, nominal)
            nominal = np.minimum(nominal, most) if self.attained is not None and self.attained.of_gpus else most
        return nominal

    @cached_property
    def domain_of(self) -> Ints:
        """[nodes]: the NVLink domain of each, -1 where it shares none with another node."""
        found = np.full(len(self.names), -1, dtype=np.intp)
        for i, domain in enumerate(self.domains):
            found[[self._index[name] for name in domain.names]] = i
        return found

    def index(self, names: Collection[str]) -> Ints:
        """Positions of nodes in ``names``; raises ``KeyError`` for a name that no node has."""
        return np.array([self._index[name] for name in names], dtype=np.intp)

    # one pair alone

    def bandwidth_between(self, senders: ArrayLike, receivers: ArrayLike, *, across_rails: bool = False) -> Floats:
        """Bytes/s of each pair alone; arrays of node indices that broadcast together, infinite from a node to itself.

        ``across_rails``: between cards of unlike numbers; it matters under leaves of rails only.
        """
        a, b = np.broadcast_arrays(np.asarray(senders, dtype=np.intp), np.asarray(receivers, dtype=np.intp))
        meeting = self.tree.meeting_levels(a, b, across_rails)
        climb = self._climbing
        found: Floats = np.minimum(climb[meeting, a], climb[meeting, b])
        together, inside = self._inside(a, b)
        found = np.where(together, inside, found)
        if self._attained_nodes is not None and self.attained is not None:
            attained = self._attained_nodes[a, b]
            found = np.minimum(found, attained) if self.attained.of_gpus else attained
        found = np.where(together, found, np.minimum(found, np.minimum(self._caps[a], self._caps[b])))
        found = np.minimum(found, self._pair_caps(a, b))
        found[a == b] = np.inf
        return found

    def latency_between(self, senders: ArrayLike, receivers: ArrayLike, *, across_rails: bool = False) -> Floats:
        """Seconds from node to node, 0 from a node to itself; arguments as of ``bandwidth_between``."""
        a, b = np.broadcast_arrays(np.asarray(senders, dtype=np.intp), np.asarray(receivers, dtype=np.intp))
        meeting = self.tree.meeting_levels(a, b, across_rails)
        climb, cards = self._climbing_latency, self._per_node("card_latency_seconds")
        way = climb[meeting, a] + climb[meeting, b] + self.tree.latencies[self.tree.ancestors[meeting, a]]
        found: Floats = self.latency_seconds + np.maximum(cards[a], cards[b]) + way
        together = self._together(a, b)
        if together.any():
            own = np.array([domain.latency_seconds for domain in self.domains])
            found = np.where(together, own[self.domain_of[a]], found)
        found[a == b] = 0.0
        return found

    def pair_bandwidth(self, *, across_rails: bool = False) -> Floats:
        """[nodes, nodes] bytes/s of ``bandwidth_between``; 8 bytes a pair."""
        every = np.arange(len(self.names))
        return self._by_rows(lambda rows: self.bandwidth_between(rows[:, None], every, across_rails=across_rails))

    def pair_latency(self, *, across_rails: bool = False) -> Floats:
        """[nodes, nodes] seconds of ``latency_between``."""
        every = np.arange(len(self.names))
        return self._by_rows(lambda rows: self.latency_between(rows[:, None], every, across_rails=across_rails))

    # many at once

    @cached_property
    def shared_links(self) -> tuple[Cut, ...]:
        """Uplinks that carry less than the cards on either side of them could, from the top down, then every node's
        cards."""
        cuts = [
            Cut(
                name=f"uplink of {self.switches[s].name}",
                members=tuple(self._members[s].tolist()),
                bytes_per_second=rate,
            )
            for s, rate in self._tight_uplinks.items()
        ]
        cards = self.cards_bytes_per_second.tolist()
        cuts += [
            Cut(name=f"cards of {name}", members=(i,), bytes_per_second=rate)
            for i, (name, rate) in enumerate(zip(self.names, cards, strict=True))
            if rate > 0
        ]
        return tuple(cuts)

    def bandwidth_under(
        self,
        flows: ArrayLike,
        *,
        share: Literal["equal", "max-min"] = "equal",
        across_rails: ArrayLike = False,
    ) -> Floats:
        """[F] bytes/s of flows that run at the same time; ``flows`` [F, 2] holds the indices of sender and receiver.

        Each is no faster than its pair alone, and shares with the others what it crosses: the cards and NVLink of both
        nodes and the uplinks of ``shared_links``, each direction by itself. ``share`` as in
        ``costmodels.link_sharing``: ``equal`` never promises a flow more than ``max-min``. ``across_rails``: [F] or
        one for all.
        """
        pairs = np.asarray(flows, dtype=np.intp).reshape(-1, 2)
        a, b = pairs[:, 0], pairs[:, 1]
        across = np.broadcast_to(np.asarray(across_rails, dtype=np.bool_), a.shape)
        alone = np.where(
            across, self.bandwidth_between(a, b, across_rails=True), self.bandwidth_between(a, b, across_rails=False)
        )
        crossed, capacities = self._crossed(a, b, across)
        shared = equal_share if share == "equal" else max_min_share
        return shared(alone, crossed, capacities)

    def slowest_share(self) -> float:
        """Bytes/s that every node can count on when all talk across domains at once: the least of a node's cards, of
        an uplink over the nodes on its smaller side, and of a measured or degraded pair. Infinite where no two nodes
        need the network."""
        total = len(self.names)
        if total < 2 or (len(self.domains) == 1 and len(self.domains[0].names) == total):
            return np.inf
        least = float(self.cards_bytes_per_second.min())
        for s, rate in self._tight_uplinks.items():
            inside = len(self._members[s])
            least = min(least, rate / min(inside, total - inside))
        for one in self.degraded:
            if len(one.names) == 2 and one.bytes_per_second is not None and not self._share_domain(*one.names):
                least = min(least, one.bytes_per_second)
        if self._attained_nodes is not None:
            least = min(least, float(self._attained_nodes[~self._same_domain_matrix()].min(initial=np.inf)))
        return least

    def worst_latency(self) -> float:
        """Seconds between the two nodes farthest apart, NVLink not counted."""
        cards = float(self._per_node("card_latency_seconds").max())
        return self.latency_seconds + cards + self.tree.worst_latency()

    # parts of it

    def without(self, names: Collection[str]) -> "Topology":
        """The same without some nodes: switches keep their uplinks, those left without nodes go.

        Raises ``KeyError`` for a name that no node has.
        """
        for name in names:
            self._index[name]
        gone = set(names)
        kept = np.array([i for i, name in enumerate(self.names) if name not in gone], dtype=np.intp)
        if self.attained is not None and self.attained.of_gpus:
            firsts, counts = self._first_gpus, self._per_node("gpus").astype(np.intp)
            rows = np.concatenate([np.arange(firsts[i], firsts[i] + counts[i]) for i in kept])
        else:
            rows = kept
        return replace(
            self,
            nodes=tuple(
                replace(kind, names=left)
                for kind in self.nodes
                if (left := tuple(name for name in kind.names if name not in gone))
            ),
            switches=_without(self.switches, gone),
            domains=tuple(
                replace(domain, names=left)
                for domain in self.domains
                if len(left := tuple(name for name in domain.names if name not in gone)) > 1
            ),
            degraded=tuple(one for one in self.degraded if gone.isdisjoint(one.names)),
            attained=None if self.attained is None else self.attained.only(rows),
        )

    def classes(self) -> Ints:
        """[nodes]: nodes of one number are interchangeable: same switch, cards, GPUs and NVLink domain, no degraded
        link to another node. Where links were measured every node is a class of its own."""
        count = len(self.names)
        if self.attained is not None:
            return np.arange(count)
        own = np.full(count, -1, dtype=np.intp)
        for one in self.degraded:
            if len(one.names) == 2:
                at = self.index(one.names)
                own[at] = at
        kind = np.repeat(np.arange(len(self.nodes)), [len(group.names) for group in self.nodes])
        keys = np.stack([own, kind, self.gpus, self.tree.leaves(), self.domain_of], axis=1)
        rates = self.cards_bytes_per_second
        keys = np.column_stack([keys, np.unique(rates, return_inverse=True)[1]])
        numbers: Ints = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
        return numbers

    # workings

    @cached_property
    def tree(self) -> SwitchTree:
        """The switches by levels."""
        return SwitchTree.of(self.names, self.switches)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def _per_node(self, key: str) -> Floats:
        counts = [len(kind.names) for kind in self.nodes]
        return np.repeat(np.array([getattr(kind, key) for kind in self.nodes], dtype=np.float64), counts)

    @cached_property
    def _caps(self) -> Floats:
        """[nodes]: what a degraded node's cards carry at most."""
        caps = np.full(len(self.names), np.inf)
        for one in self.degraded:
            if len(one.names) == 1 and one.bytes_per_second is not None:
                at = self._index[one.names[0]]
                caps[at] = min(caps[at], one.bytes_per_second)
        return caps

    @cached_property
    def _degraded_pairs(self) -> tuple[Ints, Floats]:
        """Keys ``a x nodes + b``, ascending, and what each pair carries at most."""
        least: dict[int, float] = {}
        for one in self.degraded:
            if len(one.names) == 2 and one.bytes_per_second is not None:
                a, b = (self._index[name] for name in one.names)
                for key in (a * len(self.names) + b, b * len(self.names) + a):
                    least[key] = min(least.get(key, np.inf), one.bytes_per_second)
        keys = sorted(least)
        return np.array(keys, dtype=np.intp), np.array([least[key] for key in keys], dtype=np.float64)

    def _pair_caps(self, a: Ints, b: Ints) -> Floats:
        keys, caps = self._degraded_pairs
        if not len(keys):
            return np.full(a.shape, np.inf)
        wanted = a * len(self.names) + b
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, caps[at], np.inf)

    def _together(self, a: Ints, b: Ints) -> NDArray[np.bool_]:
        """Whether two nodes share an NVLink domain."""
        own = self.domain_of
        shared: NDArray[np.bool_] = (own[a] == own[b]) & (own[a] >= 0)
        return shared

    def _share_domain(self, first: str, second: str) -> bool:
        own = self.domain_of[self.index((first, second))]
        return bool(own[0] == own[1] and own[0] >= 0)

    def _same_domain_matrix(self) -> NDArray[np.bool_]:
        every = np.arange(len(self.names))
        same = self._together(every[:, None], every)
        np.fill_diagonal(same, True)
        return same

    @cached_property
    def _nvlink(self) -> Floats:
        """[nodes]: what a node's GPUs send together inside the NVLink domain it shares with others, 0 outside any."""
        own = np.array([*(domain.bytes_per_second for domain in self.domains), 0.0])
        rate: Floats = own[self.domain_of] * self.gpus
        return rate

    def _inside(self, a: Ints, b: Ints) -> tuple[NDArray[np.bool_], Floats]:
        return self._together(a, b), np.minimum(self._nvlink[a], self._nvlink[b])

    @cached_property
    def _first_gpus(self) -> list[int]:
        counts = self._per_node("gpus").astype(int).tolist()
        return list(accumulate(counts[:-1], initial=0))

    @cached_property
    def _attained_nodes(self) -> Floats | None:
        """[nodes, nodes] bytes/s measured; of a GPU table the slowest pair times the GPUs that send at once."""
        if self.attained is None or not self.attained.of_gpus:
            return None if self.attained is None else self.attained.matrix
        found = self.attained.slowest_between(self._first_gpus) * np.minimum.outer(self.gpus, self.gpus)
        np.fill_diagonal(found, np.inf)
        return found

    @cached_property
    def _climbing(self) -> Floats:
        return self.tree.climbing_bandwidths(np.minimum(self.nominal_cards, self._caps))

    @cached_property
    def _climbing_latency(self) -> Floats:
        return self.tree.climbing_latencies()

    @cached_property
    def _members(self) -> list[Ints]:
        return self.tree.members()

    @cached_property
    def _tight_uplinks(self) -> dict[int, float]:
        """Switches whose uplink is less than the sound cards on either side of it carry, from the top down."""
        if not self.switches:
            return {}
        cards = self._sound_cards
        total, found = cards.sum(), {}
        order = [int(s) for over in self.tree.ancestors for s in dict.fromkeys(over.tolist()) if s >= 0]
        for s in order:
            inside = cards[self._members[s]].sum()
            if (rate := float(self.tree.uplinks[s])) < min(inside, total - inside):
                found[s] = rate
        return found

    def _crossed(self, a: Ints, b: Ints, across: NDArray[np.bool_]) -> tuple[Ints, Floats]:
        """[F, K] links of each flow, -1 for none, and the links' capacities: cards out and in, NVLink out and in,
        uplinks up and down."""
        count, tree = len(self.names), self.tree
        cards, nvlink = self.cards_bytes_per_second, self._nvlink
        tight = np.full(len(tree.parents), -1, dtype=np.intp)
        tight[list(self._tight_uplinks)] = np.arange(len(self._tight_uplinks))
        uplinks = np.array(list(self._tight_uplinks.values()), dtype=np.float64)
        capacities = np.concatenate([cards, cards, nvlink, nvlink, uplinks, uplinks])
        together, same = self._together(a, b), a == b
        over = np.where(together, 2 * count, 0)
        columns = [np.where(same, -1, over + a), np.where(same, -1, over + count + b)]
        meeting = tree.meeting_levels(a, b, across)
        for level in range(1, tree.levels):
            for way, ends in enumerate((a, b)):
                s = tree.ancestors[level, ends]
                link = np.where(s >= 0, tight[s], -1)
                crosses = (level > meeting) & (link >= 0) & ~together & ~same
                columns.append(np.where(crosses, 4 * count + way * len(uplinks) + link, -1))
        return np.stack(columns, axis=1), capacities

    def _by_rows(self, figures: Callable[[Ints], Floats]) -> Floats:
        every = np.arange(len(self.names))
        found = np.empty((len(every), len(every)))
        for begin in range(0, len(every), BLOCK):
            found[begin : begin + BLOCK] = figures(every[begin : begin + BLOCK])
        return found


def _without(switches: Sequence[Switch], gone: Collection[str]) -> tuple[Switch, ...]:
    """Without some nodes, and without switches that then hold nothing."""
    left = [replace(switch, nodes=tuple(name for name in switch.nodes if name not in gone)) for switch in switches]
    while empty := {switch.name for switch in left if not switch.nodes and not switch.switches}:
        left = [
            replace(switch, switches=tuple(name for name in switch.switches if name not in empty))
            for switch in left
            if switch.name not in empty
        ]
    return tuple(left)
