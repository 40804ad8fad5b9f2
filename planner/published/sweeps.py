"""Sweeps: one job in several configurations. What a planner needs of a model is their order.

A sweep is the rows of one source with the same model, GPU, number of GPUs, global batch, sequence length
and precision, and at least four configurations; one measured several times counts with its mean.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.published.rows import PredictedRow
from planner.readers.published.cells import text

FEWEST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """``regret``: how much slower than the best measured configuration the one is that is predicted best
    (of those predicted to fit, if any is), 0 when it is the best. ``rank_correlation`` is Spearman's of
    predicted and measured seconds; None where all measured, or all predicted, are the same."""

    source_id: str
    model: str
    gpus: int
    configurations: int
    rank_correlation: float | None
    regret: float
    chosen: str
    best: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeps:
    """Several of them: mean rank correlation, mean and largest regret, and how often it is below 1 %."""

    count: int
    rank_correlation: float | None
    regret_mean: float
    regret_worst: float
    regret_below_1_percent: int


def sweeps(predicted: Iterable[PredictedRow]) -> list[Sweep]:
    """Every sweep among the rows, in order of appearance."""
    groups: dict[object, dict[object, list[PredictedRow]]] = {}
    for found in predicted:
        request, cells = found.row.request, found.row.cells
        if request is None or found.seconds is None or not found.row.measured_seconds:
            continue
        job = (request.job.global_batch, request.job.sequence_length, request.job.precision)
        key = (found.row.source_id, text(cells, "model"), request.model, request.cluster.name, job)
        asked = request.choices, tuple(sorted(request.boundaries.items()))
        groups.setdefault(key, {}).setdefault(asked, []).append(found)
    return [_sweep(list(rows.values())) for rows in groups.values() if len(rows) >= FEWEST]


def _sweep(configurations: Sequence[Sequence[PredictedRow]]) -> Sweep:
    first = configurations[0][0]
    assert first.row.request is not None
    predicted = np.array([np.mean([r.seconds for r in rows if r.seconds]) for rows in configurations])
    measured = np.array([np.mean([r.row.measured_seconds for r in rows]) for rows in configurations])
    fits = np.array([rows[0].status == "ok" for rows in configurations])
    chosen = int(np.argmin(np.where(fits, predicted, np.inf) if fits.any() else predicted))
    best = int(np.argmin(measured))
    return Sweep(
        source_id=first.row.source_id,
        model=first.row.request.model.name,
        gpus=first.row.request.cluster.gpus,
        configurations=len(configurations),
        rank_correlation=rank_correlation(predicted, measured),
        regret=float(measured[chosen] / measured[best] - 1),
        chosen=configurations[chosen][0].row.row_id,
        best=configurations[best][0].row.row_id,
    )


def rank_correlation(
    first: Sequence[float] | NDArray[np.float64], second: Sequence[float] | NDArray[np.float64]
) -> float | None:
    """Spearman's: Pearson's correlation of the ranks, equal values sharing their mean rank; None where
    one side is all equal."""
    one, other = (_ranks(np.asarray(values, float)) for values in (first, second))
    if one.std() == 0 or other.std() == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def summary(found: Sequence[Sweep]) -> Sweeps | None:
    """None without a sweep."""
    if not found:
        return None
    ranks = [s.rank_correlation for s in found if s.rank_correlation is not None]
    regrets = [s.regret for s in found]
    return Sweeps(
        count=len(found),
        rank_correlation=float(np.mean(ranks)) if ranks else None,
        regret_mean=float(np.mean(regrets)),
        regret_worst=max(regrets),
        regret_below_1_percent=sum(regret < 0.01 for regret in regrets),
    )
