"""Copies of a token that no placement can avoid.

Of a route's k experts at most S fit on a GPU: at least ceil(k / S) distinct GPUs. And the pairs on one GPU are
at most half of what ``staying_at_most`` allows with S - 1 partners for each expert, which bounds the distinct
GPUs from below (``distinct_gpus_between``). The same for nodes with S times the GPUs of a node. A given home
may be one of the GPUs: R >= D - 1.
"""

from solvers.experts.partners import staying_at_most
from solvers.experts.traffic import Traffic, distinct_gpus_between


def traffic_lower_bound(problem: Traffic) -> float:
    """Lower bound on ``Traffic.value``."""
    pairs = problem.pairs()
    total = float(problem.tokens.sum())
    top_k = problem.routes.shape[1]

    def distinct(slots: int) -> float:
        together = float(staying_at_most(pairs, slots - 1)) / 2 / total
        return distinct_gpus_between(together, top_k, slots)[0]

    gpus, nodes = distinct(problem.slots), distinct(problem.slots * problem.gpus_per_node)
    gpu_weight, node_weight = problem.weights
    away = 0.0 if problem.home is None else 1.0
    return gpu_weight * (gpus - away) + node_weight * (nodes - away)
