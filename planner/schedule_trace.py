"""A schedule of one pipeline as a Chrome trace (Trace Event Format), for Perfetto or chrome://tracing.

A process is a device; every operation is a complete event (``X``) with ``ts`` and ``dur`` in microseconds,
the problem's figures taken as seconds.
"""

import json
from collections.abc import Iterator
from typing import Any

from planner.plan.schedule_result import ScheduleResult

MICROSECONDS = 1e6


def schedule_trace(result: ScheduleResult) -> str:
    """The trace as JSON, one event a line."""
    lines = ",\n".join(json.dumps(event, separators=(",", ":"), allow_nan=False) for event in _events(result))
    return f'{{"displayTimeUnit":"ms","traceEvents":[\n{lines}\n]}}\n'


def _events(result: ScheduleResult) -> Iterator[dict[str, Any]]:
    for device, row in enumerate(result.operations):
        place = {"pid": device, "tid": 0}
        yield {"ph": "M", "name": "process_name", **place, "args": {"name": f"device {device}"}}
        yield {"ph": "M", "name": "process_sort_index", **place, "args": {"sort_index": device}}
        for one in row:
            chunk = {} if one.chunk is None else {"chunk": one.chunk}
            yield {
                "ph": "X",
                "name": f"{one.op}{one.microbatch}",
                "cat": one.op,
                **place,
                "ts": one.start * MICROSECONDS,
                "dur": (one.end - one.start) * MICROSECONDS,
                "args": {"pass": one.op, **chunk, "microbatch": one.microbatch},
            }
