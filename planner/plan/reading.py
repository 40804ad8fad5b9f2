"""From a file to JSON values: size, encoding, duplicate keys and numbers checked before anything else."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from planner.plan.errors import PlanError, PlanProblem

LARGEST_FILE_BYTES = 64 * 2**20
LONGEST_INTEGER_DIGITS = 4000
"""Beyond this Python itself refuses to convert; smaller ones are checked as numbers."""


def read_text(path: str | Path) -> str:
    """The text of a plan file. ``PlanError`` when it is missing, over 64 MiB or not UTF-8."""
    fail = _failure(str(path))
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        fail(f"cannot be read ({getattr(error, 'strerror', None) or error}); give the path of a plan file")
    if len(data) > LARGEST_FILE_BYTES:
        fail("over 64 MiB; a plan is some hundred kilobytes, so this is another file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        fail(f"not UTF-8 at byte {error.start}; a plan is JSON in UTF-8")


def parse_json(text: str, file: str) -> Any:
    """The JSON value of ``text``.

    ``PlanError`` for anything that is not one JSON value with distinct keys and finite numbers;
    ``file`` names the source in it.
    """
    fail = _failure(file)
    if len(text) > LARGEST_FILE_BYTES:
        fail("over 64 MiB; a plan is some hundred kilobytes, so this is another file")

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            fail("the key stands twice in one object; keep one of them", path=(twice,))
        return result

    def integer(digits: str) -> int:
        if len(digits) > LONGEST_INTEGER_DIGITS:
            fail(f"an integer of {len(digits)} digits; a figure of a plan has at most 18", value=digits[:20])
        return int(digits)

    def number(digits: str) -> float:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            fail("beyond what a double holds; figures of a plan are finite", value=digits[:40])
        return value

    def constant(name: str) -> NoReturn:
        fail("not a JSON number; figures of a plan are finite", value=name)

    try:
        return json.loads(
            text, object_pairs_hook=mapping, parse_int=integer, parse_float=number, parse_constant=constant
        )
    except json.JSONDecodeError as error:
        fail(f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}; is the file cut short?")
    except RecursionError:
        fail("nested too deeply; a plan has fewer than ten levels")


def _failure(file: str) -> Callable[..., NoReturn]:
    def fail(message: str, *, path: tuple[str, ...] = (), value: str = "") -> NoReturn:
        raise PlanError([PlanProblem(file=file, path=path, value=value, message=message)])

    return fail
