"""GEMM timings from CSV files."""

from pathlib import Path

import pytest

from planner.readers.gemm_timings import GemmTiming, read_gemm_csv
from planner.readers.published.table import TableError
from planner.specs.errors import SpecError


def read(tmp_path: Path, text: str) -> list[GemmTiming]:
    path = tmp_path / "gemm.csv"
    path.write_text(text)
    return read_gemm_csv(path)


@pytest.mark.parametrize(
    ("column", "value"),
    [("microseconds", "1500"), ("milliseconds", "1.5"), ("seconds", "1.5e-3"), ("tflops", "733.0077")],
)
def test_every_unit_of_time_says_the_same(tmp_path: Path, column: str, value: str) -> None:
    """By hand: 2 x 8192^3 FLOPs in 1.5 ms are 733.0077 TFLOP/s."""
    (timing,) = read(tmp_path, f"m,n,k,dtype,{column},note\n8192,8192,8192,bfloat16,{value},x\n")
    assert (timing.m, timing.n, timing.k, timing.precision, timing.line) == (8192, 8192, 8192, "bf16", 2)
    assert timing.seconds == pytest.approx(1.5e-3, rel=1e-6)


def test_every_faulty_cell_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, "m,n,k,dtype,microseconds\n1,1,1,bf16,5\n0,1,2.5,int4,-3\n")
    assert [(p.line, p.key, p.value) for p in caught.value.problems] == [
        (3, "m", "'0'"),
        (3, "k", "'2.5'"),
        (3, "dtype", "'int4'"),
        (3, "microseconds", "'-3'"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m,n,dtype,microseconds\n", "no column k"),
        ("m,n,k,dtype\n1,1,1,bf16\n", "exactly one of the columns"),
        ("m,n,k,dtype,seconds,tflops\n1,1,1,bf16,1,1\n", "exactly one of the columns"),
        ("m,n,k,dtype,seconds\n", "has no rows"),
    ],
)
def test_a_table_without_the_columns_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(tmp_path, text)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="empty"):
        read(tmp_path, "")
