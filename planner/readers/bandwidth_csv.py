"""Measured bandwidth between every two nodes, or every two GPUs, as a square table in GB/s."""

import csv
import math
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from planner.specs.document import read_text
from planner.specs.errors import Problem, SpecError, shown

MOST_BYTES = 256 * 2**20
MOST_PROBLEMS = 20


def read_bandwidth_csv(path: str | Path) -> NDArray[np.float64]:
    """The N x N matrix of attained bytes per second in a CSV file of GB/s (1e9 bytes).

    Row i, column j is what i sends to j. The diagonal is not read and becomes infinite. A first row
    of names and a first column of names are skipped. Raises ``SpecError`` naming row and column of
    every cell (from 1, names not counted) that is no positive number, and every row of wrong length.
    """
    file = str(path)
    rows = _cells(file, read_text(path, MOST_BYTES))
    size = len(rows)
    if size < 2:
        _refuse(file, "needs one row per node or GPU, at least two")
    problems: list[Problem] = []
    matrix = np.full((size, size), math.inf)
    for i, row in enumerate(rows):
        if len(row) != size:
            message = f"has {len(row)} values, but there are {size} rows: the table must be square"
            problems.append(Problem(file=file, key=f"row {i + 1}", value="", message=message))
            continue
        for j, cell in enumerate(row):
            if i == j:
                continue
            figure = _figure(cell)
            if figure is None:
                message = "must be a bandwidth above zero, in GB/s"
                problems.append(
                    Problem(file=file, key=f"row {i + 1}, column {j + 1}", value=shown(cell), message=message)
                )
            else:
                matrix[i, j] = figure * 1e9
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise SpecError(problems)
    return matrix


def _cells(file: str, text: str) -> list[list[str]]:
    """The table without names."""
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(map(str.strip, row))]
    except csv.Error as error:
        _refuse(file, f"is not CSV: {error}")
    if rows and len(rows[0]) > 1 and not any(_is_number(cell) for cell in rows[0][1:]):
        rows = rows[1:]
    if rows and all(len(row) > 1 and row[0] and not _is_number(row[0]) for row in rows):
        rows = [row[1:] for row in rows]
    return rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _figure(cell: str) -> float | None:
    """GB/s, or None when it is not a positive number whose bytes are finite."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if 0 < value < 1e12 else None


def _refuse(file: str, message: str) -> NoReturn:
    raise SpecError([Problem(file=file, key="", value="", message=message)])
