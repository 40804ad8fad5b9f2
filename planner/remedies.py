"""The smallest single changes that make an infeasible job fit. Each is checked, none is guessed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration, load_calibration
from costmodels.catalogue import load_catalogue
from costmodels.configuration import Job
from costmodels.hardware import Cluster
from planner.pricing import Pricing
from planner.space import enumerate_space

MOST_GPUS = 1 << 17
"""Largest cluster that is tried."""
MOST_PRICED = 512
"""Candidates whose exact need is worked out before a change counts as not enough."""
SHORTEST = 128
"""Shortest sequence that is tried, in tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What was asked, with the GPU's calibration: any part can be replaced and tried again."""

    cluster: Cluster
    model: Model
    job: Job
    calibration: Calibration
    pins: Mapping[str, int | str]
    forbid: frozenset[str]
    allow: frozenset[str]

    def on(self, cluster: Cluster) -> "Problem":
        """The same on another cluster, with its GPU's own calibration when the GPU differs."""
        calibration = self.calibration
        if cluster.gpu != self.cluster.gpu:
            calibration = load_calibration(cluster.gpu, software=self.job.software)
        return replace(self, cluster=cluster, calibration=calibration)

    def fits(self) -> bool:
        """Whether some legal configuration fits in memory; smallest lower bound on its need first."""
        columns = enumerate_space(self.cluster, self.model, self.job, self.pins, self.forbid, self.allow).columns
        if not len(columns):
            return False
        pricing = Pricing(self.cluster, self.model, self.job, self.calibration, columns)
        lower = pricing.memory_bounds()
        order = np.argsort(lower, kind="stable")[:MOST_PRICED]
        return any(
            pricing.least_peak_bytes(int(index)) <= self.cluster.capacity_bytes
            for index in order
            if lower[index] <= self.cluster.capacity_bytes
        )


def remedies(problem: Problem) -> tuple[str, ...]:
    """Each change alone makes ``problem`` fit; empty when none that is tried does."""
    return (
        *_fewer_demands(problem),
        *_less_reserve(problem),
        *_leaner_states(problem),
        *_shorter(problem),
        *_larger_batch(problem),
        *_more_hardware(problem),
    )


def _fewer_demands(problem: Problem) -> Iterator[str]:
    """Without one of the pins or one of the forbidden kinds; without any when none is enough alone."""
    found = 0
    for name, value in problem.pins.items():
        rest = {n: v for n, v in problem.pins.items() if n != name}
        if replace(problem, pins=rest).fits():
            found += 1
            yield f"{name} not pinned to {value}"
    for name in sorted(problem.forbid):
        if replace(problem, forbid=problem.forbid - {name}).fits():
            found += 1
            yield f"{name} not forbidden"
    demands = len(problem.pins) + len(problem.forbid)
    if not found and demands > 1 and replace(problem, pins={}, forbid=frozenset()).fits():
        yield "nothing pinned or forbidden"


def _less_reserve(problem: Problem) -> Iterator[str]:
    reserve = problem.cluster.reserve_bytes
    if reserve and problem.on(replace(problem.cluster, reserve_bytes=0.0)).fits():
        yield f"no memory in reserve instead of {reserve / 2**30:.3g} GiB a GPU"


def _leaner_states(problem: Problem) -> Iterator[str]:
    gradients, moments = replace(problem.job, gradients="bf16"), replace(problem.job, moments="bf16")
    for what, job in (("gradients", gradients), ("Adam's moments", moments)):
        if job != problem.job and replace(problem, job=job).fits():
            yield f"{what} kept in bf16 instead of fp32"


def _shorter(problem: Problem) -> Iterator[str]:
    length = problem.job.sequence_length // 2
    while length >= SHORTEST:
        if replace(problem, job=replace(problem.job, sequence_length=length)).fits():
            yield f"sequence length {length:,} instead of {problem.job.sequence_length:,}"
            return
        length //= 2


def _larger_batch(problem: Problem) -> Iterator[str]:
    """The next batch that divides by some number of replicas; only where no configuration is legal."""
    cluster, job = problem.cluster, problem.job
    if len(enumerate_space(cluster, problem.model, job, problem.pins, problem.forbid, problem.allow).columns):
        return
    replicas = [d for d in range(1, min(cluster.gpus, 4 * job.global_batch + 4096) + 1) if cluster.gpus % d == 0]
    for batch in sorted({-(-job.global_batch // d) * d for d in replicas} - {job.global_batch})[:12]:
        if replace(problem, job=replace(job, global_batch=batch)).fits():
            yield f"global batch {batch:,} instead of {job.global_batch:,}"
            return


def _more_hardware(problem: Problem) -> Iterator[str]:
    """More of the same nodes; the same nodes with a larger GPU, or the fewest nodes of the largest."""
    cluster = problem.cluster
    nodes = _least_nodes(problem)
    if nodes:
        yield f"{_nodes(nodes)} ({nodes * cluster.gpus_per_node:,} x {cluster.gpu.name}) instead of {cluster.nodes:,}"
    larger = sorted(
        (
            gpu
            for gpu in load_catalogue().gpus.values()
            if gpu.memory_bytes > cluster.gpu.memory_bytes and problem.job.precision in gpu.peak_flops
        ),
        key=lambda gpu: (gpu.memory_bytes, gpu.name),
    )
    for gpu in larger:
        if problem.on(replace(cluster, gpu=gpu)).fits():
            yield f"the same nodes with {gpu.name} ({gpu.memory_bytes / 1e9:.0f} GB)"
            return
    if larger:
        gpu = larger[-1]
        fewer = _least_nodes(problem.on(replace(cluster, gpu=gpu)))
        if fewer and (not nodes or fewer < nodes):
            count = fewer * cluster.gpus_per_node
            yield f"{_nodes(fewer)} with {gpu.name} ({count:,} x {gpu.memory_bytes / 1e9:.0f} GB)"


def _least_nodes(problem: Problem) -> int | None:
    """The smallest multiple of the nodes, of 2, 3, 4, 6, 8, 12, ..., that is enough."""
    cluster, factor = problem.cluster, 2
    while factor * cluster.gpus <= MOST_GPUS:
        for multiple in (factor, factor * 3 // 2):
            if problem.on(cluster.resized(cluster.nodes * multiple)).fits():
                return cluster.nodes * multiple
        factor *= 2
    return None


def _nodes(count: int) -> str:
    return f"{count:,} node{'' if count == 1 else 's'}"
