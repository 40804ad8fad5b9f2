"""What ``plan experts`` answers: a placement of experts with its figures, its bound, and what stands beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Rows: TypeAlias = tuple[tuple[int, ...], ...]
Objective = Literal["balance", "transitions", "traffic", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTime:
    """Forward seconds of a layer's expert block: the exchange of tokens there and back, all kernels that wait for the
    busiest GPU, and what no placement changes. ``nodes_per_token`` that a token's experts stand on, where its
    copies to a node are merged."""

    exchange_seconds: float
    expert_seconds: float
    other_seconds: float
    nodes_per_token: float | None

    @property
    def seconds(self) -> float:
        return self.exchange_seconds + self.expert_seconds + self.other_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A placement of all layers between the node-limited extreme (fewest nodes a token) and the global one (most even
    load): means over the layers, and seconds of all."""

    max_over_mean: float
    nodes_per_token: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Derived:
    """What follows from a placement and counts, by layer: busiest over mean GPU; of each step to the next layer the
    transitions, those that leave their GPU and node, and their cost; copies of a token to other GPUs and nodes
    (both empty without routes, or with replicas); its seconds (empty for other objectives than time)."""

    max_over_mean: tuple[float, ...]
    transitions: tuple[float, ...]
    leaving_gpu: tuple[float, ...]
    leaving_node: tuple[float, ...]
    cost: tuple[float, ...]
    gpu_copies: tuple[float, ...]
    node_copies: tuple[float, ...]
    times: tuple[LayerTime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFigures:
    """Of one layer: ``layer`` is the model's number, ``max_over_mean`` the busiest GPU over the mean one and
    ``lower_bound`` what no placement of this layer is below.

    Shares are of the transitions to the next layer (None for the last one, or without counts); copies are how
    many other GPUs, and other nodes, a token is sent to (None without routes, or with replicas).
    """

    layer: int
    max_over_mean: float
    lower_bound: float
    transition_share_leaving_gpu: float | None = None
    transition_share_leaving_node: float | None = None
    gpu_copies_per_token: float | None = None
    node_copies_per_token: float | None = None
    time: LayerTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementFigures:
    """The same over all layers: means over the layers of ``max_over_mean`` and copies, the worst layer's
    ``worst_max_over_mean``, shares of all transitions, the sum of ``time``; ``value`` is the objective, where it is
    defined."""

    name: str
    value: float | None
    max_over_mean: float | None = None
    worst_max_over_mean: float | None = None
    transition_share_leaving_gpu: float | None = None
    transition_share_leaving_node: float | None = None
    gpu_copies_per_token: float | None = None
    node_copies_per_token: float | None = None
    time: LayerTime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Figures on counts that the placement has not seen, ours first, then the baselines."""

    figures: tuple[PlacementFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """From the current placement: ``slots`` that get another expert of ``of_slots``; their bytes, None where
    the size of an expert is not known. Which GPU is which is kept or, with ``relabelled``, chosen for few moves. For
    objective time, ``seconds`` until the GPU that gets most has its weights, and the forward passes that save as much
    (None: none does)."""

    slots: int
    of_slots: int
    bytes: float | None
    relabelled: bool
    seconds: float | None = None
    pays_after_passes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether the placement is worth it: gains are shares of the baseline's value, ``noise`` two standard errors
    of the held-out gain over the layers."""

    worth_it: bool
    baseline: str
    gain: float
    held_out_gain: float | None
    noise: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertsResult:
    """``physical_to_logical`` [layers][gpus * slots of the layer] is the expert in each slot; slot p lives on GPU
    p // slots. ``value`` is the objective: mean over the layers of max over mean (balance), cost per transition, by
    default the share that leaves the GPU (transitions), weighted copies per token (traffic), seconds (time).
    ``lower_bound`` is what no placement is below, in the same unit."""

    name: str
    objective: Objective
    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    stop: str
    method: str
    value: float | None
    lower_bound: float | None
    gap: float | None
    seconds: float
    seed: int | None
    gpus: int
    gpus_per_node: int
    experts: int
    slots_per_gpu: tuple[int, ...]
    layer_ids: tuple[int, ...]
    hidden_layers: int
    max_over_mean: float | None = None
    worst_max_over_mean: float | None = None
    transition_share_leaving_gpu: float | None = None
    transition_share_leaving_node: float | None = None
    gpu_copies_per_token: float | None = None
    node_copies_per_token: float | None = None
    baselines: tuple[PlacementFigures, ...] = ()
    held_out: HeldOut | None = None
    verdict: Verdict | None = None
    moves: Moves | None = None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    time: LayerTime | None = None
    curve: tuple[CurvePoint, ...] = ()
    per_layer: tuple[LayerFigures, ...] = ()
    physical_to_logical: Rows = ()
