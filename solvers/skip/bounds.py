"""What no schedule can beat, and for what was left free.

With the arrangement fixed, over all paths and orders: the relaxed path programme (path_program.py) where the paths
can be enumerated. With the arrangement free, and where there are too many paths, for any paths and orders:

1. Trips. A path alone takes at least the cheapest walk over K nodes, each link there and back. Of the nodes of stage
   0 one starts at least M / g_0 micro-batches (rounded up), at most cap of them at a time, one trip each.
2. Loads. Of the nodes of a stage one serves at least load / g of its micro-batches (rounded up), at F + B each, with
   L on stage 0; of a stage's g nodes the (g-th) fastest of all nodes is the fastest choice for the slowest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from solvers.skip.path_program import path_rows, relaxed_makespan
from solvers.skip.paths import Ints
from solvers.skip.problem import SkipProblem

Over = Literal["arrangements, paths and orders", "paths and orders", "orders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """``seconds`` that no makespan (with the exchange among copies) is below, over what ``over`` says was free."""

    seconds: float
    over: Over
    reason: str


def bound_over_paths(problem: SkipProblem, stage_of_node: Sequence[int], paths: Ints | None) -> Bound:
    """``paths``: every legal one, or None where they are too many. inf: no set of paths keeps the rules."""
    copies = problem.copy_link_factor * problem.copy_link_seconds(stage_of_node)
    if paths is None:
        free = bound_over_arrangements(problem)
        return Bound(seconds=free.seconds + copies, over="paths and orders", reason=free.reason)
    if not len(paths):
        return Bound(seconds=np.inf, over="paths and orders", reason="no legal path over links and nodes with memory")
    if problem.copy_link_seconds(stage_of_node) > problem.copy_link_limit_seconds:
        return Bound(seconds=np.inf, over="paths and orders", reason="a link among copies is above its limit")
    seconds = relaxed_makespan(problem, path_rows(problem, stage_of_node, paths)) + copies
    reason = "relaxed path programme" if np.isfinite(seconds) else "no set of legal paths keeps the loads"
    return Bound(seconds=seconds, over="paths and orders", reason=reason)


def bound_over_arrangements(problem: SkipProblem) -> Bound:
    starts = -(-problem.microbatches // problem.group_sizes[0])
    cap = max(problem.memory_cap)
    trips = least_trip(problem) * (-(-starts // cap) if cap else np.inf)
    loads = max(_slowest_of_stage(problem, stage) for stage in range(problem.stages))
    if trips >= loads:
        return Bound(seconds=trips, over="arrangements, paths and orders", reason="round trips of the first nodes")
    return Bound(seconds=loads, over="arrangements, paths and orders", reason="loads of the nodes of a stage")


def least_trip(problem: SkipProblem) -> float:
    """Seconds alone of the cheapest walk over K nodes, neighbours apart; with ``ends`` first back to its start."""
    links = np.array(problem.link_seconds)
    both_ways = links + links.T
    np.fill_diagonal(both_ways, np.inf)
    work = np.add(problem.forward_seconds, problem.backward_seconds)
    loss = np.array(problem.loss)
    if problem.path_length == 1:
        return float((work + (loss if problem.rules.ends == "first" else 0.0)).min())
    # cost[s, n]: of the cheapest walk so far from s to n
    cost = np.where(np.eye(problem.nodes, dtype=bool), work[:, None], np.inf)
    for _ in range(problem.path_length - 1):
        cost = (cost[:, :, None] + both_ways[None, :, :]).min(axis=1) + work[None, :]
    if problem.rules.ends == "first":
        cost = cost + both_ways.T + loss[:, None]
    return float(cost.min())


def _slowest_of_stage(problem: SkipProblem, stage: int) -> float:
    size = problem.group_sizes[stage]
    first = stage == 0 and problem.rules.ends == "first"
    work = np.add(problem.forward_seconds, problem.backward_seconds) + (np.array(problem.loss) if first else 0.0)
    served = problem.stage_load(stage)[0] * problem.waves
    if problem.stage_of_node is not None:
        work = work[np.array(problem.stage_of_node) == stage]
    # the ``size`` fastest nodes share the load: no split of whole micro-batches ends sooner
    fastest = np.sort(work)[:size]
    ends = np.zeros(size)
    for _ in range(served):
        node = int(np.argmin(ends + fastest))
        ends[node] += fastest[node]
    return float(ends.max(initial=0.0))
