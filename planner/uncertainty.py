"""How far measured runs were from what is predicted for their kind: the +- of a prediction.

A kind of configuration has five facets: software; GPU generation; dense or with experts; within one NVLink
domain or over several; 16-bit matrix products or narrower. Of the published runs of a kind, at least as many as
``COVERAGE`` says were measured within predicted x (1 +- share). Where fewer than ``FEWEST_ROWS`` published
runs are of the kind, a coarser one stands in: facets are left out from the last to the first.

The shares are data, ``cases/published/uncertainty.yaml``, made by ``python -m tools.update_accuracy``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import cases
from costmodels.architecture import Model
from costmodels.configuration import Job
from costmodels.hardware import Cluster

Meaning = Literal["80 % of the published runs of this kind were measured within predicted x (1 +- share)"]
MEANING: Meaning = get_args(Meaning)[0]
COVERAGE = 0.8
FEWEST_ROWS = 15
ANY = "any configuration"
NARROW = ("fp8", "fp4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """``share``: half the width of the interval, as a part of the predicted value. ``kind``: the
    published runs it comes from, ``sources`` how many of each source."""

    kind: str
    share: float
    sources: Mapping[str, int]

    @property
    def rows(self) -> int:
        return sum(self.sources.values())

    def around(self, value: float) -> dict[str, Any]:
        """The interval around a predicted value and where it comes from, as the plan document has it."""
        return {
            "share": self.share,
            "low": max(0.0, value * (1 - self.share)),
            "high": value * (1 + self.share),
            "kind": self.kind,
            "rows": self.rows,
            "sources": dict(self.sources),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """Of the step's seconds and of the peak bytes of the fullest rank."""

    step_seconds: Spread
    peak_memory_bytes: Spread

    def around(self, step_seconds: float, peak_memory_bytes: float) -> dict[str, Any]:
        """Both intervals, as the plan document has them."""
        return {
            "meaning": MEANING,
            "step_seconds": self.step_seconds.around(step_seconds),
            "peak_memory_bytes": self.peak_memory_bytes.around(peak_memory_bytes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """The spread of every kind with enough published runs, by the kind's name."""

    step_seconds: Mapping[str, Spread]
    peak_memory_bytes: Mapping[str, Spread]


def facets(cluster: Cluster, model: Model, job: Job) -> tuple[str, ...]:
    """The facets of a configuration's kind, the weightiest first."""
    return (
        job.software,
        cluster.gpu.architecture,
        "experts" if model.is_moe else "dense",
        "one NVLink domain" if cluster.gpus <= cluster.domain_gpus else "several NVLink domains",
        "8 bits or fewer" if job.precision in NARROW else "16 bits",
    )


def kinds(found: tuple[str, ...]) -> Iterator[str]:
    """Names of the kind with these facets and of ever coarser ones, to any configuration at all."""
    for count in range(len(found), 0, -1):
        yield ", ".join(found[:count])
    yield ANY


def uncertainty_of(found: tuple[str, ...], residuals: Residuals | None = None) -> Uncertainty:
    """The spreads of the finest kind of a configuration with these facets that has one.

    ``residuals`` are the bundled ones unless given: a user's calibration changes predictions, but says
    nothing of how far they are from measured runs.
    """
    table = residuals or bundled_residuals()
    return Uncertainty(
        step_seconds=finest(found, table.step_seconds),
        peak_memory_bytes=finest(found, table.peak_memory_bytes),
    )


def finest(found: tuple[str, ...], table: Mapping[str, Spread]) -> Spread:
    """The spread of the finest of ``kinds`` that ``table`` knows; it knows any configuration."""
    return next(table[kind] for kind in kinds(found) if kind in table)


@lru_cache(maxsize=1)
def bundled_residuals() -> Residuals:
    """What ``cases/published/uncertainty.yaml`` says."""
    document = cases.published_uncertainty()
    return Residuals(
        step_seconds=_spreads(document["step_seconds"]),
        peak_memory_bytes=_spreads(document["peak_memory_bytes"]),
    )


def _spreads(entries: Mapping[str, Any]) -> dict[str, Spread]:
    return {
        kind: Spread(kind=kind, share=float(entry["share"]), sources=dict(entry["sources"]))
        for kind, entry in entries.items()
    }
