"""Tables of unknown origin: what is no table is said to be none, with file and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.readers.published.table import TableError, read_table


def write(folder: Path, content: bytes) -> Path:
    path = folder / "runs.csv"
    path.write_bytes(content)
    return path


def test_columns_keep_their_order_and_cells_are_stripped(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, b"tp, pp\n 8 ,4\n\n2,\n"))
    assert table.columns == ("tp", "pp")
    assert table.rows == ({"tp": "8", "pp": "4"}, {"tp": "2", "pp": ""})


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, b"\xef\xbb\xbftp,pp\r\n8,4\r\n"))
    assert table.columns == ("tp", "pp")
    assert table.rows[0]["pp"] == "4"


def test_quoted_json_with_commas_is_one_cell(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, b'a,extra_json\n1,"{""layers"": 2, ""x"": 3}"\n'))
    assert table.rows[0]["extra_json"] == '{"layers": 2, "x": 3}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"tp,pp\n8\n", "line 2: 1 cells under 2 columns"),
        (b"tp,pp\n8,4\n8,4,1\n", "line 3: 3 cells under 2 columns"),
        (b"tp,tp\n8,4\n", "'tp' stands there twice"),
        (b"tp\n\x00\n", "NUL"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not UTF-8"),
        (b'tp\n"8\n', "line 2"),
        (b"tp\n" + b"8" * (2**20 + 1) + b"\n", "field larger than field limit"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(TableError) as caught:
        read_table(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_table_or_a_table_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = write(tmp_path_factory.mktemp("fuzz"), content)
    try:
        table = read_table(path)
    except TableError:
        return
    assert all(set(row) == set(table.columns) for row in table.rows)
