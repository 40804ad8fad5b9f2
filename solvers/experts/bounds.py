"""What no placement can beat: lower bounds on the load of the busiest GPU of a layer.

mean         sum of w / G.
replica      the least T with sum over e of max(1, ceil(w_e / T)) <= G S: every replica must fit somewhere.
fixed        without a slot to spare the counts are all 1; for every A, the A largest replicas sit on at most
             a <= A GPUs, which carry at least those and the a S - A smallest others.
cardinality  T is too small where, for some 0 < v <= T / 2 and 1 <= k < S, no counts that fit satisfy

                 (S - k) * #(replicas > T - v)  <=  #(replicas < v / k):

             replicas above T - v >= T / 2 sit on GPUs of their own, and beside each lie S - 1 others of less
             than v together, of which all but k - 1 are below v / k. Whether counts exist is
             relaxed to a knapsack: experts start with the fewest replicas that fit below T, the slots left buy
             their way out of the large (gain (S - k) r) and into the small (gain r), best gain per slot
             first and the last one in part, or add small ones, one gain a slot.

All are in the unit of the loads.
"""

import numpy as np

from solvers.experts.problem import Floats
from solvers.experts.replicas import least_largest_share

ABOVE = 1e-9  # a replica this much (relative) above a threshold is above it
STEPS = 12  # halvings between the simple bounds and the value known
THRESHOLDS = np.geomspace(0.002, 0.5, 20)  # v / T


def simple_bound(loads: Floats, gpus: int, slots_per_gpu: int) -> Floats:
    """The larger of mean, replica and fixed bound, [rows], for ``loads`` [rows, experts]."""
    slots = gpus * slots_per_gpu
    mean = loads.sum(axis=1) / gpus
    replica = (loads / least_largest_share(loads, slots)).max(axis=1)
    bound = np.maximum(mean, replica)
    if slots == loads.shape[1]:
        bound = np.maximum(bound, _fixed_bound(loads, gpus, slots_per_gpu))
    return np.asarray(bound)


def _fixed_bound(loads: Floats, gpus: int, slots_per_gpu: int) -> Floats:
    rising = np.sort(loads, axis=1)
    smallest = np.concatenate([np.zeros((len(loads), 1)), np.cumsum(rising, axis=1)], axis=1)
    total = smallest[:, -1:]
    bound = np.zeros(len(loads))
    for largest in range(1, gpus + 1):
        hosts = np.arange(-(-largest // slots_per_gpu), largest + 1)
        top = total - smallest[:, -1 - largest][:, None]
        loads_of_hosts = (top + smallest[:, hosts * slots_per_gpu - largest]) / hosts
        bound = np.maximum(bound, loads_of_hosts.min(axis=1))
    return bound


def cardinality_bound(loads: Floats, gpus: int, slots_per_gpu: int, low: Floats, high: Floats) -> Floats:
    """The largest T [rows] shown to be too small between ``low`` (a bound) and ``high`` (a value), else ``low``.

    ``loads`` is [rows, experts].
    """
    low, high = low.copy(), high.copy()
    if slots_per_gpu < 2:
        return low
    for _ in range(STEPS):
        rows = np.flatnonzero(high > low * (1 + 1e-6))
        if not len(rows):
            break
        middle = (low[rows] + high[rows]) / 2
        small = _too_small(loads[rows], gpus, slots_per_gpu, middle)
        low[rows[small]] = middle[small]
        high[rows[~small]] = middle[~small]
    return low


def _too_small(loads: Floats, gpus: int, slots_per_gpu: int, largest: Floats) -> np.ndarray:
    """Whether no counts exist for the thresholds ``largest`` [rows]; False where that is not shown."""
    tee = largest[:, None]
    fewest = np.maximum(np.ceil(loads / tee * (1 - ABOVE)), 1.0)
    spare = gpus * slots_per_gpu - fewest.sum(axis=1)
    shown = spare < 0
    share = loads / fewest
    for v in THRESHOLDS:
        limit = tee * (1 - v)
        large = share > limit * (1 + ABOVE)
        open_rows = np.flatnonzero(~shown & large.any(axis=1))
        if not len(open_rows):
            continue
        w, r, big, room = loads[open_rows], fewest[open_rows], large[open_rows], spare[open_rows]
        out = np.where(big, np.ceil(w / limit[open_rows] * (1 - ABOVE)), r)  # replicas to be no longer large
        for k in range(1, slots_per_gpu):
            bar = tee[open_rows] * v / k * (1 + ABOVE)
            is_small = w / r < bar
            into = np.where(is_small, r, np.maximum(np.floor(w / bar) + 1, out))  # replicas to be small
            excess = ((slots_per_gpu - k) * r * big).sum(axis=1) - (r * is_small).sum(axis=1)
            cost = np.concatenate([out - r, into - out], axis=1)
            gain = np.concatenate([(slots_per_gpu - k) * r * big, into * ~is_small], axis=1)
            shown[open_rows] |= excess > _most_gain(cost, gain, room) + 1e-6
    return np.asarray(shown)


def _most_gain(cost: Floats, gain: Floats, room: Floats) -> Floats:
    """Upper bound of the gain for ``room`` [rows] slots: fractional knapsack, and 1 for each slot left over."""
    worth = np.where(gain > 0, gain - cost, 0.0)  # beyond the 1 that a slot gains anyway
    useful = worth > 0
    free = (gain * (useful & (cost <= 0))).sum(axis=1)
    ratio = np.where(useful & (cost > 0), worth / np.maximum(cost, 1), 0.0)
    order = np.argsort(-ratio, axis=1)
    ratio = np.take_along_axis(ratio, order, axis=1)
    width = np.take_along_axis(np.where(ratio > 0, 1.0, 1.0) * cost, order, axis=1)
    before = np.cumsum(width, axis=1) - width
    part = np.clip(room[:, None] - before, 0, width)
    return np.asarray(room + free + (ratio * part).sum(axis=1))
