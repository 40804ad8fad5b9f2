"""What a stage and its part of a chain force on the 1f1b makespan, whatever the other stages hold.

Let stage j of p hold items a..b, taking F and B seconds a micro-batch, l = F + B. The stages before it
hold items 0..a between them and those behind it items b..n: let H be the least sum of their l, and G of
those, over all ways to share them out; X and Y the seconds of the links before and behind stage j, and
w = min(p - 1 - j, m - 1) its warm-up forwards. The paths of ``bounds`` through stage j are then no shorter
than

    (busy)    H + 2 X + m l
    (turn)    H + 2 X + m l - w min(F, B) + G + 2 Y
    (rounds)  H + 2 X + r (l + G + 2 Y) + s max(F, B),   r = ceil(m / (p - j)),  s = m - 1 - (r - 1)(p - j)

The largest bounds the makespan of every split with that chunk. Where all stages are alike, H and G are
sums over items, and the largest over a split's chunks is its ``makespan_bound``.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Seconds = NDArray[np.float64]


def stage_bounds(
    forward_seconds: ArrayLike, backward_seconds: ArrayLike, link_seconds: ArrayLike, microbatches: int
) -> Seconds:
    """[stages, items + 1, items + 1]: at [j, a, b] seconds below the 1f1b makespan of every split that
    gives stage j items a..b; inf where no split does.

    ``forward_seconds`` and ``backward_seconds`` are of that shape too: what those items take on that
    stage; inf where the stage may not hold them. ``link_seconds`` is [stages - 1].
    """
    forward, backward = np.broadcast_arrays(
        np.asarray(forward_seconds, dtype=np.float64), np.asarray(backward_seconds, dtype=np.float64)
    )
    load = forward + backward
    stages = len(load)
    before, behind = least_sums(load)
    links = np.concatenate([[0.0], np.cumsum(np.asarray(link_seconds, dtype=np.float64))])
    bound = np.full(load.shape, np.inf)
    for j, own in enumerate(load):
        head = before[j][:, None] + 2 * links[j]
        tail = behind[j + 1][None, :] + 2 * (links[-1] - links[j])
        warmup = min(stages - 1 - j, microbatches - 1)
        rounds = -(-microbatches // (stages - j))
        spare = microbatches - 1 - (rounds - 1) * (stages - j)
        with np.errstate(invalid="ignore"):  # inf - inf: no such chunk
            less, more = np.minimum(forward[j], backward[j]), np.maximum(forward[j], backward[j])
            turn = microbatches * own - warmup * less + tail
            trips = rounds * (own + tail) + spare * more
            longest = head + np.maximum(np.maximum(microbatches * own, turn), trips)
        bound[j] = np.where(np.isfinite(own) & np.isfinite(head) & np.isfinite(tail), longest, np.inf)
    return bound


def least_sums(load: Seconds) -> tuple[Seconds, Seconds]:
    """[stages + 1, items + 1] twice: the least load of the first j stages that hold just the first s
    items, and of the stages from j on that hold the rest; inf where they cannot."""
    stages, ends = load.shape[:2]
    before, behind = np.full((stages + 1, ends), np.inf), np.full((stages + 1, ends), np.inf)
    before[0, 0] = behind[stages, -1] = 0.0
    for j in range(stages):
        before[j + 1] = (before[j][:, None] + load[j]).min(axis=0)
    for j in range(stages - 1, -1, -1):
        behind[j] = (load[j] + behind[j + 1][None, :]).min(axis=1)
    return before, behind
