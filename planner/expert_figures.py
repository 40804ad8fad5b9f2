"""What follows from a placement of experts and counts, in arrays (``planner.validate.experts`` counts again).

With n_l [gpus, experts] the replicas of each expert on each GPU over all its replicas, a layer's GPU loads are
n_l w_l, and n_l t_l n_{l+1}' the transitions from GPU to GPU: replicas share loads and tokens equally.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from planner.expert_problem import ExpertProblem, Rows
from planner.expert_traces import Routes, Traces
from planner.plan.experts_result import Derived, LayerFigures, LayerTime, PlacementFigures

Floats: TypeAlias = NDArray[np.float64]

SAME = 1e-9
"""Traces whose costs differ by less are equally bad: the first is reported."""


def derive(problem: ExpertProblem, counts: Traces, rows: Rows) -> Derived:
    """The figures of ``rows`` on ``counts``: pooled, or the worst trace's loads where the problem asks for it."""
    spec = problem.spec
    shares = [_shares(row, problem.gpus, problem.experts) for row in rows]
    loads = counts.loads if spec.robust == "worst" else (counts.pooled_loads(),) if counts.loads else ()
    each = [[_over_mean(share @ one[k]) for k, share in enumerate(shares)] for one in loads]
    busiest = np.max(each, axis=0) if each else np.zeros(0)
    steps = _steps(problem, counts, shares)
    node = np.arange(problem.gpus if steps else 0) // problem.gpus_per_node
    other_node = node[:, None] != node
    other_gpu = ~np.eye(len(node), dtype=bool)
    copies: list[tuple[float, float]] = []
    if counts.routes and all(len(row) == problem.experts for row in rows):
        copies = [_copies(routes, row, problem) for routes, row in zip(counts.routes, rows, strict=True)]
    total = np.max if spec.tail else np.sum
    return Derived(
        max_over_mean=tuple(busiest.tolist()),
        transitions=tuple(float(step.sum()) for step in steps),
        leaving_gpu=tuple(float(step[other_gpu].sum()) for step in steps),
        leaving_node=tuple(float(step[other_node].sum()) for step in steps),
        cost=tuple(float(total(step * problem.cost)) for step in steps),
        gpu_copies=tuple(gpus for gpus, _ in copies),
        node_copies=tuple(nodes for _, nodes in copies),
        times=_times(problem, counts, rows),
    )


def _times(problem: ExpertProblem, counts: Traces, rows: Rows) -> tuple[LayerTime, ...]:
    if problem.timing is None or not counts.loads:
        return ()
    return tuple(problem.timing.figures(counts, k, row) for k, row in enumerate(rows))


def total_time(times: Sequence[LayerTime]) -> LayerTime | None:
    """The sum over the layers; nodes per token are their mean."""
    if not times:
        return None
    nodes = [one.nodes_per_token for one in times if one.nodes_per_token is not None]
    return LayerTime(
        exchange_seconds=sum(one.exchange_seconds for one in times),
        expert_seconds=sum(one.expert_seconds for one in times),
        other_seconds=sum(one.other_seconds for one in times),
        nodes_per_token=float(np.mean(nodes)) if nodes else None,
    )


def _steps(problem: ExpertProblem, counts: Traces, shares: list[Floats]) -> list[Floats]:
    """Transitions from GPU to GPU of each step, [layers - 1][gpus, gpus]: pooled, or of the trace that costs most
    per transition where the worst counts."""
    pooled = counts.pooled_transitions()
    if pooled is None:
        return []
    traces = counts.transitions if problem.spec.robust == "worst" else (pooled,)
    each = [[shares[k] @ trace[k] @ shares[k + 1].T for k in range(len(trace))] for trace in traces]
    costs = [
        float(sum((step * problem.cost).sum() for step in steps)) / max(float(trace.sum()), 1e-300)
        for steps, trace in zip(each, traces, strict=True)
    ]
    return next(steps for steps, cost in zip(each, costs, strict=True) if cost >= max(costs) * (1 - SAME))


def objective_by_layer(problem: ExpertProblem, derived: Derived) -> Floats | None:
    """What each layer (or step) adds to the objective, so that the mean of balance and traffic, and the sum of
    transitions and time over all of them, is its value; None where it is not defined."""
    weights, objective = problem.spec.weights, problem.spec.objective
    if objective == "transitions":
        total = sum(derived.transitions)
        if not total:
            return None
        return np.array(derived.cost) / (1.0 if problem.spec.tail else total)
    if objective == "traffic":
        if not derived.gpu_copies:
            return None
        return weights.gpu * np.array(derived.gpu_copies) + weights.node * np.array(derived.node_copies)
    if objective == "time":
        return np.array([one.seconds for one in derived.times]) if derived.times else None
    return np.array(derived.max_over_mean) if derived.max_over_mean else None


def objective_value(problem: ExpertProblem, derived: Derived) -> float | None:
    parts = objective_by_layer(problem, derived)
    if parts is None:
        return None
    return float(parts.sum() if problem.spec.objective in ("transitions", "time") else parts.mean())


def summary(name: str, problem: ExpertProblem, derived: Derived) -> PlacementFigures:
    """The figures over all layers."""
    total, nodes = sum(derived.transitions), problem.nodes > 1
    busiest = derived.max_over_mean
    return PlacementFigures(
        name=name,
        value=objective_value(problem, derived),
        max_over_mean=float(np.mean(busiest)) if busiest else None,
        worst_max_over_mean=max(busiest) if busiest else None,
        transition_share_leaving_gpu=sum(derived.leaving_gpu) / total if total else None,
        transition_share_leaving_node=sum(derived.leaving_node) / total if total and nodes else None,
        gpu_copies_per_token=float(np.mean(derived.gpu_copies)) if derived.gpu_copies else None,
        node_copies_per_token=float(np.mean(derived.node_copies)) if derived.node_copies and nodes else None,
        time=total_time(derived.times),
    )


def layer_figures(problem: ExpertProblem, derived: Derived, bounds: Sequence[float]) -> tuple[LayerFigures, ...]:
    """The figures of each layer; ``bounds`` [layers] on its busiest over mean GPU."""
    nodes = problem.nodes > 1
    found = []
    for k, layer in enumerate(problem.layer_ids):
        total = derived.transitions[k] if k < len(derived.transitions) else 0.0
        found.append(
            LayerFigures(
                layer=layer,
                max_over_mean=derived.max_over_mean[k],
                lower_bound=float(bounds[k]),
                transition_share_leaving_gpu=derived.leaving_gpu[k] / total if total else None,
                transition_share_leaving_node=derived.leaving_node[k] / total if total and nodes else None,
                gpu_copies_per_token=derived.gpu_copies[k] if derived.gpu_copies else None,
                node_copies_per_token=derived.node_copies[k] if derived.node_copies and nodes else None,
                time=derived.times[k] if derived.times else None,
            )
        )
    return tuple(found)


def _shares(row: Sequence[int], gpus: int, experts: int) -> Floats:
    """[gpus, experts]: share of an expert's replicas that a GPU holds."""
    held = np.zeros((gpus, experts))
    np.add.at(held, (np.arange(len(row)) // (len(row) // gpus), np.array(row)), 1.0)
    return np.asarray(held / held.sum(axis=0))


def _over_mean(loads: Floats) -> float:
    mean = float(loads.mean())
    return float(loads.max()) / mean if mean > 0 else 1.0


def _copies(routes: Routes, row: Sequence[int], problem: ExpertProblem) -> tuple[float, float]:
    """Other GPUs and other nodes that a token is sent to, its home spread evenly."""
    gpu_of = np.empty(len(row), dtype=np.intp)
    gpu_of[np.array(row)] = np.arange(len(row)) // (len(row) // problem.gpus)
    experts, tokens = routes
    places = np.sort(gpu_of[experts], axis=1)
    found = []
    for where, count in ((places, problem.gpus), (places // problem.gpus_per_node, problem.nodes)):
        distinct = 1 + (np.diff(where, axis=1) != 0).sum(axis=1)
        found.append(float(tokens @ distinct) / float(tokens.sum()) * (1 - 1 / count))
    return found[0], found[1]
