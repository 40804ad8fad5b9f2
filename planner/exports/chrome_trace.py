"""The simulated step as a Chrome trace (Trace Event Format), which Perfetto and chrome://tracing show.

A process is a pipeline stage. Every operation is a complete event (``X``) with its start ``ts`` and length
``dur`` in microseconds; ``activation bytes`` is a counter (``C``) of what the stage's rank keeps for
backward passes.
"""

import json
from collections.abc import Iterator
from typing import Any

from costmodels.timeline import IDLE, memory_over_time
from planner.exports.orders import LETTERS, VOCABULARY_PASSES
from planner.exports.simulation import SimulatedStep, simulated_step
from planner.plan import Plan

MICROSECONDS = 1e6
NAMES = {**LETTERS, **{kind: "+".join(passes) for kind, passes in VOCABULARY_PASSES.items()}}


def files(plan: Plan) -> dict[str, str]:
    return {"trace.json": trace(simulated_step(plan))}


def trace(step: SimulatedStep) -> str:
    """The trace as JSON, one event a line."""
    events = [event for device in range(step.order.devices) for event in _device_events(step, device)]
    lines = ",\n".join(json.dumps(event, separators=(",", ":"), allow_nan=False) for event in events)
    return f'{{"displayTimeUnit":"ms","traceEvents":[\n{lines}\n]}}\n'


def _device_events(step: SimulatedStep, device: int) -> Iterator[dict[str, Any]]:
    place = {"pid": device, "tid": 0}
    yield {"ph": "M", "name": "process_name", **place, "args": {"name": f"stage {device}"}}
    yield {"ph": "M", "name": "process_sort_index", **place, "args": {"sort_index": device}}
    order, timeline = step.order, step.timeline
    columns = (order.kind, order.chunk, order.microbatch, timeline.start, timeline.end)
    for kind, chunk, microbatch, start, end in zip(*(column[device].tolist() for column in columns), strict=True):
        if kind == IDLE:
            continue
        letter = NAMES[kind]
        yield {
            "ph": "X",
            "name": f"{letter}{microbatch}",
            "cat": letter,
            **place,
            "ts": start * MICROSECONDS,
            "dur": (end - start) * MICROSECONDS,
            "args": {"pass": letter, "chunk": chunk, "microbatch": microbatch},
        }
    seconds, alive = memory_over_time(order, timeline, device, step.activation_bytes, step.weight_grad_bytes)
    alive = alive + step.constant_bytes[device]
    counter = {"ph": "C", "name": "activation bytes", **place}
    before = None
    for moment, value in zip(seconds.tolist(), alive.tolist(), strict=True):
        if value != before:
            yield {**counter, "ts": moment * MICROSECONDS, "args": {"bytes": value}}
        before = value
