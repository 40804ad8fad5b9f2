"""Groups to nodes: how many assignments there are, and what a node holds."""

import numpy as np
import pytest

from solvers.experts.hierarchy import MOST_ASSIGNMENTS, enumerate_assignments, even_assignment, experts_of


@pytest.mark.parametrize(
    ("groups", "nodes", "most", "count"),
    [
        (8, 4, 2, 105),  # 7 * 5 * 3 pairings
        (8, 8, 1, 1),
        (4, 2, 2, 3),
        (4, 2, 3, 7),  # 3 pairings and 4 of three with one
        (4, 2, 9, 7),  # no node stays empty
        (5, 3, 5, 25),  # Stirling number of the second kind S(5, 3)
    ],
)
def test_every_assignment_to_nodes_alike_is_listed_once(groups: int, nodes: int, most: int, count: int) -> None:
    found = enumerate_assignments(groups, nodes, most)
    assert found is not None
    named = {frozenset(found.subsets[k] for k in option) for option in found.options}
    assert len(named) == len(found.options) == count
    for assignment in named:
        assert sorted(group for subset in assignment for group in subset) == list(range(groups))
        assert max(len(subset) for subset in assignment) <= most


def test_too_many_assignments_are_not_listed() -> None:
    assert enumerate_assignments(16, 8, 2) is None  # 15 * 13 * ... * 3 = 2,027,025
    assert MOST_ASSIGNMENTS < 2_027_025


def test_even_assignments_give_every_node_as_many_groups() -> None:
    loads = np.random.default_rng(0).lognormal(0, 1, (3, 32))
    for assignment in even_assignment(loads, 16, 4):
        assert [len(node) for node in assignment] == [4] * 4
        assert sorted(group for node in assignment for group in node) == list(range(16))


def test_experts_of_groups_are_consecutive() -> None:
    assert experts_of((0, 2), 3).tolist() == [0, 1, 2, 6, 7, 8]
