"""What a problem of balance refuses, and what a placement must hold."""

import numpy as np
import pytest

from solvers.experts.problem import Placement, balance_problem


@pytest.mark.parametrize(
    ("loads", "settings", "message"),
    [
        ([[1.0, float("nan")]], {}, "loads: layer 0, expert 1 is nan"),
        ([[1.0, 2.0], [3.0, -1.0]], {}, "loads: layer 1, expert 1 is -1.0"),
        ([[1.0, float("inf")]], {}, "loads: layer 0, expert 1 is inf"),
        ([[[1.0, 2.0]]], {}, r"loads: has the shape \(1, 1, 2\)"),
        ([1.0] * 5, {}, "layer 0 has 2 slots on each of 2 GPUs for 5 experts; at least 3 are needed"),
        ([1.0, 2.0], {"slots_per_gpu": 1.5}, "slots_per_gpu: 1.5; whole numbers"),
        ([1.0, 2.0], {"slots_per_gpu": [1, 2]}, "one for each of 1 layers"),
        ([1.0, 2.0], {"gpus": 0}, "gpus: 0"),
        ([1.0, 2.0], {"gpus": 3, "gpus_per_node": 2}, "gpus_per_node: 2 does not divide the 3 GPUs"),
        ([1.0] * 4, {"expert_groups": 3}, "expert_groups: 3 does not divide the 4 experts"),
        ([1.0] * 4, {"gpus": 4, "gpus_per_node": 1, "expert_groups": 2}, "leave some of 4 nodes"),
        ([1.0] * 6, {"gpus": 4, "gpus_per_node": 2, "slots_per_gpu": 2, "expert_groups": 2}, None),
        ([1.0] * 9, {"gpus": 6, "gpus_per_node": 3, "slots_per_gpu": 1, "expert_groups": 3}, "at least 2 are needed"),
        (
            [1.0] * 9,
            {"gpus": 10, "gpus_per_node": 5, "slots_per_gpu": 1, "expert_groups": 3},
            "find no room on 2 nodes",
        ),
    ],
)
def test_what_is_wrong_is_named(loads: object, settings: dict[str, object], message: str | None) -> None:
    given = {"gpus": 2, "slots_per_gpu": 2} | settings
    if message is None:
        balance_problem(loads, **given)  # type: ignore[arg-type]
        return
    with pytest.raises(ValueError, match=message):
        balance_problem(loads, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1, 2, 3, 0, 9, 1, 2]], "an expert outside 0 ... 3"),
        ([[0, 1, 2, 2, 0, 1, 1, 2]], "no slot for expert 3"),
        ([[0, 1, 2, 3, 0, 1, 1, 1]], "group 0 on more than one node"),
        ([[0, 1, 2, 3]], r"shape \(1, 4\), not \(1, 8\)"),
        ([[0, 1, 1, 0, 2, 3, 2, 2]], None),
    ],
)
def test_a_placement_is_checked(rows: list[list[int]], message: str | None) -> None:
    problem = balance_problem([1.0] * 4, gpus=4, slots_per_gpu=2, gpus_per_node=2, expert_groups=2)
    placement = Placement(np.array(rows), 4, (2,))
    if message is None:
        problem.check(placement)
        return
    with pytest.raises(ValueError, match=message):
        problem.check(placement)


def test_loads_of_gpus_split_equally_among_replicas() -> None:
    """Expert 0 with load 6 and three replicas carries 2 in each: 2 + 2 | 2 + 1 | 3 over the mean 10 / 3 (by hand)."""
    problem = balance_problem([6.0, 1.0, 3.0], gpus=3, slots_per_gpu=2)
    placement = Placement(np.array([[0, 0, 0, 1, 2, 2]]), 3, (2,))
    assert problem.gpu_loads(placement).tolist() == [[4.0, 3.0, 3.0]]
    assert problem.max_over_mean(placement) == pytest.approx([1.2])
