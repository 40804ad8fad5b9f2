"""Measured steps and peak memory of training runs (rows of published tables, or a user's own)."""

import hashlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from costmodels.calibration import FIGURES, Calibration
from costmodels.configuration import Configuration
from planner.calibrate.measurements import Values
from planner.predict import Prediction, predict
from planner.published import best_choice, printed_bytes
from planner.readers.published_rows import Row, RowRequest
from planner.space import IllegalConfiguration

STEP_NOISE = 0.04
"""Repeated runs differ by about 2 %, and a model of this kind misses a run by a few percent."""
MEMORY_NOISE = 0.02

Cut = tuple[Configuration, tuple[int, ...]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Measured step seconds of ``rows``, all with a request that exists and a measured time.

    ``keys``: equal for rows that ask for the same prediction, which is made once. ``chosen``: each
    row's configuration and cut, kept while a fit tries calibrations; empty until ``settled``.
    """

    name: str
    calibration: str
    rows: tuple[Row, ...]
    groups: tuple[str, ...]
    keys: tuple[str, ...]
    chosen: tuple[Cut, ...] = ()
    noise: float = STEP_NOISE
    known: dict[Hashable, float] = field(default_factory=dict, compare=False, repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(row.row_id for row in self.rows)

    @property
    def measured(self) -> Values:
        return np.array([row.measured_seconds for row in self.rows], dtype=np.float64)

    def predict(self, calibration: Calibration) -> Values:
        """One a row, each made once. Raises ValueError before choices are settled."""
        found, values = [], tuple(getattr(calibration, name) for name in FIGURES)
        for key, row, (configuration, cut) in zip(self.keys, self.rows, self.chosen, strict=True):
            known = (key, configuration, cut, values)
            if known not in self.known:
                asked = _request(row)
                self.known[known] = self._figure(
                    predict(
                        asked.cluster, asked.model, asked.job, configuration, boundaries=cut, calibration=calibration
                    ),
                    row,
                )
            found.append(self.known[known])
        return np.array(found, dtype=np.float64)

    def _figure(self, found: Prediction, row: Row) -> float:
        return found.step_seconds

    def settled(self, calibration: Calibration) -> Self:
        made: dict[str, Cut] = {}
        for key, row in zip(self.keys, self.rows, strict=True):
            if key not in made:
                found = best_choice(_request(row), calibration)
                made[key] = (found.configuration, found.boundaries)
        chosen = tuple(made[key] for key in self.keys)
        return self if chosen == self.chosen else replace(self, chosen=chosen)

    def take(self, chosen: NDArray[np.int64]) -> Self:
        return replace(
            self,
            rows=_some(self.rows, chosen),
            groups=_some(self.groups, chosen),
            keys=_some(self.keys, chosen),
            chosen=_some(self.chosen, chosen),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory(Steps):
    """Measured peak memory of ``rows``, all with a request and a measured peak, in each row's unit."""

    noise: float = MEMORY_NOISE

    @property
    def measured(self) -> Values:
        return np.array([row.measured_memory for row in self.rows], dtype=np.float64)

    def _figure(self, found: Prediction, row: Row) -> float:
        return printed_bytes(found, row) / row.memory_unit_bytes


def steps_of(name: str, calibration: str, rows: Iterable[Row], group: str) -> tuple[Steps, tuple[str, ...]]:
    """The rows that can be predicted and have a measured time, and why the others are left out, one
    line each. Rows with equal cells in column ``group`` form a group."""
    kept, keys, refused = [], [], []
    for row in rows:
        reason = _reason(row)
        if reason:
            refused.append(f"{row.row_id}: {reason}")
            continue
        kept.append(row)
        keys.append(_key(_request(row)))
    groups = tuple(f"{group}={row.cells.get(group, '')}" for row in kept)
    steps = Steps(name=name, calibration=calibration, rows=tuple(kept), groups=groups, keys=tuple(keys))
    return steps, tuple(refused)


def memory_of(steps: Steps) -> PeakMemory:
    """Those of the rows that state a peak."""
    stated = np.flatnonzero([row.measured_memory is not None for row in steps.rows])
    part = steps.take(stated)
    keys = tuple(
        f"{key} {row.memory_rank} {row.memory_unit_bytes}" for key, row in zip(part.keys, part.rows, strict=True)
    )
    return PeakMemory(name=part.name, calibration=part.calibration, rows=part.rows, groups=part.groups, keys=keys)


def _reason(row: Row) -> str:
    if row.request is None:
        return row.refusal
    if row.measured_seconds is None:
        return "no measured step time: fill step_time_s or tokens_per_s_per_gpu"
    try:
        best_choice(row.request)
    except IllegalConfiguration as error:
        return "; ".join(error.reasons)
    return ""


def _request(row: Row) -> RowRequest:
    assert row.request is not None
    return row.request


def _key(asked: RowRequest) -> str:
    parts = (asked.cluster, asked.model, asked.job, asked.choices, asked.split, asked.boundaries)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _some(items: tuple[T, ...], indices: NDArray[np.int64]) -> tuple[T, ...]:
    return tuple(items[int(i)] for i in indices) if items else ()
