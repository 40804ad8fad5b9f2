"""Spells out what the plan writes as a rule: any rank's place, its groups, a stage's operations.

Nothing here builds a list over all ranks; every answer costs what it returns.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from costmodels.architecture import Moe
from costmodels.timeline import BACKWARD, FORWARD, INPUT_GRAD, WEIGHT_GRAD, simulate
from planner.plan.document import Plan
from planner.plan.order import order_of
from planner.plan.skip_times import skip_operations

GroupKind = Literal["tp", "cp", "dp", "pp", "etp", "ep", "edp"]
Pass = Literal["forward", "backward", "input_grad", "weight_grad"]
KINDS: dict[int, Pass] = {
    FORWARD: "forward",
    BACKWARD: "backward",
    INPUT_GRAD: "input_grad",
    WEIGHT_GRAD: "weight_grad",
}
SKIP_KINDS: dict[str, Pass] = {"F": "forward", "B": "backward"}
DENSE_AXES: tuple[GroupKind, ...] = ("tp", "cp", "dp", "pp")
EXPERT_AXES: tuple[GroupKind, ...] = ("etp", "ep", "edp", "pp")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPlacement:
    """Where a rank runs and what it holds. ``layers`` are [first, end) runs of decoder layers."""

    rank: int
    node: int
    local_gpu: int
    tp: int
    cp: int
    dp: int
    pp: int
    etp: int
    ep: int
    edp: int
    stage: int
    chunks: tuple[int, ...]
    layers: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One pass of one micro-batch through one chunk, with its start and end in the simulated step."""

    kind: Pass
    chunk: int
    microbatch: int
    start_seconds: float
    end_seconds: float


def coordinates(plan: Plan, rank: int) -> RankPlacement:
    """Place of ``rank`` in 0..world_size-1; ``ValueError`` for another."""
    own = {**_decode(plan, rank, EXPERT_AXES), **_decode(plan, rank, DENSE_AXES)}
    chunks = plan.stages[own["pp"]].chunks
    node, local_gpu = divmod(rank, plan.ranks.gpus_per_node)
    return RankPlacement(
        rank=rank,
        node=node,
        local_gpu=local_gpu,
        stage=own["pp"],
        chunks=tuple(chunk.chunk for chunk in chunks),
        layers=tuple(chunk.layers for chunk in chunks if chunk.layers is not None),
        **own,
    )


def experts(plan: Plan, layer: int, rank: int) -> tuple[int, ...]:
    """Experts of decoder layer ``layer`` (by the model's own numbers; prediction layers count on) that ``rank`` holds,
    in order: placed by load, or dealt out as they come.

    ``ValueError`` for a rank that the plan does not have and for a layer without experts.
    """
    model = plan.model()
    kinds = (*model.layers, *model.mtp_layers)
    block = model.kinds[kinds[layer]].block if 0 <= layer < len(kinds) else None
    if not isinstance(block, Moe):
        raise ValueError(f"layer {layer}: the model has no experts there")
    each = block.experts // plan.ranks.sizes["ep"]
    first = _decode(plan, rank, EXPERT_AXES)["ep"] * each
    placed = plan.experts
    if placed is None or layer not in placed.layers:
        return tuple(range(first, first + each))
    return placed.new_to_old[placed.layers.index(layer)][first : first + each]


def groups(plan: Plan, kind: GroupKind, rank: int) -> tuple[int, ...]:
    """Ranks of the ``kind`` group that ``rank`` belongs to, in group order."""
    axes = DENSE_AXES if kind in DENSE_AXES else EXPERT_AXES
    stride = 1
    for axis in axes[: axes.index(kind)]:
        stride *= plan.ranks.sizes[axis]
    first = rank - _decode(plan, rank, axes)[kind] * stride
    return tuple(range(first, first + stride * plan.ranks.sizes[kind], stride))


def _decode(plan: Plan, rank: int, axes: tuple[GroupKind, ...]) -> dict[str, int]:
    if not 0 <= rank < plan.ranks.world_size:
        raise ValueError(f"rank {rank}: the plan has ranks 0 to {plan.ranks.world_size - 1}")
    found: dict[str, int] = {}
    rest = rank
    for axis in axes:
        rest, found[axis] = divmod(rest, plan.ranks.sizes[axis])
    return found


def operations(plan: Plan, stage: int) -> tuple[Operation, ...]:
    """What every rank of ``stage`` runs in a step, in order, timed by the event simulation; where the plan skips
    stages, what its skip section has the stage run, backward passes whole.

    ``ValueError`` for a stage that the plan does not have.
    """
    if not 0 <= stage < len(plan.stages):
        raise ValueError(f"stage {stage}: the plan has stages 0 to {len(plan.stages) - 1}")
    if plan.skip is not None:
        chunk = plan.stages[stage].chunks[0].chunk
        return tuple(
            Operation(
                kind=SKIP_KINDS[one.op],
                chunk=chunk,
                microbatch=one.microbatch,
                start_seconds=one.start,
                end_seconds=one.end,
            )
            for one in skip_operations(plan, plan.skip)[stage]
        )
    order = order_of(plan)
    if order.splits_vocabulary:
        raise ValueError(f"schedule {plan.schedule.name}: the passes of a split vocabulary are not spelled out")
    chunks = sorted((chunk for held in plan.stages for chunk in held.chunks), key=lambda c: c.chunk)
    forward = np.array([chunk.forward_seconds for chunk in chunks])
    input_grad = np.array([chunk.recompute_seconds + chunk.input_grad_seconds for chunk in chunks])
    weight_grad = np.array([chunk.weight_grad_seconds for chunk in chunks])
    sends = _sends(plan, order.device_of_chunk.tolist())
    if order.splits_backward:
        timeline = simulate(order, forward, input_grad, sends, weight_grad_seconds=weight_grad)
    else:
        timeline = simulate(order, forward, input_grad + weight_grad, sends)
    columns = (order.kind, order.chunk, order.microbatch, timeline.start, timeline.end)
    return tuple(
        Operation(kind=KINDS[kind], chunk=chunk, microbatch=microbatch, start_seconds=start, end_seconds=end)
        for kind, chunk, microbatch, start, end in zip(*(column[stage].tolist() for column in columns), strict=True)
    )


def _sends(plan: Plan, stages: list[int]) -> list[float]:
    """Seconds from each chunk to the next, by the stages that hold them: what the earlier stage's send takes,
    or, from the last stage to the first, the last one's; nothing within a stage."""
    found = []
    for here, there in pairwise(stages):
        sender = min(here, there) if abs(here - there) == 1 else here
        found.append(0.0 if here == there else plan.stages[sender].send_seconds)
    return found
