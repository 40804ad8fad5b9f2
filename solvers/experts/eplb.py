"""The expert-parallel load balancer that DeepSeek published (EPLB), as a baseline, from its description.

Replicas: one by one to the expert whose load per replica is largest. Packing: largest first onto the least
loaded pack that has a place left. The global policy replicates and then packs replicas onto GPUs. The
hierarchical policy packs expert groups onto nodes, the same number on each, replicates inside each node and
packs inside each node. As in the published code, replication runs over all layers at once and packing
layer by layer.
"""

import numpy as np

from solvers.experts.problem import EMPTY, Balance, Floats, Integers, Placement
from solvers.experts.replicas import expand, least_largest_share


def eplb(problem: Balance) -> Placement:
    """EPLB's placement: hierarchical where the problem has ``expert_groups``, else global.

    Raises ``ValueError`` where the groups do not divide among the nodes or, together, overfill them.
    """
    width = problem.gpus * max(problem.slots_per_gpu)
    rows = np.full((problem.layers, width), EMPTY, dtype=np.intp)
    for slots in sorted(set(problem.slots_per_gpu)):
        layers = np.flatnonzero(np.array(problem.slots_per_gpu) == slots)
        rows[layers, : problem.gpus * slots] = _place(problem, layers, slots)
    return Placement(rows, problem.gpus, problem.slots_per_gpu)


def _place(problem: Balance, layers: Integers, slots: int) -> Integers:
    """Experts by slot, [layers, gpus * slots]."""
    loads = problem.loads[layers]
    if not problem.expert_groups:
        return _replicate_and_pack(loads, problem.gpus, slots)
    groups, nodes = problem.expert_groups, problem.nodes
    if groups % nodes or problem.experts // nodes > problem.gpus_per_node * slots:
        raise ValueError(
            f"expert_groups: {groups} groups of {problem.experts // groups} experts do not divide evenly among "
            f"{nodes} nodes of {problem.gpus_per_node * slots} slots, as EPLB's hierarchical policy needs"
        )
    size = problem.experts // groups
    of_groups = loads.reshape(len(loads), groups, size).sum(axis=2)
    node_groups = pack(of_groups, nodes)  # [layers, nodes, groups of a node]
    members = (node_groups[..., None] * size + np.arange(size)).reshape(len(loads) * nodes, -1)
    of_nodes = np.take_along_axis(np.repeat(loads, nodes, axis=0), members, axis=1)
    local = _replicate_and_pack(of_nodes, problem.gpus_per_node, slots)
    return np.take_along_axis(members, local, axis=1).reshape(len(loads), -1)


def _replicate_and_pack(loads: Floats, gpus: int, slots: int) -> Integers:
    counts = least_largest_share(loads, gpus * slots)
    experts = expand(counts)
    shares = np.take_along_axis(loads / counts, experts, axis=1)
    packed = pack(shares, gpus).reshape(len(loads), -1)
    return np.take_along_axis(experts, packed, axis=1)


def pack(weights: Floats, packs: int) -> Integers:
    """Items by pack [layers, packs, items / packs]: heaviest first onto the lightest pack with a place left."""
    layers, items = weights.shape
    size = items // packs
    packed = np.empty((layers, packs, size), dtype=np.intp)
    order = np.argsort(-weights, axis=1, kind="stable")
    if size == 1:
        packed[:, :, 0] = order
        return packed
    for layer in range(layers):
        load, held = [0.0] * packs, [0] * packs
        weight = weights[layer].tolist()
        for item in order[layer].tolist():
            lightest = min((p for p in range(packs) if held[p] < size), key=load.__getitem__)
            packed[layer, lightest, held[lightest]] = item
            held[lightest] += 1
            load[lightest] += weight[item]
    return packed
