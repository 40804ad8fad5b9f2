"""Every contiguous split of a chain whose chunks stay within their caps, counted before it is listed.

With limit_j(s) the furthest end of chunk j from start s, the splits of items s.. into chunks j..
number N_j(s) = sum of N_{j+1}(e) over s < e <= limit_j(s), N_P(n) = 1. The list grows chunk by chunk
from the front, along starts from which N is not zero.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE = 1e-12


def count_splits(cost: ArrayLike, caps: ArrayLike) -> float:
    """How many splits of ``cost`` [items] keep chunk j within ``caps[j]`` [chunks], none empty."""
    return float(_completions(_limits(cost, caps))[0, 0])


def capped_splits(cost: ArrayLike, caps: ArrayLike) -> NDArray[np.intp]:
    """[splits, chunks + 1]: the boundaries of those splits, in lexicographic order.

    ``cost`` is not negative. Caps hold up to 1e-12 of the total. Ask ``count_splits`` first: there
    can be very many.
    """
    limits = _limits(cost, caps)
    completions = _completions(limits)
    splits = np.zeros((1 if completions[0, 0] else 0, 1), dtype=np.intp)
    for chunk, limit in enumerate(limits):
        starts = splits[:, -1]
        widths = limit[starts] - starts
        ends = np.repeat(starts, widths) + 1 + _ramps(widths)
        splits = np.column_stack([np.repeat(splits, widths, axis=0), ends])
        splits = splits[completions[chunk + 1, ends] > 0]
    return splits


def _limits(cost: ArrayLike, caps: ArrayLike) -> NDArray[np.intp]:
    costs, bounds = np.asarray(cost, dtype=np.float64), np.asarray(caps, dtype=np.float64)
    if costs.ndim != 1 or bounds.ndim != 1 or not (costs >= 0).all():
        raise ValueError("cost, caps: one number per item and per chunk are needed, no cost negative")
    prefix = np.concatenate([[0.0], np.cumsum(costs)])
    reach = prefix[None, :] + (bounds + TOLERANCE * prefix[-1])[:, None]
    return np.asarray(np.maximum(np.searchsorted(prefix, reach, side="right") - 1, np.arange(len(prefix))))


def _completions(limits: NDArray[np.intp]) -> NDArray[np.float64]:
    """[chunks + 1, items + 1]: N_j(s); floats, since they overflow integers."""
    chunks, ends = limits.shape
    counts = np.zeros((chunks + 1, ends))
    counts[chunks, -1] = 1
    for chunk in range(chunks - 1, -1, -1):
        below = np.concatenate([[0.0], np.cumsum(counts[chunk + 1])])
        counts[chunk] = below[limits[chunk] + 1] - below[np.arange(ends) + 1]
    return counts


def _ramps(widths: NDArray[np.intp]) -> NDArray[np.intp]:
    """0, 1, .. width - 1 for each width, one after another."""
    firsts = np.cumsum(widths) - widths
    return np.arange(int(widths.sum())) - np.repeat(firsts, widths)
