"""Spells out what the plan writes as a rule: any rank's place, its groups, a stage's operations.

Nothing here builds a list over all ranks; every answer costs what it returns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

import numpy as np

from costmodels.architecture import Moe
from costmodels.timeline import BACKWARD, FORWARD, INPUT_GRAD, WEIGHT_GRAD, simulate
from planner.plan.document import Plan
from planner.plan.mapping import gpu_order, host_names
from planner.plan.order import order_of
from planner.plan.parallelism import RankOrder, Ranks
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
OF_A_STAGE: tuple[GroupKind, ...] = ("tp", "cp", "dp")
OF_A_STAGE_EXPERT: tuple[GroupKind, ...] = ("etp", "ep", "edp")
"""What counts the ranks of a stage, fastest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPlacement:
    """Where a rank runs and what it holds. ``node`` counts hosts in the order of ranks; ``host`` is its name, where
    the plan has one; ``local_gpu`` the GPU there. ``layers`` are [first, end) runs of decoder layers."""

    rank: int
    node: int
    host: str | None
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


def axes_of(order: RankOrder) -> tuple[GroupKind, ...]:
    """The axes of an order of ranks, fastest first."""
    return cast(tuple[GroupKind, ...], tuple(order.split("-")))


def coordinates(plan: Plan, rank: int) -> RankPlacement:
    """Place of ``rank`` in 0..world_size-1; ``ValueError`` for another."""
    own = _decode(plan.ranks, rank)
    chunks = plan.stages[own["pp"]].chunks
    node, local_rank = divmod(rank, plan.ranks.gpus_per_node)
    names = host_names(plan)
    host = None if names is None else names[node]
    return RankPlacement(
        rank=rank,
        node=node,
        host=host,
        local_gpu=gpu_order(plan.ranks, host)[local_rank],
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
    first = _decode(plan.ranks, rank)["ep"] * each
    placed = plan.experts
    if placed is None or layer not in placed.layers:
        return tuple(range(first, first + each))
    return placed.new_to_old[placed.layers.index(layer)][first : first + each]


def groups(plan: Plan, kind: GroupKind, rank: int) -> tuple[int, ...]:
    """Ranks of the ``kind`` group that ``rank`` belongs to, in group order."""
    own, encode = _decode(plan.ranks, rank), _encode if kind in DENSE_AXES else _encode_experts
    return tuple(encode(plan.ranks, {**own, kind: index}) for index in range(plan.ranks.sizes[kind]))


def _decode(ranks: Ranks, rank: int) -> dict[GroupKind, int]:
    """All coordinates: the dense ones by the order of ranks, the experts' by the rank's place in its stage."""
    if not 0 <= rank < ranks.world_size:
        raise ValueError(f"rank {rank}: the plan has ranks 0 to {ranks.world_size - 1}")
    found = _digits(ranks, axes_of(ranks.order), rank)
    return found | _digits(ranks, OF_A_STAGE_EXPERT, _number(ranks, OF_A_STAGE, found))


def _encode(ranks: Ranks, own: Mapping[GroupKind, int]) -> int:
    return _number(ranks, axes_of(ranks.order), own)


def _encode_experts(ranks: Ranks, own: Mapping[GroupKind, int]) -> int:
    in_stage = _number(ranks, OF_A_STAGE_EXPERT, own)
    return _encode(ranks, {"pp": own["pp"], **_digits(ranks, OF_A_STAGE, in_stage)})


def _digits(ranks: Ranks, axes: Sequence[GroupKind], number: int) -> dict[GroupKind, int]:
    """``number`` in mixed radix, the first axis fastest."""
    found: dict[GroupKind, int] = {}
    for axis in axes:
        number, found[axis] = divmod(number, ranks.sizes[axis])
    return found


def _number(ranks: Ranks, axes: Sequence[GroupKind], digits: Mapping[GroupKind, int]) -> int:
    number = 0
    for axis in reversed(axes):
        number = number * ranks.sizes[axis] + digits[axis]
    return number


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
