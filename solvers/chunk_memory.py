"""The memory of contiguous chunks of a chain.

Chunk j that holds items a..b takes

    fixed_j + sum(static) + in_flight_j sum(activation) + max(transient)

bytes: items run one at a time, so of what each needs only while it runs the largest counts.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]

TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkMemory:
    """What each item adds to its chunk, and what a chunk may hold, all in bytes.

    ``static_bytes``, ``activation_bytes`` and ``transient_bytes`` (None: nothing) are [items],
    ``in_flight`` (micro-batches alive at once) and ``fixed_bytes`` [chunks], ``cap_bytes`` one figure
    that holds up to 1e-12 of itself.
    """

    static_bytes: ArrayLike
    activation_bytes: ArrayLike
    in_flight: ArrayLike
    fixed_bytes: ArrayLike
    cap_bytes: float
    transient_bytes: ArrayLike | None = None

    def limits(self) -> NDArray[np.intp]:
        """[chunks, items + 1]: the furthest end of each chunk from each start (``reach``)."""
        room = self.cap_bytes * (1 + TOLERANCE) - _floats(self.fixed_bytes)
        prefix = self._prefix()
        transient = self._transient()
        limits = np.tile(np.arange(prefix.shape[1]), (len(prefix), 1))
        for level in np.unique(transient):  # ends before the first larger need, with that much room less
            stop = _next_true(np.append(transient > level, True))
            for chunk, filled in enumerate(prefix):
                reached = np.searchsorted(filled, filled + (room[chunk] - level), side="right") - 1
                limits[chunk] = np.maximum(limits[chunk], np.minimum(reached, stop))
        return limits

    def smallest_shortfall(self) -> float:
        """Bytes by which the cap must rise for some split to fit; not positive if one does.

        The fullest chunk of the split whose fullest chunk is least full, by dynamic programming over
        chunks: best_j(e) = min over s < e of max(best_{j-1}(s), bytes of chunk j over s..e).
        """
        prefix, fixed = self._prefix(), _floats(self.fixed_bytes)
        ends = prefix.shape[1]
        not_after = np.tri(ends, dtype=np.bool_)
        largest = self._largest_transient()
        fullest = np.full(ends, np.inf)
        fullest[0] = -np.inf
        for chunk, filled in enumerate(prefix):
            used = np.where(not_after, np.inf, fixed[chunk] + largest + filled[None, :] - filled[:, None])
            fullest = np.maximum(fullest[:, None], used).min(axis=0)
        return float(fullest[-1] - self.cap_bytes)

    def reversed(self) -> "ChunkMemory":
        """The same chain from its other end."""
        return ChunkMemory(
            static_bytes=_floats(self.static_bytes)[::-1],
            activation_bytes=_floats(self.activation_bytes)[::-1],
            in_flight=_floats(self.in_flight)[::-1],
            fixed_bytes=_floats(self.fixed_bytes)[::-1],
            cap_bytes=self.cap_bytes,
            transient_bytes=self._transient()[::-1],
        )

    def check(self, items: int, chunks: int) -> None:
        """Raises ``ValueError`` unless every figure has its length and none is negative."""
        for name, length in (
            ("static_bytes", items),
            ("activation_bytes", items),
            *([("transient_bytes", items)] if self.transient_bytes is not None else []),
            ("in_flight", chunks),
            ("fixed_bytes", chunks),
        ):
            values = _floats(getattr(self, name))
            if values.shape != (length,) or not (values >= 0).all():
                raise ValueError(f"memory.{name}: {length} numbers, none negative, not shape {values.shape}")

    def _prefix(self) -> Floats:
        """[chunks, items + 1]: bytes of the first items, were they all in that chunk."""
        static, activation = (
            np.concatenate([[0.0], np.cumsum(_floats(part))]) for part in (self.static_bytes, self.activation_bytes)
        )
        return np.asarray(static[None, :] + _floats(self.in_flight)[:, None] * activation[None, :])

    def _transient(self) -> Floats:
        items = len(_floats(self.static_bytes))
        return np.zeros(items) if self.transient_bytes is None else _floats(self.transient_bytes)

    def _largest_transient(self) -> Floats:
        """[items + 1, items + 1]: the largest of items a..b at [a, b], 0 elsewhere."""
        transient = self._transient()
        ahead = np.arange(len(transient))[None, :] >= np.arange(len(transient) + 1)[:, None]
        running = np.maximum.accumulate(np.where(ahead, transient[None, :], 0.0), axis=1)
        return np.concatenate([np.zeros((len(running), 1)), running], axis=1)


def _next_true(marks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each position the first mark at or after it; the last position is marked."""
    where = np.flatnonzero(marks)
    return where[np.searchsorted(where, np.arange(len(marks)))]


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
