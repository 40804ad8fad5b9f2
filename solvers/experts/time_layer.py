"""One layer whose placement is judged by seconds: its loads, which places its tokens need, and every exchange of two
slots at once.

Seconds are a function that the caller gives, of the shares of all copies that the GPUs get and, where a copy is sent
to a place once, of the parts of all tokens that need each GPU and each node. An exchange of two slots changes these
for two GPUs and at most two nodes; with c(u, a) the experts of token u at place a, the tokens that need a change by

    - (those with e, c = 1)  + (those with f, c = 0)  + (those with both e and f, c = 1)

when e leaves a and f comes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from solvers.experts.problem import Floats, Integers
from solvers.experts.reached import reached_by_rule

Seconds: TypeAlias = Callable[[Floats, Floats | None, Floats | None], Floats]
"""Of shares [n, gpus], and parts of tokens on GPUs [n, gpus] and nodes [n, nodes] or None: [n]."""


@dataclass(frozen=True, kw_only=True)
class TimeLayer:
    """``loads`` [experts]; ``merged``: copies to one place are sent once, so that tokens count beside loads. They are
    known by ``routes`` [rows, k] with ``tokens`` [rows] (every expert then has one slot), or by the rule of
    ``solvers.experts.reached`` with ``top_k`` experts from ``limit`` of ``groups`` groups."""

    loads: Floats
    gpus: int
    gpus_per_node: int
    seconds: Seconds
    merged: bool
    top_k: int = 1
    groups: int = 1
    limit: int = 1
    routes: Integers | None = None
    tokens: Floats | None = None

    @property
    def nodes(self) -> int:
        return self.gpus // self.gpus_per_node

    @property
    def per_group(self) -> int:
        return len(self.loads) // self.groups

    @cached_property
    def share_of_groups(self) -> Floats:
        return np.asarray(self.loads.reshape(self.groups, -1).sum(axis=1) / self.loads.sum())

    @cached_property
    def used(self) -> Floats:
        """[routes, experts]: 1 where the token goes."""
        assert self.routes is not None
        table = np.zeros((len(self.routes), len(self.loads)))
        np.put_along_axis(table, self.routes, 1.0, axis=1)
        return table

    @cached_property
    def weight(self) -> Floats:
        """[routes]: their part of all tokens."""
        assert self.tokens is not None
        return np.asarray(self.tokens / self.tokens.sum())


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A placement ``held`` [gpus, slots] of a layer, and all that follows from it."""

    layer: TimeLayer
    held: Integers

    @cached_property
    def slot_shares(self) -> Floats:
        """[gpus, slots]: part of all copies."""
        replicas = np.bincount(self.held.ravel(), minlength=len(self.layer.loads))
        share = self.layer.loads / np.maximum(replicas, 1) / self.layer.loads.sum()
        return np.asarray(share[self.held])

    @cached_property
    def shares(self) -> Floats:
        return np.asarray(self.slot_shares.sum(axis=1))

    @cached_property
    def by_group(self) -> Floats:
        """[gpus, groups]: shares by the group of the expert."""
        table = np.zeros((self.layer.gpus, self.layer.groups))
        gpu = np.repeat(np.arange(self.layer.gpus), self.held.shape[1])
        np.add.at(table, (gpu, self.held.ravel() // self.layer.per_group), self.slot_shares.ravel())
        return table

    def counts(self, per_place: int) -> Floats:
        """[routes, places]: experts of each route there."""
        table = np.zeros((len(self.layer.loads), self.layer.gpus // per_place))
        table[self.held.ravel(), np.arange(self.held.size) // (self.held.shape[1] * per_place)] = 1.0
        return np.asarray(self.layer.used @ table)

    def reached(self, per_place: int) -> Floats:
        """[places]: part of all tokens that need each place of so many GPUs."""
        layer = self.layer
        if layer.routes is not None:
            return np.asarray(layer.weight @ (self.counts(per_place) > 0))
        carried = self.by_group.reshape(-1, per_place, layer.groups).sum(axis=1)
        return reached_by_rule(carried, layer.share_of_groups, layer.top_k, layer.limit)

    @cached_property
    def on_gpus(self) -> Floats:
        return self.reached(1)

    @cached_property
    def on_nodes(self) -> Floats:
        return self.reached(self.layer.gpus_per_node)

    @cached_property
    def seconds(self) -> float:
        merged = self.layer.merged
        parts = (self.on_gpus[None], self.on_nodes[None]) if merged else (None, None)
        return float(self.layer.seconds(self.shares[None], *parts)[0])

    def exchanged(self, gpu: int, own: int, other: int, slot: int) -> "Standing":
        """With slot ``own`` of ``gpu`` and ``slot`` of ``other`` exchanged."""
        held = self.held.copy()
        held[gpu, own], held[other, slot] = self.held[other, slot], self.held[gpu, own]
        return Standing(layer=self.layer, held=held)


@dataclass(frozen=True, kw_only=True)
class Exchanges:
    """All exchanges of a slot of one GPU with a slot of another: [n] each of own slot, other GPU and its slot, what
    shares and parts of tokens become [n, gpus], [n, nodes], and seconds."""

    own: Integers
    other: Integers
    slot: Integers
    shares: Floats
    on_nodes: Floats | None
    seconds: Floats


def exchanges(standing: Standing, gpu: int) -> Exchanges:
    """Of ``gpu`` with every other, except those of an expert with itself."""
    layer = standing.layer
    own, other, slot, shares = share_changes(standing, gpu)
    on_gpus = on_nodes = None
    if layer.merged:
        on_gpus = _changed(standing, 1, gpu, own, other, slot)
        on_nodes = _changed(standing, layer.gpus_per_node, gpu, own, other, slot)
    seconds = layer.seconds(shares, on_gpus, on_nodes)
    return Exchanges(own=own, other=other, slot=slot, shares=shares, on_nodes=on_nodes, seconds=seconds)


def share_changes(standing: Standing, gpu: int) -> tuple[Integers, Integers, Integers, Floats]:
    """Own slot, other GPU and its slot of every exchange of ``gpu``, [n] each, and the shares after it [n, gpus]."""
    layer, held = standing.layer, standing.held
    slots = held.shape[1]
    own, other, slot = (index.ravel() for index in np.indices((slots, layer.gpus, slots)))
    kept = (other != gpu) & (held[gpu, own] != held[other, slot])
    own, other, slot = own[kept], other[kept], slot[kept]
    row = np.arange(len(own))
    leaving, coming = standing.slot_shares[gpu, own], standing.slot_shares[other, slot]
    shares = np.tile(standing.shares, (len(own), 1))
    shares[:, gpu] += coming - leaving
    shares[row, other] += leaving - coming
    return own, other, slot, shares


def nodes_reached(standing: Standing, gpu: int, own: Integers, other: Integers, slot: Integers) -> Floats:
    """[n]: nodes that a token needs on average after each exchange."""
    per_place = standing.layer.gpus_per_node
    by = _by_routes if standing.layer.routes is not None else _by_rule
    at_here, at_there = by(standing, per_place, gpu, own, other, slot)
    now, here, there = standing.on_nodes, gpu // per_place, other // per_place
    change = at_here + at_there - now[here] - now[there]
    return np.asarray(now.sum() + np.where(here != there, change, 0.0))


def _changed(standing: Standing, per_place: int, gpu: int, own: Integers, other: Integers, slot: Integers) -> Floats:
    """[n, places]: parts of all tokens that need each place after each exchange."""
    now = standing.on_gpus if per_place == 1 else standing.on_nodes
    here, there, row = gpu // per_place, other // per_place, np.arange(len(own))
    found = np.tile(now, (len(own), 1))
    by = _by_routes if standing.layer.routes is not None else _by_rule
    at_here, at_there = by(standing, per_place, gpu, own, other, slot)
    apart = there != here
    found[apart, here] = at_here[apart]
    found[row[apart], there[apart]] = at_there[apart]
    return found


def _by_rule(
    standing: Standing, per_place: int, gpu: int, own: Integers, other: Integers, slot: Integers
) -> tuple[Floats, Floats]:
    layer, held, row = standing.layer, standing.held, np.arange(len(own))
    carried = standing.by_group.reshape(-1, per_place, layer.groups).sum(axis=1)
    moved = np.zeros((len(own), layer.groups))
    np.add.at(moved, (row, held[other, slot] // layer.per_group), standing.slot_shares[other, slot])
    np.add.at(moved, (row, held[gpu, own] // layer.per_group), -standing.slot_shares[gpu, own])

    def reached(table: Floats) -> Floats:
        return reached_by_rule(table, layer.share_of_groups, layer.top_k, layer.limit)

    return reached(carried[gpu // per_place] + moved), reached(carried[other // per_place] - moved)


def _by_routes(
    standing: Standing, per_place: int, gpu: int, own: Integers, other: Integers, slot: Integers
) -> tuple[Floats, Floats]:
    layer, held = standing.layer, standing.held
    counts = standing.counts(per_place)
    place_of = np.empty(len(layer.loads), dtype=np.intp)
    place_of[held.ravel()] = np.arange(held.size) // (held.shape[1] * per_place)
    here, mine = gpu // per_place, held[gpu]
    used, weight = layer.used, layer.weight
    alone = used * (counts[:, place_of] == 1) * weight[:, None]  # tokens that need the place for this expert alone
    lost = alone.sum(axis=0)
    to_here = ((counts[:, here] == 0) * weight) @ used
    to_others = (used[:, mine] * weight[:, None]).T @ (counts == 0)
    from_here, with_others = alone[:, mine].T @ used, used[:, mine].T @ alone
    e, f = held[gpu, own], held[other, slot]
    now = standing.on_gpus if per_place == 1 else standing.on_nodes
    there = other // per_place
    at_here = now[here] - lost[e] + to_here[f] + from_here[own, f]
    at_there = now[there] - lost[f] + to_others[own, there] + with_others[own, f]
    return at_here, at_there
