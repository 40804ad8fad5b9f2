"""In which order each pipeline device runs its operations.

A pipeline of ``p`` devices holds ``p v`` model chunks; chunk ``c`` lives on device ``c mod p`` and
feeds chunk ``c + 1``. Every micro-batch passes forward (F) through all chunks and backward (B)
through them in reverse. The three schedules here differ only in how many forwards a device runs
before its first backward (its warm-up); after it, one forward alternates with one backward, and
the backwards left over come last.

| schedule | warm-up of device i | source |
|---|---|---|
| gpipe | all m | Huang et al., arXiv 1811.06965 (backwards in the forwards' order) |
| 1f1b | p - 1 - i | Narayanan et al., arXiv 1806.03377 (PipeDream), with a flush |
| interleaved-1f1b | 2 (p - 1 - i) + (v - 1) p | Narayanan et al., arXiv 2104.04473, as Megatron-LM runs it |

Forwards of the interleaved schedule go through the device's chunks in groups of p micro-batches:
p micro-batches of its first chunk, the same p of its second, and so on; backwards likewise from
its last chunk to its first. Older Megatron-LM ran all forwards first when m = p; it no
longer does, and neither does this.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Schedule = Literal["gpipe", "1f1b", "interleaved-1f1b"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)

VocabularyMethod = Literal["vocab-1", "vocab-2", "interlaced"]
VOCABULARY_METHODS: tuple[VocabularyMethod, ...] = get_args(VocabularyMethod)

FORWARD, BACKWARD, VOCABULARY, INPUT_FORWARD, INPUT_BACKWARD, INPUT_GRAD, WEIGHT_GRAD, IDLE = range(8)
"""Kinds of operations. BACKWARD is a whole backward pass, INPUT_GRAD and WEIGHT_GRAD its two halves where
a schedule runs them apart; VOCABULARY and the two INPUT passes exist where the vocabulary is split
(``vocabulary_orders``). IDLE takes no time: it fills up the rows of devices with fewer operations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """The operations of each device, in the order it runs them; arrays are read-only.

    ``kind``, ``chunk`` and ``microbatch`` are [devices, operations];
    ``device_of_chunk`` is [chunks]. Two orders are equal only if they are the same object.
    """

    schedule: Schedule | VocabularyMethod
    devices: int
    chunks_per_device: int
    microbatches: int
    kind: NDArray[np.int8]
    chunk: NDArray[np.int32]
    microbatch: NDArray[np.int32]
    device_of_chunk: NDArray[np.int32]

    @property
    def chunks(self) -> int:
        return self.devices * self.chunks_per_device

    @property
    def splits_vocabulary(self) -> bool:
        return self.schedule in VOCABULARY_METHODS


@lru_cache(maxsize=512)
def schedule_order(schedule: Schedule, stages: int, chunks_per_stage: int, microbatches: int) -> Order:
    """The order of a named schedule on ``stages`` devices with ``chunks_per_stage`` chunks each.

    Raises ``ValueError`` if the schedule does not exist, a count is below one, ``gpipe`` or ``1f1b``
    get several chunks per stage, or ``interleaved-1f1b`` gets one chunk per stage or a number of
    micro-batches that is no multiple of ``stages``.
    """
    _check(schedule, stages, chunks_per_stage, microbatches)
    passes = microbatches * chunks_per_stage
    warmup = np.minimum(_warmup(schedule, stages, chunks_per_stage, microbatches), passes)[:, None]
    index = np.arange(passes)[None, :]
    forward_at = np.where(index < warmup, index, 2 * index - warmup)
    backward_at = np.where(index < passes - warmup, warmup + 2 * index + 1, passes + index)

    group = index // (stages * chunks_per_stage)
    local = index % (stages * chunks_per_stage) // stages
    microbatch = group * stages + index % stages
    device = np.arange(stages)[:, None]

    kinds = np.empty((stages, 2 * passes), dtype=np.int8)
    chunks, microbatch_of = np.empty_like(kinds, dtype=np.int32), np.empty_like(kinds, dtype=np.int32)
    for kind, at, chunk in (
        (FORWARD, forward_at, local * stages + device),
        (BACKWARD, backward_at, (chunks_per_stage - 1 - local) * stages + device),
    ):
        np.put_along_axis(kinds, at, kind, axis=1)
        np.put_along_axis(chunks, at, chunk, axis=1)
        np.put_along_axis(microbatch_of, at, microbatch, axis=1)
    placement = np.arange(stages * chunks_per_stage, dtype=np.int32) % stages
    for array in (kinds, chunks, microbatch_of, placement):
        array.flags.writeable = False
    return Order(
        schedule=schedule,
        devices=stages,
        chunks_per_device=chunks_per_stage,
        microbatches=microbatches,
        kind=kinds,
        chunk=chunks,
        microbatch=microbatch_of,
        device_of_chunk=placement,
    )


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
    if schedule != "interleaved-1f1b":
        if chunks != 1:
            raise ValueError(f"chunks_per_stage: {schedule} has 1, not {chunks}; use interleaved-1f1b")
    elif chunks == 1:
        raise ValueError("chunks_per_stage: interleaved-1f1b needs at least 2 per stage; use 1f1b")
    elif microbatches % stages:
        raise ValueError(f"microbatches: interleaved-1f1b needs a multiple of the {stages} stages, not {microbatches}")
