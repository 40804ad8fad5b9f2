"""The switches that join nodes: a tree with nodes under its leaves, as arrays by level.

A tree is written as a flat list of ``Switch``: leaves name their nodes, the others name the switches below them.
``faults`` says everything that keeps a list from being a tree; ``SwitchTree.of`` expects one without faults.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

MOST_SHOWN = 4

MOST_LEVELS = 16
"""Of switches above one another; far more than any fabric has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One switch, or what acts as one (a rail group, a region): a leaf names ``nodes``, any other names ``switches``.

    ``uplink_bytes_per_second`` is what its links to the switch above carry, in each direction, all together; infinite
    at the top. ``latency_seconds`` is added to every message through it. ``rails``: a leaf that stands for one switch
    per card number; a message between cards of the same number stays in it, any other goes by the switch above.
    """

    name: str
    nodes: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    uplink_bytes_per_second: float = math.inf
    latency_seconds: float = 0.0
    rails: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong: at which ``switch`` (its index; None: the list as a whole) and ``key`` of it; ``value``
    the name in question, and which kind of name is not known, where that is the fault."""

    switch: int | None
    key: Literal["name", "nodes", "switches"]
    value: str
    message: str
    unknown: Literal["node", "switch"] | None = None


def faults(names: Sequence[str], switches: Sequence[Switch]) -> Iterator[Fault]:
    """Everything that keeps ``switches`` from being one tree over the nodes ``names``."""
    index: dict[str, int] = {}
    for i, switch in enumerate(switches):
        if switch.name in index:
            yield Fault(switch=i, key="name", value=switch.name, message="another switch has this name: rename one")
        index.setdefault(switch.name, i)
        if bool(switch.nodes) == bool(switch.switches):
            message = "give either nodes or switches: what hangs on this switch"
            yield Fault(switch=i, key="name", value=switch.name, message=message)
    yield from _placed(names, switches, "nodes", "node")
    yield from _placed(list(index), switches, "switches", "switch")
    yield from _joined(switches, index)
    held = {name for switch in switches for name in switch.nodes}
    if lacking := [name for name in names if name not in held]:
        message = f"hang on no switch: name them in the nodes of one ({len(lacking)} of {len(names)} nodes)"
        yield Fault(switch=None, key="nodes", value=_some(lacking), message=message)


def _placed(
    names: Sequence[str], switches: Sequence[Switch], key: Literal["nodes", "switches"], kind: Literal["node", "switch"]
) -> Iterator[Fault]:
    """Names under more than one switch, or that nothing has."""
    known = set(names)
    above: dict[str, str] = {}
    for i, switch in enumerate(switches):
        for name in getattr(switch, key):
            if name not in known:
                yield Fault(switch=i, key=key, value=name, message=f"there is no such {kind}", unknown=kind)
            elif name in above:
                message = f"also hangs on switch {above[name]}: a {kind} hangs on one switch"
                if above[name] == switch.name:
                    message = "is named twice: leave one out"
                yield Fault(switch=i, key=key, value=name, message=message)
            else:
                above[name] = switch.name


def _joined(switches: Sequence[Switch], index: Mapping[str, int]) -> Iterator[Fault]:
    """Circles, too many levels, and more than one top."""
    parent = _parents(switches, index)
    tops = [i for i, above in enumerate(parent) if above < 0]
    for i, switch in enumerate(switches):
        at, seen = parent[i], {i}
        while at >= 0 and at not in seen and len(seen) < MOST_LEVELS:
            seen.add(at)
            at = parent[at]
        if at >= 0 and at not in seen:
            message = f"hangs more than {MOST_LEVELS} levels deep: no fabric has so many, leave some out"
            yield Fault(switch=i, key="name", value=switch.name, message=message)
            break
        if at == i:
            circle = _some([switches[j].name for j in sorted(seen)])
            message = f"hangs on itself (circle of {circle}): a switch hangs below another, never in a circle"
            yield Fault(switch=i, key="switches", value=switch.name, message=message)
    if len(tops) > 1:
        message = "hang on no other switch: add one above them that names them in switches"
        yield Fault(switch=None, key="switches", value=_some([switches[i].name for i in tops]), message=message)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_SHOWN]) + (", ..." if len(names) > MOST_SHOWN else "")


def _parents(switches: Sequence[Switch], index: Mapping[str, int]) -> list[int]:
    """Of each switch the one above it, -1 at a top."""
    parent = [-1] * len(switches)
    for i, switch in enumerate(switches):
        for name in switch.switches:
            if name in index:
                parent[index[name]] = i
    return parent


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SwitchTree:
    """A tree by levels: level 0 is the top.

    ``ancestors``: [levels, nodes], the switch over each node at each level, -1 below its leaf. ``uplinks``,
    ``latencies``, ``rails``: [switches]. ``parents``: [switches], -1 at the top.
    """

    ancestors: Ints
    parents: Ints
    uplinks: Floats
    latencies: Floats
    rails: NDArray[np.bool_]

    @classmethod
    def of(cls, names: Sequence[str], switches: Sequence[Switch]) -> "SwitchTree":
        """The tree of a list without faults; an empty list is one switch over all nodes, without limits."""
        switches = switches or [Switch(name="", nodes=tuple(names))]
        index = {switch.name: i for i, switch in enumerate(switches)}
        parent = _parents(switches, index)
        position = {name: i for i, name in enumerate(names)}
        columns: dict[int, list[int]] = {}
        for i in range(len(switches)):
            path, at = [i], parent[i]
            while at >= 0:
                path.append(at)
                at = parent[at]
            columns[i] = path[::-1]
        levels = max(map(len, columns.values()))
        ancestors = np.full((levels, len(names)), -1, dtype=np.intp)
        for i, switch in enumerate(switches):
            if switch.nodes:
                below = [position[name] for name in switch.nodes]
                ancestors[: len(columns[i]), below] = np.array(columns[i], dtype=np.intp)[:, None]
        return cls(
            ancestors=ancestors,
            parents=np.array(parent, dtype=np.intp),
            uplinks=np.array([switch.uplink_bytes_per_second for switch in switches]),
            latencies=np.array([switch.latency_seconds for switch in switches]),
            rails=np.array([switch.rails for switch in switches]),
        )

    @property
    def levels(self) -> int:
        return len(self.ancestors)

    def leaves(self) -> Ints:
        """[nodes]: the switch each node hangs on."""
        depth = (self.ancestors >= 0).sum(axis=0) - 1
        leaves: Ints = self.ancestors[depth, np.arange(self.ancestors.shape[1])]
        return leaves

    def meeting_levels(self, senders: Ints, receivers: Ints, across_rails: bool | NDArray[np.bool_]) -> Ints:
        """The lowest level at which one switch is over both, of arrays of nodes that broadcast together.

        ``across_rails``: between cards of unlike numbers, which do not meet in a leaf of rails unless it is the top.
        """
        meeting = np.zeros(np.broadcast_shapes(senders.shape, receivers.shape), dtype=np.intp)
        for level in range(1, self.levels):
            over = self.ancestors[level]
            same = (over[senders] == over[receivers]) & (over[senders] >= 0)
            if np.any(across_rails):
                same &= ~(self.rails[over[senders]] & across_rails)
            meeting[same] = level
        return meeting

    def climbing_bandwidths(self, cards: Floats) -> Floats:
        """[levels, nodes] bytes/s: the least from a node, whose cards carry ``cards`` [nodes], up to each level."""
        least = np.empty(self.ancestors.shape)
        lowest = cards.astype(np.float64)
        for level in range(self.levels - 1, -1, -1):
            least[level] = lowest
            over = self.ancestors[level]
            lowest = np.where(over >= 0, np.minimum(lowest, self.uplinks[over]), lowest)
        return least

    def climbing_latencies(self) -> Floats:
        """[levels, nodes] seconds: of the switches below the one at each level that a node passes on its way there."""
        total = np.zeros(self.ancestors.shape)
        so_far = np.zeros(self.ancestors.shape[1])
        for level in range(self.levels - 1, -1, -1):
            total[level] = so_far
            over = self.ancestors[level]
            so_far = np.where(over >= 0, so_far + self.latencies[over], so_far)
        return total

    def members(self) -> list[Ints]:
        """Of each switch the nodes below it, ascending."""
        found: list[Ints] = [np.empty(0, dtype=np.intp)] * len(self.parents)
        for over in self.ancestors:
            order = np.argsort(over, kind="stable")
            order = order[over[order] >= 0]
            for nodes in np.split(order, np.flatnonzero(np.diff(over[order])) + 1):
                if len(nodes):
                    found[int(over[nodes[0]])] = nodes
        return found

    def worst_latency(self) -> float:
        """The largest sum of latencies of the switches between any two nodes."""
        below = [0.0] * len(self.parents)
        branches: list[list[float]] = [[] for _ in self.parents]
        for leaf, count in Counter(self.leaves().tolist()).items():
            branches[leaf] += [0.0] * min(count, 2)
        depths = {int(s): level for level, over in enumerate(self.ancestors) for s in np.unique(over[over >= 0])}
        worst = 0.0
        for s in sorted(depths, key=lambda s: -depths[s]):
            reached = sorted(branches[s])
            below[s] = self.latencies[s] + (reached[-1] if reached else 0.0)
            if len(reached) > 1:
                worst = max(worst, float(self.latencies[s] + reached[-1] + reached[-2]))
            if self.parents[s] >= 0:
                branches[int(self.parents[s])].append(below[s])
        return worst
