"""In which order each pipeline device runs its operations, for the schedules that have a name.

A pipeline of ``p`` devices holds ``p v`` model chunks; chunk ``c`` feeds chunk ``c + 1``. Every micro-batch
passes forward (F) through all chunks and backward (B, or its halves I and W) through them in reverse.
``schedules`` lists the names; ``zero_bubble``, ``zero_bubble_v`` and ``building_blocks`` have the rules of
those that split the backward pass. Of the others, chunk ``c`` lives on device ``c mod p``, and they differ
only in how many forwards a device runs before its first backward (its warm-up); after it, one forward
alternates with one backward, and the backwards left over come last.

| schedule | warm-up of device i | source |
|---|---|---|
| gpipe | all m | Huang et al., arXiv 1811.06965 (backwards in the forwards' order) |
| 1f1b | p - 1 - i | Narayanan et al., arXiv 1806.03377 (PipeDream), with a flush |
| interleaved-1f1b | 2 (p - 1 - i) + (v - 1) p | Narayanan et al., arXiv 2104.04473, as Megatron-LM runs it |

Forwards of the interleaved schedule go through the device's chunks in groups of p micro-batches:
p micro-batches of its first chunk, the same p of its second, and so on; backwards likewise from
its last chunk to its first. Older Megatron-LM ran all forwards first when m = p; it no
longer does, and neither does this.

Orders depend on p, v and m alone, never on times. With many micro-batches, rows of the others repeat from
one micro-batch to the next: what is between the ramps is written once and repeated.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from costmodels.timeline.building_blocks import building_block_rows
from costmodels.timeline.operations import BACKWARD, FORWARD, Operation, Order, frozen_order
from costmodels.timeline.schedules import NAMED_SCHEDULES, SCHEDULES, Schedule, device_of_chunk
from costmodels.timeline.zero_bubble import zero_bubble_rows
from costmodels.timeline.zero_bubble_v import zero_bubble_v_rows


@lru_cache(maxsize=512)
def schedule_order(schedule: Schedule, stages: int, chunks_per_stage: int, microbatches: int) -> Order:
    """The order of a named schedule on ``stages`` devices with ``chunks_per_stage`` chunks each.

    Raises ``ValueError`` if the schedule does not exist, a count is below one, the number of chunks per
    stage is not the schedule's, or ``interleaved-1f1b`` gets a number of micro-batches that is no
    multiple of ``stages``.
    """
    _check(schedule, stages, chunks_per_stage, microbatches)
    named = NAMED_SCHEDULES[schedule]
    if named.splits_backward:
        table = _repeated(schedule, stages, microbatches)
    else:
        table = _alternating(schedule, stages, chunks_per_stage, microbatches)
    placement = device_of_chunk(named.placement, stages, chunks_per_stage)
    return frozen_order(schedule, table, placement, microbatches)


def _repeated(schedule: Schedule, stages: int, microbatches: int) -> NDArray[np.int32]:
    """The rule's own rows where micro-batches are few; else those of fewer, with the steady part, from one F
    of the device's first chunk to the next, repeated."""
    few = 4 * stages + 8
    if microbatches <= few:
        return _rule(schedule, stages, microbatches)
    ramps, extra, steady = _rule(schedule, stages, few), microbatches - few, 2 * stages + 2
    rows = []
    for device, row in enumerate(ramps):
        starts = [int(np.flatnonzero((row == (FORWARD, device, k)).all(axis=1))[0]) for k in (steady, steady + 1)]
        period = row[starts[0] : starts[1]]
        assert len(np.unique(period[:, :2], axis=0)) == len(period) == len(row) // few  # every pass once
        later = np.arange(1, extra + 1)[:, None, None] * np.array([0, 0, 1])
        again = (period[None] + later).reshape(-1, 3)
        rows.append(np.concatenate([row[: starts[1]], again, row[starts[1] :] + np.array([0, 0, extra])]))
    return np.array(rows, dtype=np.int32)


@lru_cache(maxsize=64)
def _rule(schedule: Schedule, stages: int, microbatches: int) -> NDArray[np.int32]:
    rows: list[list[Operation]]
    if schedule == "zb-v":
        rows = zero_bubble_v_rows(stages, microbatches)
    elif schedule == "v-half" or schedule == "v-min":
        rows = building_block_rows(schedule, stages, microbatches)
    else:
        rows = zero_bubble_rows(stages, microbatches, 1 if schedule == "zb-h1" else 2)
    return np.array(rows, dtype=np.int32)


def _alternating(schedule: Schedule, stages: int, chunks_per_stage: int, microbatches: int) -> NDArray[np.int32]:
    passes = microbatches * chunks_per_stage
    warmup = np.minimum(_warmup(schedule, stages, chunks_per_stage, microbatches), passes)[:, None]
    index = np.arange(passes)[None, :]
    forward_at = np.where(index < warmup, index, 2 * index - warmup)
    backward_at = np.where(index < passes - warmup, warmup + 2 * index + 1, passes + index)

    group = index // (stages * chunks_per_stage)
    local = index % (stages * chunks_per_stage) // stages
    microbatch = group * stages + index % stages
    device = np.arange(stages)[:, None]

    table = np.empty((stages, 2 * passes, 3), dtype=np.int32)
    for kind, at, chunk in (
        (FORWARD, forward_at, local * stages + device),
        (BACKWARD, backward_at, (chunks_per_stage - 1 - local) * stages + device),
    ):
        values = np.stack(np.broadcast_arrays(np.array(kind), chunk, microbatch), axis=-1)
        np.put_along_axis(table, at[..., None], values, axis=1)
    return table


def _warmup(schedule: Schedule, stages: int, chunks: int, microbatches: int) -> NDArray[np.int64]:
    """Forwards before the one that is paired with the first backward, per device."""
    behind = stages - 1 - np.arange(stages)
    if schedule == "gpipe":
        return np.full(stages, microbatches)
    if schedule == "1f1b":
        return behind
    return 2 * behind + (chunks - 1) * stages


def _check(schedule: str, stages: int, chunks: int, microbatches: int) -> None:
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule: {schedule!r} is not one of {', '.join(SCHEDULES)}")
    for name, value in (("stages", stages), ("chunks_per_stage", chunks), ("microbatches", microbatches)):
        if value < 1:
            raise ValueError(f"{name}: {value} must be at least 1")
    named = NAMED_SCHEDULES[schedule]
    if named.chunks_per_device is None and chunks == 1:
        raise ValueError(f"chunks_per_stage: {schedule} needs at least 2 per stage; use 1f1b")
    if named.chunks_per_device not in (None, chunks):
        hint = "; use interleaved-1f1b" if schedule in ("gpipe", "1f1b") else ""
        raise ValueError(f"chunks_per_stage: {schedule} has {named.chunks_per_device}, not {chunks}{hint}")
    if named.whole_rounds and microbatches % stages:
        raise ValueError(f"microbatches: {schedule} needs a multiple of the {stages} stages, not {microbatches}")
