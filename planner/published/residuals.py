"""From scored rows to the +- of predictions, and whether it holds on rows it was not made from."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from planner.published.rows import PredictedRow
from planner.published.selection import scored
from planner.uncertainty import COVERAGE, FEWEST_ROWS, Residuals, Spread, facets, finest, kinds

GPUS_OF_A_LARGE_RUN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """``miss``: |measured / predicted - 1| of one row."""

    source_id: str
    gpus: int
    facets: tuple[str, ...]
    miss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Rows left out when the shares were made: how many there are, and how many lie within them."""

    left_out: str
    rows: int
    within: int


def time_residuals(predicted: Iterable[PredictedRow]) -> list[Residual]:
    """Of the scored rows with seconds."""
    return [
        _residual(r, r.row.measured_seconds / r.seconds)
        for r in scored(predicted)
        if r.seconds and r.row.measured_seconds
    ]


def memory_residuals(predicted: Iterable[PredictedRow]) -> list[Residual]:
    """Of the scored rows with bytes."""
    return [
        _residual(r, r.row.measured_memory / r.memory) for r in scored(predicted) if r.memory and r.row.measured_memory
    ]


def _residual(found: PredictedRow, ratio: float) -> Residual:
    request = found.row.request
    assert request is not None
    return Residual(
        source_id=found.row.source_id,
        gpus=request.cluster.gpus,
        facets=facets(request.cluster, request.model, request.job),
        miss=abs(ratio - 1),
    )


def fit_residuals(predicted: Iterable[PredictedRow]) -> Residuals:
    rows = list(predicted)
    return Residuals(step_seconds=spreads(time_residuals(rows)), peak_memory_bytes=spreads(memory_residuals(rows)))


def spreads(residuals: Sequence[Residual]) -> dict[str, Spread]:
    """The spread of every kind with ``FEWEST_ROWS`` rows or more, and of any configuration.

    ``share`` is the miss that at least ``COVERAGE`` of n + 1 rows stay within: the value at rank
    ceil((n + 1) x COVERAGE) of n sorted misses (split conformal prediction; Vovk et al., Lei et al.,
    arXiv 1604.04173, section 2.2), rounded up to 0.1 %.
    """
    groups: dict[str, list[Residual]] = {}
    for residual in residuals:
        for kind in kinds(residual.facets):
            groups.setdefault(kind, []).append(residual)
    last = {kind for r in residuals for kind in list(kinds(r.facets))[-1:]}
    return {
        kind: Spread(kind=kind, share=_share(found), sources=dict(sorted(Counter(r.source_id for r in found).items())))
        for kind, found in sorted(groups.items())
        if len(found) >= FEWEST_ROWS or kind in last
    }


def _share(found: Sequence[Residual]) -> float:
    misses = np.sort([r.miss for r in found])
    rank = min(int(np.ceil((len(misses) + 1) * COVERAGE)), len(misses))
    return float(np.ceil(misses[rank - 1] * 1000 - 1e-9) / 1000)


def coverage(residuals: Sequence[Residual]) -> list[Coverage]:
    """Each source left out in turn, all of them together, and runs on more than 64 GPUs."""
    names = sorted({r.source_id for r in residuals})
    each = [_left_out(residuals, f"source {name}", [r.source_id == name for r in residuals]) for name in names]
    found = [check for check in each if check is not None]
    together = Coverage(left_out="each source", rows=sum(c.rows for c in found), within=sum(c.within for c in found))
    large = [r.gpus > GPUS_OF_A_LARGE_RUN for r in residuals]
    scale = _left_out(residuals, f"runs on more than {GPUS_OF_A_LARGE_RUN} GPUs", large)
    return [*found, *([together] if found else []), *([scale] if scale else [])]


def _left_out(residuals: Sequence[Residual], name: str, out: Sequence[bool]) -> Coverage | None:
    """None when nothing is left out, or nothing is left."""
    unseen = [r for r, left in zip(residuals, out, strict=True) if left]
    seen = [r for r, left in zip(residuals, out, strict=True) if not left]
    if not unseen or not seen:
        return None
    table = spreads(seen)
    within = sum(r.miss <= finest(r.facets, table).share for r in unseen)
    return Coverage(left_out=name, rows=len(unseen), within=within)
