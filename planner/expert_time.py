"""``objective: time``: placements by predicted seconds, and the curve between little traffic and even load.

Two extremes start the search of a layer: the global one balances all experts over all GPUs, the node-limited one
keeps what tokens use together on a node (the router's groups, or, with routed tokens, the fewest copies). Exchanges
that save seconds lead from both; the way from the node-limited one to balance gives the placements between.
"""

import time
from dataclasses import replace

import numpy as np

from planner.expert_methods import Effort, Found, balance_of, best_balance, bounds_of_layers, fewest_copies, rows_of
from planner.expert_problem import ExpertProblem, Rows
from planner.expert_timing import distinct_at_least
from planner.plan.experts_result import CurvePoint
from planner.specs.errors import SpecError
from solvers.experts.balance import balance
from solvers.experts.time_layer import Standing
from solvers.experts.time_search import descend, way_to_balance
from solvers.stop import FirstOf, MaxSeconds

POINTS = 9
"""Of the curve, its ends included."""


def placed_by_time(problem: ExpertProblem, effort: Effort) -> Found:
    """The best of every layer, its bound, and the curve of all layers together."""
    timing = problem.timing
    assert timing is not None
    even = best_balance(problem, effort)
    assert even.rows is not None
    near = _node_limited(problem, effort)
    rows: list[tuple[int, ...]] = []
    bounds, ways, steps = [], [], 0
    loads = bounds_of_layers(problem, np.full(problem.layers, np.inf))
    end = time.perf_counter() + effort.seconds
    for k, slots in enumerate(problem.slots_per_gpu):
        left = MaxSeconds(max(0.0, end - time.perf_counter()) / (problem.layers - k))
        stop = FirstOf(effort.stop, left)
        layer = timing.layer(problem.traces, k, slots, slots * problem.gpus != problem.experts)

        def standing(row: tuple[int, ...], layer=layer, slots=slots) -> Standing:  # type: ignore[no-untyped-def]
            return Standing(layer=layer, held=np.array(row, dtype=np.intp).reshape(problem.gpus, slots))

        way = [descend(standing(even.rows[k]), stop)]
        if near is not None:
            first = standing(near[k])
            lean = descend(first, stop)
            way += [*way_to_balance(first, stop), *way_to_balance(lean, stop)]
            way.append(descend(min(way, key=lambda one: one.seconds), stop))
        best = min(way, key=lambda one: one.seconds)
        ways.append(way)
        steps += len(way)
        rows.append(tuple(best.held.ravel().tolist()))
        bounds.append(timing.bound(slots, float(loads[k]), distinct_at_least(layer)))
    return Found(
        rows=tuple(rows),
        lower_bound=float(np.sum(bounds)),
        status="feasible",
        stop=effort.stop(0) or "evaluation_limit",
        method="exchanges by seconds from " + ("both extremes" if near is not None else "the balanced placement"),
        seed=effort.seed,
        counts={"layers": problem.layers, "placements_on_the_ways": steps},
        curve=_curve(problem, ways) if near is not None else (),
    )


def _node_limited(problem: ExpertProblem, effort: Effort) -> Rows | None:
    """The other extreme, where anything is known of what tokens use together and several nodes are there."""
    timing = problem.timing
    assert timing is not None
    if timing.priced.domains == 1 or not timing.priced.merged:
        return None
    whole = all(slots * problem.gpus == problem.experts for slots in problem.slots_per_gpu)
    if problem.traces.routes and whole:
        weights = problem.spec.weights.model_copy(update={"gpu": 0.0, "node": 1.0})
        spec = problem.spec.model_copy(update={"weights": weights})
        short = replace(effort, seconds=effort.seconds / 3, use_all_time=False)
        return fewest_copies(replace(problem, spec=spec, gpus_per_node=timing.gpus_per_domain), short).rows
    if timing.groups == 1:
        return None
    spec = problem.spec.model_copy(update={"expert_groups": timing.groups})
    try:
        grouped = balance_of(
            replace(problem, spec=spec, gpus_per_node=timing.gpus_per_domain), problem.traces.pooled_loads()
        )
    except SpecError:
        return None
    found = balance(grouped, seed=effort.seed, stop=effort.stop).choice
    return None if found is None else rows_of(found.placement)


def _curve(problem: ExpertProblem, ways: list[list[Standing]]) -> tuple[CurvePoint, ...]:
    """From the fewest nodes a token to the most even load: in each layer the placement of its way that has the least
    of a weighted sum of both, the weight growing from point to point. Points that are alike stand once."""
    assert problem.timing is not None
    gpus = problem.gpus
    balance_of_way = [np.array([one.shares.max() * gpus for one in way]) for way in ways]
    nodes_of_way = [np.array([one.on_nodes.sum() for one in way]) for way in ways]
    found: list[CurvePoint] = []
    for weight in (0.0, *np.geomspace(0.1, 100.0, POINTS - 2), np.inf):
        chosen = []
        for even, nodes in zip(balance_of_way, nodes_of_way, strict=True):
            first, second = (even, nodes) if np.isinf(weight) else (nodes + weight * even, even)
            chosen.append(int(np.lexsort((second, first))[0]))
        rows = [way[at].held.ravel().tolist() for way, at in zip(ways, chosen, strict=True)]
        times = [problem.timing.figures(problem.traces, k, tuple(row)) for k, row in enumerate(rows)]
        point = CurvePoint(
            max_over_mean=float(np.mean([even[at] for even, at in zip(balance_of_way, chosen, strict=True)])),
            nodes_per_token=float(np.mean([nodes[at] for nodes, at in zip(nodes_of_way, chosen, strict=True)])),
            seconds=float(sum(one.seconds for one in times)),
        )
        if point not in found:
            found.append(point)
    return tuple(found)
