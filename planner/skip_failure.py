"""The loss of one node of a partial pipeline: what is left to plan with, and why it may not do."""

from dataclasses import replace
from itertools import compress

from solvers.skip.problem import SkipProblem


class NotSurvivedError(ValueError):
    """No set of paths is left; the text says why and what would help."""


def without_node(problem: SkipProblem, stage_of_node: tuple[int, ...], lost: int) -> SkipProblem:
    """``problem`` on the nodes left, arranged as they were; node n > ``lost`` is n - 1 there.

    A stage that loses its only node is skipped by every micro-batch, and the stages after it move up by one, so that
    jumps over it are one shorter. Micro-batches, path length and all rules stay; a cap on visits of a wave
    (``visits_per_wave``) that the fewer nodes of the stage cannot keep is dropped, the cap on what is in flight holds.
    Raises ``NotSurvivedError`` where a stage that every micro-batch runs is lost, or too few stages are left.
    """
    stage = stage_of_node[lost]
    kept = [node != lost for node in range(problem.nodes)]
    sizes, stages = list(problem.group_sizes), list(compress(stage_of_node, kept))
    sizes[stage] -= 1
    if not sizes[stage]:
        if stage in problem.forced_stages:
            raise NotSurvivedError(
                f"every micro-batch runs stage {stage} and no other node holds it: give it a second node"
            )
        if problem.stages - 1 < problem.path_length:
            raise NotSurvivedError(
                f"{problem.stages - 1} stages are left for {problem.path_length} that a micro-batch runs: "
                f"give stage {stage} a second node, or skip more"
            )
        del sizes[stage]
        stages = [one - (one > stage) for one in stages]
    left = replace(
        problem,
        forward_seconds=tuple(compress(problem.forward_seconds, kept)),
        backward_seconds=tuple(compress(problem.backward_seconds, kept)),
        loss_seconds=tuple(compress(problem.loss_seconds, kept)),
        link_seconds=tuple(tuple(compress(row, kept)) for row in compress(problem.link_seconds, kept)),
        memory_cap=tuple(compress(problem.memory_cap, kept)),
        group_sizes=tuple(sizes),
        stage_of_node=tuple(stages),
    )
    if problem.rules.visits_per_wave and not _visits_fit(left):
        left = replace(left, rules=replace(left.rules, visits_per_wave=False))
    return left


def _visits_fit(problem: SkipProblem) -> bool:
    """Whether every stage's nodes together may be visited as often as the balance asks."""
    assert problem.stage_of_node is not None
    room = [0] * problem.stages
    for node, stage in enumerate(problem.stage_of_node):
        room[stage] += problem.memory_cap[node]
    return all(room[stage] >= problem.stage_load(stage)[0] for stage in range(1, problem.stages))
