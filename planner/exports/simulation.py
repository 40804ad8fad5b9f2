"""The step a plan predicts, operation by operation, with the bytes that each chunk keeps alive."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.step import StepModel
from costmodels.timeline import Order, Timeline
from planner.exports.chunks import chunks_of
from planner.plan import Plan
from planner.plan.order import order_of
from planner.plan.step import step_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStep:
    """``timeline`` of one cost vector; ``activation_bytes`` [chunks]: what one micro-batch keeps in each until its
    backward pass, ``weight_grad_bytes``: from its input gradient to its weight gradient, where these run apart;
    ``constant_bytes`` [stages]: kept through the whole step."""

    order: Order
    timeline: Timeline
    activation_bytes: NDArray[np.float64]
    weight_grad_bytes: NDArray[np.float64]
    constant_bytes: NDArray[np.float64]


def simulated_step(plan: Plan) -> SimulatedStep:
    """The plan's own seconds of every chunk in its own order; bytes and the passes of a split vocabulary,
    which a plan does not list, are priced again from its inputs."""
    order, cut = order_of(plan), plan.boundaries()
    step = step_of(plan)
    chunks = chunks_of(plan)
    timeline = step.timeline(
        0,
        np.array([chunk.forward_seconds for chunk in chunks]),
        np.array([chunk.recompute_seconds + chunk.input_grad_seconds for chunk in chunks]),
        np.array([chunk.weight_grad_seconds for chunk in chunks]),
    )

    def per_chunk(table: Callable[[StepModel], NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.asarray(np.add.reduceat(step.along(table, 0, cut), np.asarray(cut[:-1])))

    return SimulatedStep(
        order=order,
        timeline=timeline,
        activation_bytes=per_chunk(lambda model: model.saved_bytes),
        weight_grad_bytes=per_chunk(lambda model: model.weight_grad_bytes),
        constant_bytes=step.shares(0)[0].kept_bytes,
    )
