"""Arrays of numbers in the files people keep counts in: npy, npz, pt, JSON, CSV.

``FILE:NAME`` picks one of several; in JSON ``NAME`` may go into mappings, ``data.decode.loads``.

Nothing in a file is executed: arrays of Python objects are refused, a ``.pt`` file gives its tensors alone.
"""

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.specs.document import read_text
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.names import meant

Floats: TypeAlias = NDArray[np.float64]

MOST_BYTES = 2**32
MOST_TEXT_BYTES = 2**28
SUFFIXES = (".npy", ".npz", ".pt", ".json", ".csv")
MAGIC = {".npy": b"\x93NUMPY", ".npz": b"PK"}
LONG_COLUMNS = ("layer", "expert")
COUNT_COLUMNS = ("count", "load", "tokens", "logical_count")


def split_reference(reference: str) -> tuple[str, str | None]:
    """``traces.npz:decode`` as the file and the name in it, None where none is given."""
    file, colon, name = reference.rpartition(":")
    if colon and name and Path(file).suffix.lower() in (*SUFFIXES, ".jsonl"):
        return file, name
    return reference, None


def read_array(path: Path, name: str | None = None, preferred: Sequence[str] = ()) -> Floats:
    """The array in a file, or the one called ``name``, as floats.

    Without ``name`` the only one, else the first of ``preferred`` that is there. Raises ``SpecError`` for a file
    that cannot be read or holds no numbers, several arrays without a name, and an unknown name.
    """
    file, suffix = str(path), path.suffix.lower()
    if suffix not in SUFFIXES:
        refuse(file, f"is no file of counts: give one that ends in {', '.join((*SUFFIXES, '.jsonl'))}")
    if suffix == ".csv":
        if name is not None:
            refuse(file, "a CSV file holds one table: leave the name out", key=name)
        return _csv(file, read_text(path, MOST_TEXT_BYTES))
    if suffix == ".json":
        return as_array(file, _named(file, _json(path), name, preferred))
    try:
        if path.stat().st_size > MOST_BYTES:
            refuse(file, f"is larger than {MOST_BYTES / 2**30:.0f} GiB: not read")
        return as_array(file, _binary(path, suffix, name, preferred))
    except OSError as error:
        refuse(file, f"cannot be read: {error.strerror or error}")


def as_array(file: str, value: object, key: str = "") -> Floats:
    """Nested lists or an array of numbers as floats; raises ``SpecError``."""
    try:
        array = np.asarray(value)
    except ValueError:
        refuse(file, "has rows of different lengths: give every layer the same number of experts", key=key)
    if array.dtype.kind not in "iufb" or array.dtype.kind == "b":
        refuse(file, f"holds {array.dtype} and not numbers", key=key)
    if np.iscomplexobj(array):
        refuse(file, "holds complex numbers", key=key)
    return np.asarray(array, dtype=np.float64)


def refuse(file: str, message: str, *, key: str = "", value: str = "", line: int | None = None) -> NoReturn:
    raise SpecError([Problem(file=file, key=key, value=value, message=message, line=line)])


def _binary(path: Path, suffix: str, name: str | None, preferred: Sequence[str]) -> object:
    file = str(path)
    if suffix == ".pt":
        from planner.readers.torch_archive import read_torch_archive

        return _named(file, read_torch_archive(path), name, preferred)
    with path.open("rb") as stream:
        start = stream.read(len(MAGIC[suffix]))
    if start != MAGIC[suffix]:
        refuse(file, f"is no {suffix[1:]} file")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if name is not None:
                refuse(file, "an npy file holds one array: leave the name out", key=name)
            return loaded
        with loaded:
            chosen = _pick(file, list(loaded.files), name, preferred)
            return np.asarray(loaded[chosen])
    except ValueError as error:
        if "allow_pickle" in str(error):
            refuse(file, "holds Python objects, which are not read: save the numbers alone with numpy.save")
        refuse(file, f"is no {suffix[1:]} file: {error}")
    except (EOFError, zipfile.BadZipFile, KeyError) as error:
        refuse(file, f"is no {suffix[1:]} file, or is cut off: {error}")


def _named(file: str, data: object, name: str | None, preferred: Sequence[str]) -> object:
    if isinstance(data, Mapping):
        outer, dot, inner = (name or "").partition(".")
        if dot and name not in data and isinstance(data.get(outer), Mapping):
            return _named(file, data[outer], inner, preferred)
        numbers = [str(key) for key, value in data.items() if isinstance(value, list | np.ndarray)]
        return data[_pick(file, numbers, name, preferred)]
    if name is not None:
        refuse(file, "holds one array, and no names: leave the name out", key=name)
    return data


def _pick(file: str, names: list[str], name: str | None, preferred: Sequence[str]) -> str:
    if name is not None:
        if name not in names:
            refuse(file, f"has no array of that name{meant(name, names)}", key=name)
        return name
    found = next((choice for choice in preferred if choice in names), names[0] if len(names) == 1 else None)
    if found is None:
        known = f"several arrays, {', '.join(names[:8])}" if names else "no array"
        refuse(file, f"holds {known}: name one, as in {Path(file).name}:NAME")
    return found


def _json(path: Path) -> object:
    try:
        return json.loads(read_text(path, MOST_TEXT_BYTES))
    except json.JSONDecodeError as error:
        refuse(str(path), f"is not JSON: {error.msg}", line=error.lineno)
    except (ValueError, RecursionError) as error:
        refuse(str(path), f"is not JSON: {shown(str(error))}")


def _csv(file: str, text: str) -> Floats:
    """A table [layers, experts], a header skipped, or rows ``layer, expert, count`` under such a header."""
    try:
        rows = [[c.strip() for c in row] for row in csv.reader(io.StringIO(text)) if any(map(str.strip, row))]
    except csv.Error as error:
        refuse(file, f"is not CSV: {error}")
    if not rows:
        refuse(file, "has no rows")
    header = [cell.lower() for cell in rows[0]]
    if all(column in header for column in LONG_COLUMNS):
        return _long(file, header, rows[1:])
    first = 0 if all(_number(cell) is not None for cell in rows[0]) else 1
    width = len(rows[0])
    if width > 1 and first and header[0] in ("layer", ""):  # a column of layer numbers before the counts
        rows = [row[1:] for row in rows]
        width -= 1
    problems = []
    for line, row in enumerate(rows[first:], start=first + 1):
        if len(row) != width:
            message = f"has {len(row)} values, the first row {width}"
            problems.append(Problem(file=file, key="", value="", message=message, line=line))
        problems += [
            Problem(file=file, key=f"column {k + 1}", value=shown(cell), message="is no number", line=line)
            for k, cell in enumerate(row)
            if _number(cell) is None
        ]
    if problems:
        raise SpecError(problems[:20])
    if len(rows) == first:
        refuse(file, "has a header and no rows")
    return np.array([[float(cell) for cell in row] for row in rows[first:]])


def _long(file: str, header: list[str], rows: list[list[str]]) -> Floats:
    counted = next((column for column in COUNT_COLUMNS if column in header), None)
    if counted is None:
        refuse(file, f"needs a column {' or '.join(COUNT_COLUMNS)} beside layer and expert", line=1)
    if not rows:
        refuse(file, "has a header and no rows")
    at = [header.index(column) for column in (*LONG_COLUMNS, counted)]
    problems, found = [], {}
    for line, row in enumerate(rows, start=2):
        cells = [row[k] if k < len(row) else "" for k in at]
        layer, expert, count = (_number(cell) for cell in cells)
        wrong = [
            (key, cell, "must be a whole number from 0 on")
            for key, cell, value in zip(LONG_COLUMNS, cells[:2], (layer, expert), strict=True)
            if value is None or value < 0 or value != int(value) or value > 1e6
        ]
        if count is None:
            wrong.append((counted, cells[2], "is no number"))
        problems += [Problem(file=file, key=k, value=shown(v), message=m, line=line) for k, v, m in wrong]
        if not wrong and layer is not None and expert is not None and count is not None:
            if (place := (int(layer), int(expert))) in found:
                problems.append(
                    Problem(file=file, key="layer, expert", value=str(place), message="is given twice", line=line)
                )
            found[place] = count
    if problems:
        raise SpecError(problems[:20])
    layers, experts = (max(place[k] for place in found) + 1 for k in (0, 1))
    array = np.zeros((layers, experts))
    for (layer_id, expert_id), value in found.items():
        array[layer_id, expert_id] = value
    return array


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
