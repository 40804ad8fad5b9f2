"""Which rows belong to a group, and which are not scored: the rules of ``cases/published/sources.yaml``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

import cases
from planner.published.rows import PredictedRow
from planner.readers.published.cells import text

Quantity = Literal["seconds", "bytes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Rows for which everything stated holds. Empty tuples and None state nothing.

    ``rows``: patterns of row ids. ``source``, ``gpu``, ``precision``: any of them. ``model``: the printed
    name. ``experts``, ``context_parallel``: whether there are any. ``nodes``: whether the run is on one or
    several. ``below_gigabytes``: of the published
    peak. ``assumed``: beginnings of assumptions, of which the row needed one.
    """

    rows: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    gpu: tuple[str, ...] = ()
    precision: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    experts: bool | None = None
    context_parallel: bool | None = None
    nodes: Literal["one", "several"] | None = None
    below_gigabytes: float | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Selection":
        """From the file's keys; those of no field are another's. Raises ``ValueError`` for a bare group."""
        names = {field.name for field in fields(cls)}
        stated = {key: _as_field(key, value) for key, value in entry.items() if key in names}
        if not stated:
            raise ValueError(f"{entry}: states nothing; keys are {', '.join(sorted(names))}")
        return cls(**stated)

    def holds(self, found: PredictedRow) -> bool:
        row, request = found.row, found.row.request
        peak, below = row.measured_memory, self.below_gigabytes
        return (
            (not self.rows or any(fnmatchcase(row.row_id, pattern) for pattern in self.rows))
            and (not self.source or row.source_id in self.source)
            and (not self.model or text(row.cells, "model") in self.model)
            and (not self.gpu or text(row.cells, "gpu").lower() in self.gpu)
            and (not self.precision or (request is not None and request.job.precision in self.precision))
            and (not self.assumed or any(a.startswith(self.assumed) for a in found.assumptions))
            and (self.experts is None or (request is not None and request.model.is_moe == self.experts))
            and (
                self.context_parallel is None
                or (request is not None and (request.choices[0].cp > 1) == self.context_parallel)
            )
            and (
                self.nodes is None or (request is not None and (request.cluster.nodes > 1) == (self.nodes == "several"))
            )
            and (below is None or (peak is not None and peak * row.memory_unit_bytes < below * 1e9))
        )


def _as_field(key: str, value: Any) -> Any:
    if key in ("experts", "context_parallel"):
        return bool(value)
    if key == "below_gigabytes":
        return float(value)
    if key == "nodes":
        return str(value)
    return tuple(value) if isinstance(value, list) else (str(value),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """Rows whose figures ``of`` these quantities are not scored, and why."""

    rows: Selection
    of: tuple[Quantity, ...]
    reason: str


def groups() -> dict[str, Selection]:
    """The named parts of the sources, in the order of the report."""
    return {entry["name"]: Selection.of(entry) for entry in cases.published_sources()["groups"]}


def exclusions() -> list[Exclusion]:
    quantities: tuple[Quantity, ...] = get_args(Quantity)
    return [
        Exclusion(
            rows=Selection.of(entry),
            of=tuple(q for q in quantities if entry.get("of", q) == q),
            reason=entry["reason"],
        )
        for entry in cases.published_sources()["not_scored"]
    ]


def reasons(found: PredictedRow, rules: Iterable[Exclusion] | None = None) -> dict[Quantity, str]:
    """Why a row's seconds or bytes are not scored; empty when both are."""
    told: dict[Quantity, str] = {}
    for rule in exclusions() if rules is None else rules:
        if rule.rows.holds(found):
            told = dict.fromkeys(rule.of, rule.reason) | told
    return told


def judged(predicted: Iterable[PredictedRow]) -> list[PredictedRow]:
    """The rows whose stated configuration can be relied on: no rule drops both of their figures at once."""
    rules = [rule for rule in exclusions() if rule.of == get_args(Quantity)]
    return [found for found in predicted if not reasons(found, rules)]


def scored(predicted: Iterable[PredictedRow]) -> list[PredictedRow]:
    """The rows to score, without those of their measured figures that are not."""
    rules, kept = exclusions(), []
    for found in predicted:
        told, row = reasons(found, rules), found.row
        if "seconds" in told:
            row = replace(row, measured_seconds=None)
        if "bytes" in told:
            row = replace(row, measured_memory=None)
        if len(told) < len(get_args(Quantity)):
            kept.append(found if row is found.row else replace(found, row=row))
    return kept
