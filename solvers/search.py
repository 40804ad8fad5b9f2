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
    all. The search ends when no open bound is below
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
            open_bound, worst = search.open_bound(), search.worst_kept()
            if open_bound == np.inf or open_bound >= worst:
                return "exhausted"
            if worst < np.inf and open_bound >= worst - gap * abs(worst):
                return "gap"
            if why := stop(search.evaluated):
                search.try_one()
                return why
            if search.step() and on_progress:
                best = search.best[0].value if search.best else np.inf
                on_progress(Progress(best, min(best, search.open_bound()), search.evaluated))
    except KeyboardInterrupt:
        return "interrupted"


class _Search:
    """The open candidates, coarse ones in a sorted array and refined ones in a heap, and the best."""

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
        finite = np.flatnonzero(coarse < np.inf)
        self.queue = finite[np.argsort(coarse[finite], kind="stable")]
        self.taken = 0
        self.refined: list[tuple[float, int, bool]] = []
        """Bound, candidate, and whether it may yet be sharpened."""
        self.others: list[Ranked] = []
        """The best of those that may be ranked anywhere."""
        self.first: Ranked | None = None
        """The best of those that may not."""
        self.refinements = 0
        self.evaluated = self.infeasible = self.ruled_out = self.sharpened = 0
        self.unproven = float("inf")

    def next_coarse(self) -> float:
        return float(self.coarse[self.queue[self.taken]]) if self.taken < len(self.queue) else np.inf

    def open_bound(self) -> float:
        return min(self.next_coarse(), self.refined[0][0] if self.refined else np.inf)

    def worst_kept(self) -> float:
        return self.others[-1].value if len(self.others) == self.keep else np.inf

    @property
    def best(self) -> list[Ranked]:
        if self.first is None or (self.others and not _before(self.first, self.others[0])):
            return self.others
        return [self.first, *self.others][: self.keep]

    def least(self) -> float:
        return self.best[0].value if self.best else np.inf

    def step(self) -> bool:
        """Refines a batch, or drops, sharpens or evaluates one candidate; whether it was the last."""
        if self.next_coarse() < np.inf and (not self.refined or self.next_coarse() <= self.refined[0][0]):
            self._refine_batch()
            return False
        if self.best_only[self.refined[0][1]] and self.refined[0][0] >= self.least():
            heapq.heappop(self.refined)
            return False
        if self.sharpen is not None and self.refined[0][2]:
            self._sharpen_first(self.sharpen)
            return False
        self._evaluate_first()
        return True

    def try_one(self) -> None:
        """Where nothing was evaluated yet, the most promising of one batch: better than no answer."""
        if not self.evaluated and not self.refined and self.next_coarse() < np.inf:
            self._refine_batch()
        if not self.evaluated and self.refined:
            self._evaluate_first()

    def _refine_batch(self) -> None:
        batch = self.queue[self.taken : self.taken + BATCH]
        batch = batch[self.coarse[batch] < self.worst_kept()]
        end = self.taken + len(batch)
        batch = batch[~self.best_only[batch] | (self.coarse[batch] < self.least())]
        bounds = self.coarse[batch]
        if self.refine is not None:
            tighter = _defined("refined bounds", self.refine(batch))
            if tighter.shape != batch.shape:
                raise ValueError(f"refined bounds: shape {tighter.shape} for {len(batch)} candidates")
            bounds = np.maximum(bounds, tighter)
        for bound, index in zip(bounds.tolist(), batch.tolist(), strict=True):
            if bound < np.inf:
                heapq.heappush(self.refined, (bound, index, True))
        self.ruled_out += int(np.isinf(bounds).sum())
        self.refinements += len(batch)
        self.taken = end

    def _sharpen_first(self, sharpen: Callable[[int], float]) -> None:
        bound, index, _ = self.refined[0]
        tighter = max(bound, float(_defined("sharp bound", [sharpen(index)])[0]))
        self.sharpened += 1
        if tighter < np.inf:
            heapq.heapreplace(self.refined, (tighter, index, False))
        else:
            self.ruled_out += 1
            heapq.heappop(self.refined)

    def _evaluate_first(self) -> None:
        bound, index, _ = self.refined[0]  # stays open until it is ranked: an interrupt loses nothing
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
        heapq.heappop(self.refined)

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
        counts = {
            "candidates": len(self.coarse),
            "impossible": len(self.coarse) - len(self.queue),
            "refined": self.refinements if self.refine is not None else 0,
            "refined_impossible": self.ruled_out,
            "sharpened": self.sharpened,
            "evaluated": self.evaluated,
            "infeasible": self.infeasible,
            "cut": len(self.queue) - self.ruled_out - self.evaluated,
            "proven": sum(ranked.value <= open_bound for ranked in self.best),
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
