"""The simulated step as a Chrome trace (``trace_events``); where the plan skips stages, its skip schedule.

A process is a pipeline stage. ``activation bytes`` is a counter (``C``) of what the stage's rank keeps for
backward passes.
"""

from collections.abc import Iterator

from costmodels.timeline import IDLE, memory_over_time
from planner.exports import trace_events
from planner.exports.orders import LETTERS, VOCABULARY_PASSES
from planner.exports.simulation import SimulatedStep, simulated_step
from planner.plan import Plan
from planner.plan.skip import Skip
from planner.plan.skip_result import in_flight
from planner.plan.skip_times import skip_operations

NAMES = {**LETTERS, **{kind: "+".join(passes) for kind, passes in VOCABULARY_PASSES.items()}}


COUNTER = "activation bytes"


def files(plan: Plan) -> dict[str, str]:
    if plan.skip is not None:
        return {"trace.json": trace_events.document(_skipping(plan, plan.skip))}
    return {"trace.json": trace(simulated_step(plan))}


def trace(step: SimulatedStep) -> str:
    """The trace as JSON, one event a line."""
    return trace_events.document(
        event for device in range(step.order.devices) for event in _device_events(step, device)
    )


def _device_events(step: SimulatedStep, device: int) -> Iterator[trace_events.Event]:
    yield from trace_events.names(device, f"stage {device}")
    order, timeline = step.order, step.timeline
    columns = (order.kind, order.chunk, order.microbatch, timeline.start, timeline.end)
    for kind, *one in zip(*(column[device].tolist() for column in columns), strict=True):
        if kind != IDLE:
            yield trace_events.operation(device, NAMES[kind], *one)
    seconds, alive = memory_over_time(order, timeline, device, step.activation_bytes, step.weight_grad_bytes)
    alive = alive + step.constant_bytes[device]
    changes = zip(seconds.tolist(), alive.tolist(), strict=True)
    yield from trace_events.counters(device, COUNTER, "bytes", changes)


def _skipping(plan: Plan, skip: Skip) -> Iterator[trace_events.Event]:
    """The skip section's schedule; a stage keeps a micro-batch from the start of its F to the end of its B."""
    step = simulated_step(plan)
    for stage, row in enumerate(skip_operations(plan, skip)):
        yield from trace_events.names(stage, f"stage {stage}")
        chunk = plan.stages[stage].chunks[0].chunk
        for one in row:
            yield trace_events.operation(stage, one.op, chunk, one.microbatch, one.start, one.end)
        kept, each = float(step.constant_bytes[stage]), float(step.activation_bytes[chunk])
        alive = [(moment, kept + count * each) for moment, count in in_flight(row)]
        yield from trace_events.counters(stage, COUNTER, "bytes", alive)
