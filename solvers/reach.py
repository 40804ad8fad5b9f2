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


def even_split(limits: Limits, prefix: NDArray[np.float64], slack: float) -> NDArray[np.intp]:
    """Boundaries [chunks + 1] of an even split of a splittable chain, larger chunks last.

    ``prefix`` [items + 1] is the summed cost. From the last chunk back, each takes the least that is
    at least its fair share of what is left, or the most its limit allows, provided that the chunks
    before it can hold the rest.
    """
    chunks, items = limits.shape[0], limits.shape[1] - 1
    reach = reachable(limits)
    boundaries = np.full(chunks + 1, items, dtype=np.intp)
    boundaries[0] = 0
    for chunk in range(chunks - 1, 0, -1):
        end = boundaries[chunk + 1]
        starts = np.flatnonzero(reach[chunk, :end] & (limits[chunk, :end] >= end))
        target = prefix[end] * chunk / (chunk + 1) + slack
        fair = int(np.searchsorted(prefix[starts], target, side="right")) - 1
        boundaries[chunk] = starts[max(fair, 0)]
    return boundaries
