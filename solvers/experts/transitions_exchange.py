"""Exact exchanges between two GPUs in all layers at once.

For GPUs g and h take m experts of each in every layer and free them: a layer has K = (2m)! / (m!)^2 ways to
split them again, and the chain of layers K^L, of which ``best_path`` finds the best exactly. The other
experts stay. Candidate i of layer l costs

    u_l(i) = sum over the freed e of what e pays on its GPU to the experts that stay,
    s_l(i, j) = sum over freed e, f of t[l, e, f] C[GPU of e in i, GPU of f in j],

and inf where a GPU would exceed its load limit. GPUs g, h are twins if C treats them alike towards all
others; then exchanges between disjoint pairs of twins do not change each other's costs, and all pairs are
solved at once.
"""

from itertools import combinations
from math import comb

import numpy as np

from solvers.experts.transitions import Floats, Integers, Transitions

SPLITS = 70  # at most this many ways to split the freed experts of a layer


def prices(problem: Transitions, gpu_of_expert: Integers) -> Floats:
    """What each expert costs on each GPU, the neighbouring layers as they are, [layers, experts, gpus]."""
    here = np.eye(problem.gpus)[gpu_of_expert]
    result = np.zeros((problem.layers, problem.experts, problem.gpus))
    result[1:] += problem.counts.transpose(0, 2, 1) @ (here[:-1] @ problem.cost)
    result[:-1] += problem.counts @ (here[1:] @ problem.cost.T)
    return result


def splits_of(freed: int) -> Floats:
    """The ways to give half of 2 ``freed`` experts to the first GPU, [splits, 2 freed] of 0 and 1."""
    chosen = np.array(list(combinations(range(2 * freed), freed)))
    result = np.zeros((len(chosen), 2 * freed))
    np.put_along_axis(result, chosen, 1.0, axis=1)
    return result


def most_freed(slots: int) -> int:
    """Experts that can be freed on each of two GPUs with at most ``SPLITS`` splits."""
    return max(m for m in range(1, slots + 1) if m == 1 or comb(2 * m, m) <= SPLITS)


def twins(cost: Floats, g: int, h: int) -> bool:
    """Whether C treats the GPUs g and h alike towards every other."""
    others = np.delete(np.arange(len(cost)), [g, h])
    return bool((cost[g, others] == cost[h, others]).all() and (cost[others, g] == cost[others, h]).all())


def free_experts(gpu_of_expert: Integers, pairs: Integers, freed: int, random: np.random.Generator) -> Integers:
    """``freed`` random experts of each GPU of ``pairs`` [pairs, 2] in every layer, [pairs, layers, 2 freed]."""
    layers, experts = gpu_of_expert.shape
    shuffled = np.argsort(gpu_of_expert + random.random((layers, experts)) * 0.5, axis=1)
    by_gpu = shuffled.reshape(layers, -1, experts // int(gpu_of_expert.max() + 1))[:, :, :freed]
    return np.ascontiguousarray(by_gpu[:, pairs].transpose(1, 0, 2, 3).reshape(len(pairs), layers, 2 * freed))


def exchange(problem: Transitions, gpu_of_expert: Integers, pairs: Integers, free: Integers) -> Integers:
    """The best assignment [layers, experts] with ``free`` [pairs, layers, 2 m] split again within each pair.

    Several ``pairs`` [pairs, 2] must be disjoint and of ``twins``; the objective must be the total.
    """
    count, layers, width = free.shape
    splits = splits_of(width // 2)
    both = np.concatenate([splits, 1 - splits], axis=1)  # [K, 2 * width]: on the first GPU, on the second
    layer = np.arange(layers)
    current = gpu_of_expert[layer[:, None], free]
    first = (current == pairs[:, 0, None, None]).astype(np.float64)
    now = np.concatenate([first, 1 - first], axis=2)
    inner = problem.counts[layer[:-1, None, None], free[:, :-1, :, None], free[:, 1:, None, :]]
    cost = problem.cost[pairs[:, :, None], pairs[:, None, :]]  # [pairs, 2, 2]
    coupling = np.einsum("pab,plef->plaebf", cost, inner).reshape(count, layers - 1, 2 * width, 2 * width)
    outside = prices(problem, gpu_of_expert)[layer[:, None, None], free[..., None], pairs[:, None, None, :]]
    own = outside.transpose(0, 1, 3, 2).reshape(count, layers, 2 * width).copy()
    own[:, 1:] -= np.einsum("plab,pla->plb", coupling, now[:, :-1])
    own[:, :-1] -= np.einsum("plab,plb->pla", coupling, now[:, 1:])
    starts = own @ both.T
    if problem.limited:
        starts += _over_load(problem, gpu_of_expert, pairs, free, now, both)
    steps = both @ coupling @ both.T
    path = _best_paths(starts, steps)
    result = gpu_of_expert.copy()
    chosen = np.where(splits[path] > 0, pairs[:, 0, None, None], pairs[:, 1, None, None])
    result[layer[:, None], free] = chosen
    return result


def _over_load(
    problem: Transitions, gpu_of_expert: Integers, pairs: Integers, free: Integers, now: Floats, both: Floats
) -> Floats:
    """inf for splits that break a layer's load limit, [pairs, layers, K]."""
    loads = np.take_along_axis(problem.loads[None], free, axis=2)
    carried = problem.gpu_loads(gpu_of_expert)[:, pairs].transpose(1, 0, 2)  # [pairs, layers, 2]
    halves = both.reshape(len(both), 2, -1)
    moved = (
        np.einsum("ple,kae->plka", loads, halves)
        - np.einsum("ple,plae->pla", loads, now.reshape(*free.shape[:2], 2, -1))[:, :, None]
    )
    over = (carried[:, :, None] + moved).max(axis=3) > problem.load_cap()[:, None]
    return np.where(over, np.inf, 0.0)


def _best_paths(starts: Floats, steps: Floats) -> Integers:
    """``best_path`` of several chains of one shape: starts [chains, layers, K], steps [chains, layers - 1, K, K]."""
    count, layers, _ = starts.shape
    chain = np.arange(count)
    distance = starts[:, 0]
    pointers = []
    for layer in range(layers - 1):
        through = distance[:, :, None] + steps[:, layer]
        pointer = through.argmin(axis=1)
        pointers.append(pointer)
        distance = np.take_along_axis(through, pointer[:, None], axis=1)[:, 0] + starts[:, layer + 1]
    path = np.empty((count, layers), dtype=np.intp)
    path[:, -1] = distance.argmin(axis=1)
    for layer in range(layers - 2, -1, -1):
        path[:, layer] = pointers[layer][chain, path[:, layer + 1]]
    return path
