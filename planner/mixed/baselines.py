"""What planners that overlook the differences would have done, priced on the same machines.

``blind``: every GPU the mean of all, every link the fastest. Its configuration and cut are then priced where ranks are
dealt in the order of the groups (tp-cp-dp-pp, stages outermost): replicas of a stage that straddles two groups reduce
their gradients over the trunk, and every stage runs and holds what its own machine makes of it. Context groups that
straddle two are priced as though they did not.
``slowest``: every GPU and link the slowest, which any placement attains.

Both look at the space of ``planner.space`` with one chunk a stage, the search's own, and are within ``NEAR`` of the
best by their own figures, or what ``SECONDS`` of searching found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground, PipelineRow
from costmodels.ground_step import GroundModel
from costmodels.hardware import Cluster, Gpu
from planner.mixed.ground import link_between, ring_link
from planner.mixed.islands import Islands
from planner.solve import SolveOptions, solve

NEAR, SECONDS = 0.01, 20.0
"""Relative gap that ends the search for a plan beside, and the most seconds of it: it is for comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """``seconds`` of a step, None where there is none: ``why``."""

    name: str
    configuration: Configuration | None
    seconds: float | None
    why: str = ""


def baselines(
    islands: Islands,
    calibrations: Sequence[Calibration],
    model: Model,
    job: Job,
    options: SolveOptions,
    seconds: float | None = None,
) -> tuple[Baseline, ...]:
    """The blind plan and the one for the slowest, in that order, both searched in ``seconds`` together."""
    limit = SECONDS if seconds is None else seconds / 2
    options = replace(options, time_limit_seconds=min(SECONDS, limit))
    return (
        _blind(islands, calibrations, model, job, options),
        _slowest(islands, calibrations, model, job, options),
    )


def _blind(
    islands: Islands, calibrations: Sequence[Calibration], model: Model, job: Job, options: SolveOptions
) -> Baseline:
    name = "blind to the differences"
    most = max(range(len(islands.groups)), key=lambda g: islands.groups[g].gpus)
    outcome = _solved(mean_cluster(islands), calibrations[most], model, job, options)
    if outcome is None:
        return Baseline(name=name, configuration=None, seconds=None, why="found nothing that fits")
    configuration, boundaries, _ = outcome
    ground = dealt_in_order(islands, configuration, job)
    price = GroundModel(model, job, configuration, ground, calibrations).price(boundaries)
    if price.over_bytes > 0:
        short = f"{price.over_bytes / 1e9:.1f} GB short on a machine"
        return Baseline(name=name, configuration=configuration, seconds=None, why=short)
    return Baseline(name=name, configuration=configuration, seconds=price.step.step_seconds)


def _slowest(
    islands: Islands, calibrations: Sequence[Calibration], model: Model, job: Job, options: SolveOptions
) -> Baseline:
    name = "all as the slowest"
    slow = min(range(len(islands.groups)), key=lambda g: islands.groups[g].gpu.peak_flops[job.precision])
    outcome = _solved(slowest_cluster(islands, slow), calibrations[slow], model, job, options)
    if outcome is None:
        return Baseline(name=name, configuration=None, seconds=None, why="found nothing that fits")
    return Baseline(name=name, configuration=outcome[0], seconds=outcome[2])


def _solved(
    cluster: Cluster, calibration: Calibration, model: Model, job: Job, options: SolveOptions
) -> tuple[Configuration, tuple[int, ...], float] | None:
    pins: Mapping[str, int | str] = {"vp": 1, **options.pins}
    own = SolveOptions(
        pins=pins,
        forbid=options.forbid - {"vp"},
        allow=options.allow,
        calibration=calibration,
        top_k=1,
        gap=NEAR,
        time_limit_seconds=options.time_limit_seconds,
    )
    plan = solve(cluster, model, job, options=own).plan
    return None if plan is None else (plan.configuration(), plan.boundaries(), plan.prediction.step_seconds)


def mean_cluster(islands: Islands) -> Cluster:
    """All nodes alike: GPUs the mean, networks the fastest."""
    groups = islands.groups
    weights = [group.gpus / islands.gpus for group in groups]

    def mean(values: Sequence[float]) -> float:
        return float(np.dot(weights, values))

    known = set.intersection(*({*group.gpu.peak_flops} for group in groups))
    gpu = Gpu(
        name=max(groups, key=lambda group: group.gpus).gpu.name,
        architecture=max(groups, key=lambda group: group.gpus).gpu.architecture,
        memory_bytes=mean([group.gpu.memory_bytes for group in groups]),
        memory_bytes_per_second=mean([group.gpu.memory_bytes_per_second for group in groups]),
        peak_flops={name: mean([group.gpu.peak_flops[name] for group in groups]) for name in sorted(known)},
    )
    return replace(
        groups[0].resized(sum(group.nodes for group in groups)),
        gpu=gpu,
        domain_gpus=max(group.domain_gpus for group in groups),
        scale_up=max((group.scale_up for group in groups), key=lambda link: link.bytes_per_second),
        scale_out=max((group.scale_out for group in groups), key=lambda link: link.bytes_per_second),
        reserve_bytes=mean([group.reserve_bytes for group in groups]),
    )


def slowest_cluster(islands: Islands, slow: int) -> Cluster:
    """All nodes as slow as any: the GPU of group ``slow`` with the least memory of all, the slowest links."""
    groups = islands.groups
    across = [
        islands.trunk(a, b).share(min(groups[a].gpus, groups[b].gpus)) for a, b in combinations(range(len(groups)), 2)
    ]
    gpu = replace(
        groups[slow].gpu,
        memory_bytes=min(group.capacity_bytes for group in groups),
        memory_bytes_per_second=min(group.gpu.memory_bytes_per_second for group in groups),
    )
    return replace(
        groups[slow].resized(sum(group.nodes for group in groups)),
        gpu=gpu,
        domain_gpus=min(group.domain_gpus for group in groups),
        scale_up=min((group.scale_up for group in groups), key=lambda link: link.bytes_per_second),
        scale_out=min([*across, *(group.scale_out for group in groups)], key=lambda link: link.bytes_per_second),
        reserve_bytes=0.0,
    )


def dealt_in_order(islands: Islands, configuration: Configuration, job: Job) -> Ground:
    """What an even configuration of all GPUs stands on where ranks go to the groups' GPUs one after the other."""
    ends = np.cumsum([group.gpus for group in islands.groups])
    width, stages, replicas = configuration.tp * configuration.cp, configuration.pp, configuration.dp
    first = np.arange(stages * replicas) * width
    group = np.searchsorted(ends, first, side="right").reshape(stages, replicas)  # [stage, pipeline]
    alike: dict[tuple[int, ...], int] = {}
    for pipeline in group.T.tolist():
        alike[tuple(pipeline)] = alike.get(tuple(pipeline), 0) + 1
    nodes = sum(one.nodes for one in islands.groups)
    return Ground(
        machines=tuple(one.resized(nodes) for one in islands.groups),
        states=tuple(ring_link(islands, configuration, {*on.tolist()}, replicas) for on in group),
        rows=tuple(
            PipelineRow(
                replicas=count,
                microbatches=configuration.microbatches(job.global_batch),
                machines=machines,
                edges=tuple(link_between(islands, a, b, width * replicas) for a, b in pairwise(machines)),
            )
            for machines, count in alike.items()
        ),
    )
