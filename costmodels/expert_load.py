"""Layers whose experts are not used evenly: the busiest rank of each, by how many ranks share the experts.

Kernels and exchanges of a layer wait for the rank with the most routed tokens. How far it is above the mean
depends on the layer and on ``ep``; a model whose layers carry these factors is priced like any other, each layer
with a load of its own being a layer kind of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from costmodels.architecture import LayerKind, Model, Moe
from costmodels.sharding import Column, Degree

Factors = Mapping[int, Sequence[float]]
"""By ``ep``: of each layer with experts, first to last, tokens of the busiest expert rank over the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedMoe(Moe):
    """``busiest``: (ep, tokens of the busiest rank over the mean) for every ``ep`` that is priced."""

    busiest: tuple[tuple[int, float], ...]

    def busiest_at(self, ep: Degree) -> Column:
        """The factor of each of ``ep`` [n]; raises ``ValueError`` for one without."""
        table = dict(self.busiest)
        missing = sorted(set(ep.tolist()) - set(table))
        if missing:
            raise ValueError(f"ep {missing[0]}: no load of its busiest expert rank; there is one for {sorted(table)}")
        return np.array([table[e] for e in ep.tolist()])


def expert_layers(model: Model, *, prediction: bool = False) -> tuple[int, ...]:
    """Numbers of the decoder layers with experts; with ``prediction`` those of prediction layers behind them, which
    count on from the last decoder layer."""
    kinds = (*model.layers, *model.mtp_layers) if prediction else model.layers
    return tuple(layer for layer, kind in enumerate(kinds) if isinstance(model.kinds[kind].block, Moe))


def loaded_model(model: Model, factors: Factors) -> Model:
    """``model`` with the load of each layer with experts: ``factors[ep]`` has one figure for each decoder layer with
    experts, and one for each such prediction layer or none: these then get the mean of the others (assumed).
    Layers of one kind with the same figures stay one kind; kinds without experts stay.

    Raises ``ValueError`` for factors of another number of layers, or below 1.
    """
    layers, decoder_layers = expert_layers(model, prediction=True), len(expert_layers(model))
    whole = {}
    for ep, each in factors.items():
        if len(each) not in (decoder_layers, len(layers)):
            raise ValueError(f"factors[{ep}]: {len(each)} figures for {decoder_layers} layers with experts")
        if not all(1 <= figure < np.inf for figure in each):
            raise ValueError(f"factors[{ep}]: the busiest rank over the mean is finite and at least 1")
        mean = float(np.mean(each)) if len(each) else 1.0
        whole[ep] = [*map(float, each), *[mean] * (len(layers) - len(each))]
    kinds: list[LayerKind] = []
    where: dict[LayerKind, int] = {}
    numbers = []
    position = {layer: k for k, layer in enumerate(layers)}
    for layer, number in enumerate((*model.layers, *model.mtp_layers)):
        kind = model.kinds[number]
        if layer in position:
            own = tuple((ep, whole[ep][position[layer]]) for ep in sorted(whole))
            kind = replace(kind, block=_loaded(kind.block, own))
        if kind not in where:
            where[kind] = len(kinds)
            kinds.append(kind)
        numbers.append(where[kind])
    decoder = len(model.layers)
    return replace(model, kinds=tuple(kinds), layers=tuple(numbers[:decoder]), mtp_layers=tuple(numbers[decoder:]))


def without_load(kind: LayerKind) -> LayerKind:
    """The layer kind that ``kind`` is but for its load."""
    block = kind.block
    if not isinstance(block, LoadedMoe):
        return kind
    return replace(kind, block=Moe(**{field.name: getattr(block, field.name) for field in fields(Moe)}))


def _loaded(block: object, busiest: tuple[tuple[int, float], ...]) -> LoadedMoe:
    assert isinstance(block, Moe)
    return LoadedMoe(**{field.name: getattr(block, field.name) for field in fields(Moe)}, busiest=busiest)


def lightened(model: Model, groups: int) -> Model:
    """``model`` with fewer kinds: the loads of each kind's layers in ``groups`` at most, every layer with the least
    factors of its group. No layer takes longer or keeps more than before. ``model`` itself where none has a load."""
    families: dict[LayerKind, list[int]] = {}
    for number, kind in enumerate(model.kinds):
        if isinstance(kind.block, LoadedMoe):
            families.setdefault(without_load(kind), []).append(number)
    merged = dict(enumerate(model.kinds))
    for family, numbers in families.items():
        tables = {number: dict(model.kinds[number].block.busiest) for number in numbers}  # type: ignore[union-attr]
        ranked = sorted(numbers, key=lambda number: (sum(tables[number].values()), number))
        for some in np.array_split(np.array(ranked), min(groups, len(ranked))):
            least = {ep: min(tables[number][ep] for number in some.tolist()) for ep in tables[numbers[0]]}
            kind = replace(family, block=_loaded(family.block, tuple(sorted(least.items()))))
            merged |= dict.fromkeys(some.tolist(), kind)
    if not families:
        return model
    kinds = tuple(dict.fromkeys(merged.values()))
    number_of = {kind: number for number, kind in enumerate(kinds)}
    return replace(
        model,
        kinds=kinds,
        layers=tuple(number_of[merged[number]] for number in model.layers),
        mtp_layers=tuple(number_of[merged[number]] for number in model.mtp_layers),
    )
