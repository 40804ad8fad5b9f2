"""Steps of a load trace that are no part of the workload: empty ones, uniform ones, and those far from the rest.

Recorders count from the start of the server, so warm-up and graph capture with made-up tokens get in. A step is

    empty    no token at all (a ring buffer that was never filled)
    uniform  every layer that has tokens gives every expert the same number (made-up routing)
    far      its shares differ from those of the mean step by more than ``FAR`` in total variation (half the sum of
             absolute differences, mean over the layers), beyond what drawing so few tokens explains

The noise of n tokens drawn with shares p is sum over the experts of sqrt(p (1 - p) / (2 pi n)), the mean absolute
deviation of a binomial, halved. Far steps must be a minority, or the rest is not the rest.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

FAR = 0.5
MOST_FAR = 1 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Polluted:
    """Positions of steps, each in one list only."""

    empty: tuple[int, ...]
    uniform: tuple[int, ...]
    far: tuple[int, ...]

    @property
    def misleading(self) -> tuple[int, ...]:
        """Those that would change the sum."""
        return tuple(sorted((*self.uniform, *self.far)))


def polluted_steps(counts: Floats) -> Polluted:
    """The steps of ``counts`` [steps, layers, experts], all finite, that stand out."""
    totals = counts.sum(axis=2)
    loaded = totals > 0
    empty = ~loaded.any(axis=1)
    alike = np.ptp(counts, axis=2) == 0
    uniform = ~empty & (alike | ~loaded).all(axis=1)
    if uniform.sum() + empty.sum() == len(counts):  # nothing but uniform steps: that is the workload
        uniform[:] = False
    kept = np.flatnonzero(~empty & ~uniform)
    far = kept[_far(counts[kept], totals[kept])] if len(kept) > 2 and counts.shape[2] > 1 else kept[:0]
    return Polluted(
        empty=tuple(np.flatnonzero(empty).tolist()),
        uniform=tuple(np.flatnonzero(uniform).tolist()),
        far=tuple(far.tolist()),
    )


def _far(counts: Floats, totals: Floats) -> NDArray[np.bool_]:
    drawn = np.where(totals > 0, totals, 1.0)
    shares = counts / drawn[:, :, None]
    usual = shares.mean(axis=0)
    distance = 0.5 * np.abs(shares - usual).sum(axis=2)
    noise = np.sqrt(usual * (1 - usual) / (2 * np.pi)).sum(axis=1) / np.sqrt(drawn)
    beyond = np.where(totals > 0, distance - noise, 0.0).mean(axis=1)
    found = beyond > FAR
    return found if found.mean() <= MOST_FAR else np.zeros_like(found)


def ranges(steps: tuple[int, ...]) -> str:
    """``0-3, 17``."""
    parts: list[list[int]] = []
    for step in steps:
        if parts and step == parts[-1][1] + 1:
            parts[-1][1] = step
        else:
            parts.append([step, step])
    named = [str(a) if a == b else f"{a}-{b}" for a, b in parts]
    return ", ".join(named[:6]) + (f" and {len(named) - 6} more" if len(named) > 6 else "")
