"""The simulated step as a Chrome trace (``trace_events``).

A process is a pipeline stage. ``activation bytes`` is a counter (``C``) of what the stage's rank keeps for
backward passes.
"""

from collections.abc import Iterator

from costmodels.timeline import IDLE, memory_over_time
from planner.exports import trace_events
from planner.exports.orders import LETTERS, VOCABULARY_PASSES
from planner.exports.simulation import SimulatedStep, simulated_step
from planner.plan import Plan

NAMES = {**LETTERS, **{kind: "+".join(passes) for kind, passes in VOCABULARY_PASSES.items()}}


def files(plan: Plan) -> dict[str, str]:
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
    counter = {"ph": "C", "name": "activation bytes", **trace_events.place(device)}
    before = None
    for moment, value in zip(seconds.tolist(), alive.tolist(), strict=True):
        if value != before:
            yield {**counter, "ts": moment * trace_events.MICROSECONDS, "args": {"bytes": value}}
        before = value
