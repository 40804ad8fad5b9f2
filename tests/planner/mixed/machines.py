"""Small unlike groups of nodes that the tests share, and every configuration that stands on them, one by one."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, permutations, product

from costmodels.architecture import Model
from costmodels.calibration import Calibration, load_calibration
from costmodels.configuration import Configuration, Job
from costmodels.ground_step import GroundModel
from costmodels.hardware import Cluster, Gpu, Link
from planner.mixed.ground import Lane, ground_of, groups_used
from planner.mixed.islands import Islands, Trunk
from tests.machines import H100, cluster

CALIBRATION = load_calibration(H100)
SLOW_LINK = Link(bytes_per_second=4e8, latency_seconds=2e-5)


def gpu(speed: float, memory_bytes: float) -> Gpu:
    """An H100 of another speed and size."""
    return replace(
        H100,
        name=f"gpu-{speed}-{memory_bytes:.3g}",
        peak_flops={name: speed * peak for name, peak in H100.peak_flops.items()},
        memory_bytes=memory_bytes,
        memory_bytes_per_second=speed * H100.memory_bytes_per_second,
    )


def group(name: str, gpus: int, speed: float = 1.0, memory_bytes: float = 80e9) -> Cluster:
    return replace(cluster(gpus, 1, domain_gpus=min(2, gpus)), name=name, gpu=gpu(speed, memory_bytes))


def islands(*groups: Cluster, link: Link = SLOW_LINK, together: float = float("inf")) -> Islands:
    return Islands.joined(groups, Trunk(link=link, bytes_per_second=together))


Standing = tuple[Configuration, tuple[Lane, ...]]


def every_standing(
    islands: Islands, job: Job, shapes: list[Configuration], stages: range, idle: float
) -> Iterator[Standing]:
    """Every way to stand, spelled out from the statement of the space alone. ``shapes``: configurations; their ``pp``
    and ``dp`` are not looked at."""
    count = len(islands.groups)
    for shape, pp, size in product(shapes, stages, range(1, count + 1)):
        for chosen in combinations(range(count), size):
            for bundling in partitions(list(chosen)):
                for lanes in product(*(list(chains(islands, bundle, shape, pp, job, idle)) for bundle in bundling)):
                    yield from with_shares(islands, shape, pp, lanes, job)


def partitions(groups: list[int]) -> Iterator[list[list[int]]]:
    if not groups:
        yield []
        return
    for partition in partitions(groups[1:]):
        yield [[groups[0]], *partition]
        for i in range(len(partition)):
            yield [*partition[:i], [groups[0], *partition[i]], *partition[i + 1 :]]


Chain = tuple[tuple[tuple[int, int], ...], int]


def chains(
    islands: Islands, bundle: list[int], shape: Configuration, pp: int, job: Job, idle: float
) -> Iterator[Chain]:
    width = shape.tp * shape.cp
    gpus = {g: islands.groups[g].gpus for g in bundle}
    for order in permutations(bundle):
        for held in product(range(1, pp + 1), repeat=len(bundle)):
            if sum(held) != pp:
                continue
            for pipelines in range(1, max(gpus.values()) + 1):
                fits = all(n * width * pipelines <= gpus[g] for g, n in zip(order, held, strict=True))
                used = pp * width * pipelines
                if fits and used >= (1 - idle) * sum(gpus.values()):
                    yield tuple(zip(order, held, strict=True)), pipelines


def with_shares(
    islands: Islands, shape: Configuration, pp: int, lanes: tuple[Chain, ...], job: Job
) -> Iterator[Standing]:
    dp = sum(pipelines for _, pipelines in lanes)
    configuration = replace(shape, pp=pp, dp=dp)
    if configuration.gpus % islands.gpus_per_node or job.global_batch % shape.mbs:
        return
    turns = job.global_batch // shape.mbs
    for shares in product(range(1, turns + 1), repeat=len(lanes)):
        if sum(m * pipelines for m, (_, pipelines) in zip(shares, lanes, strict=True)) == turns:
            yield (
                configuration,
                tuple(
                    Lane(chain=chain, pipelines=pipelines, microbatches=m)
                    for m, (chain, pipelines) in zip(shares, lanes, strict=True)
                ),
            )


def best_by_hand(islands: Islands, model: Model, job: Job, standing: Standing, calibration: Calibration) -> float:
    """The step under the best of all cuts that fit, each priced; inf where none does."""
    configuration, lanes = standing
    ground = ground_of(islands, configuration, lanes)
    priced = GroundModel(model, job, configuration, ground, [calibration] * len(groups_used(lanes)))
    items = len(model.layers) + 2
    prices = [priced.price((0, *inner, items)) for inner in combinations(range(1, items), configuration.pp - 1)]
    return min((price.step.step_seconds for price in prices if price.over_bytes <= 0), default=float("inf"))
