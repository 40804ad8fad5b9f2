"""Which experts sit on which GPU: what is asked, and the shape of an answer.

A mixture-of-experts layer has E experts with loads w_e >= 0 (tokens, or any unit) and G GPUs with S slots
each, G S >= E. Every slot holds a replica of one expert, every expert has r_e >= 1 replicas, and each
replica carries w_e / r_e. That a load splits equally among replicas is an assumption: runtimes that prefer a
replica on the token's own GPU come close to it only on average.

The objective of a layer is its busiest GPU over the mean GPU,

    max_g (sum of w_e / r_e over the slots of g) / (sum of w / G),

and of all layers the mean of that over the layers. A layer without any load has the value 1.

With ``expert_groups`` K the experts are cut into K groups of consecutive numbers, E / K in each, and all
replicas of a group must be on one node (so that group-limited routing reaches few nodes); a node holds as
many groups as its slots allow.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.intp]

EMPTY = -1


@dataclass(frozen=True, slots=True)
class Placement:
    """Which expert each slot holds.

    ``physical_to_logical`` is [layers, gpus * slots] and slot p of a layer lives on GPU p // slots. Where the
    layers differ in ``slots_per_gpu`` [layers], a row uses its first gpus * slots_per_gpu[layer] entries and
    the rest is ``EMPTY``. ``Balance.check`` tells whether it suits a problem.
    """

    physical_to_logical: Integers
    gpus: int
    slots_per_gpu: tuple[int, ...]

    @property
    def layers(self) -> int:
        return len(self.physical_to_logical)

    def on_gpus(self, layer: int) -> Integers:
        """The experts of a layer as [gpus, slots of that layer]."""
        slots = self.slots_per_gpu[layer]
        return self.physical_to_logical[layer, : self.gpus * slots].reshape(self.gpus, slots)

    def replicas(self, experts: int) -> Integers:
        """How many slots hold each expert, [layers, experts]."""
        return np.stack(
            [np.bincount(self.on_gpus(layer).ravel(), minlength=experts) for layer in range(self.layers)]
        ).astype(np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """``loads`` is [layers, experts], ``slots_per_gpu`` [layers]; ``balance_problem`` makes one from looser input.

    ``gpus_per_node`` only matters with ``expert_groups``, which keeps each group of experts on one node.
    """

    loads: Floats
    gpus: int
    slots_per_gpu: tuple[int, ...]
    gpus_per_node: int
    expert_groups: int | None = None

    @property
    def layers(self) -> int:
        return len(self.loads)

    @property
    def experts(self) -> int:
        return int(self.loads.shape[1])

    @property
    def nodes(self) -> int:
        return self.gpus // self.gpus_per_node

    def mean_load(self) -> Floats:
        """Load of a GPU if all were alike, [layers]."""
        return np.asarray(self.loads.sum(axis=1) / self.gpus)

    def gpu_loads(self, placement: Placement) -> Floats:
        """Load of every GPU, [layers, gpus]."""
        share = self.loads / np.maximum(placement.replicas(self.experts), 1)
        return np.stack([share[k][placement.on_gpus(k)].sum(axis=1) for k in range(self.layers)])

    def max_over_mean(self, placement: Placement) -> Floats:
        """The objective of every layer, [layers]."""
        return over_mean(self.gpu_loads(placement).max(axis=1), self.mean_load())

    def check(self, placement: Placement) -> None:
        """Raises ``ValueError`` naming the layer and what is wrong: shape, unknown or missing experts, split groups."""
        if placement.gpus != self.gpus or placement.slots_per_gpu != self.slots_per_gpu:
            raise ValueError(
                f"placement: made for {placement.gpus} GPUs and slots {_brief(placement.slots_per_gpu)}, "
                f"not for {self.gpus} GPUs and slots {_brief(self.slots_per_gpu)}"
            )
        width = self.gpus * max(self.slots_per_gpu)
        if placement.physical_to_logical.shape != (self.layers, width):
            raise ValueError(
                f"physical_to_logical: has the shape {placement.physical_to_logical.shape}, not {(self.layers, width)}"
            )
        for layer in range(self.layers):
            self._check_layer(layer, placement.on_gpus(layer))
            if (placement.physical_to_logical[layer, self.gpus * self.slots_per_gpu[layer] :] != EMPTY).any():
                raise ValueError(f"physical_to_logical: layer {layer} holds experts behind its last slot")

    def _check_layer(self, layer: int, on_gpus: Integers) -> None:
        if on_gpus.min() < 0 or on_gpus.max() >= self.experts:
            raise ValueError(f"physical_to_logical: layer {layer} holds an expert outside 0 ... {self.experts - 1}")
        missing = np.setdiff1d(np.arange(self.experts), on_gpus)
        if len(missing):
            raise ValueError(f"physical_to_logical: layer {layer} has no slot for expert {missing[0]}")
        if self.expert_groups:
            group = on_gpus.reshape(self.nodes, -1) // (self.experts // self.expert_groups)
            nodes_of = np.zeros((self.expert_groups, self.nodes), dtype=bool)
            nodes_of[group, np.arange(self.nodes)[:, None]] = True
            split = np.flatnonzero(nodes_of.sum(axis=1) > 1)
            if len(split):
                raise ValueError(f"physical_to_logical: layer {layer} has group {split[0]} on more than one node")


def balance_problem(
    loads: ArrayLike,
    *,
    gpus: int,
    slots_per_gpu: int | ArrayLike,
    gpus_per_node: int | None = None,
    expert_groups: int | None = None,
) -> Balance:
    """A checked problem from ``loads`` [experts] or [layers, experts] and ``slots_per_gpu``, one or [layers].

    ``gpus_per_node`` None: all on one node. ``expert_groups`` None: any expert may go anywhere.
    Raises ``ValueError`` for loads of another shape, negative or undefined, fewer slots than experts, GPUs
    that do not fill their nodes, and groups that do not divide the experts or find no room on the nodes.
    """
    array = np.asarray(loads, dtype=np.float64)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or not array.size:
        raise ValueError(f"loads: has the shape {np.shape(loads)}; give [experts] or [layers, experts]")
    bad = np.argwhere(~(np.isfinite(array) & (array >= 0)))
    if len(bad):
        layer, expert = bad[0]
        raise ValueError(
            f"loads: layer {layer}, expert {expert} is {array[layer, expert]}; "
            "every load must be a finite number and not negative"
        )
    layers, experts = array.shape
    if gpus < 1:
        raise ValueError(f"gpus: {gpus}; at least one is needed")
    slots = _slots(slots_per_gpu, layers)
    for layer, count in enumerate(slots):
        if count * gpus < experts:
            raise ValueError(
                f"slots_per_gpu: layer {layer} has {count} slots on each of {gpus} GPUs for {experts} experts; "
                f"at least {-(-experts // gpus)} are needed"
            )
    per_node = gpus if gpus_per_node is None else gpus_per_node
    if per_node < 1 or gpus % per_node:
        raise ValueError(f"gpus_per_node: {per_node} does not divide the {gpus} GPUs")
    if expert_groups is not None:
        _check_groups(experts, expert_groups, gpus // per_node, per_node * min(slots))
    frozen = array.copy()
    frozen.flags.writeable = False
    return Balance(loads=frozen, gpus=gpus, slots_per_gpu=slots, gpus_per_node=per_node, expert_groups=expert_groups)


def over_mean(largest: Floats, mean: Floats) -> Floats:
    """largest / mean, and 1 where there is no load at all."""
    return np.where(mean > 0, largest / np.where(mean > 0, mean, 1.0), 1.0)


def _slots(slots_per_gpu: int | ArrayLike, layers: int) -> tuple[int, ...]:
    given = np.asarray(slots_per_gpu)
    if given.ndim > 1 or (given.ndim == 1 and len(given) != layers):
        raise ValueError(
            f"slots_per_gpu: has the shape {given.shape}; give one figure, or one for each of {layers} layers"
        )
    if not np.issubdtype(given.dtype, np.integer) or (given < 1).any():
        raise ValueError(f"slots_per_gpu: {slots_per_gpu!r}; whole numbers from 1 on are needed")
    return tuple(int(count) for count in np.broadcast_to(given, (layers,)))


def _check_groups(experts: int, groups: int, nodes: int, slots_of_node: int) -> None:
    if groups < 1 or experts % groups:
        raise ValueError(f"expert_groups: {groups} does not divide the {experts} experts")
    if groups < nodes:
        raise ValueError(f"expert_groups: {groups} groups leave some of {nodes} nodes without an expert to hold")
    if nodes * (slots_of_node // (experts // groups)) < groups:
        raise ValueError(
            f"expert_groups: {groups} groups of {experts // groups} experts find no room on {nodes} nodes "
            f"of {slots_of_node} slots; give more slots per GPU or more groups"
        )


def _brief(slots: tuple[int, ...]) -> str:
    return str(slots[0]) if len(set(slots)) == 1 else str(list(slots))
