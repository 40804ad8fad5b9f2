"""What the loss of a node leaves: its stage has a copy less, or is skipped by all where it had only one.

The arrangement stays (weights lie where they are). The visits of a wave, sized for all nodes, are no longer limited;
micro-batches in flight are. A stage that every path needs is lost with its last node: nothing survives that.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from solvers.skip.problem import SkipProblem
from solvers.skip.solve import SkipResult, solve_skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """After the loss of ``node``: the result over the nodes that are left, which keep their order (the numbers in its
    paths are those of the smaller problem), None with ``reason`` where no set of paths is feasible; seconds of
    planning."""

    node: int
    result: SkipResult | None
    reason: str | None
    seconds: float

    @property
    def makespan(self) -> float:
        choice = self.result.solution.choice if self.result else None
        return choice.makespan if choice else np.inf


def without_node(problem: SkipProblem, stage_of_node: Sequence[int], node: int) -> SkipProblem:
    """The problem over the other nodes, in this arrangement.

    Raises ``ValueError`` where the node's stage is lost with it and every path needs that stage, or its loss leaves
    fewer stages than a path has.
    """
    stage = stage_of_node[node]
    keep = [n for n in range(problem.nodes) if n != node]
    sizes = list(problem.group_sizes)
    sizes[stage] -= 1
    stages = [stage_of_node[n] for n in keep]
    if not sizes[stage]:
        if stage in problem.forced_stages:
            raise ValueError(f"node {node}: stage {stage} has no other node, and every path needs it")
        if problem.path_length == problem.stages:
            raise ValueError(
                f"node {node}: stage {stage} has no other node, and paths have all {problem.stages} stages"
            )
        del sizes[stage]
        stages = [s - (s > stage) for s in stages]

    def kept(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(values[n] for n in keep)

    return replace(
        problem,
        forward_seconds=kept(problem.forward_seconds),
        backward_seconds=kept(problem.backward_seconds),
        loss_seconds=kept(problem.loss_seconds) if problem.loss_seconds else (),
        link_seconds=tuple(kept(problem.link_seconds[n]) for n in keep),
        memory_cap=tuple(problem.memory_cap[n] for n in keep),
        group_sizes=tuple(sizes),
        stage_of_node=tuple(stages),
        rules=replace(problem.rules, visits_per_wave=False),
    )


def losses(
    problem: SkipProblem,
    stage_of_node: Sequence[int],
    *,
    time_limit_seconds: float,
    seed: int = 0,
    workers: int = 2,
) -> tuple[Loss, ...]:
    """The loss of each node in turn, planned anew within ``time_limit_seconds`` each.

    The pipeline survives any one failure where every ``result`` has a schedule; the makespan after the worst loss is
    the largest.
    """
    found = []
    for node in range(problem.nodes):
        began = time.perf_counter()
        result, reason = None, None
        try:
            smaller = without_node(problem, stage_of_node, node)
        except ValueError as error:
            reason = str(error)
        else:
            result = solve_skip(smaller, time_limit_seconds=time_limit_seconds, seed=seed, workers=workers)
            if result.solution.choice is None:
                reason = f"node {node}: {result.bounds[-1].reason}" if result.bounds else f"node {node}: none found"
        found.append(Loss(node=node, result=result, reason=reason, seconds=time.perf_counter() - began))
    return tuple(found)
