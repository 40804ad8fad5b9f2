"""What ``tools.fit_system`` fits to which rows: ``system_recipe.yaml``, read and checked.

A condition is a mapping of columns to a value, a list of values, ``{from: a, to: b}`` (numbers, or text
such as dates) or ``{like: REGEX}``; all of it must hold. Besides the table's columns there are
``calibration`` (the bundled one that prices the row) and ``experts`` (true for mixtures of experts).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NoReturn

import yaml

from costmodels.calibration import FIGURES, bundled_calibrations, bundled_name
from planner.calibrate.parameters import Parameter
from planner.readers.published_rows import Row

RECIPE = Path(__file__).with_name("system_recipe.yaml")
HELD_OUT_BY = ("source_id", "n_gpus", "source_date", "model_key", "model", "gpu")
"""What may be left out together: never rows drawn from within a sweep, whose neighbours give them away."""
MEASURES = ("seconds", "bytes")


class RecipeError(ValueError):
    """A recipe that cannot be followed; the message names file, entry, key and remedy."""


@dataclass(frozen=True, kw_only=True)
class HoldOut:
    """``by``: each value of the column is left out in turn, in at most ``folds`` parts; or ``rows``: the
    rows that meet a condition are."""

    by: str
    folds: int
    rows: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class FitRecipe:
    """``parameters`` of ``calibrations``, fitted together to the rows that meet one of ``rows``.

    ``starts``: by calibration, the figures' values that the search starts from and its prior is centred
    on. They have seen no row, so that errors on rows left out are honest and a fit can be repeated.
    """

    name: str
    calibrations: tuple[str, ...]
    measure: str
    rows: tuple[Mapping[str, Any], ...]
    parameters: tuple[Parameter, ...]
    starts: Mapping[str, Mapping[str, float]]
    hold_out: HoldOut


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """``excluded``: patterns of row ids and why they are not trusted."""

    fits: tuple[FitRecipe, ...]
    excluded: tuple[tuple[tuple[str, ...], str], ...]

    def exclusion(self, row_id: str) -> str:
        """Why the row is left out; empty when it is not."""
        for patterns, reason in self.excluded:
            if any(fnmatchcase(row_id, pattern) for pattern in patterns):
                return reason
        return ""


def load_recipe(path: Path = RECIPE) -> Recipe:
    """Raises RecipeError for unknown keys, figures, calibrations and columns to hold out."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = _fields(data, f"{path}", ("fits",), ("exclude",))
    excluded = []
    for i, entry in enumerate(entries.get("exclude") or []):
        rule = _fields(entry, f"{path}: exclude[{i}]", ("rows", "reason"))
        excluded.append((tuple(_list(rule["rows"])), str(rule["reason"])))
    fits = tuple(_fit(entry, f"{path}: fits[{i}]") for i, entry in enumerate(entries["fits"]))
    return Recipe(fits=fits, excluded=tuple(excluded))


def _fit(entry: object, where: str) -> FitRecipe:
    found = _fields(entry, where, ("name", "calibrations", "rows", "figures", "hold_out"), ("measure",))
    where = f"{where} ({found['name']})"
    calibrations = tuple(_list(found["calibrations"]))
    for name in calibrations:
        _one_of(name, bundled_calibrations(), f"{where}: calibrations")
    figures = found["figures"]
    if not isinstance(figures, Mapping) or not figures:
        _refuse(f"{where}: figures", figures, "write a mapping of figures to {} or their bounds")
    parameters: list[Parameter] = []
    for figure, options in figures.items():
        parameters += _parameters(str(figure), options or {}, calibrations, f"{where}: figures")
    return FitRecipe(
        name=str(found["name"]),
        calibrations=calibrations,
        measure=_one_of(found.get("measure", "seconds"), MEASURES, f"{where}: measure"),
        rows=tuple(_condition(part, f"{where}: rows") for part in _list(found["rows"])),
        parameters=tuple(parameters),
        starts=_starts(figures, calibrations, f"{where}: figures"),
        hold_out=_hold_out(found["hold_out"], f"{where}: hold_out"),
    )


def _parameters(figure: str, options: object, calibrations: tuple[str, ...], where: str) -> list[Parameter]:
    """One unknown a calibration, or one for those that ``shared`` lists (``all``: every one)."""
    _one_of(figure, FIGURES, where)
    given = _fields(options, f"{where}.{figure}", ("start",), ("shared", "of", "width", "low", "high"))
    bounds = {key: float(given[key]) for key in ("width", "low", "high") if key in given}
    of = tuple(_list(given.get("of", list(calibrations))))
    shared = of if given.get("shared") == "all" else tuple(_list(given.get("shared", [])))
    for name in (*of, *shared):
        _one_of(name, calibrations, f"{where}.{figure}")
    own = [(name,) for name in of if name not in shared]
    return [Parameter(figure=figure, calibrations=names, **bounds) for names in (*own, shared) if names]


def _starts(figures: Mapping[str, Any], calibrations: tuple[str, ...], where: str) -> dict[str, dict[str, float]]:
    """One start for all calibrations of a figure, or one for each."""
    found: dict[str, dict[str, float]] = {name: {} for name in calibrations}
    for figure, options in figures.items():
        start = options["start"]
        for name in _list(options.get("of", list(calibrations))):
            value = start.get(name) if isinstance(start, Mapping) else start
            if not isinstance(value, int | float):
                _refuse(f"{where}.{figure}.start", start, f"write a number, or one for {name}")
            found[name][figure] = float(value)
    return found


def _hold_out(entry: object, where: str) -> HoldOut:
    found = _fields(entry, where, (), ("by", "folds", "rows"))
    if ("by" in found) == ("rows" in found):
        _refuse(where, entry, "write either by: COLUMN or rows: CONDITION")
    by = _one_of(found["by"], HELD_OUT_BY, f"{where}.by") if "by" in found else ""
    rows = _condition(found["rows"], f"{where}.rows") if "rows" in found else None
    return HoldOut(by=by, folds=int(found.get("folds", 4)), rows=rows)


def _condition(entry: object, where: str) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping) or not entry:
        _refuse(where, entry, "write a mapping of columns to values")
    return entry


def meets(row: Row, condition: Mapping[str, Any]) -> bool:
    """Whether the row meets every part of the condition."""
    return all(_meets(_cell(row, column), wanted) for column, wanted in condition.items())


def _cell(row: Row, column: str) -> str:
    if column == "calibration":
        asked = row.request
        return "" if asked is None else bundled_name(asked.cluster.gpu, asked.job.software) or ""
    if column == "experts":
        return "" if row.request is None else str(row.request.model.is_moe)
    return row.source_id if column == "source_id" else row.cells.get(column, "")


def _meets(cell: str, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if "like" in wanted:
            return re.search(str(wanted["like"]), cell, flags=re.IGNORECASE) is not None
        low, high, value = wanted.get("from"), wanted.get("to"), _sortable(cell)
        after = low is None or value >= _sortable(low)
        return bool(cell) and after and (high is None or value <= _sortable(high))
    return any(_sortable(cell) == _sortable(one) for one in _list(wanted))


def _sortable(value: Any) -> tuple[int, float, str]:
    """Numbers by value and before text; 8 is 8.0, True is true."""
    text = str(value).strip().lower()
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)


def _fields(entry: object, where: str, needed: Sequence[str], optional: Sequence[str] = ()) -> Mapping[str, Any]:
    known = (*needed, *optional)
    if not isinstance(entry, Mapping):
        _refuse(where, entry, f"write a mapping with {', '.join(known)}")
    for key in entry:
        _one_of(key, known, where)
    for key in needed:
        if key not in entry:
            _refuse(where, "", f"{key} is missing")
    return entry


def _one_of(value: object, known: Sequence[str], where: str) -> str:
    if value not in known:
        _refuse(where, value, f"unknown; known are {', '.join(known)}")
    return str(value)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _refuse(where: str, value: object, remedy: str) -> NoReturn:
    shown = f": {value!r}" if value != "" else ""
    raise RecipeError(f"{where}{shown}: {remedy}")
