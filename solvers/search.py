"""Exact best-first search over a finite set, with lower bounds that tighten when needed.

Each candidate i has a coarse bound c_i, on demand a refined one r_i, on demand a sharp one s_i, and a
value v_i, with c_i <= r_i <= s_i <= v_i. Whichever open candidate has the smallest bound is refined,
sharpened, or evaluated if it has been. Proof of the result: every candidate that was not evaluated has a
value of at least the smallest open bound; the search ends when that is at least the k-th best value seen,
so no candidate left out belongs to the k best. A candidate may be a problem of its own whose best value
is not proven: its evaluation then says what it is at least. Candidates that are costly to evaluate may count as the
best or not at all: they are evaluated only while their bound is below the best value seen.
"""

import heapq
import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.solution import Solution, Status, Stop, relative_gap
from solvers.stop import NoLimit, StoppingRule

Bounds: TypeAlias = NDArray[np.float64]
Refine: TypeAlias = Callable[[NDArray[np.intp]], ArrayLike]
Evaluate: TypeAlias = "Callable[[int], float | Evaluated]"

BATCH = 64
TOLERANCE = 1e-9


class Ranked(NamedTuple):
    """A candidate, by its index in the bounds, and its value."""

    candidate: int
    value: float


class Evaluated(NamedTuple):
    """The value found for a candidate, and a bound on what it could be."""

    value: float
    lower_bound: float


class Progress(NamedTuple):
    """Told after each evaluation: the best value so far, the bound on all, evaluations so far."""

    value: float
    lower_bound: float
    evaluated: int


SearchResult: TypeAlias = Solution[tuple[Ranked, ...]]


class InadmissibleBoundError(ValueError):
    """A candidate's value is below its own lower bound: the search would have been wrong."""


def best_first(
    bounds: ArrayLike,
    refine: Refine | None,
    evaluate: Evaluate,
    *,
    sharpen: Callable[[int], float] | None = None,
    keep: int = 1,
    best_only: ArrayLike | None = None,
    gap: float = 0.0,
    stop: StoppingRule | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """The ``keep`` candidates of least value, best first, ties to the lower index.

    ``bounds`` [candidates] are coarse lower bounds, inf for an impossible candidate. ``refine`` maps
    indices to tighter bounds of the same length (inf: impossible), ``sharpen`` one index, before its
    evaluation, to a bound that is tighter still. ``evaluate`` gives a candidate's value (inf: infeasible),
    or the best found for it with what it is at least. ``best_only`` [candidates]: those that are ranked first or not at
    all; on ties not. The search ends when no open bound is below
    the ``keep``-th value less ``gap`` of it, when ``stop`` says so (after one evaluation, if there was none),
    or on Ctrl-C, which returns what was found. Only then is the status ``optimal`` when the gap is met.

    Counts: ``candidates``; ``impossible`` by coarse bound; ``refined``; ``refined_impossible``;
    ``sharpened``; ``evaluated``; ``infeasible`` on evaluation; ``cut`` by their bound, never evaluated; ``proven``,
    how many of the ranked no open candidate can displace.
    Raises ``InadmissibleBoundError`` when a value is below its bound by more than 1e-9 of it, and
    ``ValueError`` for an undefined bound or value.
    """
    if keep < 1:
        raise ValueError(f"keep: {keep} must be at least 1")
    if not gap >= 0:
        raise ValueError(f"gap: {gap} must not be negative")
    began = time.perf_counter()
    coarse = _defined("bounds", bounds)
    first_only = np.zeros(len(coarse), dtype=np.bool_) if best_only is None else np.asarray(best_only, dtype=np.bool_)
    if first_only.shape != coarse.shape:
        raise ValueError(f"best_only: shape {first_only.shape} for {len(coarse)} candidates")
    search = _Search(coarse, refine, sharpen, evaluate, keep, first_only)
    why = _run(search, gap, stop or NoLimit(), on_progress)
    return search.result(why, gap, time.perf_counter() - began)


def _run(search: "_Search", gap: float, stop: StoppingRule, on_progress: Callable[[Progress], None] | None) -> Stop:
    try:
        while True:
            lane = search.next_lane(gap)
            if lane is None:
                return "exhausted" if search.next_lane(0.0) is None else "gap"
            if why := stop(search.evaluated):
                search.try_one()
                return why
            if search.step(lane) and on_progress:
                best = search.best[0].value if search.best else np.inf
                on_progress(Progress(best, min(best, search.open_bound(), search.unproven), search.evaluated))
    except KeyboardInterrupt:
        return "interrupted"


class _Lane:
    """Open candidates, coarse ones in a sorted array and refined ones in a heap."""

    def __init__(self, coarse: Bounds, members: NDArray[np.intp]) -> None:
        self.coarse = coarse
        self.queue = members[np.argsort(coarse[members], kind="stable")]
        self.taken = 0
        self.refined: list[tuple[float, int, bool]] = []
        """Bound, candidate, and whether it may yet be sharpened."""

    def next_coarse(self) -> float:
        return float(self.coarse[self.queue[self.taken]]) if self.taken < len(self.queue) else np.inf

    def open_bound(self) -> float:
        return min(self.next_coarse(), self.refined[0][0] if self.refined else np.inf)


class _Search:
    """The open candidates in two lanes, those that count as the best alone in the second, and the best. The second
    lane waits for the first: what is found there spares evaluations."""

    def __init__(
        self,
        coarse: Bounds,
        refine: Refine | None,
        sharpen: Callable[[int], float] | None,
        evaluate: Evaluate,
        keep: int,
        best_only: NDArray[np.bool_],
    ) -> None:
        self.coarse, self.refine, self.sharpen, self.evaluate, self.keep = coarse, refine, sharpen, evaluate, keep
        self.best_only = best_only
        finite = coarse < np.inf
        self.lanes = [_Lane(coarse, np.flatnonzero(finite & alone)) for alone in (~best_only, best_only)]
        self.others: list[Ranked] = []
        """The best of those that may be ranked anywhere."""
        self.first: Ranked | None = None
        """The best of those that may not."""
        self.evaluated = self.infeasible = self.ruled_out = self.sharpened = 0
        self.unproven = float("inf")

    def open_bound(self) -> float:
        return min(lane.open_bound() for lane in self.lanes)

    def next_lane(self, gap: float) -> _Lane | None:
        """The first lane with a candidate that may still be ranked, by more than ``gap``."""
        for lane, worst in zip(self.lanes, (self.worst_kept(), self.least()), strict=True):
            bound = lane.open_bound()
            if bound < np.inf and (worst == np.inf or bound < worst - gap * abs(worst)):
                return lane
        return None

    def worst_kept(self) -> float:
        return self.others[-1].value if len(self.others) == self.keep else np.inf

    @property
    def best(self) -> list[Ranked]:
        if self.first is None or (self.others and self.others[0].value <= self.first.value):
            return self.others
        return [self.first, *self.others][: self.keep]

    def least(self) -> float:
        return self.best[0].value if self.best else np.inf

    def step(self, lane: _Lane) -> bool:
        """Refines a batch, or sharpens or evaluates one candidate; whether it was the last."""
        if lane.next_coarse() < np.inf and (not lane.refined or lane.next_coarse() <= lane.refined[0][0]):
            self._refine_batch(lane)
            return False
        if self.sharpen is not None and lane.refined[0][2]:
            self._sharpen_first(lane, self.sharpen)
            return False
        self._evaluate_first(lane)
        return True

    def try_one(self) -> None:
        """Where nothing was evaluated yet, the most promising of one batch: better than no answer."""
        for lane in self.lanes:
            if not self.evaluated and not lane.refined and lane.next_coarse() < np.inf:
                self._refine_batch(lane)
            if not self.evaluated and lane.refined:
                self._evaluate_first(lane)

    def _refine_batch(self, lane: _Lane) -> None:
        batch = lane.queue[lane.taken : lane.taken + BATCH]
        batch = batch[self.coarse[batch] < (self.worst_kept() if lane is self.lanes[0] else self.least())]
        bounds = self.coarse[batch]
        if self.refine is not None:
            tighter = _defined("refined bounds", self.refine(batch))
            if tighter.shape != batch.shape:
                raise ValueError(f"refined bounds: shape {tighter.shape} for {len(batch)} candidates")
            bounds = np.maximum(bounds, tighter)
        for bound, index in zip(bounds.tolist(), batch.tolist(), strict=True):
            if bound < np.inf:
                heapq.heappush(lane.refined, (bound, index, True))
        self.ruled_out += int(np.isinf(bounds).sum())
        lane.taken += len(batch)

    def _sharpen_first(self, lane: _Lane, sharpen: Callable[[int], float]) -> None:
        bound, index, _ = lane.refined[0]
        tighter = max(bound, float(_defined("sharp bound", [sharpen(index)])[0]))
        self.sharpened += 1
        if tighter < np.inf:
            heapq.heapreplace(lane.refined, (tighter, index, False))
        else:
            self.ruled_out += 1
            heapq.heappop(lane.refined)

    def _evaluate_first(self, lane: _Lane) -> None:
        bound, index, _ = lane.refined[0]  # stays open until it is ranked: an interrupt loses nothing
        found = self.evaluate(index)
        value, least = found if isinstance(found, Evaluated) else (float(found), float(found))
        if np.isnan(value) or np.isnan(least):
            raise ValueError(f"candidate {index}: its value is undefined")
        self.unproven = min(self.unproven, max(bound, least) if least < value else np.inf)
        if value < bound - TOLERANCE * abs(bound):
            raise InadmissibleBoundError(f"candidate {index}: value {value!r} is below its bound {bound!r}")
        if value < np.inf:
            self._rank(Ranked(index, value))
        else:
            self.infeasible += 1
        self.evaluated += 1
        heapq.heappop(lane.refined)

    def _rank(self, found: Ranked) -> None:
        if not self.best_only[found.candidate]:
            self.others = sorted([*self.others, found], key=lambda r: (r.value, r.candidate))[: self.keep]
        elif self.first is None or _before(found, self.first):
            self.first = found

    def result(self, why: Stop, gap: float, seconds: float) -> SearchResult:
        open_bound = self.open_bound()
        value = self.best[0].value if self.best else np.inf
        bound = min(value, open_bound, self.unproven)
        status: Status = "feasible"
        if not self.best and open_bound == np.inf:
            status = "infeasible"
        elif self.best:
            met = why in ("exhausted", "gap") and self.unproven >= min(value, open_bound)
            status = "optimal" if met or relative_gap(value, bound) <= gap else "feasible"
        possible, refined = (
            sum(counted) for counted in zip(*((len(o.queue), o.taken) for o in self.lanes), strict=True)
        )
        others = self.lanes[0].open_bound()
        counts = {
            "candidates": len(self.coarse),
            "impossible": len(self.coarse) - possible,
            "refined": refined if self.refine is not None else 0,
            "refined_impossible": self.ruled_out,
            "sharpened": self.sharpened,
            "evaluated": self.evaluated,
            "infeasible": self.infeasible,
            "cut": possible - self.ruled_out - self.evaluated,
            "proven": sum(ranked.value <= (others if place else open_bound) for place, ranked in enumerate(self.best)),
        }
        return Solution(
            value=value,
            lower_bound=bound,
            status=status,
            stop=why,
            choice=tuple(self.best) or None,
            seconds=seconds,
            counts=counts,
        )


def _before(one: Ranked, other: Ranked) -> bool:
    return (one.value, one.candidate) < (other.value, other.candidate)


def _defined(name: str, values: ArrayLike) -> Bounds:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or np.isnan(array).any():
        raise ValueError(f"{name}: one defined number per candidate is needed, got shape {array.shape}")
    return array
