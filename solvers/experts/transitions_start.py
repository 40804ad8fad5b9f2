"""A first assignment of every layer: followed from layer to layer, within the load limits."""

import numpy as np

from solvers.experts.transitions import Floats, Integers, Transitions


def cheapest_layer(prices: Floats, gpus: int) -> Integers:
    """The GPU of each expert [experts] that costs least in all, the same number of experts on each GPU.

    ``prices`` is [experts, gpus]. A transportation problem, solved exactly as a linear assignment with each
    GPU repeated once for each of its experts.
    """
    from scipy.optimize import linear_sum_assignment

    slots = len(prices) // gpus
    _, column = linear_sum_assignment(np.repeat(prices, slots, axis=1))
    return np.asarray(column // slots, dtype=np.intp)


def within_cap(loads: Floats, gpu_of_expert: Integers, gpus: int, cap: float) -> Integers | None:
    """The assignment with as many exchanges as its load limit needs, or None where none is found.

    Each exchange is the one of all pairs between the busiest GPU and the others that leaves the larger of
    their two loads least. A heuristic: None does not prove that there is no assignment.
    """
    placed = gpu_of_expert.copy()
    carried = np.bincount(placed, weights=loads, minlength=gpus)
    while carried.max() > cap:
        busiest = int(carried.argmax())
        mine, others = np.flatnonzero(placed == busiest), np.flatnonzero(placed != busiest)
        moved = loads[mine][:, None] - loads[others]
        larger = np.maximum(carried[busiest] - moved, carried[placed[others]] + moved)
        i, j = np.unravel_index(int(larger.argmin()), larger.shape)
        if larger[i, j] >= carried[busiest]:
            return None
        partner = placed[others[j]]
        placed[mine[i]], placed[others[j]] = partner, busiest
        carried = np.bincount(placed, weights=loads, minlength=gpus)
    return placed


def balanced_layer(loads: Floats, gpus: int) -> Integers:
    """Largest load first onto the least loaded GPU that has room, [experts]."""
    room = np.full(gpus, len(loads) // gpus)
    carried = np.zeros(gpus)
    placed = np.empty(len(loads), dtype=np.intp)
    for expert in np.argsort(-loads, kind="stable"):
        gpu = int(np.where(room > 0, carried, np.inf).argmin())
        placed[expert] = gpu
        room[gpu] -= 1
        carried[gpu] += loads[expert]
    return placed


def first_assignment(problem: Transitions, random: np.random.Generator) -> Integers | None:
    """A random first layer, every next one the cheapest after it; within the load limits, or None."""
    caps = problem.load_cap()
    layers: list[Integers] = []
    placed = random.permutation(np.arange(problem.experts) % problem.gpus).astype(np.intp)
    for layer in range(problem.layers):
        if layer:
            reached = np.eye(problem.gpus)[layers[-1]]
            placed = cheapest_layer(problem.counts[layer - 1].T @ (reached @ problem.cost), problem.gpus)
        loads = problem.loads[layer]
        kept = within_cap(loads, placed, problem.gpus, float(caps[layer]))
        if kept is None:
            kept = within_cap(loads, balanced_layer(loads, problem.gpus), problem.gpus, float(caps[layer]))
        if kept is None:
            return None
        layers.append(kept)
    return np.stack(layers)
