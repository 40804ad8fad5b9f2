"""Pipette's measured bandwidth of every pair of hosts: ``{"gpus": [names], "bandwidth": [[GB/s]]}``."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.readers.notes import Note
from planner.specs.document import Document, read_document
from planner.specs.errors import Problem, SpecError, refuse, shown

MOST_BYTES = 64 * 2**20
MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PipetteBandwidth:
    """``bytes_per_second[i, j]`` from the i-th of ``names`` to the j-th; the diagonal, what stays inside one,
    is infinite."""

    file: str
    names: tuple[str, ...]
    bytes_per_second: NDArray[np.float64]
    notes: tuple[Note, ...]


def read_pipette_bandwidth(path: str | Path) -> PipetteBandwidth:
    """Names and matrix; other keys (a mapping problem's) are noted and passed over.

    Raises ``SpecError`` with every cell that is no bandwidth, and where the table is not square over the names.
    """
    document = read_document(path, MOST_BYTES)
    file, names = document.file, document.data.get("gpus")
    if not isinstance(names, list) or not all(isinstance(name, str | int) and str(name) for name in names):
        refuse(file, "must be a list of names, e.g. [h0, h1]", key="gpus", value=shown(names))
    rows = document.data.get("bandwidth")
    if not isinstance(rows, list) or len(rows) != len(names) or len(names) < 2:
        refuse(file, f"must have a row for each of the {len(names)} names, at least two", key="bandwidth")
    notes = [
        Note(file=file, line=document.line((key,)), text=str(key), why="is not of the bandwidths: passed over")
        for key in document.data
        if key not in ("gpus", "bandwidth")
    ]
    return PipetteBandwidth(
        file=file, names=tuple(map(str, names)), bytes_per_second=_matrix(document, rows), notes=tuple(notes)
    )


def is_pipette(document: Document) -> bool:
    return "gpus" in document.data and "bandwidth" in document.data


def _matrix(document: Document, rows: list[object]) -> NDArray[np.float64]:
    size, problems = len(rows), []
    matrix = np.full((size, size), math.inf)
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != size:
            problems.append(_problem(document, (i,), row, f"must be a list of {size} figures"))
            continue
        for j, cell in enumerate(row):
            if i == j:
                continue
            if isinstance(cell, int | float) and not isinstance(cell, bool) and 0 < cell < 1e12:
                matrix[i, j] = cell * 1e9
            else:
                problems.append(_problem(document, (i, j), cell, "must be a bandwidth above zero, in GB/s"))
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise SpecError(problems)
    return matrix


def _problem(document: Document, place: tuple[int, ...], value: object, message: str) -> Problem:
    key = "bandwidth" + "".join(f"[{i}]" for i in place)
    line = document.line(("bandwidth", *place))
    return Problem(file=document.file, key=key, value=shown(value), message=message, line=line)
