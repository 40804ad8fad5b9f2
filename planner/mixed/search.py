"""The best configuration on unlike groups of nodes, with its proof.

Families are bounded all at once (``bounds``) and taken in the order of their bounds; of a family, members in the order
of theirs. A member's configuration on its ground is then bounded by what each stage's share of the chain alone forces,
and priced under the best of every contiguous cut that fits every machine (``planner.partition``). Whatever has a bound
of at least the best step seen is left aside: what remains is proven.
"""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.collectives import send_seconds
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground
from costmodels.ground_step import GroundModel, GroundPrice
from costmodels.operators import BF16_BYTES
from costmodels.sharding import Column
from planner.mixed.bounds import Figures, Scale, family_bounds, rooms, state_seconds
from planner.mixed.chain_bound import Shares, chain_seconds
from planner.mixed.ground import Lane, ground_of, groups_used, link_between
from planner.mixed.islands import Islands
from planner.mixed.members import Bundle, Staged, layouts, staged
from planner.mixed.space import Families, families
from planner.partition import Partition
from solvers.search import Evaluated, Progress, SearchResult, best_first
from solvers.stop import NoLimit, StoppingRule

SEEDS, SEEDS_OF_EACH = 12, 3
"""Families, of each way to bundle the groups at the most, whose most promising member is priced before the search, so
that others are cut sooner."""

LOOKED_AT = 60
"""Of how many families of each bundling these are the most promising, by sharper bounds."""

SEED_LIMITS = (1.01, 1.03, 1.1, 1.5, 4.0)
"""Of a family's own bound: how far its most promising member is looked for."""

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
) -> Found:
    """The fastest configuration of the stated space (``planner.mixed.space``); ``calibrations`` are of the groups."""
    space = families(islands, model, job, pins or {}, forbid, allow)
    rule = stop or NoLimit()
    run = _Run(islands, calibrations, model, job, space, rule)
    run.seed()
    result = best_first(
        run.bounds,
        None,
        run.evaluate,
        gap=gap,
        stop=rule,
        on_progress=(lambda told: on_progress(told, len(space))) if on_progress else None,
    )
    return Found(best=run.best, result=result, pruned=space.pruned, members=run.priced, bounded=run.bounded)


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
    ) -> None:
        self.islands, self.calibrations, self.model, self.job = islands, calibrations, model, job
        self.space, self.stop = space, stop
        self.figures = Figures.of(islands, space, calibrations, model, job)
        self.scale = Scale.of(islands, space, calibrations, self.figures)
        self.bounds = family_bounds(islands, space, calibrations, self.figures, self.scale, job)
        self.best: Standing | None = None
        self.priced = self.bounded = 0

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
                if first := self._first(index):
                    bounds = [seconds for seconds, _ in self._laid_out(index, self._bundles(index), [first])]
                    looked_at.append((min(bounds, default=np.inf), index, first))
            promising += sorted(looked_at, key=lambda one: one[:2])[:SEEDS_OF_EACH]
        for bound, index, first in sorted(promising, key=lambda one: one[:2])[:SEEDS]:
            if bound < self.value:
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
        bundles = self._bundles(index)
        open_: list[tuple[float, int, tuple[Lane, ...] | _Opened]] = []
        number = 0

        def push(seconds: float, what: "tuple[Lane, ...] | _Opened") -> None:
            nonlocal number
            number += 1
            heapq.heappush(open_, (seconds, number, what))

        for seconds, lanes in self._laid_out(index, bundles, found):
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

    def _laid_out(
        self, index: int, bundles: Sequence[Bundle], found: Sequence[Staged]
    ) -> Iterator[tuple[float, tuple[Lane, ...]]]:
        """Every member of ``found`` that may be better than the best, with a bound on its step."""
        members = [(one.seconds, lanes) for one in found for lanes in layouts(self.islands, bundles, one)]
        every = [*dict.fromkeys(lane for _, lanes in members for lane in lanes)]
        bounds = dict(zip(every, self._chain_bounds(index, every).tolist(), strict=True)) if every else {}
        states = self._with_states(index, every)
        for seconds, lanes in members:
            pipeline = max(seconds, *(max(bounds[lane], states[lane]) for lane in lanes))
            step = float(self.scale.step(index, pipeline))
            if step < self.value:
                yield step, lanes

    def _with_states(self, index: int, lanes: Sequence[Lane]) -> dict[Lane, float]:
        """Seconds of the pipelines of each and of what keeps their states equal, at the least."""
        slowness = self.figures.slowness[:, index].tolist()
        states = [
            (fewer, float(seconds[0]))
            for fewer, seconds in state_seconds(self.figures, self._used(index), np.array([index]))
        ]
        stages = int(self.space.columns.pp[index])
        found = {}
        for lane in lanes:
            load = min(slowness[g] for g, _ in lane.chain) / stages
            found[lane] = max((lane.microbatches - fewer) * load + seconds for fewer, seconds in states)
        return found

    def _chain_bounds(self, index: int, lanes: Sequence[Lane]) -> Column:
        """[lanes]: seconds of the pipelines of each."""
        figures = self.figures
        group = np.array([lane.groups for lane in lanes])
        microbatches = np.array([lane.microbatches for lane in lanes])
        stages = group.shape[1]
        live = np.minimum(microbatches[:, None], stages - np.arange(stages))
        free = figures.free[group, index]
        free[:, 0] -= figures.first[group[:, 0], index]
        free[:, -1] -= figures.last[group[:, -1], index]
        layers = np.floor(free / (figures.state[group, index] + figures.saved[group, index] * live) * (1 + 1e-12))
        layer, before, behind = figures.shares[:, index].tolist()
        used = self._used(index)
        return chain_seconds(
            figures.slowness[group, index],
            np.maximum(layers, 0.0),
            microbatches,
            np.array([self._across(index, lane) for lane in lanes]).reshape(len(lanes), stages - 1),
            float(figures.forward_share[used, index].max()),
            min(self.calibrations[g].microbatch_seconds for g in used),
            Shares(layer=layer, before=before, behind=behind, whole=len({*self.model.layers}) == 1),
        )

    def _across(self, index: int, lane: Lane) -> list[float]:
        """[stages - 1]: seconds to hand a micro-batch on over trunks; those inside a group count as none."""
        row = self.space.columns.row(index)
        size = BF16_BYTES * row.mbs * self.job.sequence_length / row.cp * self.model.hidden / row.tp
        found = []
        for here, there in pairwise(lane.groups):
            seconds = 0.0
            if here != there:
                edge = link_between(self.islands, here, there, row.tp * row.cp * lane.pipelines)
                own = replace(self.islands.groups[here], scale_out=edge)
                seconds = float(send_seconds(size, True, own, self.calibrations[here]))
            found.append(seconds)
        return found

    def _open(self, index: int, lanes: tuple[Lane, ...]) -> "_Opened":
        configuration = self.space.columns.row(index)
        ground = ground_of(self.islands, configuration, lanes)
        own = [self.calibrations[g] for g in groups_used(lanes)]
        model = GroundModel(self.model, self.job, configuration, ground, own)
        return _Opened(lanes, model, Partition.on(model))

    def _price(self, opened: "_Opened") -> float:
        """What no cut is below, where its best is not proven; inf where it is."""
        self.priced += 1
        found = opened.partition.solve()
        if found.choice is None:
            return float("inf")
        if found.value < self.value:
            boundaries = opened.partition.boundaries(found.choice)
            self.best = Standing(
                configuration=opened.model.configuration,
                lanes=opened.lanes,
                boundaries=boundaries,
                ground=opened.model.ground,
                price=opened.model.price(boundaries),
                lower_bound=found.lower_bound if found.status == "feasible" else float("inf"),
            )
        return found.lower_bound if found.status == "feasible" else float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A member whose cuts are bounded."""

    lanes: tuple[Lane, ...]
    model: GroundModel
    partition: Partition
