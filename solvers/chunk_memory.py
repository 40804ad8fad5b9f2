"""The memory of contiguous chunks of a chain.

Chunk j that holds items a..b takes fixed_j + sum(static) + in_flight_j sum(activation) bytes.
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

    ``static_bytes`` and ``activation_bytes`` are [items], ``in_flight`` (micro-batches alive at
    once) and ``fixed_bytes`` [chunks], ``cap_bytes`` one figure that holds up to 1e-12 of itself.
    """

    static_bytes: ArrayLike
    activation_bytes: ArrayLike
    in_flight: ArrayLike
    fixed_bytes: ArrayLike
    cap_bytes: float

    def limits(self) -> NDArray[np.intp]:
        """[chunks, items + 1]: the furthest end of each chunk from each start (``reach``)."""
        room = self.cap_bytes * (1 + TOLERANCE) - _floats(self.fixed_bytes)
        prefix = self._prefix()
        limits = np.empty(prefix.shape, dtype=np.intp)
        for chunk, filled in enumerate(prefix):
            limits[chunk] = np.searchsorted(filled, filled + room[chunk], side="right") - 1
        return limits

    def smallest_shortfall(self) -> float:
        """Bytes by which the cap must rise for some split to fit; not positive if one does.

        The fullest chunk of the split whose fullest chunk is least full, by dynamic programming over
        chunks: best_j(e) = min over s < e of max(best_{j-1}(s), bytes of chunk j over s..e).
        """
        prefix, fixed = self._prefix(), _floats(self.fixed_bytes)
        ends = prefix.shape[1]
        not_after = np.tri(ends, dtype=np.bool_)
        fullest = np.full(ends, np.inf)
        fullest[0] = -np.inf
        for chunk, filled in enumerate(prefix):
            used = np.where(not_after, np.inf, fixed[chunk] + filled[None, :] - filled[:, None])
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
        )

    def check(self, items: int, chunks: int) -> None:
        """Raises ``ValueError`` unless every figure has its length and none is negative."""
        for name, length in (
            ("static_bytes", items),
            ("activation_bytes", items),
            ("in_flight", chunks),
            ("fixed_bytes", chunks),
        ):
            values = _floats(getattr(self, name))
            if values.shape != (length,) or not (values >= 0).all():
                raise ValueError(f"memory.{name}: {length} numbers, none negative, not shape {values.shape}")

    def _prefix(self) -> Floats:
        """[chunks, items + 1]: bytes of the first items, were they all in that chunk."""
        static, activation = (
            np.concatenate([[0.0], np.cumsum(_floats(part))])
            for part in (self.static_bytes, self.activation_bytes)
        )
        return static[None, :] + _floats(self.in_flight)[:, None] * activation[None, :]


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
