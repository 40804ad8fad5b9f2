"""Measured bandwidth tables."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.readers.bandwidth_csv import read_bandwidth_csv
from planner.specs.errors import SpecError


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "bw.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    ["0,25\n24,0\n", "a,b\n0,25\n24,0\n", ",a,b\na,0,25\nb,24,0\n", "nan, 25 \r\n\r\n24,\r\n", "-,2.5e1\n24,-\n"],
)
def test_names_blank_lines_and_the_diagonal_do_not_matter(tmp_path: Path, content: str) -> None:
    matrix = read_bandwidth_csv(written(tmp_path, content))
    assert np.array_equal(matrix, [[math.inf, 25e9], [24e9, math.inf]])


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("0,nan\n24,0\n", ["row 1, column 2: 'nan': must be a bandwidth above zero"]),
        ("0,-25\n0,0\n", ["row 1, column 2: '-25': ", "row 2, column 1: '0': "]),
        ("0,inf\n2x,0\n", ["row 1, column 2: 'inf': ", "row 2, column 1: '2x': "]),
        ("0,1,2\n1,0\n1,2,0\n", ["row 2: has 2 values, but there are 3 rows"]),
        ("0,1,2\n1,0,2\n", ["row 1: has 3 values", "row 2: has 3 values"]),
        ("0\n", ["at least two"]),
        ("", ["at least two"]),
        (b"\xff\xfe0,1", ["is not UTF-8"]),
    ],
)
def test_each_bad_cell_is_named_by_row_and_column(tmp_path: Path, content: str | bytes, messages: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        read_bandwidth_csv(written(tmp_path, content))
    assert len(caught.value.problems) == len(messages)
    for problem, message in zip(caught.value.problems, messages, strict=True):
        assert message in str(problem)


def test_a_missing_file_is_an_ordinary_problem(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        read_bandwidth_csv(tmp_path / "absent.csv")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(alphabet='0123456789.,-+eEnaif"\n\r\0 ', max_size=80).map(str.encode))
def test_arbitrary_bytes_give_a_table_or_a_spec_error(tmp_path: Path, content: bytes) -> None:
    try:
        matrix = read_bandwidth_csv(written(tmp_path, content))
    except SpecError:
        return
    assert matrix.shape[0] == matrix.shape[1] >= 2
    assert matrix.min() > 0
