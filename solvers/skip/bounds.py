"""What no schedule can beat, and for what was left free.

With the arrangement fixed, over all paths and orders: the relaxed path programme (path_program.py), its paths listed
or generated (generation.py). With the arrangement free, and where generation ends too soon, for any paths and orders:

1. Trips. A path alone takes at least the cheapest walk over K nodes, each link there and back. Of the nodes of stage
   0 one starts at least M / g_0 micro-batches (rounded up), at most cap of them at a time, one trip each.
2. Stays. The nodes of stage 0 hold at most cap micro-batches each, every one of them for its trip: the sum of all
   trips is at most makespan times the largest caps of g_0 nodes. The sum is no less than the relaxed choice of
   unordered links e and visits v: sum_(e at n) w_e = 2 v_n where paths are rounds (``ends`` first, K >= 3), at most
   that where they are open; sum_e w_e the links of all paths; w_e <= v of both its nodes; v within what the loads
   allow a node of any stage; sum_n v_n = M K.
3. Loads. Of the nodes of a stage one serves at least load / g of its micro-batches (rounded up), at F + B each, with
   L on stage 0; of a stage's g nodes the (g-th) fastest of all nodes is the fastest choice for the slowest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from solvers.skip.generation import Generated
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


def bound_over_paths(
    problem: SkipProblem, stage_of_node: Sequence[int], paths: Ints | None, generated: Generated | None = None
) -> Bound:
    """``paths``: every legal one, or None where they are too many; then what was ``generated`` of them, if anything.
    inf: no set of paths keeps the rules."""
    copies = problem.copy_seconds(stage_of_node)
    if paths is not None and not len(paths):
        return Bound(seconds=np.inf, over="paths and orders", reason="no legal path over links and nodes with memory")
    if problem.copy_link_seconds(stage_of_node) > problem.copy_link_limit_seconds:
        return Bound(seconds=np.inf, over="paths and orders", reason="a link among copies is above its limit")
    if paths is not None:
        seconds, reason = relaxed_makespan(path_rows(problem, stage_of_node, paths)), "relaxed path programme"
    else:
        free = bound_over_arrangements(problem)
        seconds, reason = free.seconds, free.reason
        if generated is not None and max(generated.bound, generated.least_trip) >= seconds:
            ended = "" if generated.closed else ", ended before the last of them"
            seconds = max(generated.bound, generated.least_trip)
            reason = f"relaxed path programme, its paths generated{ended}"
    if not np.isfinite(seconds):
        reason = "no set of legal paths keeps the loads"
    return Bound(seconds=float(seconds + copies), over="paths and orders", reason=reason)


def bound_over_arrangements(problem: SkipProblem) -> Bound:
    starts = -(-problem.microbatches // problem.group_sizes[0])
    cap = max(problem.memory_cap)
    found = {
        "round trips of the first nodes": least_trip(problem) * -(-starts // cap) if cap else np.inf,
        "stays on the first nodes": _least_stays(problem),
        "loads of the nodes of a stage": max(_slowest_of_stage(problem, stage) for stage in range(problem.stages)),
    }
    reason = max(found, key=lambda name: found[name])
    return Bound(seconds=found[reason], over="arrangements, paths and orders", reason=reason)


def _least_stays(problem: SkipProblem) -> float:
    nodes, length, micro = problem.nodes, problem.path_length, problem.microbatches
    rounds = problem.rules.ends == "first"
    if length < 3:
        return 0.0
    ones = [(a, b) for a in range(nodes) for b in range(a)]
    links = np.array(problem.link_seconds)
    cost = np.array([links[a, b] + links[b, a] for a, b in ones])
    kept = np.flatnonzero(np.isfinite(cost))
    low, high = _visits_of_any_stage(problem)
    work = np.add(problem.forward_seconds, problem.backward_seconds)
    columns = len(kept) + nodes
    degrees = np.zeros((nodes, columns))
    ends = np.zeros((2 * len(kept), columns))
    for row, e in enumerate(kept):
        degrees[list(ones[e]), row] = 1
        for side, n in enumerate(ones[e]):
            ends[2 * row + side, [row, len(kept) + n]] = 1, -1
    degrees[:, len(kept) :] = -2 * np.eye(nodes)
    sums = np.zeros((2, columns))
    sums[0, : len(kept)] = sums[1, len(kept) :] = 1
    found = milp(
        np.concatenate([cost[kept], work]),
        constraints=[
            LinearConstraint(degrees, 0.0 if rounds else -np.inf, 0.0),
            LinearConstraint(ends, -np.inf, 0.0),
            LinearConstraint(sums, *[[micro * (length - (not rounds)), micro * length]] * 2),
        ],
        bounds=Bounds(
            np.concatenate([np.zeros(len(kept)), np.full(nodes, low)]),
            np.concatenate([np.full(len(kept), np.inf), np.full(nodes, high)]),
        ),
    )
    if found.status == 2:
        return np.inf
    if found.x is None:
        return 0.0
    loss = micro * min(problem.loss) if rounds else 0.0
    caps = sum(sorted(problem.memory_cap)[-problem.group_sizes[0] :])
    return float((found.fun + loss) / caps) if caps else np.inf


def _visits_of_any_stage(problem: SkipProblem) -> tuple[float, float]:
    """Fewest and most micro-batches of all waves that a node serves, whatever its stage."""
    lows, highs = [], []
    for stage, size in enumerate(problem.group_sizes):
        low, high = problem.stage_load(stage)
        if stage == 0:
            high = min(high, problem.start_load()[1])
            low = problem.start_load()[0]
        else:
            if problem.rules.visits_per_wave:
                high = min(high, max(problem.memory_cap))
            low = max(0, low - (size - 1) * high)
        lows.append(low)
        highs.append(high)
    return float(min(lows) * problem.waves), float(max(highs) * problem.waves)


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
