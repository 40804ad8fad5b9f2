"""The checker of placements: figures by hand, and every corruption of a sound result found by its rule."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from planner.expert_problem import ExpertProblem, load_experts
from planner.experts import plan_experts
from planner.plan.experts_result import ExpertsResult
from planner.validate.experts import check_experts, count_figures, placement_faults
from tests.planner.expert_problems import transitions


def shape(**keys: Any) -> Any:
    given = {"gpus": 2, "gpus_per_node": 1, "experts": 3, "layers": 2, "layer_ids": (4, 5), "slots_per_gpu": (2, 2)}
    return SimpleNamespace(**{**given, **keys})


def counts(**keys: Any) -> Any:
    given: dict[str, Any] = {"loads": (), "transitions": (), "routes": ()}
    return SimpleNamespace(**{**given, **keys})


ROWS = ((0, 1, 0, 2), (0, 1, 2, 2))
"""Layer 4: expert 0 on both GPUs; layer 5: expert 2 twice on GPU 1."""


def test_loads_split_equally_among_replicas() -> None:
    """Layer 4: 3 + 2 against 3 + 4, mean 6. Layer 5: 1 + 1 against 4, mean 3."""
    loads = np.array([[6.0, 2.0, 4.0], [1.0, 1.0, 4.0]])
    found = count_figures(shape(), counts(loads=(loads,)), ROWS)
    assert found.max_over_mean == (pytest.approx(7 / 6), pytest.approx(4 / 3))


def test_the_worst_trace_counts_or_their_sum() -> None:
    """Layer 4: GPU 0 holds half of 0 and all of 1, so (0, 4, 0) is 4 of mean 2; (0, 0, 4) the same on GPU 1; the
    sum is even."""
    one, other = np.array([[0.0, 4.0, 0.0]] * 2), np.array([[0.0, 0.0, 4.0]] * 2)
    assert count_figures(shape(), counts(loads=(one, other)), ROWS, worst=True).max_over_mean == (2.0, 2.0)
    assert count_figures(shape(), counts(loads=(one, other)), ROWS).max_over_mean == (1.0, 1.0)


def test_a_token_takes_every_replica_equally_often() -> None:
    """0 -> 0: half leaves from GPU 1 to GPU 0, where 0 is in layer 5. 0 -> 2: half leaves. 1 -> 2: all leaves."""
    table = np.zeros((1, 3, 3))
    table[0, 0, 0], table[0, 0, 2], table[0, 1, 2] = 8, 4, 5
    price = [[0.0, 1.0], [10.0, 0.0]]
    found = count_figures(shape(), counts(loads=(np.ones((2, 3)),), transitions=(table,)), ROWS, price)
    assert found.transitions == (17,)
    assert found.leaving_gpu == found.leaving_node == (pytest.approx(4 + 2 + 5),)
    assert found.cost == (pytest.approx(4 * 10 + (2 + 5) * 1),)
    tail = count_figures(shape(), counts(loads=(np.ones((2, 3)),), transitions=(table,)), ROWS, price, tail=True)
    assert tail.cost == (pytest.approx(40),)


def test_copies_go_once_to_each_other_gpu_and_node() -> None:
    """Experts 0 1 | 2 3 | 4 5 | 6 7, nodes of two GPUs. {0, 2, 4}: three GPUs, two nodes; {0, 1, 2}: two GPUs, one.
    Homes are spread: 1 - 1/4 of the GPUs, 1 - 1/2 of the nodes are others."""
    routes = ((np.array([[0, 2, 4], [0, 1, 2]]), np.array([1.0, 3.0])),)
    where = shape(gpus=4, gpus_per_node=2, experts=8, layers=1, layer_ids=(0,), slots_per_gpu=(2,))
    found = count_figures(where, counts(loads=(np.ones((1, 8)),), routes=routes), [tuple(range(8))])
    assert found.gpu_copies == (pytest.approx((3 + 3 * 2) / 4 * 0.75),)
    assert found.node_copies == (pytest.approx((2 + 3 * 1) / 4 * 0.5),)


@pytest.mark.parametrize(
    ("rows", "groups", "expected"),
    [
        (ROWS[:1], None, "1 layers, not 2"),
        ((ROWS[0], (0, 1, 2)), None, "layer 5 has 3 slots, not 2 x 2"),
        ((ROWS[0], (0, 1, 3, 2)), None, "layer 5 holds expert 3, there are 3"),
        ((ROWS[0], (0, 1, 0, 1)), None, "layer 5 has no slot for expert 2"),
        (ROWS, 3, "layer 4 has group 0 on nodes [0, 1]"),
    ],
)
def test_what_is_no_placement(rows: Any, groups: int | None, expected: str) -> None:
    assert expected in [message for _, message in placement_faults(shape(), rows, groups)]


def test_an_expert_twice_on_a_gpu_is_a_fault_where_it_was_forbidden() -> None:
    assert list(placement_faults(shape(), ROWS)) == []
    found = [message for _, message in placement_faults(shape(), ROWS, apart=True)]
    assert found == ["layer 5 holds an expert twice on GPU 1"]


@pytest.fixture(scope="module")
def sound() -> tuple[ExpertProblem, ExpertsResult]:
    problem = load_experts(transitions(gpus_per_node=1, load_limit=1.2))
    return problem, plan_experts(problem)


def rules(problem: ExpertProblem, result: ExpertsResult, **keys: Any) -> set[str]:
    price = problem.cost.tolist()
    return {finding.rule for finding in check_experts(problem, problem.traces, result, price=price, **keys)}


def test_a_sound_result_has_no_findings(sound: tuple[ExpertProblem, ExpertsResult]) -> None:
    assert rules(*sound, load_limit=1.2) == set()


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"value": 0.05}, "experts.value"),
        ({"lower_bound": 0.5}, "experts.bound"),
        ({"lower_bound": None}, "experts.bound"),
        ({"lower_bound": 0.01}, "experts.gap"),
        ({"lower_bound": 0.0, "gap": 1.0}, "experts.status"),
        ({"max_over_mean": 1.0}, "experts.max_over_mean"),
        ({"worst_max_over_mean": 1.0}, "experts.worst_max_over_mean"),
        ({"transition_share_leaving_gpu": 0.5}, "experts.transition_share_leaving_gpu"),
        ({"transition_share_leaving_node": None}, "experts.transition_share_leaving_node"),
        ({"gpu_copies_per_token": 1.0}, "experts.gpu_copies_per_token"),
        ({"per_layer": ()}, "experts.layers"),
        ({"physical_to_logical": ((0, 1), (0, 0), (0, 1))}, "experts.placement"),
        ({"physical_to_logical": ()}, "experts.value"),
    ],
)
def test_every_corruption_is_found(sound: tuple[ExpertProblem, ExpertsResult], keys: dict[str, Any], rule: str) -> None:
    problem, result = sound
    assert rule in rules(problem, replace(result, **keys))


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ({"max_over_mean": 1.0}, "experts.max_over_mean"),
        ({"lower_bound": 3.0}, "experts.layer_bound"),
        ({"lower_bound": 0.5}, "experts.layer_bound"),
        ({"transition_share_leaving_gpu": 0.0}, "experts.share"),
    ],
)
def test_every_corruption_of_a_layer_is_found(
    sound: tuple[ExpertProblem, ExpertsResult], keys: dict[str, Any], rule: str
) -> None:
    problem, result = sound
    layers = (replace(result.per_layer[0], **keys), *result.per_layer[1:])
    assert rule in rules(problem, replace(result, per_layer=layers))


def test_a_gpu_above_the_load_limit_is_found(sound: tuple[ExpertProblem, ExpertsResult]) -> None:
    assert rules(*sound, load_limit=1.05) == {"experts.load_limit"}
