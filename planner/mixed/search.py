"""The best configuration on unlike groups of nodes, with its proof.

Families are bounded all at once (``bounds``) and taken in the order of their bounds; of a family, members in the order
of theirs. A member's configuration on its ground is then bounded by what each stage's share of the chain alone forces,
and priced under the best of every contiguous cut that fits every machine (``planner.partition``). Whatever has a bound
of at least the best step seen is left aside: what remains is proven.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.collectives import send_seconds
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground
from costmodels.ground_step import GroundModel, GroundPrice
from costmodels.hardware import Link
from costmodels.operators import BF16_BYTES, System
from costmodels.sharding import Column
from planner.mixed.bounds import Figures, Scale, family_bounds, rooms
from planner.mixed.chain_bound import Shares, chain_seconds
from planner.mixed.ground import Lane, ground_of, groups_used, link_between, ring_link
from planner.mixed.islands import Islands
from planner.mixed.members import Bundle, Orders, Staged, staged
from planner.mixed.rough_bound import rough_bounds
from planner.mixed.space import Families, Ints, families
from planner.mixed.state_bound import hidden_share, sync_seconds
from planner.partition import Partition
from solvers.search import Evaluated, Progress, SearchResult, best_first
from solvers.solution import Solution
from solvers.stop import NoLimit, StoppingRule

SEEDS, SEEDS_OF_EACH = 12, 2
"""Families, of each way to bundle the groups at the most, whose most promising member is priced before the search, so
that others are cut sooner."""

ROUGHLY_LOOKED_AT = 1000
"""Of how many families of each bundling, the most promising by quick bounds, the first are seeds."""

LOOKED_AT = 6
"""Of how many families of each bundling these are the most promising, by sharper bounds."""

BESIDE = 30
"""Of how many families the most promising member is priced at the most, so that a plan says what lost."""

SEED_LIMITS = (1.01, 1.03, 1.1, 1.5, 4.0)
"""Of a family's own bound: how far its most promising member is looked for."""

Member: TypeAlias = tuple[float, tuple[Lane, ...]]
"""What the pipelines of one, and of their states, take at the least."""

Told: TypeAlias = Callable[[Progress, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A configuration, its cut, and what it stands on."""

    configuration: Configuration
    lanes: tuple[Lane, ...]
    boundaries: tuple[int, ...]
    ground: Ground
    price: GroundPrice
    lower_bound: float
    """What no cut of it is below; inf where none is better than its own."""

    @property
    def seconds(self) -> float:
        return self.price.step.step_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``best`` is None where nothing fits. ``result`` counts families; ``members`` were priced in full, ``bounded``
    by their stages' shares of the chain."""

    best: Standing | None
    others: tuple[Standing, ...]
    """The best of other configurations that were priced, fastest first."""
    result: SearchResult
    pruned: Mapping[str, int]
    members: int
    bounded: int


def search(
    islands: Islands,
    calibrations: Sequence[Calibration],
    model: Model,
    job: Job,
    *,
    pins: Mapping[str, int | str] | None = None,
    forbid: frozenset[str] = frozenset(),
    allow: frozenset[str] = frozenset(),
    gap: float = 0.0,
    stop: StoppingRule | None = None,
    on_progress: Told | None = None,
    keep: int = 1,
) -> Found:
    """The fastest configuration of the stated space (``planner.mixed.space``), and ``keep`` - 1 others at the most;
    ``calibrations`` are of the groups."""
    rule = stop or NoLimit()
    rule(0)  # its clock runs from here
    space = families(islands, model, job, pins or {}, forbid, allow)
    if rule(0):
        return _unknown(space)
    rough = rough_bounds(islands, space, calibrations, model, job)
    order = np.argsort(rough, kind="stable")
    order = order[rough[order] < np.inf]
    promising = _promising(space, order)
    first = _Run(islands, calibrations, model, job, space.take(promising), rule)
    first.seed()
    chosen = order[rough[order] < first.value]
    late = bool(rule(first.priced))
    if late:  # no time to bound the others any better
        chosen = promising
    run = first if late else _Run(islands, calibrations, model, job, space.take(chosen), rule, first)
    if first.best is None and not late:
        run.seed()
    result = best_first(
        run.bounds,
        None,
        run.evaluate,
        gap=gap,
        stop=rule,
        on_progress=(lambda told: on_progress(told, len(space))) if on_progress else None,
    )
    if late:
        others = rough[np.setdiff1d(order, chosen)]
        result = _with_open(result, others[others < run.value])
    compared = run.compare(keep) if run.best is not None else 0
    result = _of_all(result, space, rough, len(order) - len(chosen), compared)
    return Found(
        best=run.best,
        others=tuple(run.others(min(keep, result.counts["evaluated"]) - 1)),
        result=result,
        pruned=space.pruned,
        members=run.priced,
        bounded=run.bounded,
    )


def _with_open(result: SearchResult, bounds: Column) -> SearchResult:
    """With families of these bounds that were not searched."""
    bound = min(result.lower_bound, float(bounds.min(initial=np.inf)))
    proven = result.status != "feasible" and not len(bounds)
    return replace(result, lower_bound=bound, status=result.status if proven else "feasible")


def _promising(space: Families, order: Ints) -> Ints:
    """Of each way to bundle the groups, the first families in ``order``."""
    found = [order[space.bundling[order] == number][:ROUGHLY_LOOKED_AT] for number in range(len(space.bundlings))]
    return np.concatenate(found) if found else order


def _unknown(space: Families) -> Found:
    """Before anything was bounded."""
    counts = dict.fromkeys(("impossible", "evaluated", "infeasible", "cut"), 0) | {"candidates": len(space)}
    result: SearchResult = Solution(
        value=float("inf"),
        lower_bound=0.0,
        status="feasible",
        stop="time_limit",
        choice=None,
        seconds=0.0,
        counts=counts,
    )
    return Found(best=None, others=(), result=result, pruned=space.pruned, members=0, bounded=0)


def _of_all(result: SearchResult, space: Families, rough: Column, cut: int, compared: int) -> SearchResult:
    """With families counted that quick bounds had ``cut`` off before, and those that were priced for comparison."""
    counts = dict(result.counts)
    counts["candidates"] = len(space)
    counts["impossible"] += int(np.isinf(rough).sum())
    compared = min(compared, counts["cut"])
    counts["cut"] += cut - compared
    counts["evaluated"] += compared
    return replace(result, counts=counts)


class _Run:
    """The best so far, and what it takes to price a family."""

    def __init__(
        self,
        islands: Islands,
        calibrations: Sequence[Calibration],
        model: Model,
        job: Job,
        space: Families,
        stop: StoppingRule,
        before: "_Run | None" = None,
    ) -> None:
        """``before``: a search whose best is already known."""
        self.islands, self.calibrations, self.model, self.job = islands, calibrations, model, job
        self.space, self.stop = space, stop
        self.figures = Figures.of(islands, space, calibrations, model, job)
        self.scale = Scale.of(islands, space, calibrations, self.figures)
        self.bounds = family_bounds(islands, space, calibrations, self.figures, self.scale, job)
        self.best: Standing | None = before.best if before else None
        self.priced: int = before.priced if before else 0
        self.bounded: int = before.bounded if before else 0
        self.seen: dict[Configuration, tuple[float, tuple[Lane, ...], tuple[int, ...]]] = (
            dict(before.seen) if before else {}
        )
        """Of every configuration that was priced the best: seconds, and where it stands."""
        self.orders, self.whole = Orders(islands), len({*model.layers}) == 1
        self.layer_seconds: dict[tuple[int, int, Link, int], float] = {}
        self.systems = [System.of(group, own, job) for group, own in zip(islands.groups, calibrations, strict=True)]

    @property
    def value(self) -> float:
        return float("inf") if self.best is None else self.best.seconds

    def seed(self) -> None:
        """The most promising member of the most promising families."""
        promising: list[tuple[float, int, Staged]] = []
        for number in range(len(self.space.bundlings)):
            rows = np.flatnonzero((self.space.bundling == number) & (self.bounds < np.inf))
            looked_at = []
            for index in rows[np.argsort(self.bounds[rows], kind="stable")][:LOOKED_AT].tolist():
                if self.stop(self.priced):
                    break
                if first := self._first(index):
                    bounds = [seconds for seconds, _ in self._laid_out(index, [first], self.value)]
                    looked_at.append((min(bounds, default=np.inf), index, first))
            promising += sorted(looked_at, key=lambda one: one[:2])[:SEEDS_OF_EACH]
        for bound, index, first in sorted(promising, key=lambda one: one[:2])[:SEEDS]:
            if bound < self.value and not (self.best and self.stop(self.priced)):
                self._among(index, [first])

    def _first(self, index: int) -> Staged | None:
        for limit in SEED_LIMITS:
            found, _ = self._staged(index, min(self.value, self.bounds[index] * limit))
            if found:
                return found[0]
        return None

    def evaluate(self, index: int) -> Evaluated:
        """The best step seen once a family has been through, and what none of its members is below, if that is less."""
        if self.best is None:
            first = self._first(index)
            found, complete = ([first] if first else []), len(self.space.bundles(index)) == 1
            if complete:
                found, complete = self._staged(index, float("inf"))
        else:
            found, complete = self._staged(index, self.value)
        least = self._among(index, found)
        return Evaluated(self.value, min(self.value, least if complete else float(self.bounds[index])))

    def _bundles(self, index: int) -> list[Bundle]:
        row = self.space.columns.take(np.array([index]))
        found = []
        for bundle, pipelines in zip(self.space.bundles(index), self.space.pipelines[index].tolist(), strict=False):
            room = [int(rooms(self.islands.groups[g].gpus, row, np.array([pipelines]))[0]) for g in bundle]
            found.append(
                Bundle(
                    groups=bundle,
                    room=tuple(room),
                    pipelines=pipelines,
                    slowness=tuple(float(self.figures.slowness[g, index]) for g in bundle),
                    forward_share=float(self.figures.forward_share[self._used(index), index].max()),
                    host=min(self.calibrations[g].microbatch_seconds for g in bundle),
                    states=float(self.figures.states[[*bundle], index].min()),
                    hidden=hidden_share(self.job, [self.calibrations[g] for g in bundle]),
                )
            )
        return found

    def _used(self, index: int) -> list[int]:
        return [g for bundle in self.space.bundles(index) for g in bundle]

    def _staged(self, index: int, seconds: float) -> tuple[list[Staged], bool]:
        """Those of a family whose step may be below ``seconds``."""
        stages, turns = int(self.space.columns.pp[index]), self.job.global_batch // int(self.space.columns.mbs[index])
        limit = self.scale.pipeline(index, seconds) if np.isfinite(seconds) else float("inf")
        return staged(self._bundles(index), stages, turns, limit)

    def _among(self, index: int, found: Sequence[Staged]) -> float:
        """Takes the better of the best and of these members; what those that were not priced exactly are at least."""
        open_: list[tuple[float, int, tuple[Lane, ...] | _Opened]] = []
        number = 0

        def push(seconds: float, what: "tuple[Lane, ...] | _Opened") -> None:
            nonlocal number
            number += 1
            heapq.heappush(open_, (seconds, number, what))

        for seconds, lanes in self._laid_out(index, found, self.value):
            push(seconds, lanes)
        least = float("inf")
        while open_ and open_[0][0] < self.value:
            if self.best is not None and self.stop(self.priced):
                return min(least, open_[0][0])
            seconds, _, what = heapq.heappop(open_)
            if isinstance(what, tuple):
                opened = self._open(index, what)
                self.bounded += 1
                push(max(seconds, opened.partition.lower_bound()), opened)
            else:
                least = min(least, self._price(what))
        return least

    def _laid_out(self, index: int, found: Sequence[Staged], below: float) -> Iterator[tuple[float, tuple[Lane, ...]]]:
        """Every member of ``found`` that may take less than ``below`` seconds, with a bound on its step: of each
        pipeline alone, then of those that are left with their states and the cut that all share."""
        bundles = self._bundles(index)
        limit = self.scale.pipeline(index, below) if below < np.inf else np.inf
        orders = self.orders
        members = [(one.seconds, lanes) for one in found for lanes in orders.layouts(bundles, one)]
        for b in range(len(bundles)):
            if members:
                members = self._bounded(index, members, [(lanes[b],) for _, lanes in members], limit)
        if members and len(bundles) > 1:
            members = self._bounded(index, members, [lanes for _, lanes in members], limit)
        for seconds, lanes in members:
            if (step := float(self.scale.step(index, seconds))) < below:
                yield step, lanes

    def _bounded(
        self, index: int, members: Sequence[Member], parts: Sequence[tuple[Lane, ...]], limit: float
    ) -> list[Member]:
        """Members whose pipelines may end before ``limit`` seconds by the ``parts`` of each."""
        every = {part: number for number, part in enumerate(dict.fromkeys(parts))}
        bounds = self._chain_bounds(index, [*every], limit).tolist()
        found = [(max(m[0], bounds[every[part]]), m[1]) for m, part in zip(members, parts, strict=True)]
        return [one for one in found if one[0] < np.inf]

    def _chain_bounds(self, index: int, layouts: Sequence[tuple[Lane, ...]], limit: float) -> Column:
        """[layouts]: seconds of the pipelines of each, and of their states where these are all pipelines of it; inf
        where they do not end before ``limit``."""
        figures, used = self.figures, self._used(index)
        group = np.array([[lane.groups for lane in lanes] for lanes in layouts])
        microbatches = np.array([[lane.microbatches for lane in lanes] for lanes in layouts])
        stages = group.shape[2]
        live = np.minimum(microbatches[:, :, None], stages - np.arange(stages))
        free = figures.free[group, index]
        free[:, :, 0] -= figures.first[group[:, :, 0], index]
        free[:, :, -1] -= figures.last[group[:, :, -1], index]
        layers = np.floor(free / (figures.state[group, index] + figures.saved[group, index] * live) * (1 + 1e-12))
        links = [self._across(index, lane.pipelines) for lane in layouts[0]]
        edges = [links[b][group[:, b, :-1], group[:, b, 1:]] for b in range(len(links))]
        states = np.zeros(group.shape)
        if group.shape[1] == len(self.space.bundles(index)):
            states[:] = self._states(index, layouts, group)
        layer, before, behind = figures.shares[:, index].tolist()
        own = [self.calibrations[g] for g in used]
        return chain_seconds(
            figures.slowness[group, index],
            np.maximum(layers, 0.0),
            microbatches,
            np.stack(edges, axis=1),
            states,
            float(figures.forward_share[used, index].max()),
            hidden_share(self.job, own),
            np.array([one.microbatch_seconds for one in self.calibrations])[group],
            Shares(layer=layer, before=before, behind=behind, whole=self.whole),
            limit,
        )

    def _states(self, index: int, layouts: Sequence[tuple[Lane, ...]], group: Ints) -> Column:
        """[layouts, lanes, stages]: seconds of the states of a layer, over the links that they have."""
        if group.shape[1] > 1:
            return np.array([self._state_seconds(index, lanes) for lanes in layouts])
        row, seconds = self.space.columns.row(index), np.zeros(len(self.islands.groups))
        for g in self._used(index):
            seconds[g] = self._layer_seconds(index, g, ring_link(self.islands, row, {g}, row.dp), row.dp)
        return np.asarray(seconds[group])

    def _state_seconds(self, index: int, lanes: Sequence[Lane]) -> list[list[float]]:
        """[lanes, stages]: seconds of the states of a layer, over the links that they have."""
        row = self.space.columns.row(index)
        across = list(zip(*(lane.groups for lane in lanes), strict=True))
        rings = {on: ring_link(self.islands, row, {*on}, max(lane.pipelines for lane in lanes)) for on in {*across}}
        return [
            [self._layer_seconds(index, on[b], rings[on], lane.pipelines) for on in across]
            for b, lane in enumerate(lanes)
        ]

    def _layer_seconds(self, index: int, group: int, ring: Link, replicas: int) -> float:
        machine, row = self.islands.groups[group], self.space.columns.row(index)
        domain = machine.domain_gpus
        if replicas < row.dp:
            domain = min(domain, row.tp * row.cp * replicas)
        key = index, group, ring, domain
        if key not in self.layer_seconds:
            columns = self.space.columns.take(np.array([index]))
            dense, experts = self.figures.layers[:, index].tolist()
            seconds = sync_seconds(columns, self.systems[group], self.job, ring, domain, (dense, experts))
            self.layer_seconds[key] = seconds / len(self.model.layers)
        return self.layer_seconds[key]

    def _across(self, index: int, pipelines: int) -> Column:
        """[groups, groups]: seconds to hand a micro-batch on at the least: inside a group over its network where a
        stage fills an NVLink domain, else over the faster of both."""
        row, used = self.space.columns.row(index), self._used(index)
        size = BF16_BYTES * row.mbs * self.job.sequence_length / row.cp * self.model.hidden / row.tp
        width = row.tp * row.cp * pipelines
        found = np.zeros((len(self.islands.groups),) * 2)
        for here, there in product(used, used):
            edge = link_between(self.islands, here, there, width)
            own = replace(self.islands.groups[here], scale_out=edge)
            far = here != there or width >= own.domain_gpus
            ways = [float(send_seconds(size, across, own, self.calibrations[here])) for across in {True, far}]
            found[here, there] = min(ways)
        return found

    def _open(self, index: int, lanes: tuple[Lane, ...]) -> "_Opened":
        model = self._model(self.space.columns.row(index), lanes)
        return _Opened(lanes, model, Partition.on(model))

    def _model(self, configuration: Configuration, lanes: tuple[Lane, ...]) -> GroundModel:
        ground = ground_of(self.islands, configuration, lanes)
        own = [self.calibrations[g] for g in groups_used(lanes)]
        return GroundModel(self.model, self.job, configuration, ground, own)

    def _price(self, opened: "_Opened") -> float:
        """What no cut is below, where its best is not proven; inf where it is."""
        self.priced += 1
        found = opened.partition.solve()
        if found.choice is None:
            return float("inf")
        gap = found.lower_bound if found.status == "feasible" else float("inf")
        configuration, boundaries = opened.model.configuration, opened.partition.boundaries(found.choice)
        if found.value < self.value:
            self.best = _standing(opened.model, opened.lanes, boundaries, gap)
        if configuration not in self.seen or found.value < self.seen[configuration][0]:
            self.seen[configuration] = found.value, opened.lanes, boundaries
        return gap

    def compare(self, count: int) -> int:
        """Prices the most promising member of the most promising families until ``count`` configurations were priced;
        how many families that took."""
        taken = 0
        for index in np.argsort(self.bounds, kind="stable")[:BESIDE].tolist():
            if len(self.seen) >= count or self.bounds[index] == np.inf or self.stop(self.priced):
                break
            if self.space.columns.row(index) in self.seen:
                continue
            trials = (self._staged(index, self.bounds[index] * limit)[0] for limit in SEED_LIMITS)
            first = next((found[:1] for found in trials if found), [])
            members = sorted(self._laid_out(index, first, np.inf), key=lambda one: one[0])
            if members:
                self._price(self._open(index, members[0][1]))
                taken += 1
        return taken

    def others(self, count: int) -> Iterator[Standing]:
        """The best of each configuration but the best one's, fastest first."""
        ranked = sorted(self.seen.items(), key=lambda one: (one[1][0], str(one[0])))
        losers = [one for one in ranked if self.best is not None and one[0] != self.best.configuration]
        for configuration, (_, lanes, boundaries) in losers[: max(count, 0)]:
            yield _standing(self._model(configuration, lanes), lanes, boundaries, 0.0)


def _standing(model: GroundModel, lanes: tuple[Lane, ...], boundaries: tuple[int, ...], lower_bound: float) -> Standing:
    return Standing(
        configuration=model.configuration,
        lanes=lanes,
        boundaries=boundaries,
        ground=model.ground,
        price=model.price(boundaries),
        lower_bound=lower_bound,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A member whose cuts are bounded."""

    lanes: tuple[Lane, ...]
    model: GroundModel
    partition: Partition
