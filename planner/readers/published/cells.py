"""One cell to one value, or to a refusal of its row."""

import json
import math
import re
from typing import Any

from planner.readers.published.table import Cells

NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
LARGEST = 10**9


class Refusal(Exception):  # noqa: N818 - an answer about a row, not a fault
    """Why a row cannot be predicted."""


def text(cells: Cells, column: str) -> str:
    """The cell, empty when blank or when the table has no such column."""
    return cells.get(column, "")


def number(cells: Cells, column: str) -> float | None:
    """The number a cell starts with (``3 (torch FSDP)`` is 3); None when blank or without one."""
    found = NUMBER.match(text(cells, column))
    value = float(found[0]) if found else math.nan
    return value if math.isfinite(value) else None


def degree(cells: Cells, column: str, default: int | None = None) -> int:
    """A whole number of at least 1; ``default`` when blank, a refusal when there is none."""
    if not text(cells, column):
        if default is None:
            raise Refusal(f"no value for {column}")
        return default
    value = number(cells, column)
    if value is None or value != int(value) or not 1 <= value <= LARGEST:
        raise Refusal(f"{column} is {text(cells, column)[:40]!r}, not a whole number of at least 1")
    return int(value)


def details(cells: Cells) -> dict[str, Any]:
    """The JSON object of ``extra_json``; empty when blank."""
    raw = text(cells, "extra_json")
    if not raw:
        return {}
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise Refusal("extra_json is not JSON") from None
    if not isinstance(found, dict):
        raise Refusal("extra_json is not a JSON object")
    return found


def size(values: dict[str, Any], key: str, default: int | None = None) -> int:
    """A whole number of at least 1 from ``extra_json``; it may be text such as ``~51200 (padded)``."""
    raw = values.get(key)
    if raw is None:
        if default is None:
            raise Refusal(f"extra_json has no {key}")
        return default
    return degree({key: str(raw).lstrip("~ ")}, key)
