"""Latency and bandwidth between places, from pairs and from square tables."""

from pathlib import Path

import numpy as np
import pytest

import cases
from planner.readers.latency_bandwidth_csv import read_latency_matrix, read_pairs
from planner.specs.errors import SpecError


def test_units_come_from_the_header_and_a_pair_holds_both_ways(tmp_path: Path) -> None:
    """8 Gbps are 1e9 bytes a second; 2 ms are 0.002 s."""
    path = tmp_path / "pairs.csv"
    path.write_text("from,to,latency_ms,bandwidth_Gbps\nA,B,2,8\nA,C,3,16\nC,B,5,4\nC,A,7,4\n")
    found = read_pairs(path)
    assert found.names == ("A", "B", "C")
    assert found.latency_seconds.tolist() == [[0, 0.002, 0.003], [0.002, 0, 0.005], [0.007, 0.005, 0]]
    assert found.bytes_per_second[0].tolist() == [np.inf, 1e9, 2e9]
    assert found.bytes_per_second[2].tolist() == [0.5e9, 0.5e9, np.inf]


@pytest.mark.parametrize(
    ("column", "bytes_per_second"),
    [
        ("bandwidth_Gbps", 1.25e8),
        ("bandwidth_Mbps", 1.25e5),
        ("bandwidth_GB_per_s", 1e9),
        ("bandwidth_MB_per_s", 1e6),
        ("bandwidth_GiB_per_s", 2.0**30),
    ],
)
def test_bits_bytes_and_binary_bytes_are_told_apart(tmp_path: Path, column: str, bytes_per_second: float) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(f"from,to,latency_s,{column}\nA,B,1,1\n")
    assert read_pairs(path).bytes_per_second[0, 1] == bytes_per_second


def test_every_wrong_line_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,latency_ms,bandwidth_Gbps\nA,B,-1,0\nA,A,1,1\nA,C,1,1\nA,C,1,1\nA,D,1\nB,C,x,1\n")
    with pytest.raises(SpecError) as error:
        read_pairs(path)
    told = [str(problem).removeprefix(str(path)) for problem in error.value.problems]
    assert told == [
        ":2: latency_ms: '-1': must be a latency of at least 0",
        ":2: bandwidth_Gbps: '0': must be a bandwidth above 0",
        ":3: 'A - A': must name two different places",
        ":5: A - C: is given twice",
        ":6: has 3 cells, the header has 4",
        ":7: latency_ms: 'x': must be a latency of at least 0",
    ]


def test_a_pair_that_is_missing_and_a_unit_that_is_missing_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("a,b,latency_ms,bandwidth_Gbps\nA,B,1,1\nB,C,1,1\n")
    with pytest.raises(SpecError, match=r"A - C: this pair is missing: give its latency and bandwidth"):
        read_pairs(path)
    path.write_text("a,b,latency,bandwidth_Gbps\nA,B,1,1\n")
    with pytest.raises(SpecError, match=r"pairs.csv:1: header: .*latency with its unit.*latency_s, latency_ms"):
        read_pairs(path)
    path.write_text("")
    with pytest.raises(SpecError, match="needs a header"):
        read_pairs(path)


def test_the_bundled_tables_are_complete_and_keep_their_published_figures() -> None:
    """12 and 10 regions; three figures as printed by their sources."""
    gcp, aws = (read_pairs(cases.region_table_path(name)) for name in ("gcp12", "dtfm_aws"))
    assert (len(gcp.names), len(aws.names)) == (12, 10)
    at = [gcp.names.index(name) for name in ("Iowa", "LA")]
    assert gcp.latency_seconds[at[0], at[1]] == pytest.approx(0.0234)
    assert gcp.bytes_per_second[at[1], at[0]] == 0.06146240234375 * 2**30
    at = [aws.names.index(name) for name in ("Virginia", "Ohio")]
    assert aws.bytes_per_second[at[0], at[1]] == pytest.approx(1.12e9 / 8)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("0,1\n2,0\n", ()),
        (",A,B\nA,0,1\nB,2,0\n", ("A", "B")),
        ("A,B\n0,1\n2,0\n", ("A", "B")),
        ("A,0,1\nB,2,0\n", ("A", "B")),
    ],
)
def test_square_tables_with_and_without_names(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    path = tmp_path / "latency.csv"
    path.write_text(text)
    found, table = read_latency_matrix(path)
    assert (found, table.tolist()) == (names, [[0, 0.001], [0.002, 0]])


def test_cells_of_a_square_table_that_are_no_latency_are_named(tmp_path: Path) -> None:
    path = tmp_path / "latency.csv"
    path.write_text("0,-1,2\nx,0,3\n1,2\n")
    with pytest.raises(SpecError) as error:
        read_latency_matrix(path)
    assert [problem.key for problem in error.value.problems] == ["row 1, column 2", "row 2, column 1", "row 3"]
    assert "the table must be square" in error.value.problems[2].message
