"""Cells as published tables write them."""

import pytest

from planner.readers.published.cells import Refusal, degree, details, number, size


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("8.0", 8.0),
        ("3 (torch FSDP)", 3.0),
        ("0 (assumed)", 0.0),
        ("1e3", 1000.0),
        ("-2", -2.0),
        ("fsdp", None),
        ("", None),
    ],
)
def test_a_number_is_what_the_cell_starts_with(cell: str, value: float | None) -> None:
    assert number({"x": cell}, "x") == value


def test_an_overflowing_number_is_none() -> None:
    assert number({"x": "1e999"}, "x") is None


def test_a_degree_defaults_only_when_blank_or_absent() -> None:
    assert degree({"cp": "2.0"}, "cp", 1) == 2
    assert degree({"cp": ""}, "cp", 1) == 1
    assert degree({}, "cp", 1) == 1
    with pytest.raises(Refusal, match="no value for tp"):
        degree({}, "tp")


@pytest.mark.parametrize("cell", ["0", "-1", "1.5", "nan", "None", "1e12"])
def test_what_is_no_degree_refuses_the_row(cell: str) -> None:
    with pytest.raises(Refusal, match="not a whole number"):
        degree({"tp": cell}, "tp")


@pytest.mark.parametrize("cell", ["{", "[1]", "3", '"x"', "[" * 100_000])
def test_extra_json_must_be_an_object(cell: str) -> None:
    with pytest.raises(Refusal, match="extra_json"):
        details({"extra_json": cell})


def test_sizes_may_be_approximate_text() -> None:
    assert size({"vocab": "~51200 (GPT-2 BPE padded)"}, "vocab") == 51200
    assert size({}, "vocab", 7) == 7
    with pytest.raises(Refusal, match="no layers"):
        size({}, "layers")
