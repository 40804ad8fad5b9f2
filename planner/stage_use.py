"""Where a plan's bubbles and memory peaks are: each stage's idle time, and what it holds at its peak."""

from dataclasses import dataclass

import numpy as np

from costmodels.step import StepModel
from costmodels.timeline import BACKWARD, FORWARD, WEIGHT_GRAD


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
    timeline = step.timeline(index, forward, recompute + input_grad + weight_grad)
    order = timeline.order
    saved = np.add.reduceat(step.along(lambda some: some.saved_bytes, index, boundaries), np.asarray(boundaries[:-1]))
    found = []
    for stage in range(order.devices):
        start, end, kind = timeline.start[stage], timeline.end[stage], order.kind[stage]
        works = np.flatnonzero(end > start)
        fill = float(start[works[0]])
        busy = float(timeline.busy_seconds[stage])
        begun = kind == FORWARD
        ended = (kind == BACKWARD) | (kind == WEIGHT_GRAD)
        held = np.cumsum((begun.astype(np.int64) - ended) * saved[order.chunk[stage]])
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
