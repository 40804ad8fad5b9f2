"""Where a plan's bubbles and memory peaks are: each stage's idle time, and what it holds at its peak."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from costmodels.sharding import Column
from costmodels.step import StepModel
from costmodels.timeline import BACKWARD, FORWARD, INPUT_GRAD, WEIGHT_GRAD


@dataclass(frozen=True, slots=True, kw_only=True)
class StageUse:
    """Seconds of one step on a stage: ``busy``, and idle before its first operation (``fill``), between
    operations (``stall``) and after its last until the pipeline ends (``drain``). ``alive``: chunk to the
    micro-batches whose activations it holds when they take most bytes."""

    stage: int
    busy_seconds: float
    fill_seconds: float
    stall_seconds: float
    drain_seconds: float
    alive: dict[int, tuple[int, ...]]

    @property
    def idle_seconds(self) -> float:
        return self.fill_seconds + self.stall_seconds + self.drain_seconds


def stage_uses(step: StepModel, index: int, boundaries: tuple[int, ...]) -> tuple[StageUse, ...]:
    """Every stage of candidate ``index`` cut at ``boundaries``, from its simulated timeline."""
    forward, recompute, input_grad, weight_grad = step.chunk_seconds(index, boundaries)
    timeline = step.timeline(index, forward, recompute + input_grad, weight_grad)
    order = timeline.order

    def per_chunk(table: Callable[[StepModel], Column]) -> Column:
        return np.asarray(np.add.reduceat(step.along(table, index, boundaries), np.asarray(boundaries[:-1])))

    saved, waiting = per_chunk(lambda some: some.saved_bytes), per_chunk(lambda some: some.weight_grad_bytes)
    found = []
    for stage in range(order.devices):
        start, end, kind = timeline.start[stage], timeline.end[stage], order.kind[stage]
        works = np.flatnonzero(end > start)
        fill = float(start[works[0]])
        busy = float(timeline.busy_seconds[stage])
        begun = kind == FORWARD
        ended = (kind == BACKWARD) | (kind == WEIGHT_GRAD)
        whole, kept = saved[order.chunk[stage]], waiting[order.chunk[stage]]
        change = begun * whole - (kind == BACKWARD) * whole - (kind == WEIGHT_GRAD) * kept
        held = np.cumsum(change + (kind == INPUT_GRAD) * (kept - whole))
        peak = int(held.argmax())
        alive: dict[int, list[int]] = {}
        for position in range(peak + 1):
            chunk, microbatch = int(order.chunk[stage, position]), int(order.microbatch[stage, position])
            if begun[position]:
                alive.setdefault(chunk, []).append(microbatch)
            elif ended[position]:
                alive[chunk].remove(microbatch)
        last = float(end[works[-1]])
        found.append(
            StageUse(
                stage=stage,
                busy_seconds=busy,
                fill_seconds=fill,
                stall_seconds=max(0.0, last - fill - busy),
                drain_seconds=float(timeline.makespan_seconds) - last,
                alive={chunk: tuple(microbatches) for chunk, microbatches in alive.items() if microbatches},
            )
        )
    return tuple(found)
