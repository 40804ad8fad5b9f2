"""Latency and bandwidth between places: a list of pairs, or two square tables."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from planner.specs.document import read_text
from planner.specs.errors import Problem, SpecError, shown

MOST_BYTES = 64 * 2**20
MOST_PROBLEMS = 20
MOST_PLACES = 4096

LATENCY_UNITS = {"latency_s": 1.0, "latency_ms": 1e-3, "latency_us": 1e-6}
BANDWIDTH_UNITS = {
    "bandwidth_gbps": 1e9 / 8,
    "bandwidth_mbps": 1e6 / 8,
    "bandwidth_gb_per_s": 1e9,
    "bandwidth_mb_per_s": 1e6,
    "bandwidth_gib_per_s": 2.0**30,
}
"""Columns by their unit, letters in any case (``Gbps`` is bits, ``GB_per_s`` bytes); to seconds, bytes per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """``names`` [P] of places, ``latency_seconds`` and ``bytes_per_second`` [P, P], row to column.

    The diagonals are not given: no latency and no limit there.
    """

    names: tuple[str, ...]
    latency_seconds: NDArray[np.float64]
    bytes_per_second: NDArray[np.float64]


def read_pairs(path: str | Path) -> Network:
    """The network of a CSV file with a header: two names, a latency and a bandwidth a line.

    The first two columns name the places, ``latency_ms`` (or _s, _us) and ``bandwidth_Gbps`` (or Mbps, GB_per_s,
    MB_per_s, GiB_per_s) carry their units. A pair that is given once holds both ways. Raises ``SpecError`` with
    every line that is wrong, given twice or missing.
    """
    file = str(path)
    rows = list(_rows(file, read_text(path, MOST_BYTES)))
    if len(rows) < 2:
        _refuse(file, "needs a header and a line for each pair: region_a,region_b,latency_ms,bandwidth_Gbps")
    latency, latency_unit, bandwidth, bandwidth_unit = _columns(file, rows[0][1])
    given: dict[tuple[str, str], tuple[float, float]] = {}
    problems: list[Problem] = []
    for line, cells in rows[1:]:
        if len(cells) != len(rows[0][1]):
            message = f"has {len(cells)} cells, the header has {len(rows[0][1])}"
            problems.append(_problem(file, "", "", message, line))
            continue
        pair = (cells[0], cells[1])
        seconds, rate = _number(cells[latency]), _number(cells[bandwidth])
        if seconds is None or seconds < 0:
            problems.append(
                _problem(file, rows[0][1][latency], shown(cells[latency]), "must be a latency of at least 0", line)
            )
        if rate is None or rate <= 0:
            problems.append(
                _problem(file, rows[0][1][bandwidth], shown(cells[bandwidth]), "must be a bandwidth above 0", line)
            )
        if not all(pair) or pair[0] == pair[1]:
            problems.append(_problem(file, "", shown(" - ".join(pair)), "must name two different places", line))
        elif pair in given:
            problems.append(_problem(file, "", " - ".join(pair), "is given twice", line))
        elif seconds is not None and rate is not None:
            given[pair] = seconds * latency_unit, rate * bandwidth_unit
    names = tuple(dict.fromkeys(name for _, cells in rows[1:] for name in cells[:2] if name))
    problems = problems[:MOST_PROBLEMS] or _missing(file, names, given)
    if problems:
        raise SpecError(problems)
    size = len(names)
    delays, rates = np.zeros((size, size)), np.full((size, size), math.inf)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if i != j:
                delays[i, j], rates[i, j] = given.get((a, b)) or given[b, a]
    return Network(names=names, latency_seconds=delays, bytes_per_second=rates)


def read_latency_matrix(path: str | Path) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names (empty where there are none) and the square table of a CSV file of milliseconds, in seconds, [P, P].

    Row i, column j is from i to j. The diagonal is not read and is 0. A first row and a first column of names are
    skipped. Raises ``SpecError`` with every cell that is no latency.
    """
    file = str(path)
    cells = [row for _, row in _rows(file, read_text(path, MOST_BYTES))]
    names: tuple[str, ...] = ()
    if cells and len(cells[0]) > 1 and all(_number(cell) is None for cell in cells[0][1:]):
        names = tuple(cells[0])
        cells = cells[1:]
    if cells and all(len(row) > 1 and _number(row[0]) is None for row in cells):
        names = tuple(row[0] for row in cells)
        cells = [row[1:] for row in cells]
    size = len(cells)
    if size < 2:
        _refuse(file, "needs a row for each node, at least two")
    names = names if len(names) == size else names[1:] if len(names) == size + 1 else ()
    problems: list[Problem] = []
    table = np.zeros((size, size))
    for i, row in enumerate(cells):
        if len(row) != size:
            message = f"has {len(row)} values, but there are {size} rows: the table must be square"
            problems.append(_problem(file, f"row {i + 1}", "", message))
            continue
        for j, cell in enumerate(row):
            value = 0.0 if i == j else _number(cell)
            if value is None or value < 0:
                message = "must be a latency of at least 0, in milliseconds"
                problems.append(_problem(file, f"row {i + 1}, column {j + 1}", shown(cell), message))
            else:
                table[i, j] = value * LATENCY_UNITS["latency_ms"]
    if problems:
        raise SpecError(problems[:MOST_PROBLEMS])
    return names, table


def _rows(file: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines that hold something, with their numbers."""
    try:
        for line, cells in enumerate(csv.reader(text.splitlines()), start=1):
            stripped = [cell.strip() for cell in cells]
            if any(stripped) and not stripped[0].startswith("#"):
                yield line, stripped
    except csv.Error as error:
        _refuse(file, f"is not CSV: {error}")


def _columns(file: str, header: list[str]) -> tuple[int, float, int, float]:
    """Where latency and bandwidth stand, each with its unit."""
    names = [name.lower() for name in header]
    found: list[int | float] = []
    problems: list[Problem] = []
    for kind, units in (("latency", LATENCY_UNITS), ("bandwidth", BANDWIDTH_UNITS)):
        at = [i for i, name in enumerate(names) if i >= 2 and name in units]
        if len(at) == 1:
            found += [at[0], units[names[at[0]]]]
        else:
            message = f"must hold one column of {kind} with its unit, after two names: {', '.join(units)}"
            problems.append(_problem(file, "header", shown(",".join(header)), message, 1))
    if problems:
        raise SpecError(problems)
    return int(found[0]), found[1], int(found[2]), found[3]


def _missing(file: str, names: tuple[str, ...], given: dict[tuple[str, str], tuple[float, float]]) -> list[Problem]:
    """Pairs that stand in neither direction."""
    if len(names) > MOST_PLACES:
        return [_problem(file, "", str(len(names)), f"places: at most {MOST_PLACES} can be read")]
    return [
        _problem(file, "", f"{a} - {b}", "this pair is missing: give its latency and bandwidth")
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if (a, b) not in given and (b, a) not in given
    ][:MOST_PROBLEMS]


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e15 else None


def _problem(file: str, key: str, value: str, message: str, line: int | None = None) -> Problem:
    return Problem(file=file, key=key, value=value, message=message, line=line)


def _refuse(file: str, message: str) -> NoReturn:
    raise SpecError([Problem(file=file, key="", value="", message=message)])
