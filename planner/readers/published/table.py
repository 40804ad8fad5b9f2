"""CSV files of unknown origin, read without surprises."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 64 * 2**20
MOST_CELL = 2**20

Cells = Mapping[str, str]


class TableError(ValueError):
    """A table that cannot be read; the message names file, line and remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """``columns`` in the file's order; each of ``rows`` maps every column to its cell, stripped."""

    columns: tuple[str, ...]
    rows: tuple[Cells, ...]


def read_table(path: Path) -> Table:
    """A comma-separated UTF-8 file with a header line.

    Raises ``TableError`` for a file that is too large, not text, without a header, or whose rows do
    not have one cell a column; ``OSError`` when it cannot be opened.
    """
    if path.stat().st_size > MOST_BYTES:
        raise TableError(f"{path}: larger than {MOST_BYTES >> 20} MiB: split the table")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: byte {error.start}: not UTF-8 text; save the table as CSV in UTF-8") from None
    if "\0" in text:
        raise TableError(f"{path}: contains NUL bytes; this is not a CSV file")
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    before = csv.field_size_limit(MOST_CELL)
    try:
        header = next(lines, None)
        columns = _columns(header, path)
        rows = [_row(columns, cells, lines.line_num, path) for cells in lines if cells]
    except csv.Error as error:
        raise TableError(f"{path}: line {lines.line_num}: {error}") from None
    finally:
        csv.field_size_limit(before)
    return Table(columns=columns, rows=tuple(rows))


def _columns(header: list[str] | None, path: Path) -> tuple[str, ...]:
    names = tuple(name.strip() for name in header or ())
    if not any(names):
        raise TableError(f"{path}: empty; the first line must name the columns")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"{path}: line 1: column {twice[0]!r} stands there twice; rename one")
    return names


def _row(columns: tuple[str, ...], cells: list[str], line: int, path: Path) -> Cells:
    if len(cells) != len(columns):
        raise TableError(f"{path}: line {line}: {len(cells)} cells under {len(columns)} columns; quote commas in cells")
    return dict(zip(columns, (cell.strip() for cell in cells), strict=True))
