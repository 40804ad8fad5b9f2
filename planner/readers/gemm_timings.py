"""GEMM timings in a CSV file: columns ``m, n, k, dtype`` and one of ``microseconds``, ``milliseconds``,
``seconds`` or ``tflops``; others are ignored."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from costmodels.configuration import Precision
from planner.readers.published.table import Cells, read_table
from planner.specs.errors import Problem, SpecError, shown

UNITS = {"microseconds": 1e-6, "milliseconds": 1e-3, "seconds": 1.0}
DTYPES: dict[str, Precision] = {
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp16": "fp16",
    "float16": "fp16",
    "half": "fp16",
    "fp8": "fp8",
    "float8": "fp8",
    "e4m3": "fp8",
    "float8_e4m3": "fp8",
    "float8_e4m3fn": "fp8",
    "mxfp8": "fp8",
    "fp4": "fp4",
    "nvfp4": "fp4",
}
LARGEST = 1e9
MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GemmTiming:
    """[m, k] x [k, n] in ``precision``, in ``seconds``; ``line`` of ``file``."""

    file: str
    line: int
    m: int
    n: int
    k: int
    precision: Precision
    seconds: float


def read_gemm_csv(path: str | Path) -> list[GemmTiming]:
    """Every timing of the file. Raises ``SpecError`` naming each cell that is no positive number and each
    unknown dtype, ``TableError`` when the file is no table."""
    file = str(path)
    table = read_table(Path(path))
    columns = {name.lower(): name for name in table.columns}
    if missing := [name for name in ("m", "n", "k", "dtype") if name not in columns]:
        _refuse(file, f"line 1: no column {', '.join(missing)}; needs m, n, k, dtype and a time or tflops")
    timed = [name for name in (*UNITS, "tflops") if name in columns]
    if len(timed) != 1:
        _refuse(file, f"line 1: needs exactly one of the columns {', '.join((*UNITS, 'tflops'))}")
    if not table.rows:
        _refuse(file, "has no rows")
    found: list[GemmTiming] = []
    problems: list[Problem] = []
    for line, cells in enumerate(table.rows, start=2):
        row = {name: cells[columns[name]] for name in ("m", "n", "k", "dtype", timed[0])}
        wrong = _problems(file, line, row, timed[0])
        problems += wrong
        if not wrong:
            found.append(_timing(file, line, row, timed[0]))
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise SpecError(problems)
    return found


def _problems(file: str, line: int, row: Cells, timed: str) -> list[Problem]:
    found = [(key, "must be a whole number of at least 1") for key in ("m", "n", "k") if not _size(row[key])]
    if row["dtype"].lower() not in DTYPES:
        found.append(("dtype", f"must be one of {', '.join(DTYPES)}"))
    if not 0 < _number(row[timed]) < LARGEST:
        found.append((timed, "must be a positive number"))
    return [Problem(file=file, line=line, key=key, value=shown(row[key]), message=text) for key, text in found]


def _timing(file: str, line: int, row: Cells, timed: str) -> GemmTiming:
    m, n, k = (int(float(row[key])) for key in ("m", "n", "k"))
    figure = _number(row[timed])
    seconds = 2.0 * m * n * k / (figure * 1e12) if timed == "tflops" else figure * UNITS[timed]
    return GemmTiming(file=file, line=line, m=m, n=n, k=k, precision=DTYPES[row["dtype"].lower()], seconds=seconds)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _size(cell: str) -> bool:
    value = _number(cell)
    return 1 <= value < LARGEST and value == int(value)


def _refuse(file: str, message: str) -> NoReturn:
    raise SpecError([Problem(file=file, key="", value="", message=message)])
