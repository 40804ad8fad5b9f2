"""What the loss of a node leaves of a skip problem."""

from dataclasses import replace

import pytest

from planner.skip_failure import NotSurvivedError, without_node
from tests.planner.skip_schedules import chain_problem, group_problem

STAGES = (0, 1, 1, 2, 3, 0)


def test_a_stage_with_another_node_keeps_its_place() -> None:
    """Node 2 of stage 1 is lost: node 3 becomes 2, and its link to node 5, now 4, stays 0.5 + 2/4 s."""
    problem = group_problem(forward_seconds=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0))
    left = without_node(problem, STAGES, 2)
    assert (left.nodes, left.group_sizes, left.stage_of_node) == (5, (2, 1, 1, 1), (0, 1, 2, 3, 0))
    assert left.forward_seconds == (1.0, 2.0, 4.0, 5.0, 6.0)
    assert left.link_seconds[2][4] == problem.link_seconds[3][5] == 1.0
    assert (left.microbatches, left.path_length) == (problem.microbatches, problem.path_length)


def test_the_only_node_of_a_stage_takes_the_stage_with_it() -> None:
    """Stage 2 is gone, stage 3 becomes 2; three stages are left for a path of three."""
    left = without_node(group_problem(), STAGES, 3)
    assert (left.group_sizes, left.stage_of_node) == ((2, 2, 1), (0, 1, 1, 2, 0))


def test_stages_that_always_run_need_a_second_node() -> None:
    chain = chain_problem()
    for node, stage in ((0, 0), (3, 3)):
        with pytest.raises(NotSurvivedError, match=f"every micro-batch runs stage {stage} and no other node holds it"):
            without_node(chain, (0, 1, 2, 3), node)
    assert without_node(chain, (0, 1, 2, 3), 1).stage_of_node == (0, 1, 2)


def test_too_few_stages_left_say_how_many() -> None:
    with pytest.raises(
        NotSurvivedError, match="3 stages are left for 4 that a micro-batch runs: give stage 1 a second"
    ):
        without_node(chain_problem(path_length=4), (0, 1, 2, 3), 1)


def test_visits_that_fewer_nodes_cannot_keep_are_dropped_and_memory_stays() -> None:
    """4 micro-batches of 3 stages: 8 visits over 3 stages, at least 2 each. Node 2 lost, node 1 alone may be visited
    once with a memory of 1, and twice with 2."""
    tight = group_problem(memory_cap=(3, 1, 1, 3, 3, 3))
    left = without_node(tight, STAGES, 2)
    assert not left.rules.visits_per_wave
    assert left.memory_cap == (3, 1, 3, 3, 3)
    assert without_node(replace(tight, memory_cap=(3, 2, 1, 3, 3, 3)), STAGES, 2).rules.visits_per_wave
