"""The best contiguous split of a chain under any objective, given what each chunk alone forces.

Chunks j = 0..P-1 hold items b_j..b_{j+1}, b_0 = 0 < b_1 < .. < b_P = n. An objective v(b) is given as a
callable, and for each chunk and interval a bound c_j(s, e) <= v(b) for every split with b_j = s and
b_{j+1} = e, inf where chunk j may not hold those items. With

    R_j(s) = min over e of max(c_j(s, e), R_{j+1}(e)),   R_P(n) = -inf,

and L likewise from the front, no split is better than R_0(0), and none through chunk j = s..e than
t_j(s, e) = max(L_j(s), c_j(s, e), R_{j+1}(e)).

1. A split that attains R_0(0), or one given, then descent by moving an item from one chunk to another, every
   item between them sliding on: the incumbent z.
2. Splits of chunks with t < z are counted (N_j(s) = sum of N_{j+1}(e), as in ``splits``). If they are
   few, all are listed and evaluated: the best of them and z is the optimum.
3. If they are many, and a bound p(b_0..b_j) on every split that begins so is at hand, beginnings grow chunk
   by chunk, as long as max(t, p) < z; of each length those of least bound are kept. The least bound of any
   other is one on what was left out.
4. Else those with t < x are listed, for the largest x that leaves few: then x is a bound.

Splits are evaluated in the order of their own bounds, until these pass the best value.
"""

import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.solution import Solution

Floats: TypeAlias = NDArray[np.float64]
Splits: TypeAlias = NDArray[np.intp]
Evaluate: TypeAlias = Callable[[Splits], ArrayLike]

LISTED = 20_000
"""Splits evaluated at the most, beside those of the descent."""

DESCENTS = 50
TOGETHER, FEW = 1024, 32
"""Splits evaluated at once, and where only so many may be."""

TOLERANCE = 1e-9


def best_split(
    bounds: ArrayLike,
    evaluate: Evaluate,
    *,
    start: ArrayLike | None = None,
    screen: Evaluate | None = None,
    partial: Evaluate | None = None,
    listed: int = LISTED,
    evaluated: int | None = None,
) -> Solution[NDArray[np.intp]]:
    """The boundaries [chunks + 1] of the split of least value, or of a good one with a bound on all.

    ``bounds`` [chunks, items + 1, items + 1] holds c_j(s, e) at [j, s, e]; ``evaluate`` maps splits
    [k, chunks + 1] to their values [k] (inf: not allowed). ``start`` is a split to begin from; ``screen`` gives
    bounds [k] on whole splits, where sharper ones than their chunks' are cheap; ``partial`` gives bounds [k]
    on every split that begins with [k, j + 1]. ``listed`` is how many splits are listed at the most,
    ``evaluated`` (None: no end) how many the descent may evaluate. Values are compared with a tolerance of
    1e-9. Counts: ``listed``, and ``evaluated`` in all. Raises ``ValueError`` for bounds of another shape, and
    for a value below its bound.
    """
    began = time.perf_counter()
    search = _Search(_checked(bounds), evaluate, screen)
    if np.isfinite(search.lower):
        search.descend(search.first() if start is None else np.asarray(start, dtype=np.intp), evaluated)
        search.exhaust(listed, partial)
    value, lower = search.value, min(search.lower, search.value)
    proven = value <= lower * (1 + TOLERANCE)
    return Solution(
        value=value,
        lower_bound=value if proven else lower,
        status="infeasible" if search.split is None and np.isinf(lower) else "optimal" if proven else "feasible",
        stop="exhausted" if proven or np.isinf(lower) else "evaluation_limit",
        choice=search.split,
        seconds=time.perf_counter() - began,
        counts={"listed": search.listed, "evaluated": search.evaluated},
    )


def lower_bound(bounds: ArrayLike) -> float:
    """R_0(0): what no split is better than; inf where there is none. ``bounds`` as for ``best_split``."""
    return float(_from_behind(_checked(bounds))[0, 0])


class _Search:
    """The incumbent, the bound on everything else, and the intervals that may still be part of a better one."""

    def __init__(self, bounds: Floats, evaluate: Evaluate, screen: Evaluate | None) -> None:
        self.bounds, self._evaluate, self._screen = bounds, evaluate, screen
        self.after = _from_behind(bounds)
        self.lower = float(self.after[0, 0])
        before = _from_behind(bounds[::-1, ::-1, ::-1].swapaxes(1, 2))[::-1, ::-1]
        self.through = np.maximum(np.maximum(before[:-1, :, None], bounds), self.after[1:, None, :])
        self.value, self.split = float("inf"), None
        self.evaluated = self.listed = 0

    value: float
    split: NDArray[np.intp] | None

    def first(self) -> NDArray[np.intp]:
        """The split within R_0(0) whose chunks' bounds have the least sum: the others leave room as well."""
        within = np.where(self.through <= self.lower * (1 + TOLERANCE), self.bounds, np.inf)
        ends = self.after.shape[1]
        best = np.where(np.arange(ends) == ends - 1, 0.0, np.inf)
        following = []
        for table in within[::-1]:
            sums = table + best[None, :]
            following.append(sums.argmin(axis=1))
            best = sums.min(axis=1)
        split = [0]
        for choice in reversed(following):
            split.append(int(choice[split[-1]]))
        return np.array(split, dtype=np.intp)

    def descend(self, split: NDArray[np.intp], most: int | None) -> None:
        """Moves of one item at a time until none is better."""
        candidates = split[None, :]
        for _ in range(DESCENTS):
            before = self.value
            self.consider(candidates, most)
            if self.split is None or self.value >= before or self.value <= self.lower * (1 + TOLERANCE):
                return
            candidates = _neighbours(self.split)

    def exhaust(self, most: int, partial: Evaluate | None) -> None:
        """Every split that may be better, or as many as ``most`` of those with the least bounds."""
        if self.value <= self.lower * (1 + TOLERANCE):
            return
        target = self.value * (1 - TOLERANCE)
        if partial is not None and _count(self.through < target) > most:
            self.branch(partial, max(1, most // 8))
            return
        levels = np.unique(self.through[self.through < target])
        low, high = 0, len(levels)  # intervals with t among the first `low` levels leave few splits
        if _count(self.through < target) <= most:
            low = high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _count(self.through < levels[middle]) <= most else (low, middle)
        reached = target if low == len(levels) else float(levels[low])
        splits = _listed(self.through < reached)
        self.listed = len(splits)
        self.consider(splits)
        self.lower = max(self.lower, min(reached, self.value) if low < len(levels) else self.value)

    def branch(self, partial: Evaluate, width: int) -> None:
        """Beginnings of splits, chunk by chunk, ``width`` of each length at the most."""
        begun, bounds, left_out = np.zeros((1, 1), dtype=np.intp), np.array([self.lower]), np.inf
        for j, through in enumerate(self.through):
            row, end = np.nonzero(through[begun[:, -1]] < self.value * (1 - TOLERANCE))
            bounds = np.maximum(bounds[row], through[begun[row, -1], end])
            begun = np.column_stack([begun[row], end])
            if j + 1 == len(self.through):
                break
            begun, bounds, least = _least(begun, bounds, 8 * width)
            bounds = np.maximum(bounds, np.asarray(partial(begun), dtype=np.float64)) if len(begun) else bounds
            open_ = bounds < self.value * (1 - TOLERANCE)
            begun, bounds, more = _least(begun[open_], bounds[open_], width)
            left_out = min(left_out, least, more)
        self.listed = len(begun)
        self.consider(begun)
        self.lower = max(self.lower, min(left_out, self.value))

    def consider(self, splits: Splits, most: int | None = None) -> None:
        bounds = self.bound_of(splits)
        order = np.argsort(bounds, kind="stable")
        size = TOGETHER if most is None else FEW
        for begin in range(0, len(order), size):
            part = order[begin : begin + size]
            part = part[bounds[part] < self.value * (1 - TOLERANCE)]
            if not len(part) or (most is not None and self.evaluated >= most):
                return
            values = np.asarray(self._evaluate(splits[part]), dtype=np.float64)
            if (values < bounds[part] * (1 - TOLERANCE)).any():
                raise ValueError("evaluate: a value below its own bound")
            self.evaluated += len(part)
            best = int(values.argmin())
            if values[best] < self.value:
                self.value, self.split = float(values[best]), splits[part[best]]

    def bound_of(self, splits: Splits) -> Floats:
        chunk = np.arange(len(self.bounds))
        bounds = np.asarray(self.bounds[chunk, splits[:, :-1], splits[:, 1:]].max(axis=1))
        within = np.isfinite(bounds)
        if self._screen is not None and within.any():
            bounds[within] = np.maximum(bounds[within], np.asarray(self._screen(splits[within]), dtype=np.float64))
        return bounds


def _from_behind(bounds: Floats) -> Floats:
    """[chunks + 1, items + 1]: R_j(s)."""
    chunks, ends = bounds.shape[:2]
    after = np.full((chunks + 1, ends), np.inf)
    after[chunks, -1] = -np.inf
    for j in range(chunks - 1, -1, -1):
        after[j] = np.maximum(bounds[j], after[j + 1][None, :]).min(axis=1)
    return after


def _least(begun: Splits, bounds: Floats, most: int) -> tuple[Splits, Floats, float]:
    """As many as ``most`` with the least bounds, and the least bound of the others."""
    if len(begun) <= most:
        return begun, bounds, float("inf")
    order = np.argsort(bounds, kind="stable")
    return begun[order[:most]], bounds[order[:most]], float(bounds[order[most]])


def _neighbours(split: NDArray[np.intp]) -> Splits:
    """Every split with one item less on one chunk and one more on another."""
    chunks = len(split) - 1
    found = []
    for first in range(1, chunks):
        for last in range(first, chunks):
            for move in (-1, 1):
                near = split.copy()
                near[first : last + 1] += move
                found.append(near)
    splits = np.array(found, dtype=np.intp).reshape(len(found), chunks + 1)
    return splits[(np.diff(splits, axis=1) > 0).all(axis=1)]


def _completions(alive: NDArray[np.bool_]) -> Floats:
    """[chunks + 1, items + 1]: how many ways lead on from s into chunks j.. along the intervals left."""
    chunks, ends = alive.shape[:2]
    counts = np.zeros((chunks + 1, ends))
    counts[chunks, -1] = 1
    for j in range(chunks - 1, -1, -1):
        counts[j] = alive[j] @ counts[j + 1]
    return counts


def _count(alive: NDArray[np.bool_]) -> float:
    return float(_completions(alive)[0, 0])


def _listed(alive: NDArray[np.bool_]) -> Splits:
    """[splits, chunks + 1], in lexicographic order."""
    completions = _completions(alive)
    splits = np.zeros((1 if completions[0, 0] else 0, 1), dtype=np.intp)
    for j, table in enumerate(alive):
        row, end = np.nonzero(table[splits[:, -1]] & (completions[j + 1] > 0)[None, :])
        splits = np.column_stack([splits[row], end])
    return splits


def _checked(bounds: ArrayLike) -> Floats:
    table = np.asarray(bounds, dtype=np.float64)
    if table.ndim != 3 or table.shape[1] != table.shape[2] or np.isnan(table).any():
        raise ValueError(f"bounds: shape {table.shape} must be [chunks, items + 1, items + 1], all defined")
    start, end = np.indices(table.shape[1:])
    return np.where(end > start, table, np.inf)
