"""What no assignment of experts along the layers can beat.

Every bound is a sum over pairs of neighbouring layers, each pair taken alone: it ignores that a layer has one
assignment towards both sides, and the load limits.

* **staying**: C >= c_0 + (c_1 - c_0) [other GPU] + (c_2 - c_1) [other node], with c_0, c_1, c_2 the least
  costs of all, between GPUs, and between nodes. The tokens that stay on their GPU
  (with S partners) and on their node (with S G / nodes partners) are bounded by ``staying_at_most`` and, as
  parts, by ``staying_in_parts``.
* **rearrangement** (Gilmore and Lawler): an expert on GPU g pays at least its counts, largest first, times
  the S-fold entries of C[g, :], smallest first; the experts' GPUs then are a transportation problem, solved
  exactly. Any C. The same from the other layer; the larger of the two holds.
* For the tail, max C T >= sum C T / (number of positive C), and >= sum T / sum(1 / C) over the pairs of GPUs
  with C > 0: the total's bounds for C and for [C > 0], divided.
"""

from typing import Literal, TypeAlias

import numpy as np

from solvers.experts.partners import staying_at_most, staying_in_parts
from solvers.experts.transitions import Floats, Integers, Transitions
from solvers.experts.transitions_exact import interchangeable

PairBound: TypeAlias = Literal["staying", "rearrangement", "both"]


def lower_bound(problem: Transitions) -> tuple[float, PairBound]:
    """The best of the bounds, and which: ``staying``, ``rearrangement``, or ``both`` where it differs by layer."""
    if problem.objective == "total":
        found = _total(problem, problem.cost)
    else:
        positive = problem.cost > 0
        if not positive.any():
            return 0.0, "staying"
        shares = _total(problem, problem.cost) / positive.sum()
        moved = _total(problem, positive.astype(np.float64)) / (1 / problem.cost[positive]).sum()
        found = np.maximum(shares, moved)
    chosen = found.argmax(axis=0)
    names: tuple[PairBound, PairBound] = ("staying", "rearrangement")
    return float(found.max(axis=0).sum()), names[chosen[0]] if np.ptp(chosen) == 0 else "both"


def _total(problem: Transitions, cost: Floats) -> Floats:
    """Both bounds of each step for the total with ``cost``, [2, layers - 1]."""
    return np.stack([_staying(problem, cost), _rearrangement(problem, cost)])


def _staying(problem: Transitions, cost: Floats) -> Floats:
    counts, gpus = problem.counts, problem.gpus
    tokens = counts.sum(axis=(1, 2))
    per_node = interchangeable(cost) or gpus
    node = np.arange(gpus) // per_node
    same_node = node[:, None] == node
    same_gpu = np.eye(gpus, dtype=bool)
    least = cost.min()
    bound = least * tokens
    for stays, parts in ((same_gpu, gpus), (same_node, gpus // per_node)):
        step = cost[~stays].min() - least if not stays.all() else 0.0
        if step > 0:
            most = np.minimum(staying_at_most(counts, problem.experts // parts), staying_in_parts(counts, parts))
            bound += step * (tokens - np.minimum(tokens, most))
            least += step
    return np.asarray(bound)


def _rearrangement(problem: Transitions, cost: Floats) -> Floats:
    from scipy.optimize import linear_sum_assignment

    def one_side(counts: Floats, prices: Floats) -> float:
        rising = np.sort(np.repeat(prices, problem.slots, axis=1), axis=1)
        paid = -np.sort(-counts, axis=1) @ rising.T  # [experts, gpus]
        expanded = np.repeat(paid, problem.slots, axis=1)
        rows, columns = linear_sum_assignment(expanded)
        return float(expanded[rows, columns].sum())

    return np.array([max(one_side(step, cost), one_side(step.T, cost.T)) for step in problem.counts])


def load_shortfall(problem: Transitions) -> float:
    """By how much the load limit is too low in the worst layer for the heaviest expert with the lightest others.

    0 where that fits (which does not prove that all do).
    """
    if not problem.limited:
        return 0.0
    rising = np.sort(problem.loads, axis=1)
    needed = rising[:, -1] + rising[:, : problem.slots - 1].sum(axis=1)
    over: Integers = needed > problem.load_cap()
    return float((needed - problem.load_cap())[over].max()) if over.any() else 0.0
