"""The chain of a model, and what each kind of item in it costs on each shard.

A model is cut into pipeline chunks along a chain: the embedding, the decoder layers, the
multi-token-prediction layers, the loss head. Items of one type cost the same, so a chain is a row of
type numbers over a small table of prices.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import LayerKind, Model, Moe
from costmodels.configuration import Job, Recompute
from costmodels.layers import LayerBuilder
from costmodels.operators import Gemm, GroupedGemm, Operator, Passes, System, exposed_seconds
from costmodels.recompute import ATTENTION_MODULES, FEED_FORWARD_MODULES, FULL, modules_of
from costmodels.sharding import Column, Shards

PASSES = ("forward", "input_grad", "weight_grad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Item types in order. ``types[i]`` indexes the rows of ``ItemCosts``: 0 the embedding, then one
    per layer kind, then one per prediction-layer kind, last the head."""

    types: NDArray[np.int64]
    names: tuple[str, ...]
    decoder_layers: int
    mtp_layers: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many items there are of each type."""
        return np.bincount(self.types, minlength=len(self.names))


def chain_of(model: Model) -> Chain:
    kinds = len(model.kinds)
    mtp_kinds = sorted(set(model.mtp_layers))
    names = (
        "embedding",
        *(kind.name for kind in model.kinds),
        *(f"{model.kinds[k].name} (multi-token prediction)" for k in mtp_kinds),
        "head",
    )
    types = [
        0,
        *(1 + kind for kind in model.layers),
        *(1 + kinds + mtp_kinds.index(kind) for kind in model.mtp_layers),
        len(names) - 1,
    ]
    return Chain(
        types=np.array(types, dtype=np.int64),
        names=names,
        decoder_layers=len(model.layers),
        mtp_layers=len(model.mtp_layers),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemCosts:
    """Prices of every item type on every shard: arrays of shape [types, shards].

    Seconds are of one micro-batch, exposed communication inside. ``recompute_seconds``, ``saved_bytes``
    and ``rebuilt_bytes`` have the recompute levels asked for as first axis. ``rebuilt_bytes`` is what
    recompute rebuilds and holds at once, for one item at a time: a whole layer, or what was dropped in
    its attention or its feed-forward half (both norms counted with either).
    ``weight_grad_bytes``: of what was saved or rebuilt and of what the input gradient made, what the weight
    gradient reads: inputs of matrix products and gradients of their outputs, 32 sbh of the 34 sbh of a GPT
    layer (arXiv 2401.10241 table 1). ``widest_weight`` is the largest single weight matrix in elements.
    ``exposed`` holds the communication share of forward and of backward seconds by kind of group.
    """

    forward_seconds: Column
    input_grad_seconds: Column
    weight_grad_seconds: Column
    recompute_seconds: Column
    saved_bytes: Column
    rebuilt_bytes: Column
    weight_grad_bytes: Column
    dense_parameters: Column
    expert_parameters: Column
    widest_weight: Column
    exposed: Mapping[str, Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    """One row of the table before stacking."""

    passes: Passes
    recompute: Column
    saved: Column
    rebuilt: Column
    weight_grad: Column
    dense: Column
    expert: Column
    widest: Column
    exposed: Mapping[str, Column]


EXPOSED_KINDS = ("tensor", "context", "expert")


def item_costs(
    model: Model, job: Job, shards: Shards, system: System, levels: Sequence[Recompute] = ("none",)
) -> ItemCosts:
    """Price every item type of ``model`` on every shard, at each of the recompute ``levels``."""
    build = LayerBuilder(model.hidden, job, shards, system)
    price = _Pricer(job, shards, system, levels)
    items = [
        price.plain(build.embedding(model)),
        *(price.layer(build.layer(kind), kind) for kind in model.kinds),
        *(
            price.layer(build.prediction_layer(model, model.kinds[k]), model.kinds[k])
            for k in sorted(set(model.mtp_layers))
        ),
        price.plain(build.head(model)),
    ]
    return ItemCosts(
        forward_seconds=np.stack([item.passes.forward for item in items]),
        input_grad_seconds=np.stack([item.passes.input_grad for item in items]),
        weight_grad_seconds=np.stack([item.passes.weight_grad for item in items]),
        recompute_seconds=np.stack([item.recompute for item in items], axis=1),
        saved_bytes=np.stack([item.saved for item in items], axis=1),
        rebuilt_bytes=np.stack([item.rebuilt for item in items], axis=1),
        weight_grad_bytes=np.stack([item.weight_grad for item in items]),
        dense_parameters=np.stack([item.dense for item in items]),
        expert_parameters=np.stack([item.expert for item in items]),
        widest_weight=np.stack([item.widest for item in items]),
        exposed={kind: np.stack([item.exposed[kind] for item in items]) for kind in EXPOSED_KINDS},
    )


class _Pricer:
    """Adds up operators over the columns of ``shards``."""

    def __init__(self, job: Job, shards: Shards, system: System, levels: Sequence[Recompute]) -> None:
        self.job = job
        self.system = system
        self.shards = shards
        self.levels = levels
        self.zero = np.zeros(len(shards))

    def plain(self, operators: Sequence[Operator]) -> _Item:
        """The embedding or the head: never recomputed."""
        return self._sum(operators)

    def layer(self, operators: Sequence[Operator], kind: LayerKind) -> _Item:
        """A transformer layer, with the host's launch floor and the cost of routing."""
        item = self._sum(operators)
        if self.job.expert_overlap:
            item = self._exchanged_beside(item, operators)
        calibration = self.system.calibration
        host = calibration.graphed_host_fraction if self.job.cuda_graphs else 1.0
        routing = host * calibration.moe_layer_seconds if isinstance(kind.block, Moe) else 0.0
        waits = 1.0 + calibration.host_jitter_per_doubling * np.log2(self.shards.tp)
        floor = host * calibration.layer_floor_seconds * waits
        forward = np.maximum(item.passes.forward + routing, floor)
        backward = item.passes.input_grad + item.passes.weight_grad + routing
        stretch = np.maximum(backward, floor) / np.maximum(item.passes.input_grad + item.passes.weight_grad, 1e-30)
        passes = Passes(
            forward=forward,
            input_grad=item.passes.input_grad * stretch,
            weight_grad=item.passes.weight_grad * stretch,
        )
        whole = forward - self._not_redone(operators)
        by_level = [self._recomputed(operators, level, whole, routing) for level in self.levels]
        recompute, dropped, rebuilt = (np.stack(column) for column in zip(*by_level, strict=True))
        return replace(item, passes=passes, recompute=recompute, saved=item.saved - dropped, rebuilt=rebuilt)

    def _recomputed(
        self, operators: Sequence[Operator], level: Recompute, whole: Column, routing: float
    ) -> tuple[Column, Column, Column]:
        """Seconds of the forward pass that ``level`` runs again, bytes it drops, bytes it holds rebuilt.

        ``full`` runs the layer again, in ``whole`` seconds, from its input, what its first operator keeps;
        no level takes longer.
        """
        if level == FULL:
            dropped = self._bytes(operators[1:])
            return whole, dropped, dropped
        modules = modules_of(level)

        def dropped_by(some: Iterable[str]) -> Column:
            chosen = modules.intersection(some)
            return self._bytes(op for op in operators if not chosen.isdisjoint(op.dropped_by))

        redone = [op for op in operators if not modules.isdisjoint(op.redone_by)]
        again = sum((op.passes(self.system).forward for op in redone), start=self.zero + routing * ("moe" in modules))
        halves = dropped_by(ATTENTION_MODULES), dropped_by(FEED_FORWARD_MODULES)
        return np.minimum(again, whole), dropped_by(modules), np.maximum(*halves)

    def _bytes(self, operators: Iterable[Operator]) -> Column:
        return sum((self.zero + op.saved_bytes for op in operators), start=self.zero)

    def _not_redone(self, operators: Sequence[Operator]) -> Column:
        """PyTorch's non-reentrant checkpointing stops once the last saved tensor is rebuilt: the input of
        the layer's last GEMM. Megatron's runs the layer again as a whole."""
        if self.job.software == "megatron":
            return self.zero
        saved = [index for index, op in enumerate(operators) if np.any(op.saved_bytes)]
        return sum((op.passes(self.system).forward for op in operators[saved[-1] :]), start=self.zero)

    def _exchanged_beside(self, item: _Item, operators: Sequence[Operator]) -> _Item:
        """Dispatch and combine run beside the computation of another micro-batch's same layer."""
        contention = self.system.calibration.overlap_contention
        exchanges = [op.passes(self.system) for op in operators if op.work == "expert"]
        sent = sum((passes.forward for passes in exchanges), start=self.zero)
        returned = sum((passes.input_grad for passes in exchanges), start=self.zero)
        forward, input_grad, weight_grad = (getattr(item.passes, name) for name in PASSES)
        saved_forward = sent - exposed_seconds(sent, forward - sent, contention)
        saved_backward = returned - exposed_seconds(returned, input_grad - returned + weight_grad, contention)
        passes = Passes(
            forward=forward - saved_forward, input_grad=input_grad - saved_backward, weight_grad=weight_grad
        )
        exposed = {**item.exposed, "expert": item.exposed["expert"] - saved_forward - saved_backward}
        return replace(item, passes=passes, exposed=exposed)

    def _sum(self, operators: Sequence[Operator]) -> _Item:
        priced = [(op, op.passes(self.system)) for op in operators]

        def total(name: str) -> Column:
            return sum((getattr(passes, name) for _, passes in priced), start=self.zero)

        def exposed(kind: str) -> Column:
            return sum(
                (p.forward + p.input_grad + p.weight_grad for op, p in priced if op.work == kind),
                start=self.zero,
            )

        def held(expert: bool) -> Column:
            return sum((self.zero + op.parameters for op in operators if op.expert == expert), start=self.zero)

        widest = self.zero
        for op in operators:
            if op.work == "gemm":
                groups = getattr(op, "groups", 1.0)
                widest = np.maximum(widest, op.parameters / groups)
        products = [
            self.zero + op.weight_grad_bytes(self.system) for op in operators if isinstance(op, Gemm | GroupedGemm)
        ]
        nothing = np.zeros((len(self.levels), len(self.zero)))
        return _Item(
            passes=Passes(**{name: total(name) for name in PASSES}),
            recompute=nothing,
            saved=np.tile(self._bytes(operators), (len(self.levels), 1)),
            rebuilt=nothing,
            weight_grad=sum(products, start=self.zero),
            dense=held(expert=False),
            expert=held(expert=True),
            widest=widest,
            exposed={kind: exposed(kind) for kind in EXPOSED_KINDS},
        )
