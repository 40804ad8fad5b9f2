"""Copies of tokens the slow way: sets of GPUs and nodes, every placement in turn."""

from collections.abc import Sequence

from tests.oracles.transitions import equal_assignments


def copies(
    routes: Sequence[Sequence[int]], homes: Sequence[int] | None, gpu_of: Sequence[int], gpus: int, per_node: int
) -> tuple[float, float]:
    """Mean number of other GPUs and other nodes a token is sent to; every home in turn where none is given."""
    to_gpus = to_nodes = 0
    trials = 0
    for k, route in enumerate(routes):
        for home in range(gpus) if homes is None else (homes[k],):
            reached = {gpu_of[expert] for expert in route}
            to_gpus += len(reached - {home})
            to_nodes += len({gpu // per_node for gpu in reached} - {home // per_node})
            trials += 1
    return to_gpus / trials, to_nodes / trials


def best(
    routes: Sequence[Sequence[int]],
    homes: Sequence[int] | None,
    experts: int,
    gpus: int,
    per_node: int,
    weights: tuple[float, float],
) -> float:
    found = []
    for labels in equal_assignments(experts, gpus):
        to_gpus, to_nodes = copies(routes, homes, labels, gpus, per_node)
        found.append(weights[0] * to_gpus + weights[1] * to_nodes)
    return min(found)
