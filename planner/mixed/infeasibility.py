"""Why nothing fits on unlike groups of nodes: which group lacks how much, and a change that was checked to help.

Of the families with the fewest bytes a rank (most sharded, most recomputed, smallest micro-batches), those whose stages
have room for the largest part of the layers are laid out and cut for the least excess of any GPU.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations, product

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.configuration import Job
from costmodels.ground_step import GroundModel
from planner.infeasibility import Infeasibility
from planner.mixed.bounds import Figures, fullest, rooms
from planner.mixed.ground import Lane, ground_of, groups_used
from planner.mixed.islands import Islands
from planner.mixed.search import search
from planner.mixed.space import Families, Ints, families
from planner.partition import Partition
from planner.remedies import SHORTEST
from planner.space import describe
from solvers.stop import FirstOf, MaxEvaluations, MaxSeconds

LAID_OUT = 60
"""Ways to lay families out that are cut."""

MOST_TIMES, SECONDS = 8, 10.0
"""Nodes of the group that lacks memory, at the most so many times as many; and how long each change is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A search on unlike groups, any part of which can be replaced."""

    islands: Islands
    calibrations: Sequence[Calibration]
    model: Model
    job: Job
    pins: Mapping[str, int | str]
    forbid: frozenset[str]
    allow: frozenset[str]

    def fits(self) -> bool:
        """Whether ``SECONDS`` of searching find a configuration that fits."""
        found = search(
            self.islands,
            self.calibrations,
            self.model,
            self.job,
            pins=self.pins,
            forbid=self.forbid,
            allow=self.allow,
            stop=FirstOf(MaxEvaluations(1), MaxSeconds(SECONDS)),
        )
        return found.best is not None


def explain_infeasible(asked: Asked) -> Infeasibility:
    """Report on a search that found that nothing fits."""
    space = families(asked.islands, asked.model, asked.job, asked.pins, asked.forbid, asked.allow)
    capacity = max(group.capacity_bytes for group in asked.islands.groups)
    if not len(space):
        rules = sorted(space.pruned.items(), key=lambda item: (-item[1], item[0]))
        return Infeasibility(
            constraint=f"no chain of the {len(asked.islands.groups)} node groups is legal",
            reasons=tuple(f"ruled out {count:,}: {rule}" for rule, count in rules),
            capacity_bytes=capacity,
            remedies=tuple(_remedies(asked, range(len(asked.islands.groups)))),
        )
    short, group, index = min(_shortfalls(asked, space.take(_smallest(space))), key=lambda one: one[0])
    where = asked.islands.groups[group]
    return Infeasibility(
        constraint=f"memory: none of {len(space):,} families of configurations fits {asked.model.name}",
        reasons=(
            f"closest is {index}: a GPU of {where.name} offers {where.capacity_bytes / 1e9:,.1f} GB, "
            f"{short / 1e9:,.1f} GB short",
        ),
        closest=index,
        needed_bytes=where.capacity_bytes + short,
        capacity_bytes=where.capacity_bytes,
        short_bytes=short,
        remedies=tuple(_remedies(asked, [group])),
    )


def _smallest(space: Families) -> Ints:
    """Families with the fewest bytes a rank, as far as their degrees tell."""
    rows = np.arange(len(space))
    for name, largest in (("zero", True), ("recompute", True), ("mbs", False)):
        values = getattr(space.columns, name)[rows]
        rows = rows[values == (values.max() if largest else values.min())]
    return rows


def _shortfalls(asked: Asked, space: Families) -> Iterator[tuple[float, int, str]]:
    """Bytes that a GPU of which group lacks, and of which configuration."""
    figures = Figures.of(asked.islands, space, asked.calibrations, asked.model, asked.job)
    part = np.array([_room(asked.islands, space, figures, index) for index in range(len(space))])
    order = np.argsort(-part, kind="stable").tolist()
    every = ((index, lanes) for index in order for lanes in _laid_out(asked, space, figures, index))
    for index, lanes in islice(every, LAID_OUT):
        configuration = space.columns.row(index)
        ground = ground_of(asked.islands, configuration, lanes)
        own = [asked.calibrations[g] for g in groups_used(lanes)]
        model = GroundModel(asked.model, asked.job, configuration, ground, own)
        partition = Partition.on(model)
        short = partition.least_over_bytes()
        nearest = [
            (float(np.abs(table - short).min()), lanes[number].groups[stage])
            for number, row in zip(model.slow_rows, partition.rows, strict=True)
            for stage, table in enumerate(np.broadcast_to(row.tables.over_bytes, partition.allowed.shape))
        ]
        yield short, min(nearest)[1], describe(configuration)


def _held(islands: Islands, space: Families, figures: Figures, index: int) -> list[Ints]:
    """Of each bundle the stages on each group: those with most room filled first."""
    row = space.columns.take(np.array([index]))
    found = []
    for bundle, pipelines in zip(space.bundles(index), space.pipelines[index].tolist(), strict=False):
        room = np.stack([rooms(islands.groups[g].gpus, row, np.array([pipelines])) for g in bundle])
        free = np.stack([figures.free[g, index : index + 1] for g in bundle])
        found.append(fullest(-free, room, row.pp)[:, 0])
    return found


def _room(islands: Islands, space: Families, figures: Figures, index: int) -> float:
    """The part of the layers' states that the stages of the tightest bundle have room for."""
    parts = []
    for bundle, held in zip(space.bundles(index), _held(islands, space, figures, index), strict=True):
        free = [max(figures.free[g, index], 0.0) / max(figures.state[g, index], 1.0) for g in bundle]
        parts.append(float(np.dot(held, free)))
    return min(parts)


def _laid_out(asked: Asked, space: Families, figures: Figures, index: int) -> Iterator[tuple[Lane, ...]]:
    """The family in every order of groups, micro-batches shared as evenly as they divide; nothing where they do not."""
    pipelines = [d for d in space.pipelines[index].tolist() if d]
    turns = asked.job.global_batch // int(space.columns.mbs[index])
    shares = [turns // sum(pipelines)] * len(pipelines)
    left = turns - sum(d * m for d, m in zip(pipelines, shares, strict=True))
    for b, count in enumerate(pipelines):
        shares[b] += left // count
        left %= count
    if left or min(shares) < 1:
        return
    held = _held(asked.islands, space, figures, index)
    chains = [
        permutations(zip(bundle, own.tolist(), strict=True))
        for bundle, own in zip(space.bundles(index), held, strict=True)
    ]
    for chosen in product(*chains):
        yield tuple(
            Lane(chain=chain, pipelines=count, microbatches=share)
            for chain, count, share in zip(chosen, pipelines, shares, strict=True)
        )


def _remedies(asked: Asked, groups: Sequence[int]) -> Iterator[str]:
    """The first change that helps, of more nodes in some group and shorter sequences."""
    for group in groups:
        times = 2
        while times <= MOST_TIMES:
            own = asked.islands.groups[group]
            more = own.resized(times * own.nodes)
            changed = tuple(more if g == group else one for g, one in enumerate(asked.islands.groups))
            if replace(asked, islands=replace(asked.islands, groups=changed, nodes=())).fits():
                yield f"{times * own.nodes} nodes instead of {own.nodes} in {own.name}"
                return
            times *= 2
    tokens = asked.job.sequence_length // 2
    while tokens >= SHORTEST:
        if replace(asked, job=replace(asked.job, sequence_length=tokens)).fits():
            yield f"sequences of {tokens:,} tokens"
            return
        tokens //= 2
