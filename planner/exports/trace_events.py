"""Events of the Trace Event Format, which Perfetto and chrome://tracing show; times in microseconds.

A process is a device of the pipeline, named and listed in order; every operation is a complete event (``X``).
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

MICROSECONDS = 1e6

Event = dict[str, Any]


def document(events: Iterable[Event]) -> str:
    """The trace as JSON, one event a line."""
    lines = ",\n".join(json.dumps(event, separators=(",", ":"), allow_nan=False) for event in events)
    return f'{{"displayTimeUnit":"ms","traceEvents":[\n{lines}\n]}}\n'


def place(device: int) -> Event:
    """Where an event of ``device`` stands."""
    return {"pid": device, "tid": 0}


def names(device: int, name: str, position: int | None = None) -> Iterator[Event]:
    """The process of ``device``: its name, and its ``position`` in the list, by default its number."""
    yield {"ph": "M", "name": "process_name", **place(device), "args": {"name": name}}
    yield {
        "ph": "M",
        "name": "process_sort_index",
        **place(device),
        "args": {"sort_index": device if position is None else position},
    }


def counters(device: int, name: str, unit: str, changes: Iterable[tuple[float, float]]) -> Iterator[Event]:
    """A counter (``C``) of ``device``: (second, value) where the value changes."""
    before = None
    for moment, value in changes:
        if value != before:
            yield {"ph": "C", "name": name, **place(device), "ts": moment * MICROSECONDS, "args": {unit: value}}
        before = value


def operation(device: int, letter: str, chunk: int | None, microbatch: int, start: float, end: float) -> Event:
    """A pass of a micro-batch; ``chunk`` None where it belongs to none."""
    held = {} if chunk is None else {"chunk": chunk}
    return {
        "ph": "X",
        "name": f"{letter}{microbatch}",
        "cat": letter,
        **place(device),
        "ts": start * MICROSECONDS,
        "dur": (end - start) * MICROSECONDS,
        "args": {"pass": letter, **held, "microbatch": microbatch},
    }
