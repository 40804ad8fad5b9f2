"""MoETuner's two integer programmes (Go and Mahajan, arXiv 2502.06643), for small instances.

**Clustering** of each layer's experts, so that token loads are even:

    x[e, c] = 1: expert e is in cluster c;    minimise z
    1. sum_c x[e, c] = 1
    2. sum_e x[e, c] = E / G          (the printed programme omits this, and then one cluster takes all)
    3. sum_e w[e] x[e, c] <= z

**Clusters to GPUs**, with T_l[c, d] the tokens from cluster c to cluster d of the next layer and C[g, h] the
seconds of a token (1 / bandwidth):

    p[l, c, g] = 1: cluster c of layer l is on GPU g;    minimise sum_l z_l
    4. sum_g p[l, c, g] = 1,   sum_c p[l, c, g] = 1
    5. C[g, h] T_l[c, d] (p[l, c, g] + p[l + 1, d, h] - 1) <= z_l    the busiest pair of GPUs

Row 5 is exact as it stands: a product of two p is never more than their sum less one, and each pair of GPUs holds
exactly one pair of clusters. The placement is both together; it minimises the tail only for the clusters that
the first programme happened to make.
"""

import time

import numpy as np

from solvers.experts.ilp_model import Backend, IntegerProgramme, solve
from solvers.experts.transitions import Floats, Integers, Transitions
from solvers.solution import Solution


def cluster_ilp(
    loads: Floats, clusters: int, *, backend: Backend = "cbc", seconds: float = 60.0, seed: int = 0
) -> Solution[Integers]:
    """The cluster of each expert [experts] for ``loads`` [experts]; the value is the heaviest cluster's load."""
    began = time.perf_counter()
    experts = len(loads)
    if clusters < 1 or experts % clusters:
        raise ValueError(f"clusters: {experts} experts do not divide among {clusters} clusters")
    programme = IntegerProgramme()
    heaviest = programme.variable(1.0, upper=float(np.sum(loads)), whole=False)
    member = np.array([[programme.variable() for _ in range(clusters)] for _ in range(experts)])
    for expert in range(experts):
        programme.equal([(int(k), 1.0) for k in member[expert]], 1.0)
    for cluster in range(clusters):
        programme.equal([(int(k), 1.0) for k in member[:, cluster]], float(experts // clusters))
        carried = [(int(k), float(w)) for k, w in zip(member[:, cluster], loads, strict=True)]
        programme.at_most([*carried, (heaviest, -1.0)], 0.0)
    result = solve(programme, backend, seconds=seconds, seed=seed)
    choice = None if result.values is None else np.array(result.values)[member].argmax(axis=1).astype(np.intp)
    value = np.inf if choice is None else float(np.bincount(choice, weights=loads).max())
    return Solution(
        value=value,
        lower_bound=min(value, max(0.0, result.lower_bound)),
        status="optimal" if result.proven else "feasible",
        stop=result.stop,
        choice=choice,
        seconds=time.perf_counter() - began,
        seed=seed,
    )


def clusters_to_gpus_ilp(
    problem: Transitions, cluster_of_expert: Integers, *, backend: Backend = "cbc", seconds: float = 60.0, seed: int = 0
) -> Solution[Integers]:
    """The GPU of each cluster [layers, clusters] with the least tail; ``cluster_of_expert`` is [layers, experts].

    Raises ``ValueError`` where the objective is not the tail.
    """
    began = time.perf_counter()
    if problem.objective != "tail":
        raise ValueError("objective: MoETuner's programme minimises the tail; make the problem with objective tail")
    traffic = problem.traffic(cluster_of_expert)
    gpus, steps = problem.gpus, problem.layers - 1
    programme = IntegerProgramme()
    busiest = [
        programme.variable(1.0, upper=float(problem.cost.max() * table.sum()) + 1, whole=False) for table in traffic
    ]
    on = np.array([[[programme.variable() for _ in range(gpus)] for _ in range(gpus)] for _ in range(steps + 1)])
    for layer in range(steps + 1):
        for k in range(gpus):
            programme.equal([(int(v), 1.0) for v in on[layer, k]], 1.0)
            programme.equal([(int(v), 1.0) for v in on[layer, :, k]], 1.0)
    for layer, table in enumerate(traffic):
        for c, d in np.argwhere(table > 0):
            for g, h in np.argwhere(problem.cost > 0):
                price = float(table[c, d] * problem.cost[g, h])
                ends = [(int(on[layer, c, g]), price), (int(on[layer + 1, d, h]), price)]
                programme.at_most([*ends, (busiest[layer], -1.0)], price)
    result = solve(programme, backend, seconds=seconds, seed=seed)
    choice = None if result.values is None else np.array(result.values)[on].argmax(axis=2).astype(np.intp)
    value = np.inf
    if choice is not None:
        value = problem.value(np.take_along_axis(choice, cluster_of_expert, axis=1))
    return Solution(
        value=value,
        lower_bound=min(value, max(0.0, result.lower_bound)),
        status="optimal" if result.proven else "feasible",
        stop=result.stop,
        choice=choice,
        seconds=time.perf_counter() - began,
        seed=seed,
    )


def moetuner_ilp(
    problem: Transitions, *, backend: Backend = "cbc", seconds: float = 60.0, seed: int = 0
) -> Solution[Integers]:
    """``gpu_of_expert`` [layers, experts] by both programmes; ``seconds`` for each of them.

    The value is the tail. The status is ``feasible``: the two steps prove nothing about all placements together,
    and the bound is 0.
    """
    began = time.perf_counter()
    parts = [cluster_ilp(w, problem.gpus, backend=backend, seconds=seconds, seed=seed).choice for w in problem.loads]
    choice = None
    if all(part is not None for part in parts):
        clusters = np.array(parts, dtype=np.intp)
        gpu_of_cluster = clusters_to_gpus_ilp(problem, clusters, backend=backend, seconds=seconds, seed=seed).choice
        if gpu_of_cluster is not None:
            choice = np.take_along_axis(gpu_of_cluster, clusters, axis=1)
    value = np.inf if choice is None else problem.value(choice)
    return Solution(
        value=value,
        lower_bound=0.0,
        status="optimal" if value == 0 else "feasible",
        stop="exhausted" if choice is not None else "time_limit",
        choice=choice,
        seconds=time.perf_counter() - began,
        seed=seed,
    )
