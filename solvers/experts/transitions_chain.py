"""The best path through a chain of layers, each with a list of candidate assignments.

The objective only couples neighbouring layers, so for candidates x in K_l

    D_0(x) = 0,    D_{l+1}(y) = min over x in K_l of D_l(x) + cost_l(x, y)

is exact over all combinations (Viterbi). ``step_costs`` gives cost_l for the two objectives: for the total
sum_e w_y[e, x(e)] with w_y[e, g] = sum_f t[e, f] C[g, y(f)], one matrix product with the one-hot rows of x;
for the tail one product for each pair of GPUs.
"""

from collections.abc import Sequence

import numpy as np

from solvers.experts.transitions import Floats, Integers, Transitions


def step_costs(
    problem: Transitions, layer: int, before: Integers, after: Integers, changing: Integers | None = None
) -> Floats:
    """cost_l of every pair, [before, after], of assignments [.., experts] of ``layer`` and the next one.

    ``changing`` names the only GPUs whose experts differ among the assignments (None: any may).
    """
    counts, gpus = problem.counts[layer], problem.gpus
    labels = np.eye(gpus)
    if problem.objective == "total":
        priced = counts @ problem.cost.T[after]  # [after, e, g]
        return np.asarray(priced.reshape(len(after), -1) @ labels[before].reshape(len(before), -1).T).T
    changes = np.ones(gpus, dtype=bool) if changing is None else np.isin(np.arange(gpus), changing)
    still = ~changes[:, None] & ~changes
    priced = problem.cost * (labels[before[0]].T @ counts @ labels[after[0]])
    result = np.full((len(after), len(before)), priced[still].max(initial=0.0))
    here = [(before == g).T.astype(np.float64) for g in range(gpus)]  # [e, before]
    for h in range(gpus):
        reached = (after == h) @ counts.T  # [after, e]
        for g in np.flatnonzero(~still[:, h] & (problem.cost[:, h] > 0)):
            np.maximum(result, (problem.cost[g, h] * reached) @ here[g], out=result)
    return result.T


def within_load(problem: Transitions, layer: int, candidates: Integers) -> Floats:
    """0 for candidates [.., experts] within the layer's load limit, inf for others."""
    if not problem.limited:
        return np.zeros(len(candidates))
    loads = problem.loads[layer]
    heaviest = np.max([(candidates == g) @ loads for g in range(problem.gpus)], axis=0)
    return np.where(heaviest <= problem.load_cap()[layer], 0.0, np.inf)


def best_path(starts: Sequence[Floats], steps: Sequence[Floats]) -> tuple[float, list[int]]:
    """The least sum of own costs ``starts`` [layers][K_l] and ``steps`` [layers - 1][K_l, K_l+1], and its path."""
    distance = starts[0]
    pointers = []
    for own, step in zip(starts[1:], steps, strict=True):
        through = distance[:, None] + step
        pointer = through.argmin(axis=0)
        pointers.append(pointer)
        distance = through[pointer, np.arange(len(own))] + own
    path = [int(distance.argmin())]
    for pointer in reversed(pointers):
        path.append(int(pointer[path[-1]]))
    return float(distance.min()), path[::-1]
