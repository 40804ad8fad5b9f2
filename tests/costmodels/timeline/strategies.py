"""Random pipelines for the property tests."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from costmodels.timeline import NAMED_SCHEDULES, SCHEDULES, Order, schedule_order


@dataclass(frozen=True)
class Pipeline:
    order: Order
    forward: list[float]
    backward: list[float]
    link: list[float]
    weight_grad: list[float] | None

    @property
    def costs(self) -> tuple[list[float], list[float], list[float]]:
        return self.forward, self.backward, self.link


@st.composite
def pipelines(draw: st.DrawFn, schedules: tuple[str, ...] = SCHEDULES) -> Pipeline:
    schedule = draw(st.sampled_from(schedules))
    stages = draw(st.integers(1, 6))
    chunks = NAMED_SCHEDULES[schedule].chunks_per_device or draw(st.integers(2, 3))
    if schedule == "interleaved-1f1b":
        microbatches = stages * draw(st.integers(1, max(1, 10 // stages)))
    else:
        microbatches = draw(st.integers(1, 10))
    total = stages * chunks
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.0, 0.1, 3.0]))
    return Pipeline(
        order=schedule_order(schedule, stages, chunks, microbatches),
        forward=(rng.random(total) + 0.01).tolist(),
        backward=(2 * rng.random(total)).tolist(),
        link=(scale * rng.random(total - 1)).tolist(),
        weight_grad=rng.random(total).tolist() if NAMED_SCHEDULES[schedule].splits_backward else None,
    )
