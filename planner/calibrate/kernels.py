"""Timed kernels: collectives of nccl-tests and GEMMs, as measurements of a calibration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from costmodels import collectives, kernels
from costmodels.calibration import Calibration
from costmodels.groups import Group
from costmodels.hardware import Cluster
from planner.calibrate.measurements import Values
from planner.readers.gemm_timings import GemmTiming
from planner.readers.nccl_tests import NcclRun
from planner.specs.errors import Problem, SpecError

LEAST_BYTES = 8 * 2**20
"""Smaller messages run other protocols, which one launch and one bandwidth cannot follow."""
NOISE = 0.05

Prices = dict[str, Callable[..., NDArray[np.float64]]]
PRICES: Prices = {
    "all_reduce": collectives.all_reduce_seconds,
    "all_gather": collectives.all_gather_seconds,
    "reduce_scatter": collectives.reduce_scatter_seconds,
    "all_to_all": collectives.all_to_all_seconds,
    "broadcast": collectives.broadcast_seconds,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """Seconds of kernels that ``price`` predicts, all at once, under a calibration."""

    name: str
    calibration: str
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    measured: Values
    price: Callable[[Calibration], Values]
    chosen: NDArray[np.int64] | None = None
    noise: float = NOISE

    def predict(self, calibration: Calibration) -> Values:
        found = self.price(calibration)
        return found if self.chosen is None else found[self.chosen]

    def settled(self, calibration: Calibration) -> Self:
        return self

    def take(self, chosen: NDArray[np.int64]) -> Self:
        return replace(
            self,
            labels=tuple(self.labels[int(i)] for i in chosen),
            groups=tuple(self.groups[int(i)] for i in chosen),
            measured=self.measured[chosen],
            chosen=chosen if self.chosen is None else self.chosen[chosen],
        )


def nccl_measurements(run: NcclRun, cluster: Cluster, calibration: str) -> Kernels:
    """The sizes of one run from 8 MiB on; sizes form the groups.

    Raises ``SpecError`` for a collective that is not priced alone, or ranks that do not fit the
    cluster's nodes.
    """
    if run.collective not in PRICES:
        _refuse(run.file, run.line, "", f"{run.collective}: no figure depends on it alone; use {', '.join(PRICES)}")
    group = _group(run, cluster)
    timings = [t for t in run.timings if t.size_bytes >= LEAST_BYTES]
    sizes = np.array([t.size_bytes for t in timings])
    price = PRICES[run.collective]
    return Kernels(
        name=f"{run.collective} on {run.gpus} GPUs of {run.hosts} {'node' if run.hosts == 1 else 'nodes'}",
        calibration=calibration,
        labels=tuple(f"{run.file}:{t.line}" for t in timings),
        groups=tuple(f"{int(size):015d} bytes" for size in sizes),
        measured=np.array([t.seconds for t in timings]),
        price=lambda c: price(sizes, group, cluster, c),
    )


def _group(run: NcclRun, cluster: Cluster) -> Group:
    """Consecutive nodes of ``run``, equally many ranks on each; a domain may hold several nodes."""
    each = run.gpus // run.hosts
    if each > cluster.gpus_per_node:
        text = f"a node of {cluster.name} has {cluster.gpus_per_node} GPUs; name the cluster it ran on, or --nccl-nodes"
        _refuse(run.file, run.line, f"{run.gpus} ranks on {run.hosts} nodes", text)
    per_domain = max(1, cluster.domain_gpus // cluster.gpus_per_node)
    full = min(run.hosts, per_domain)
    domains = -(-run.hosts // per_domain)
    least = run.hosts - (domains - 1) * per_domain if domains > 1 else full
    return Group(size=np.array(run.gpus), ranks_per_domain=np.array(each * least), domains=np.array(domains))


def gemm_measurements(timings: Sequence[GemmTiming], cluster: Cluster, calibration: str) -> Kernels:
    """All timings, in short benchmarks: clocks are not yet those of hours of training. Weight shapes
    (n, k) form the groups. Raises ``SpecError`` for a precision that the GPU lacks."""
    m, n, k, seconds = np.array([(t.m, t.n, t.k, t.seconds) for t in timings], dtype=np.float64).T
    precisions = sorted({t.precision for t in timings})
    for timing in timings:
        if timing.precision not in cluster.gpu.peak_flops:
            have = ", ".join(cluster.gpu.peak_flops)
            _refuse(timing.file, timing.line, f"dtype: {timing.precision!r}", f"{cluster.gpu.name} has {have} only")
    masks = [np.array([t.precision == precision for t in timings]) for precision in precisions]

    def price(calibration: Calibration) -> Values:
        burst = calibration.adjusted(kind="assumed", source="short benchmark", gemm_sustained_fraction=1.0)
        found = [kernels.gemm_seconds(m, n, k, cluster.gpu, precision, burst) for precision in precisions]
        return np.asarray(np.select(masks, found))

    return Kernels(
        name="GEMMs",
        calibration=calibration,
        labels=tuple(f"{t.file}:{t.line}" for t in timings),
        groups=tuple(f"n={t.n} k={t.k}" for t in timings),
        measured=seconds,
        price=price,
    )


def _refuse(file: str, line: int, value: str, message: str) -> NoReturn:
    raise SpecError([Problem(file=file, line=line, key="", value=value, message=message)])
