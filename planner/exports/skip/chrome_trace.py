"""A skip schedule as a Chrome trace (``trace_events``): a process is a node, listed by the stage that it holds.

``micro-batches in flight`` is a counter (``C``) of what the node keeps.
"""

from collections.abc import Iterator

from planner.exports import trace_events
from planner.plan.skip_result import SkipResult, in_flight


def write(result: SkipResult) -> str:
    """The trace as JSON, one event a line, in the planned order."""
    return trace_events.document(_events(result))


def _events(result: SkipResult) -> Iterator[trace_events.Event]:
    listed = [(node, stage) for stage, held in enumerate(result.partitions) for node in held]
    for position, (node, stage) in enumerate(listed):
        own = result.nodes[node]
        name = f"node {node}" if own == str(node) else f"node {node} {own}"
        yield from trace_events.names(node, f"{name}, stage {stage}", position)
        for one in result.order[node]:
            event = trace_events.operation(node, one.op, None, one.microbatch, one.start, one.end)
            yield {**event, "args": {**event["args"], "stage": stage}}
        yield from trace_events.counters(node, "micro-batches in flight", "count", in_flight(result.order[node]))
