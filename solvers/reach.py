"""How far chunks of a chain can reach, one after another.

``limits`` [chunks, items + 1] holds limit_j(s), the furthest end of chunk j when it starts at s; it
never falls as s rises, and a chunk may end anywhere after its start up to there. limit_j(s) = s or
less says that not even item s fits.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Limits: TypeAlias = NDArray[np.intp]


def reachable(limits: Limits) -> NDArray[np.bool_]:
    """[chunks + 1, items + 1]: whether the first j chunks, none empty, can hold just the first s items.

    End e is reachable if some reachable start s < e has limit_j(s) >= e; as limits never fall, it is
    enough to ask the latest such start.
    """
    chunks, ends = limits.shape
    reach = np.zeros((chunks + 1, ends), dtype=np.bool_)
    reach[0, 0] = True
    position = np.arange(ends)
    for chunk in range(chunks):
        latest = np.maximum.accumulate(np.where(reach[chunk], position, -1))[:-1]
        reach[chunk + 1, 1:] = (latest >= 0) & (limits[chunk, latest] >= position[1:])
    return reach


def splittable(limits: Limits) -> bool:
    """Whether the chunks, none empty, can hold all items.

    Where every item fits every chunk alone, the ends reachable after j chunks are an interval from
    j on, and filling each chunk as far as it goes finds the last of them.
    """
    chunks, items = limits.shape[0], limits.shape[1] - 1
    if not (limits[:, :items] > np.arange(items)).all():
        return bool(reachable(limits)[chunks, items])
    end = 0
    for chunk in range(chunks):
        end = min(int(limits[chunk, end]), items - (chunks - 1 - chunk))
    return bool(end == items)


def most_even_split(limits: Limits, prefix: NDArray[np.float64]) -> NDArray[np.intp]:
    """Boundaries [chunks + 1] of the split within ``limits`` whose chunks' costs have the least sum of
    squares; of several, equal up to 1e-9, the one with the fewest items on the first chunk, then on the
    second, and so on. The chain is splittable.

    ``prefix`` [items + 1] is the summed cost of the first items. By dynamic programming from the back:
    best_j(s) = min over s < e <= limit_j(s) of (prefix(e) - prefix(s))^2 + best_{j+1}(e).
    """
    chunks, items = limits.shape[0], limits.shape[1] - 1
    scale = max(float(prefix[-1]), 1e-300) / chunks
    starts = np.arange(items + 1)
    best = np.where(starts == items, 0.0, np.inf)
    sums = []
    for chunk in range(chunks - 1, -1, -1):
        longest = max(int((limits[chunk] - starts).max()), 1)
        ends = starts[:, None] + np.arange(1, longest + 1)  # [starts, lengths]
        within = ends <= limits[chunk][:, None]
        ends = np.minimum(ends, items)
        costs = (prefix[ends] - prefix[:, None]) / scale
        sums.append(np.where(within, costs * costs + best[ends], np.inf))
        best = sums[-1].min(axis=1)
    boundaries = np.zeros(chunks + 1, dtype=np.intp)
    for chunk, row in enumerate(reversed(sums)):
        ahead = row[boundaries[chunk]]
        length = 1 + np.flatnonzero(ahead <= ahead.min() * (1 + 1e-9) + 1e-9)[0]
        boundaries[chunk + 1] = boundaries[chunk] + length
    return boundaries
