"""How much a stage keeps alive at the least, at one instant of the schedules that split the backward pass.

Of stage i of p, m micro-batches: whole ones of the first chunk and of the second, and how many of
either chunk, at the least, wait for their weight gradient alone.

| schedule | when | first chunk | second | waiting |
|---|---|---|---|---|
| zb-h1 | after the last F before the first W | p - i | - | i (if m >= p) |
| zb-h2 | the same | 2 (p - i) - 1 | - | 2 i (if m >= 2 p - 1) |
| zb-v | before the first I | 2 p - 1 - i | i + 1 | - |
| best | at its first I | 1 | 1 | - |
| v-half, v-min | at an F of the first chunk, between the ramps | 1 + (I - F of it) // 6 | (I - F of it) // 6 | - |

The last row by the slots of ``building_blocks``, where m >= p + 3 leaves something between the ramps; with
fewer, when the order itself has most chunks alive. All at most m, and of two chunks the larger first.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from costmodels.timeline.building_blocks import PERIOD, offsets
from costmodels.timeline.operations import FORWARD, INPUT_GRAD, WEIGHT_GRAD
from costmodels.timeline.orders import schedule_order
from costmodels.timeline.schedules import Schedule

Counts = NDArray[np.int64]


def least_alive(
    schedule: Schedule | Literal["best"], stage: int, stages: Counts, microbatches: Counts
) -> tuple[Counts, Counts, Counts]:
    """Of each pair of ``stages`` and ``microbatches``: micro-batches of the first chunk and of the second (of one
    chunk, the same twice), and waiting ones. Where ``stage`` is none of the stages the counts mean nothing.

    Raises ``ValueError`` for a schedule without halves of the backward pass.
    """
    p, m, later = stages, microbatches, stages - stage
    none = np.zeros_like(p)
    if schedule == "zb-h1":
        first = second = later
        waiting = np.where(m >= p, stage, 0)
    elif schedule == "zb-h2":
        first = second = 2 * later - 1
        waiting = np.where(m >= 2 * p - 1, 2 * stage, 0)
    elif schedule == "zb-v":
        first, second, waiting = p + later - 1, none + stage + 1, none
    elif schedule == "best":
        first, second, waiting = none + 1, none + 1, none
    elif schedule == "v-half" or schedule == "v-min":
        forward, second_forward, second_back, back = offsets(schedule, p, stage)
        first, second, waiting = 1 + (back - forward) // PERIOD, (second_back - second_forward) // PERIOD, none.copy()
        for number in np.flatnonzero((m < p + 3) & (p > stage)):
            counts = _fullest(schedule, int(p[number]), int(m[number]))[stage]
            first[number], second[number], waiting[number] = counts
    else:
        raise ValueError(f"schedule: {schedule} runs whole backward passes")
    return np.minimum(first, m), np.minimum(second, m), waiting


@lru_cache(maxsize=512)
def _fullest(schedule: Schedule, stages: int, microbatches: int) -> Counts:
    """[stages, 3]: the counts of each stage at the instant at which they add up to most."""
    order = schedule_order(schedule, stages, 2, microbatches)
    first = order.chunk < stages
    started, halved, ended = (order.kind == kind for kind in (FORWARD, INPUT_GRAD, WEIGHT_GRAD))
    whole = started.astype(np.int64) - halved
    waiting = halved.astype(np.int64) - ended
    chunks = [whole * first, whole * ~first, waiting * first, waiting * ~first]
    counts = np.cumsum(np.stack(chunks, axis=-1), axis=1)
    fullest = counts[np.arange(stages), counts.sum(axis=-1).argmax(axis=1)]
    larger, smaller = fullest[:, :2].max(axis=1), fullest[:, :2].min(axis=1)
    return np.stack([larger, smaller, fullest[:, 2:].min(axis=1)], axis=1)
