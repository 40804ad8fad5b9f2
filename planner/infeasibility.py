"""Why nothing fits, by how much, and the smallest changes that would make it fit."""

from dataclasses import dataclass, replace

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration, load_calibration
from costmodels.catalogue import load_catalogue
from costmodels.columns import Columns
from costmodels.configuration import Job
from costmodels.hardware import Cluster
from planner.pricing import Pricing
from planner.space import Space, describe, enumerate_space

MOST_GROWTH = 1 << 14
"""Largest multiple of the cluster that is tried."""
CLOSEST = 8
"""Candidates whose exact need is worked out, smallest bound on it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasibility:
    """``constraint`` fails for every candidate. For memory: the configuration that comes closest,
    ``short_bytes`` over the GPU's capacity; ``remedies`` were checked to work, each alone."""

    constraint: str
    closest: str | None
    needed_bytes: float | None
    capacity_bytes: float
    short_bytes: float | None
    remedies: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """The report, a sentence a line."""
        found = [f"infeasible: {self.constraint}"]
        if self.short_bytes is not None:
            found.append(
                f"closest: {self.closest} needs {self.needed_bytes / 1e9:.1f} GB on a GPU "  # type: ignore[operator]
                f"with {self.capacity_bytes / 1e9:.1f} GB: {self.short_bytes / 1e9:.1f} GB short"
            )
        return (*found, *(f"would fit: {remedy}" for remedy in self.remedies))


def explain_infeasible(
    cluster: Cluster,
    model: Model,
    job: Job,
    calibration: Calibration,
    space: Space,
    pins: dict[str, int | str],
    forbid: frozenset[str],
) -> Infeasibility:
    """Report on a job no configuration of which fits."""
    capacity = cluster.gpu.memory_bytes - cluster.reserve_bytes
    if not len(space.columns):
        reasons = sorted(space.pruned.items(), key=lambda item: -item[1])
        named = "; ".join(f"{reason} ({count:,})" for reason, count in reasons)
        return Infeasibility(
            constraint=f"no configuration is legal: {named}",
            closest=None,
            needed_bytes=None,
            capacity_bytes=capacity,
            short_bytes=None,
            remedies=(),
        )
    needed, index = least_memory(cluster, model, job, calibration, space.columns)
    fits = _Fits(model, job, calibration, pins, forbid)
    remedies = [*_more_gpus(cluster, fits), *_larger_gpu(cluster, fits), *_shorter(cluster, job, fits)]
    return Infeasibility(
        constraint=f"memory: none of {len(space.columns):,} configurations fits",
        closest=describe(space.columns.row(index)),
        needed_bytes=needed,
        capacity_bytes=capacity,
        short_bytes=needed - capacity,
        remedies=tuple(remedies) or ("nothing tried: other GPUs, more nodes, shorter sequences",),
    )


def least_memory(
    cluster: Cluster, model: Model, job: Job, calibration: Calibration, columns: Columns
) -> tuple[float, int]:
    """The smallest peak memory a GPU needs over all candidates, and which one needs it.

    Candidates are ranked by a lower bound on their need (all states and one micro-batch's
    activations, evenly over the stages); the closest few are cut for least memory exactly.
    """
    pricing = Pricing(cluster, model, job, calibration, columns)
    lower = pricing.memory_bounds()
    order = np.argsort(lower, kind="stable")
    best, chosen = float("inf"), int(order[0])
    for count, index in enumerate(int(i) for i in order):
        if lower[index] >= best or count >= 64 * CLOSEST:
            break
        need = pricing.least_peak_bytes(index)
        if need < best:
            best, chosen = need, index
    return best, chosen


class _Fits:
    """Whether some configuration of a changed problem fits."""

    def __init__(
        self,
        model: Model,
        job: Job,
        calibration: Calibration,
        pins: dict[str, int | str],
        forbid: frozenset[str],
    ) -> None:
        self.model, self.job, self.calibration = model, job, calibration
        self.pins, self.forbid = pins, forbid

    def __call__(self, cluster: Cluster, job: Job | None = None) -> bool:
        job = job or self.job
        columns = enumerate_space(cluster, self.model, job, self.pins, self.forbid).columns
        if not len(columns):
            return False
        calibration = (
            self.calibration
            if self.calibration.name == load_calibration(cluster.gpu, software=job.software).name
            else load_calibration(cluster.gpu, software=job.software)
        )
        capacity = cluster.gpu.memory_bytes - cluster.reserve_bytes
        return least_memory(cluster, self.model, job, calibration, columns)[0] <= capacity


def _more_gpus(cluster: Cluster, fits: _Fits) -> list[str]:
    factor = 2
    while factor <= MOST_GROWTH // max(1, cluster.nodes // 4):
        larger = replace(cluster, nodes=cluster.nodes * factor)
        if fits(larger):
            return [f"{larger.nodes} nodes ({larger.gpus} x {cluster.gpu.name}) instead of {cluster.nodes}"]
        factor *= 2
    return []


def _larger_gpu(cluster: Cluster, fits: _Fits) -> list[str]:
    larger = sorted(
        (gpu for gpu in load_catalogue().gpus.values() if gpu.memory_bytes > cluster.gpu.memory_bytes),
        key=lambda gpu: (gpu.memory_bytes, gpu.name),
    )
    for gpu in larger:
        if fits.job.precision in gpu.peak_flops and fits(replace(cluster, gpu=gpu)):
            return [f"the same cluster with {gpu.name} ({gpu.memory_bytes / 1e9:.0f} GB)"]
    return []


def _shorter(cluster: Cluster, job: Job, fits: _Fits) -> list[str]:
    length = job.sequence_length // 2
    while length >= 128:
        if fits(cluster, replace(job, sequence_length=length)):
            return [f"sequence length {length} instead of {job.sequence_length}"]
        length //= 2
    return []
