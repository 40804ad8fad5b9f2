"""What it takes to keep the states of a stage's replicas equal, at the least.

Gradients of stage j are reduced once its last backward pass is through, for R_j seconds, and its updated weights are
gathered for G_j; with overlap the last backward and the first forward pass hide them, at what contention c costs the
passes (``costmodels.step``). With m micro-batches of F_j + B_j = l_j seconds each,

    T >= end_j + reduced_j + gathered_j >= sum_{i<j} C_i + m l_j + (R_j - (1-c) B_j) + (G_j - (1-c) F_j)
                                         = sum_{i<j} C_i + (m - h) l_j + R_j + G_j,        h = 1 - c,

C_i the links before it, and h = 0 without overlap. Seconds grow no faster than bytes: R_j + G_j of n_j of L layers
are at least n_j / L times those of all L as light as the lightest.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from costmodels.calibration import Calibration
from costmodels.columns import Columns
from costmodels.configuration import Job
from costmodels.hardware import Link
from costmodels.operators import System
from costmodels.sharding import Column
from costmodels.states import StateTraffic
from planner.mixed.islands import Islands
from planner.mixed.space import Families, Ints

GRID = 1.01
"""Rates of rings are rounded up to powers of this, so that few differ."""


def hidden_share(job: Job, calibrations: Sequence[Calibration]) -> float:
    """h: of a micro-batch, what passes hide at the most."""
    if not job.gradient_overlap:
        return 0.0
    return 1.0 - min(1.0, *(one.overlap_contention for one in calibrations))


def fastest_rings(islands: Islands, families: Families, rows: Ints) -> tuple[Column, Column]:
    """[rows]: bytes a second and latency that no ring between the bundles of these families, all of one bundling, is
    better than (``planner.mixed.ground.ring_link``): for every two bundles the best trunk between a group of each."""
    bundling, columns = families.bundles(int(rows[0])), families.columns.take(rows)
    groups = islands.groups
    domain = min(groups[g].domain_gpus for bundle in bundling for g in bundle)
    most = families.pipelines[rows].max(axis=1)
    inside = np.minimum(columns.cp * most, np.maximum(1, domain // columns.tp))
    senders = columns.tp * columns.pp * inside
    rate, latency = np.full(len(rows), np.inf), 0.0
    for bundle in bundling:
        rate = np.minimum(rate, max(groups[g].scale_out.bytes_per_second for g in bundle))
        latency = max(latency, min(groups[g].scale_out.latency_seconds for g in bundle))
    for one, other in combinations(bundling, 2):
        trunks = [islands.trunk(a, b) for a in one for b in other]
        shares = [np.minimum(t.link.bytes_per_second, t.bytes_per_second / senders) for t in trunks]
        rate = np.minimum(rate, np.maximum.reduce(shares))
        latency = max(latency, min(t.link.latency_seconds for t in trunks))
    rounded = GRID ** np.ceil(np.log(rate) / np.log(GRID) - 1e-9)
    return np.maximum(rounded, rate), np.full(len(rows), latency)


def sync_seconds(
    columns: Columns, system: System, job: Job, ring: Link, domain_gpus: int, parameters: tuple[float, float]
) -> float:
    """R + G of one configuration over ``ring`` on a machine of which ``domain_gpus`` neighbours hold the same stage;
    ``parameters``: dense and expert ones of a rank."""
    cluster = replace(system.cluster, scale_out=ring, domain_gpus=domain_gpus)
    traffic = StateTraffic.of_job(columns, replace(system, cluster=cluster), job)
    dense, experts = (np.array([count]) for count in parameters)
    return float((traffic.gradient_seconds(dense, experts) + traffic.parameter_seconds(dense, experts))[0])
