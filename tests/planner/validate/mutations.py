"""Every single corruption of a JSON document: each value changed, dropped, added, doubled, swapped."""

from collections.abc import Iterator
from copy import copy
from typing import Any

Mutation = tuple[str, str, Any]
"""(JSON pointer, what was done, the corrupted document)."""


def mutations(document: dict[str, Any]) -> Iterator[Mutation]:
    """Each corruption of ``document`` in turn, one place at a time; only to be read, as parts are shared."""
    for steps, value in _walk(document, ()):
        pointer = "".join(f"/{step}" for step in steps)
        for what, changed in _corruptions(value):
            if not steps:
                yield pointer, what, changed
                continue
            corrupted: Any = copy(document)
            holder = corrupted
            for step in steps[:-1]:  # what lies beside the way is shared
                holder[step] = copy(holder[step])
                holder = holder[step]
            if what == "dropped":
                del holder[steps[-1]]
            else:
                holder[steps[-1]] = changed
            yield pointer, what, corrupted


def _walk(value: Any, steps: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    yield steps, value
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _walk(item, (*steps, key))


def _corruptions(value: Any) -> Iterator[tuple[str, Any]]:
    yield "dropped", None
    yield "of another type", {"x": 1} if isinstance(value, list | str) else ["x"]
    match value:
        case None:
            yield "number", 7
        case bool():
            yield "flipped", not value
        case int():
            yield from (("less one", value - 1), ("plus one", value + 1), ("huge", 10**17))
        case float():
            yield "slightly more", value * (1 + 1e-6) or 1e-3
            yield "halved", value / 2 or 2.0
            yield "negative", -value or -1.0
        case str():
            yield "changed", value + "x"
            yield "empty", ""
        case list():
            yield "grown", [*value, value[-1] if value else 1]
            if value:
                yield "truncated", value[:-1]
            if value != value[::-1]:
                yield "swapped", value[::-1]
        case dict():
            yield "with one more key", {**value, "added": 1}
