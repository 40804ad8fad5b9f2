"""Experts for training: from recorded loads to a renumbering of every layer's experts, for each ``ep``.

Megatron deals experts to ranks in order and holds each once, so that a placement is a permutation of the experts'
numbers. Layers are independent, and so is what one ``ep`` needs from another: the busiest rank of each layer is found
once for every ``ep`` before configurations are compared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from costmodels.architecture import Model, Moe
from costmodels.configuration import Configuration, Job
from costmodels.expert_load import expert_layers, loaded_model
from costmodels.groups import group_shape
from planner.plan.experts import ExpertGroup, ExpertLoadsInput, Experts, OtherPlacement
from planner.readers.arrays import refuse
from planner.readers.expert_loads import Floats, read_loads
from planner.specs.errors import Problem, SpecError
from solvers.experts.balance import balance
from solvers.experts.problem import balance_problem

SAME = 1e-12
"""A placement that gains less over contiguous numbers is not worth a permutation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertLoads:
    """``tokens`` [layers, experts] of the model's ``layers`` (``costmodels.expert_load.expert_layers``)."""

    tokens: Floats
    layers: tuple[int, ...]

    def as_input(self) -> ExpertLoadsInput:
        whole = bool((self.tokens == np.floor(self.tokens)).all() and self.tokens.max() < 2**53)
        tokens = (self.tokens.astype(np.int64) if whole else self.tokens).tolist()
        return ExpertLoadsInput(layers=self.layers, tokens=tuple(tuple(row) for row in tokens))

    @classmethod
    def of_input(cls, given: ExpertLoadsInput) -> "ExpertLoads":
        return cls(tokens=np.array(given.tokens, dtype=np.float64), layers=given.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumbering:
    """Of every layer with experts, at one ``ep``; fields as in ``planner.plan.experts.Experts``."""

    new_to_old: tuple[tuple[int, ...], ...]
    imbalance: tuple[float, ...]
    contiguous: tuple[float, ...]
    lower_bound: tuple[float, ...]


def load_expert_loads(source: str | Path, model: Model, drop_warmup: int | None = None) -> ExpertLoads:
    """Loads of the experts of ``model`` from a file that ``planner.readers.expert_loads`` reads.

    Rows are its layers with experts, prediction layers included or not, or all its decoder layers, dense ones without
    a token. Raises ``SpecError`` for a model without experts, other layers or experts, layers without a token, and
    shares that no routing to ``top_k`` different experts gives.
    """
    file = str(source)
    layers = expert_layers(model)
    if not layers:
        refuse(file, f"{model.name} has no experts: leave the loads out")
    trace = read_loads(file, drop_warmup=drop_warmup)
    loads, all_layers = trace.loads, expert_layers(model, prediction=True)
    if trace.layer_ids is not None and trace.layer_ids not in (layers, all_layers):
        refuse(file, f"holds layers {_brief(trace.layer_ids)}; {model.name} has experts in {_brief(layers)}")
    if trace.layer_ids is None and len(loads) == len(model.layers) > len(layers):
        dense = [layer for layer in range(len(loads)) if layer not in layers]
        if not loads[dense].any():
            loads = loads[list(layers)]
    if len(loads) not in (len(layers), len(all_layers)):
        refuse(file, f"has {len(loads)} layers; {model.name} has {len(layers)} with experts")
    layers = layers if len(loads) == len(layers) else all_layers
    found = ExpertLoads(tokens=loads, layers=layers)
    _check(found, model, file)
    return found


def _check(loads: ExpertLoads, model: Model, file: str) -> None:
    kinds = (*model.layers, *model.mtp_layers)
    for layer, row in zip(loads.layers, loads.tokens, strict=True):
        block = model.kinds[kinds[layer]].block
        assert isinstance(block, Moe)
        if len(row) != block.experts:
            refuse(file, f"has {len(row)} experts; layer {layer} of {model.name} has {block.experts}")
        if not row.sum() > 0:
            refuse(file, f"layer {layer}: no token: record again")
        if row.max() > row.sum() / block.top_k * (1 + 1e-9):
            share = row.max() / row.sum()
            message = (
                f"layer {layer}, expert {int(row.argmax())}: {share:.1%} of the tokens; routed to {block.top_k} "
                f"different experts each, at most {1 / block.top_k:.1%}: loads of another model?"
            )
            refuse(file, message)


def check_loads(model: Model, job: Job, loads: ExpertLoads) -> None:
    """Raises ``SpecError`` where a job states what the loads tell, or they are of other layers than the model's."""
    if job.expert_imbalance != 1.0:
        message = "is what the expert loads tell, layer by layer: leave one of them out"
        value = f"{job.expert_imbalance:g}"
        raise SpecError([Problem(file="job", key="expert_imbalance", value=value, message=message)])
    if loads.layers not in (expert_layers(model), expert_layers(model, prediction=True)) or not loads.layers:
        message = f"are of layers {_brief(loads.layers)}; {model.name} has experts in {_brief(expert_layers(model))}"
        raise SpecError([Problem(file="expert loads", key="layers", value="", message=message)])
    _check(loads, model, "expert loads")


def renumber(loads: Floats, ep: int) -> Renumbering:
    """The best permutation found for ``loads`` [layers, experts] over ``ep`` ranks, which divides the experts; the old
    numbers where nothing gains on them. No chance is involved: the same loads give the same answer."""
    layers, experts = loads.shape
    each = experts // ep
    mean = loads.sum(axis=1) / ep
    contiguous = loads.reshape(layers, ep, each).sum(axis=2).max(axis=1) / mean
    ordered = np.sort(loads, axis=1)
    bound = np.maximum((ordered[:, -1] + ordered[:, : each - 1].sum(axis=1)) / mean, 1.0)
    held = np.broadcast_to(np.arange(experts).reshape(ep, each), (layers, ep, each)).copy()
    reached = contiguous
    if 1 < ep < experts:
        choice = balance(balance_problem(loads, gpus=ep, slots_per_gpu=each), seed=0).choice
        assert choice is not None
        placed = np.sort(choice.placement.physical_to_logical.reshape(layers, ep, each), axis=2)
        carried = np.take_along_axis(loads, placed.reshape(layers, -1), axis=1).reshape(placed.shape)
        found = carried.sum(axis=2).max(axis=1) / mean
        better = found < contiguous * (1 - SAME)
        held[better], reached = placed[better], np.where(better, found, contiguous)
    return Renumbering(
        new_to_old=tuple(tuple(row) for row in held.reshape(layers, -1).tolist()),
        imbalance=tuple(np.maximum(reached, 1.0).tolist()),
        contiguous=tuple(np.maximum(contiguous, 1.0).tolist()),
        lower_bound=tuple(np.minimum(bound, np.maximum(reached, 1.0)).tolist()),
    )


def renumber_all(loads: ExpertLoads, degrees: Iterable[int]) -> dict[int, Renumbering]:
    """By ``ep``."""
    return {ep: renumber(loads.tokens, ep) for ep in sorted(set(degrees))}


def priced_model(model: Model, renumberings: Mapping[int, Renumbering]) -> Model:
    """``model`` with the load of each layer's busiest rank, for every ``ep`` of ``renumberings``."""
    return loaded_model(model, {ep: found.imbalance for ep, found in renumberings.items()})


def experts_section(
    loads: ExpertLoads,
    renumberings: Mapping[int, Renumbering],
    configuration: Configuration,
    alternatives: Iterable[int],
    domain_gpus: int,
) -> Experts:
    """For the plan's own ``configuration``; ``alternatives``: the ``ep`` of those that lost."""
    own = renumberings[configuration.ep]
    shape = group_shape(configuration.ep, configuration.etp, domain_gpus)
    return Experts(
        group=ExpertGroup(
            size=configuration.ep,
            stride=configuration.etp,
            ranks_per_domain=int(shape.ranks_per_domain),
            domains=int(shape.domains),
        ),
        layers=loads.layers,
        imbalance=own.imbalance,
        contiguous=own.contiguous,
        lower_bound=own.lower_bound,
        new_to_old=own.new_to_old,
        others=tuple(
            OtherPlacement(ep=ep, imbalance=renumberings[ep].imbalance)
            for ep in sorted(set(alternatives) - {configuration.ep})
        ),
    )


def _brief(layers: tuple[int, ...]) -> str:
    if layers and layers == tuple(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]} to {layers[-1]}"
    return ", ".join(map(str, layers[:8])) + (" ..." if len(layers) > 8 else "") or "none"
