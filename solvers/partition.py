"""Splits a chain of items into contiguous chunks, the most expensive as cheap as can be.

Given costs c_jk >= 0 of item k in chunk j, choose boundaries 0 = b_0 < b_1 < ... < b_P = n that
minimise max_j sum(c_jk over b_j <= k < b_{j+1}) such that each chunk's memory (``chunk_memory``),
where given, stays within the cap.

Costs and memory only grow with the items of a chunk, so below a threshold x each chunk has a
furthest end from each start, and ``reach`` decides exactly whether the chain can be split. The
optimum is one of the interval sums: a binary search over them finds it. Among the splits that attain
it the most even one is returned: the least sum of squared chunk costs, each item at its mean over the
chunks, then the fewest items on the first chunk. Sums are compared with a tolerance of 1e-12 of the total.

The split with the least bottleneck is not always the one with the least 1F1B makespan: a stage i has
min(p - 1 - i, m - 1) warm-up forwards to hide work in, the last has none. By enumeration of all
splits (8 to 18 layers, 3 to 6 stages, B = 2 F, embedding and head unlike the layers) the best
makespan lies below the bottleneck split's by 3 % on average with m = p, 0.6 % with m = 2 p, 0.2 % with
m = 4 p and 0.02 % with m = 16 p. Hence the costs may differ by chunk: with (m - 1)(F + B) -
min(p - 1 - j, m - 1) F as the cost in chunk j, the optimum plus one micro-batch's chain is a lower
bound on the makespan of every split, and its split is close to the best.
"""

import time
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.chunk_memory import ChunkMemory
from solvers.reach import Limits, most_even_split, splittable
from solvers.solution import Solution

Floats: TypeAlias = NDArray[np.float64]

TOLERANCE = 1e-12


def least_bottleneck(cost: ArrayLike, chunks: int, *, memory: ChunkMemory | None = None) -> float:
    """The largest chunk cost that some split stays within, inf where none fits in memory: the value of
    ``bottleneck_partition`` without its split; the same arguments and errors."""
    costs = _checked(cost, chunks, memory)
    prefix = np.concatenate([np.zeros((len(costs), 1)), np.cumsum(costs, axis=1)], axis=1)
    items = costs.shape[1]
    fits = memory.limits() if memory else np.full((chunks, items + 1), items, dtype=np.intp)
    if memory and not splittable(fits):
        return float("inf")
    return _least_threshold(prefix, fits)


def bottleneck_partition(
    cost: ArrayLike,
    chunks: int,
    *,
    memory: ChunkMemory | None = None,
    heavy: Literal["last", "first"] = "last",
) -> Solution[NDArray[np.intp]]:
    """The boundaries [chunks + 1] of a split whose largest chunk cost is least; exact.

    ``cost`` is [items], or [chunks, items] where it depends on the chunk; not negative. ``heavy``
    names the end with the larger chunks where they cannot be equal: ``last`` spares the first stages
    of 1F1B, which hold most activations, ``first`` mostly ends 1F1B sooner. If memory rules out every
    split, the status is ``infeasible`` and ``shortfall`` the bytes by which the cap must rise.
    Raises ``ValueError`` for negative or undefined costs, wrong lengths, or more chunks than items.
    """
    began = time.perf_counter()
    costs = _checked(cost, chunks, memory)
    items = costs.shape[1]
    if heavy == "first":
        costs, memory = costs[::-1, ::-1], memory.reversed() if memory else None
    prefix = np.concatenate([np.zeros((len(costs), 1)), np.cumsum(costs, axis=1)], axis=1)
    fits = memory.limits() if memory else np.full((chunks, items + 1), items, dtype=np.intp)
    if memory and not splittable(fits):
        return Solution(
            value=np.inf,
            lower_bound=np.inf,
            status="infeasible",
            stop="exhausted",
            choice=None,
            seconds=time.perf_counter() - began,
            shortfall=memory.smallest_shortfall(),
        )
    limits = _limits(prefix, fits, _least_threshold(prefix, fits))
    own = np.broadcast_to(prefix, fits.shape)
    choice = most_even_split(limits, prefix.mean(axis=0))
    chunk = np.arange(chunks)
    value = float((own[chunk, choice[1:]] - own[chunk, choice[:-1]]).max())
    return Solution(
        value=value,
        lower_bound=value,
        status="optimal",
        stop="exhausted",
        choice=items - choice[::-1] if heavy == "first" else choice,
        seconds=time.perf_counter() - began,
    )


def _least_threshold(prefix: Floats, fits: Limits) -> float:
    """The smallest interval sum that some split stays within."""
    slack = TOLERANCE * float(prefix.max())
    cheapest = np.diff(prefix, axis=1).min(axis=0)
    least = max(float(cheapest.sum()) / len(fits), float(cheapest.max()))
    usual = least + float(np.diff(prefix, axis=1).max())  # mostly enough, and then few sums are left
    most = usual if splittable(_limits(prefix, fits, usual)) else float(prefix.max())
    begin, end = np.triu_indices(prefix.shape[1], 1)
    sums = (prefix[:, end] - prefix[:, begin]).ravel()
    sums = np.unique(sums[(sums >= least - slack) & (sums <= most + slack)])
    low, high = 0, len(sums) - 1
    while low < high:
        middle = (low + high) // 2
        if splittable(_limits(prefix, fits, float(sums[middle]))):
            high = middle
        else:
            low = middle + 1
    return float(sums[low])


def _limits(prefix: Floats, fits: Limits, threshold: float) -> Limits:
    """How far each chunk reaches from each start within memory and threshold."""
    room = threshold + TOLERANCE * float(prefix.max())
    within = [np.searchsorted(row, row + room, side="right") - 1 for row in prefix]
    return np.asarray(np.minimum(fits, np.stack(within)))


def _checked(cost: ArrayLike, chunks: int, memory: ChunkMemory | None) -> Floats:
    """The costs as [1 or chunks, items]."""
    costs = np.atleast_2d(np.asarray(cost, dtype=np.float64))
    if costs.ndim != 2 or not (costs >= 0).all() or not np.isfinite(costs).all():
        raise ValueError("cost: one finite number per item is needed, none negative")
    if not 1 <= chunks <= costs.shape[1]:
        raise ValueError(f"chunks: {chunks} must be between 1 and the {costs.shape[1]} items")
    if np.ndim(cost) == 2 and len(costs) != chunks:
        raise ValueError(f"cost: {len(costs)} rows for {chunks} chunks; one each, or a single vector")
    if memory:
        memory.check(costs.shape[1], chunks)
    return costs
