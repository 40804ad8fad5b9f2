"""The price of one configuration under one cut of the chain: what its stages take and hold, and its schedule run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job, Recompute
from costmodels.hardware import Cluster
from costmodels.placement import stage_of_chunk
from costmodels.price import ChunkPrice, Memory, StagePrice, StepPrice
from costmodels.recompute import FIT, level_of_first
from costmodels.sharding import Column
from costmodels.step import Cut, StepModel
from costmodels.timeline import Order, Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """What each chunk, [pp x vp], and each stage, [pp], takes and holds whatever the others do. ``forward``,
    ``recompute``, ``input_grad``, ``weight_grad``: seconds of a chunk's passes of one micro-batch; ``gradient``,
    ``optimizer``, ``gather``: of a stage once a step; ``vocabulary``: of its passes of a split vocabulary in a step;
    ``dense``, ``experts``: parameters on a rank; ``exposed``: seconds of a micro-batch by kind of communication."""

    forward: Column
    recompute: Column
    input_grad: Column
    weight_grad: Column
    gradient: Column
    optimizer: Column
    gather: Column
    vocabulary: Column
    dense: Column
    experts: Column
    memory: tuple[Memory, ...]
    levels: tuple[Recompute, ...]
    exposed: Mapping[str, Column]

    @classmethod
    def by_stage(cls, parts: Sequence["Pieces"], stage_of_chunk: NDArray[np.int32]) -> "Pieces":
        """Of stages that are those of unlike machines: stage s as it is in ``parts[s]``."""
        chunk_names = ("forward", "recompute", "input_grad", "weight_grad")
        found: dict[str, Any] = {}
        for name in (member.name for member in fields(cls)):
            if name == "exposed":
                kinds = parts[0].exposed
                found[name] = {k: np.array([part.exposed[k][s] for s, part in enumerate(parts)]) for k in kinds}
            elif name in chunk_names:
                found[name] = np.array([getattr(parts[s], name)[c] for c, s in enumerate(stage_of_chunk)])
            else:
                values = [getattr(part, name)[s] for s, part in enumerate(parts)]
                found[name] = tuple(values) if name in ("memory", "levels") else np.array(values)
        return cls(**found)


def pieces_of(step: StepModel, index: int, cut: Cut) -> Pieces:
    """Of configuration ``index`` of ``step``, its chain cut at ``cut``."""
    row = step.columns.row(index)
    forward, recompute, input_grad, weight_grad = step.chunk_seconds(index, cut)
    gradient, optimizer, gather = step.state_seconds(index, cut)
    vocabulary, _ = step.shares(index)
    dense, experts = step.parameters
    types, shard = step.chain.types, step.shard_index[index]
    held = step.stage_positions(index, cut)
    by_kind = {kind: table[types, shard] for kind, table in step.costs.exposed.items()}
    by_kind["sharded-state"] = step.along(lambda some: np.add(*some.exposed_traffic), index, cut)
    fitted = step.fitted_layers(index, cut) if row.recompute == FIT else ()
    return Pieces(
        forward=forward,
        recompute=recompute,
        input_grad=input_grad,
        weight_grad=weight_grad,
        gradient=gradient,
        optimizer=optimizer,
        gather=gather,
        vocabulary=np.asarray(vocabulary.busy_seconds(int(step.microbatches[index]))),
        dense=np.array([float(dense[types[at], index].sum()) for at in held]) + vocabulary.parameters,
        experts=np.array([float(experts[types[at], index].sum()) for at in held]),
        memory=step.memory(index, cut),
        levels=tuple(level_of_first(layers) for layers in fitted) if fitted else (row.recompute,) * row.pp,
        exposed={k: np.array([float(values[at].sum()) for at in held]) for k, values in by_kind.items()},
    )


def price_step(
    model: Model,
    cluster: Cluster,
    job: Job,
    calibration: Calibration,
    configuration: Configuration,
    boundaries: Sequence[int],
    order: Order | None = None,
    vocabulary_rows: Sequence[int] | None = None,
) -> StepPrice:
    """Price one configuration whose chain is cut at ``boundaries``.

    ``boundaries``: pp x vp + 1 increasing indices into the chain (embedding, decoder layers,
    multi-token-prediction layers, head), first 0, last its length; chunk c runs on the stage that
    ``costmodels.placement`` says. ``order`` is what the stages run where ``schedule`` is ``best``;
    ``vocabulary_rows`` [pp] what each rank of a stage holds of a split vocabulary, None for even shares. Raises
    ``ValueError`` for rows of a vocabulary that is whole or interlaced, or not one figure a stage.
    """
    if vocabulary_rows is not None and len(vocabulary_rows) != configuration.pp:
        raise ValueError(f"vocabulary_rows: {len(vocabulary_rows)} figures for pp={configuration.pp}; one a stage")
    if vocabulary_rows is not None and configuration.vocabulary in ("whole", "interlaced"):
        raise ValueError(f"vocabulary_rows: vocabulary={configuration.vocabulary} has no shares by stage; leave out")
    step = StepModel(model, cluster, job, calibration, Columns.of([configuration]))
    return price_cut(step.running(order, vocabulary_rows), 0, boundaries)


def price_cut(step: StepModel, index: int, cut: Cut) -> StepPrice:
    """``price_step`` for configuration ``index`` of an existing ``StepModel``."""
    pieces = pieces_of(step, index, cut)
    timeline = step.timeline(index, pieces.forward, pieces.recompute + pieces.input_grad, pieces.weight_grad)
    synchronised = float((timeline.device_end_seconds + pieces.gradient).max())
    return assemble(
        pieces,
        timeline,
        stage_of_chunk=stage_of_chunk(step.columns.row(index)),
        links=step.link_seconds(index),
        microbatches=int(step.microbatches[index]),
        synchronised_seconds=synchronised,
        optimizer_seconds=float(pieces.optimizer.max()),
        parameter_seconds=float(pieces.gather.max()),
        straggler=step.straggler,
        step_seconds=step.calibration.step_seconds,
    )


def assemble(
    pieces: Pieces,
    timeline: Timeline,
    *,
    stage_of_chunk: NDArray[np.int32],
    links: Column,
    microbatches: int,
    synchronised_seconds: float,
    optimizer_seconds: float,
    parameter_seconds: float,
    straggler: float,
    step_seconds: float,
) -> StepPrice:
    """The step of which ``timeline`` is the pipeline; gradients are equal everywhere after
    ``synchronised_seconds``, the update takes ``optimizer_seconds``, the gather of weights ``parameter_seconds``."""
    busy = timeline.busy_seconds
    makespan = float(timeline.device_end_seconds.max())
    body = synchronised_seconds + optimizer_seconds + parameter_seconds
    overhead = step_seconds + (straggler - 1.0) * body
    stages = []
    for stage in range(len(pieces.gradient)):
        own = np.flatnonzero(stage_of_chunk == stage)
        stages.append(
            StagePrice(
                chunks=tuple(
                    ChunkPrice(
                        forward_seconds=float(pieces.forward[c]),
                        input_grad_seconds=float(pieces.input_grad[c]),
                        weight_grad_seconds=float(pieces.weight_grad[c]),
                        recompute_seconds=float(pieces.recompute[c]),
                    )
                    for c in own
                ),
                send_seconds=float(links[stage]) if stage < len(links) else 0.0,
                busy_seconds=float(busy[stage]),
                vocabulary_seconds=float(pieces.vocabulary[stage]),
                dense_parameters=float(pieces.dense[stage]),
                expert_parameters=float(pieces.experts[stage]),
                recompute=pieces.levels[stage],
                memory=pieces.memory[stage],
            )
        )
    return StepPrice(
        step_seconds=body + overhead,
        pipeline_seconds=makespan,
        gradient_seconds=synchronised_seconds - makespan,
        optimizer_seconds=optimizer_seconds,
        parameter_seconds=parameter_seconds,
        overhead_seconds=overhead,
        bubble_fraction=max(0.0, 1.0 - float(busy.mean()) / makespan),
        exposed_seconds={kind: microbatches * float(seconds.max()) for kind, seconds in pieces.exposed.items()},
        stages=tuple(stages),
    )
