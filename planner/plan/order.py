"""The order of operations that a plan's stages run: by the schedule's rule, or as the plan writes it out."""

from costmodels import placement
from costmodels.timeline import (
    BACKWARD,
    FORWARD,
    IDLE,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    INPUT_GRAD,
    OUTPUT_S,
    OUTPUT_T,
    WEIGHT_GRAD,
    Order,
    order_of_rows,
)
from planner.plan.compact import Step, compress, expand
from planner.plan.document import Plan

LETTERS = {
    FORWARD: "F",
    BACKWARD: "B",
    INPUT_GRAD: "I",
    WEIGHT_GRAD: "W",
    OUTPUT_S: "S",
    OUTPUT_T: "T",
    INPUT_FORWARD: "IF",
    INPUT_BACKWARD: "IB",
}
KINDS = {letter: kind for kind, letter in LETTERS.items()}
OF_A_CHUNK = (FORWARD, BACKWARD, INPUT_GRAD, WEIGHT_GRAD)


def order_of(plan: Plan) -> Order:
    """What each stage runs in a step. Raises ``ValueError`` for operations that are not those of the plan."""
    schedule, configuration = plan.schedule, plan.configuration()
    if schedule.operations is None:
        return placement.order_of(configuration, schedule.microbatches)
    stage_of_chunk = placement.stage_of_chunk(configuration).tolist()
    rows = []
    for stage, text in enumerate(schedule.operations):
        own = [chunk for chunk, where in enumerate(stage_of_chunk) if where == stage]
        steps = expand(text, own)
        rows.append([(KINDS[step.op], own[0] if step.chunk is None else step.chunk, step.microbatch) for step in steps])
    name = "best" if configuration.vocabulary == "whole" else configuration.vocabulary
    return order_of_rows(name, rows, stage_of_chunk, schedule.microbatches)


def written(order: Order) -> tuple[str, ...]:
    """Each stage's operations as a plan writes them."""
    found = []
    for device in range(order.devices):
        own = [chunk for chunk, where in enumerate(order.device_of_chunk.tolist()) if where == device]
        columns = (order.kind[device].tolist(), order.chunk[device].tolist(), order.microbatch[device].tolist())
        steps = (
            Step(LETTERS[kind], chunk if kind in OF_A_CHUNK else None, microbatch)
            for kind, chunk, microbatch in zip(*columns, strict=True)
            if kind != IDLE
        )
        found.append(compress(steps, own))
    return tuple(found)
