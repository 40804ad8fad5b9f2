"""A schedule of one pipeline as a Chrome trace, the problem's figures taken as seconds."""

from collections.abc import Iterator

from planner.exports import trace_events
from planner.plan.schedule_result import ScheduleResult


def schedule_trace(result: ScheduleResult) -> str:
    """The trace as JSON, one event a line."""
    return trace_events.document(_events(result))


def _events(result: ScheduleResult) -> Iterator[trace_events.Event]:
    for device, row in enumerate(result.operations):
        yield from trace_events.names(device, f"device {device}")
        for one in row:
            yield trace_events.operation(device, one.op, one.chunk, one.microbatch, one.start, one.end)
