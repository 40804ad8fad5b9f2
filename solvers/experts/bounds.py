"""What no placement can beat: lower bounds on the load of the busiest GPU of a layer.

mean         sum of w / G.
replica      the least T with sum over e of max(1, ceil(w_e / T)) <= G S: every replica must fit somewhere.
fixed        without a slot to spare the counts are all 1; for every A, the A largest replicas sit on some
             a <= A GPUs, which carry at least those and the a S - A smallest others.
cardinality  replicas above T - v, for 0 < v <= T / 2, sit on GPUs of their own, and beside each lie S - 1
             others below v. So a largest load of T needs counts r_e with sum of r_e = G S and, for every v,

                 (S - 1) #(replicas > T - v) - #(replicas < v) <= 0.

             With multipliers mu_v >= 0 that sum to 1 and nu >= 1 (any slot left can hold a small replica),

                 L(mu, nu) = sum over e of min over r of r (a_mu(w_e / r) + nu)  -  nu G S,
                 a_mu(x) = (S - 1) (sum of mu_v where x > T - v) - (sum of mu_v where x < v),

             is a lower bound (weak duality) on a weighted sum of these left sides: where it is positive, T is too
             small. The multipliers are found by projected subgradient steps, T by halving. Per expert, the
             fewest replicas that fit and the next few are looked at; the last stands for all
             beyond it, as if those were as small as can be.

All are in the unit of the loads. With two slots the conditions on the counts are also sufficient (Hall), so
the cardinality bound is that of a linear relaxation of the whole problem.
"""

import numpy as np
from numpy.typing import NDArray

from solvers.experts.problem import Floats, Integers
from solvers.experts.replicas import least_largest_share

ABOVE = 1e-9  # a replica this much (relative) above a threshold is above it
HALVINGS = 8  # of the range between the simple bounds and the value known
THRESHOLDS = np.geomspace(0.0005, 0.5, 16)  # v / T
OPTIONS = 6  # replica counts per expert
STEPS = 80  # subgradient steps for one T


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

    ``loads`` is [rows, experts]. Rows without a replica above half of ``high``, at the counts with the least
    largest share, are not looked at: the others are closed by packing.
    """
    low, high = low.copy(), high.copy()
    slots = gpus * slots_per_gpu
    heavy = (loads / least_largest_share(loads, slots)).max(axis=1) > high / 2
    rows = np.flatnonzero(heavy & (high > low * (1 + ABOVE)))
    if slots_per_gpu < 2 or slots == loads.shape[1] or not len(rows):
        return low
    mu = np.full((len(rows), len(THRESHOLDS)), 1 / len(THRESHOLDS))
    nu = np.full(len(rows), 2.0)
    for _ in range(HALVINGS):
        middle = (low[rows] + high[rows]) / 2
        small = _too_small(loads[rows] / middle[:, None], slots, slots_per_gpu - 1, mu, nu)
        low[rows[small]] = middle[small]
        high[rows[~small]] = middle[~small]
    return low


def _too_small(loads: Floats, slots: int, beside: int, mu: Floats, nu: Floats) -> NDArray[np.bool_]:
    """Which rows are shown to have no counts for T = 1; ``mu`` and ``nu`` are starts, improved in place."""
    rows, kinds = len(loads), len(THRESHOLDS)
    fewest = np.maximum(np.ceil(loads * (1 - ABOVE)), 1.0)
    replicas: Floats = fewest[:, :, None] + np.arange(OPTIONS, dtype=np.float64)
    share = loads[:, :, None] / replicas
    share[:, :, -1] = 0.0
    large_from = np.searchsorted(THRESHOLDS, 1 - share * (1 - ABOVE), side="right").reshape(rows, -1).astype(np.intp)
    small_from = np.searchsorted(THRESHOLDS, share * (1 - ABOVE), side="right").reshape(rows, -1)
    shown = np.zeros(rows, dtype=bool)
    best, alive = np.full(rows, -np.inf), np.arange(rows)
    m, n = mu.copy(), nu.copy()
    for _ in range(STEPS):
        behind = np.zeros((len(alive), kinds + 1))  # sum of mu from a threshold on
        behind[:, :-1] = np.cumsum(m[:, ::-1], axis=1)[:, ::-1]
        worth = beside * np.take_along_axis(behind, large_from, axis=1) - np.take_along_axis(behind, small_from, axis=1)
        cost = replicas * (worth.reshape(replicas.shape) + n[:, None, None])
        option = cost.argmin(axis=2)[:, :, None]
        value = np.take_along_axis(cost, option, axis=2).sum(axis=(1, 2)) - n * slots
        better = value > best[alive]
        best[alive[better]] = value[better]
        mu[alive[better]], nu[alive[better]] = m[better], n[better]
        shown[alive] |= value > 1e-6
        going = ~shown[alive]
        if not going.any():
            break
        chosen = np.take_along_axis(replicas, option, axis=2)[:, :, 0]
        flat = (option[:, :, 0] + np.arange(loads.shape[1]) * OPTIONS).astype(np.intp)
        slope = _slope(chosen, np.take_along_axis(large_from, flat, axis=1), kinds) * beside
        slope -= _slope(chosen, np.take_along_axis(small_from, flat, axis=1), kinds)
        over = chosen.sum(axis=1) - slots
        inside = slope - slope.mean(axis=1, keepdims=True)  # along the simplex
        step = np.maximum(1.0 - value, 0.5) / np.maximum((inside**2).sum(axis=1) + over**2, ABOVE)
        m = _onto_simplex(m + step[:, None] * slope)
        n = np.maximum(n + step * over, 1.0)
        if not going.all():
            alive, m, n, replicas = alive[going], m[going], n[going], replicas[going]
            large_from, small_from = large_from[going], small_from[going]
    return shown


def _slope(replicas: Floats, first: Integers, kinds: int) -> Floats:
    """Replicas that count at each threshold, [rows, kinds]: those whose ``first`` threshold is no later."""
    rows = len(first)
    index = (first + np.arange(rows)[:, None] * (kinds + 1)).ravel()
    counted = np.bincount(index, weights=replicas.ravel(), minlength=rows * (kinds + 1)).reshape(rows, -1)
    return np.asarray(np.cumsum(counted, axis=1)[:, :kinds])


def _onto_simplex(points: Floats) -> Floats:
    """The nearest points with no negative entry and sum 1, row by row."""
    falling = -np.sort(-points, axis=1)
    excess = np.cumsum(falling, axis=1) - 1
    count = np.arange(1, points.shape[1] + 1)
    last = (falling - excess / count > 0).sum(axis=1) - 1
    shift = excess[np.arange(len(points)), last] / (last + 1)
    return np.asarray(np.maximum(points - shift[:, None], 0.0))
