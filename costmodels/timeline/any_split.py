"""What no split of the layers over 1f1b stages can beat, and how much one stage may hold.

Let l_i = F_i + B_i be the load of stage i, T their sum, F_i <= f l_i with f the largest share of
forward in any layer, x the shortest link between neighbours, w_i = min(p - 1 - i, m - 1). Whatever
the split, a makespan z satisfies (``bounds``, paths 1, 2 and 4 of stage 0)

    (a)  sum_{j<i} l_j + 2 i x + m l_i                       <= z
    (b)  T + 2 (p - 1) x + (m - 1 - f w_i) l_i               <= z
    (c)  ceil(m / p) (T + 2 (p - 1) x)                       <= z

Given z, (a) and (b) cap l_i, and S = sum_{j<=i} l_j grows with each earlier S (as m >= 1): filling
stage after stage to its cap yields the largest total. The bound is the smallest z whose total
reaches T: below it no loads, whole layers or not, add up.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Seconds = NDArray[np.float64]

HALVINGS = 24


def any_split_bound(
    stages: ArrayLike,
    microbatches: ArrayLike,
    load_seconds: ArrayLike,
    forward_share: ArrayLike,
    link_seconds: ArrayLike = 0.0,
) -> Seconds:
    """Seconds below the 1f1b makespan of every split of the chain; arguments broadcast.

    ``load_seconds`` is F + B of the whole chain for one micro-batch, ``forward_share`` the largest
    F / (F + B) of any layer, in [0, 1], ``link_seconds`` the shortest link between neighbours.
    The returned value is below the bound of the module's docstring by at most 2^-24 of one
    micro-batch's chain.
    """
    given = (stages, microbatches, load_seconds, forward_share, link_seconds)
    p, m, load, share, link = np.broadcast_arrays(*(np.asarray(values, dtype=np.float64) for values in given))
    chain = load + 2 * (p - 1) * link
    low = np.maximum(np.maximum(chain, np.ceil(m / p) * chain), m * load / p)
    high = np.maximum((m - 1) * load / p + chain, low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        reached = _largest_total(middle, p, m, share, link, chain) >= load
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return np.asarray(low)


def stage_load_caps(
    makespan_seconds: float,
    stages: int,
    microbatches: int,
    load_seconds: float,
    forward_share: float,
    link_seconds: float = 0.0,
) -> Seconds:
    """[stages]: no split with a stage above its cap has a makespan of ``makespan_seconds`` or less.

    The other arguments are those of ``any_split_bound``.
    """
    stage = np.arange(stages)
    chain = load_seconds + 2 * (stages - 1) * link_seconds
    return _cap(makespan_seconds, stage, stages, microbatches, forward_share, link_seconds, chain, 0.0)


def _largest_total(makespan: Seconds, p: Seconds, m: Seconds, share: Seconds, link: Seconds, chain: Seconds) -> Seconds:
    total = np.zeros_like(makespan)
    for stage in range(int(p.max(initial=0))):
        cap = _cap(makespan, stage, p, m, share, link, chain, total)
        total = np.where(stage < p, total + np.maximum(cap, 0.0), total)
    return total


def _cap(
    makespan: ArrayLike,
    stage: ArrayLike,
    p: ArrayLike,
    m: ArrayLike,
    share: ArrayLike,
    link: ArrayLike,
    chain: ArrayLike,
    before: ArrayLike,
) -> Seconds:
    """The smaller of (a) and (b) solved for the load of ``stage``, with ``before`` on earlier ones."""
    given = (makespan, stage, p, m, share, link, chain, before)
    z, i, p, m, f, x, whole, earlier = (np.asarray(value, dtype=np.float64) for value in given)
    busy = (z - earlier - 2 * i * x) / m
    weight = m - 1 - f * np.clip(p - 1 - i, 0, m - 1)
    turn = np.where(weight > 0, (z - whole) / np.where(weight > 0, weight, 1), np.inf)
    return np.asarray(np.minimum(busy, turn))
