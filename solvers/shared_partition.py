"""Splits a chain of items into contiguous chunks and shares a divisible load among them, together.

Chunk j holds items b_j ... b_{j+1} - 1 and u_j of U equal units (blocks of rows of a vocabulary that is
split over all pipeline devices). With l_j(a, b) the seconds of the items, s_j(u) those of u units (growing
with u), M_j the cap, and at each moment i that may be the peak m_ij(a, b) the bytes of the items and r_ij those of
a unit, choose boundaries and units to

    minimise  max_j  l_j(b_j, b_{j+1}) + s_j(u_j)
    such that sum_j u_j = U,  u_j >= 0,  m_ij(b_j, b_{j+1}) + r_ij u_j <= M_j,  no chunk empty.

For a threshold z chunk j over items a..b takes at most

    n_j(a, b) = min(largest u with s_j(u) <= z - l_j(a, b), min_i (M_j - m_ij(a, b)) / r_ij)

units, -inf where it lacks even seconds or bytes for its items. Boundaries matter to the rest through
the sum of n_j alone, so that best_{j+1}(e) = max over a < e of best_j(a) + n_j(a, e) decides exactly whether
z can be met: best_P(n) >= U. Bisection narrows z; then each solution's own value, less a rounding, is asked
for again until it cannot be met, which proves it.
"""

import heapq
import time
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.solution import Solution

Floats: TypeAlias = NDArray[np.float64]

TOLERANCE = 1e-12
HALVINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedPartition:
    """``boundaries`` [chunks + 1] into the items, ``units`` [chunks]."""

    boundaries: NDArray[np.intp]
    units: NDArray[np.int64]


def shared_partition(
    load_seconds: ArrayLike,
    unit_seconds: ArrayLike,
    *,
    load_bytes: ArrayLike = 0.0,
    unit_bytes: ArrayLike = 0.0,
    cap_bytes: ArrayLike = np.inf,
) -> Solution[SharedPartition]:
    """The boundaries and units whose busiest chunk is least; exact.

    ``load_seconds`` and ``load_bytes`` are [chunks, items + 1, items + 1]: of chunk j holding items a..b - 1
    at [j, a, b], read above the diagonal, growing with b and falling with a. ``unit_seconds`` is
    [chunks, U + 1]: seconds of 0, 1, ... U units, never falling; the units to be shared are U.
    ``unit_bytes`` and ``cap_bytes`` are [chunks] or one figure. Where several moments may be the peak,
    ``load_bytes`` and ``unit_bytes`` have one more axis for them, in front. Of equally good answers the
    units are those of the most even busy times. ``infeasible`` where memory rules out every answer.
    Raises ``ValueError`` for wrong shapes, negative or undefined figures, or a falling ``unit_seconds``.
    """
    began = time.perf_counter()
    ask = _Question(load_seconds, unit_seconds, load_bytes, unit_bytes, cap_bytes)
    high = float(ask.load[:, 0, -1].max() + ask.unit_seconds.max())
    tests, found = 1, ask.answer(high)
    if found is None:
        return Solution(
            value=np.inf,
            lower_bound=np.inf,
            status="infeasible",
            stop="exhausted",
            choice=None,
            seconds=time.perf_counter() - began,
            counts={"tests": tests},
        )
    low, value = 0.0, ask.value(found)
    for _ in range(HALVINGS):
        middle = (low + value) / 2
        tests += 1
        better = ask.answer(middle)
        if better is None:
            low = middle
        else:
            found, value = better, min(value, ask.value(better))
        if value - low <= 1e-7 * value:
            break
    while value and (better := ask.answer(value * (1 - 4 * TOLERANCE))) is not None:
        tests += 1
        found, value = better, ask.value(better)
    return Solution(
        value=value,
        lower_bound=value,
        status="optimal",
        stop="exhausted",
        choice=found,
        seconds=time.perf_counter() - began,
        counts={"tests": tests + 1},
    )


class _Question:
    """Whether a threshold can be met, and by what."""

    def __init__(
        self,
        load_seconds: ArrayLike,
        unit_seconds: ArrayLike,
        load_bytes: ArrayLike,
        unit_bytes: ArrayLike,
        cap_bytes: ArrayLike,
    ) -> None:
        self.load = np.asarray(load_seconds, dtype=np.float64)
        if self.load.ndim != 3 or self.load.shape[1] != self.load.shape[2] or self.load.shape[1] < 2:
            raise ValueError(f"load_seconds: shape {self.load.shape} must be (chunks, items + 1, items + 1)")
        chunks, ends = len(self.load), self.load.shape[1]
        if not 1 <= chunks < ends:
            raise ValueError(f"load_seconds: {chunks} chunks must be between 1 and the {ends - 1} items")
        self.unit_seconds = np.asarray(unit_seconds, dtype=np.float64)
        if self.unit_seconds.ndim != 2 or len(self.unit_seconds) != chunks:
            raise ValueError(f"unit_seconds: shape {self.unit_seconds.shape} must be ({chunks} chunks, units + 1)")
        if (np.diff(self.unit_seconds, axis=1) < 0).any():
            raise ValueError("unit_seconds: more units must not take less time")
        held, each = (np.asarray(values, dtype=np.float64) for values in (load_bytes, unit_bytes))
        moments = max(len(held) if held.ndim == 4 else 1, len(each) if each.ndim == 2 else 1)
        held = np.broadcast_to(held, (moments, *self.load.shape))
        each = np.broadcast_to(each, (moments, chunks))
        caps = np.broadcast_to(np.asarray(cap_bytes, dtype=np.float64), (chunks,))
        self.valid = np.triu(np.ones((ends, ends), dtype=np.bool_), 1)
        for name, values in (
            ("load_seconds", self.load[:, self.valid]),
            ("load_bytes", held[..., self.valid]),
            ("unit_seconds", self.unit_seconds),
            ("unit_bytes", each),
            ("cap_bytes", caps),
        ):
            if not (values >= 0).all():
                raise ValueError(f"{name}: {values.min()} must not be negative or undefined")
        self.units = self.unit_seconds.shape[1] - 1
        self.alike = all((table == table[0]).all() for table in (self.load, self.unit_seconds))
        caps = np.where(np.isinf(caps), np.inf, caps * (1 + TOLERANCE))[:, None, None]
        fitting = [self._fitting(caps - items, unit) for items, unit in zip(held, each, strict=True)]
        self.by_bytes: Floats = np.minimum.reduce(fitting)

    def _fitting(self, room: Floats, unit_bytes: Floats) -> Floats:
        """[chunks, ends, ends]: units whose bytes fit, at most all; -inf where the items' do not."""
        per_unit = unit_bytes[:, None, None]
        whole = np.full(room.shape, float(self.units))
        np.divide(room, per_unit, out=whole, where=(per_unit > 0) & np.isfinite(room))
        fitting = np.minimum(np.floor(whole), self.units)
        return np.where((room >= 0) & self.valid, fitting, -np.inf)

    def answer(self, threshold: float) -> SharedPartition | None:
        """Boundaries and units with no chunk above ``threshold``; None if there are none."""
        chunks, ends = len(self.load), self.load.shape[1]
        best = np.full(ends, -np.inf)
        best[0] = 0.0
        came_from, taken = np.zeros((chunks, ends), dtype=np.intp), np.empty((chunks, ends, ends))
        by_seconds = np.empty(0)
        for chunk in range(chunks):
            if not (chunk and self.alike):
                room = threshold * (1 + TOLERANCE) - self.load[chunk]
                by_seconds = np.searchsorted(self.unit_seconds[chunk], room, side="right") - 1.0
            taken[chunk] = np.where(by_seconds >= 0, np.minimum(by_seconds, self.by_bytes[chunk]), -np.inf)
            total = best[:, None] + taken[chunk]
            came_from[chunk] = total.argmax(axis=0)
            best = total[came_from[chunk], np.arange(ends)]
        if best[-1] < self.units:
            return None
        boundaries = np.zeros(chunks + 1, dtype=np.intp)
        boundaries[-1] = ends - 1
        most = np.zeros(chunks, dtype=np.int64)
        for chunk in range(chunks - 1, -1, -1):
            end = boundaries[chunk + 1]
            boundaries[chunk] = came_from[chunk, end]
            most[chunk] = int(taken[chunk, boundaries[chunk], end])
        return SharedPartition(boundaries=boundaries, units=self._most_even(boundaries, most))

    def _most_even(self, boundaries: NDArray[np.intp], most: NDArray[np.int64]) -> NDArray[np.int64]:
        """Unit after unit to the chunk that is then least busy, none above ``most``."""
        chunks = range(len(most))
        load = self.load[chunks, boundaries[:-1], boundaries[1:]]
        given = self._below(load, most)
        queue = [(float(load[j] + self.unit_seconds[j, given[j] + 1]), j) for j in chunks if given[j] < most[j]]
        heapq.heapify(queue)
        for _ in range(self.units - int(given.sum())):
            _, j = heapq.heappop(queue)
            given[j] += 1
            if given[j] < most[j]:
                heapq.heappush(queue, (float(load[j] + self.unit_seconds[j, given[j] + 1]), j))
        return given

    def _below(self, load: Floats, most: NDArray[np.int64]) -> NDArray[np.int64]:
        """What each chunk takes while busy below a level that the units do not all fit under: most of them."""
        low, high = 0.0, float(load.max() + self.unit_seconds.max())
        found = np.zeros(len(most), dtype=np.int64)
        for _ in range(HALVINGS):
            level = (low + high) / 2
            under = [
                np.searchsorted(row, level - own, side="left") - 1
                for row, own in zip(self.unit_seconds, load, strict=True)
            ]
            given = np.clip(under, 0, most)
            if given.sum() <= self.units:
                low, found = level, given
            else:
                high = level
        return found

    def value(self, answer: SharedPartition) -> float:
        chunks = np.arange(len(self.load))
        load = self.load[chunks, answer.boundaries[:-1], answer.boundaries[1:]]
        return float((load + self.unit_seconds[chunks, answer.units]).max())
