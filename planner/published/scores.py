"""How far predictions are from what was measured."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from planner.published.rows import PredictedRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Of one quantity, as shares of the measured value: mean and 90th percentile of absolute errors,
    and their signed mean (``bias``, positive when predicted too large), over ``rows``."""

    rows: int
    mean: float
    p90: float
    bias: float

    @classmethod
    def of(cls, signed: Iterable[float | None]) -> "Errors | None":
        """None without any error."""
        found = np.array([error for error in signed if error is not None])
        if not len(found):
            return None
        size = np.abs(found)
        return cls(
            rows=len(found),
            mean=float(size.mean()),
            p90=float(np.quantile(size, 0.9)),
            bias=float(found.mean()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a set of rows was predicted; ``refused`` counts reasons, most frequent first."""

    name: str
    rows: int
    predicted: int
    infeasible: int
    refused: dict[str, int]
    time: Errors | None
    memory: Errors | None


def score(name: str, rows: Sequence[PredictedRow]) -> Score:
    return Score(
        name=name,
        rows=len(rows),
        predicted=sum(r.seconds is not None for r in rows),
        infeasible=sum(r.status == "infeasible" for r in rows),
        refused=dict(Counter(r.reason for r in rows if r.seconds is None).most_common()),
        time=Errors.of(r.time_error for r in rows),
        memory=Errors.of(r.memory_error for r in rows),
    )


def scores(predicted: Iterable[PredictedRow]) -> list[Score]:
    """One score a source, in order of appearance."""
    return [score(source, rows) for source, rows in by_source(predicted).items()]


def by_source(predicted: Iterable[PredictedRow]) -> dict[str, list[PredictedRow]]:
    """The rows of each source, in order of appearance."""
    groups: dict[str, list[PredictedRow]] = {}
    for row in predicted:
        groups.setdefault(row.row.source_id, []).append(row)
    return groups
