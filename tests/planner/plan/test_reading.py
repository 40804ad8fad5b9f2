"""A file that is no plan gives one clear error, never another exception."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.plan.errors import PlanError
from planner.plan.reading import LARGEST_FILE_BYTES, parse_json, read_text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON at line 1, column 1"),
        ('{"a": [1, 2', "is the file cut short?"),
        ('{"a": NaN}', "NaN: not a JSON number"),
        ('{"a": -Infinity}', "-Infinity: not a JSON number"),
        ('{"a": 1e999}', "1e999: beyond what a double holds"),
        ('{"outer": {"a": 1, "b": 2, "a": 3}}', "a: the key stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "an integer of 5000 digits"),
    ],
)
def test_text_that_is_not_json_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(PlanError, match=r"bad\.json") as refusal:
        parse_json(text, "bad.json")
    assert says in str(refusal.value)


def test_json_comes_through_unchanged() -> None:
    assert parse_json('{"a": [1, 2.5, null, true, "x"]}', "f") == {"a": [1, 2.5, None, True, "x"]}


def test_a_missing_file_a_directory_and_other_encodings_are_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.json"
    latin.write_bytes(b'{"name": "\xe9"}')
    for path, says in (
        (tmp_path / "absent.json", "No such file"),
        (tmp_path, "Is a directory"),
        (latin, "not UTF-8 at byte 10"),
    ):
        with pytest.raises(PlanError, match=says):
            read_text(path)
    with pytest.raises(PlanError, match="cannot be read"):
        read_text("with\0zero")


def test_a_file_over_the_limit_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(LARGEST_FILE_BYTES + 1)
    with pytest.raises(PlanError, match="over 64 MiB"):
        read_text(huge)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_json_or_a_plan_error(text: str) -> None:
    """Second method: Python's own reader, which also takes NaN, infinities and repeated keys."""
    try:
        parse_json(text, "fuzz")
    except PlanError:
        return
    json.loads(text)
