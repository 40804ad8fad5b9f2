"""The step a plan predicts, operation by operation, with the bytes that each chunk keeps alive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.columns import Columns
from costmodels.step import StepModel
from costmodels.timeline import Order, Timeline, simulate
from planner.exports.chunks import chunks_of
from planner.exports.orders import order_of
from planner.plan import Plan
from planner.plan.expand import backward_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStep:
    """``timeline`` of one cost vector; ``activation_bytes`` [chunks]: what one micro-batch keeps in each;
    ``constant_bytes``: kept on every stage through the whole step."""

    order: Order
    timeline: Timeline
    activation_bytes: NDArray[np.float64]
    constant_bytes: float


def simulated_step(plan: Plan) -> SimulatedStep:
    """The plan's own seconds of every chunk in its own order; bytes and the passes of a split vocabulary,
    which a plan does not list, are priced again from its inputs."""
    order, cut = order_of(plan), plan.boundaries()
    inputs = (plan.model(), plan.cluster(), plan.job(), plan.calibration())
    step = StepModel(*inputs, Columns.of([plan.configuration()]))
    chunks = chunks_of(plan)
    timeline = simulate(
        order,
        np.array([chunk.forward_seconds for chunk in chunks]),
        np.array([backward_seconds(chunk) for chunk in chunks]),
        step.link_seconds(0),
        step.vocabulary.seconds(0, order.devices) if order.splits_vocabulary else None,
    )
    saved = step.along(lambda model: model.saved_bytes, 0, cut)
    return SimulatedStep(
        order=order,
        timeline=timeline,
        activation_bytes=np.add.reduceat(saved, np.asarray(cut[:-1])),
        constant_bytes=float(step.vocabulary.kept_bytes[0]),
    )
