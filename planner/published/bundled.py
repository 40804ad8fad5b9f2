"""The bundled tables of published runs."""

import difflib
from collections.abc import Iterable

import cases
from planner.readers.published_rows import Row, read_rows


class UnknownSourceError(ValueError):
    """A source that no bundled row is of."""


def source_names() -> tuple[str, ...]:
    """The sources of the bundled rows."""
    return tuple(cases.published_sources()["sources"])


def bundled_rows(sources: Iterable[str] = ()) -> list[Row]:
    """The rows of ``sources``, or all, table by table. ``UnknownSourceError`` names a source that is not there."""
    wanted = set(sources)
    for name in wanted - set(source_names()):
        close = difflib.get_close_matches(name, source_names(), n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"one of {', '.join(source_names())}"
        raise UnknownSourceError(f"no published source '{name}': {hint}")
    rows = [row for path in cases.published_tables() for row in read_rows(path)]
    return [row for row in rows if not wanted or row.source_id in wanted]
