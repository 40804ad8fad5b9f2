"""``objective: time``: value, bound and curve of small layers, and what is said of them."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from planner.expert_figures import derive, objective_value
from planner.expert_problem import load_experts
from planner.experts import plan_experts
from planner.plan.experts_result import ExpertsResult
from planner.specs.errors import SpecError
from planner.validate.experts import check_experts

LOADS = [[9, 4, 6, 3, 8, 2, 5, 7], [20, 1, 6, 3, 4, 2, 16, 5]]


def problem(**keys: Any) -> dict[str, Any]:
    return {
        "loads": LOADS,
        "model": "mixtral-8x7b",
        "cluster": "dgx-h100-2",
        "gpus": 4,
        "objective": "time",
        "tokens_per_gpu": 8192,
        **keys,
    }


def test_no_placement_of_eight_experts_on_four_gpus_is_faster() -> None:
    """Oracle: every order of the experts' pairs, priced; every copy is sent, so that balance alone counts."""
    asked = load_experts(problem(loads=[LOADS[1]]))
    found = plan_experts(asked)
    best = float("inf")
    for order in permutations(range(8)):
        if all(order[i] < order[i + 1] for i in range(0, 8, 2)) and order[0] == 0:
            value = objective_value(asked, derive(asked, asked.traces, (order,)))
            assert value is not None
            best = min(best, value)
    assert found.value == pytest.approx(best, rel=1e-9)
    assert found.lower_bound is not None
    assert found.lower_bound <= best


def test_the_value_is_the_sum_of_its_parts_and_of_the_layers() -> None:
    found = plan_experts(load_experts(problem()))
    assert found.time is not None
    assert found.value == pytest.approx(found.time.seconds)
    assert found.value == pytest.approx(sum(one.time.seconds for one in found.per_layer if one.time is not None))
    base = {one.name: one for one in found.baselines}
    assert base["contiguous"].value is not None
    assert found.value <= base["contiguous"].value
    assert found.curve == ()  # on one node nothing is traded


def two_nodes(**keys: Any) -> ExpertsResult:
    return plan_experts(
        load_experts(
            problem(
                loads=[[9 + k % 5 + (30 if k in (3, 17, 40) else 0) for k in range(64)]],
                model="moonlight-16b-a3b",
                gpus=16,
                slots_per_gpu=5,
                dispatch="deduplicated",
                routing={"groups": 4, "limit": 2},
                **keys,
            )
        )
    )


def test_the_curve_runs_from_few_nodes_to_even_load() -> None:
    found = two_nodes()
    assert len(found.curve) > 1
    first, last = found.curve[0], found.curve[-1]
    assert first.nodes_per_token < last.nodes_per_token
    assert first.max_over_mean >= last.max_over_mean
    assert found.value is not None
    assert found.value <= min(point.seconds for point in found.curve) * (1 + 1e-9)
    assert {one.name for one in found.baselines} == {"contiguous", "eplb", "eplb on nodes"}


@pytest.mark.parametrize("routed", [True, False])
def test_a_result_that_is_not_what_its_placement_takes_is_caught(routed: bool) -> None:
    """The validator counts with plain loops; any figure that differs is named."""
    keys: dict[str, Any] = {"gpus": 8, "cluster": "dgx-a100-80gb-8"}
    if routed:
        pairs = [[[0 if e == f else 1 + (e * f + e + f) % 5 for e in range(8)] for f in range(8)]]
        keys |= {"loads": [LOADS[0]], "coactivation": pairs}
    asked = load_experts(problem(dispatch="deduplicated", **keys))
    found = plan_experts(asked)

    def rules(result: ExpertsResult) -> set[str]:
        return {one.rule for one in check_experts(asked, asked.traces, result, timing=asked.timing)}

    assert rules(found) == set()
    assert found.value is not None
    assert "experts.seconds" in rules(replace(found, value=found.value * 1.001))
    time = found.per_layer[0].time
    assert time is not None
    wrong = replace(time, exchange_seconds=time.exchange_seconds * 1.01)
    assert "experts.seconds" in rules(
        replace(found, per_layer=(replace(found.per_layer[0], time=wrong), *found.per_layer[1:]))
    )


def test_even_loads_are_not_worth_a_placement() -> None:
    found = plan_experts(load_experts(problem(loads=[[5] * 8, [7] * 8])))
    assert found.verdict is not None
    assert not found.verdict.worth_it
    assert "not worth it" in found.verdict.text
    assert "only 0.0 % over eplb" in found.verdict.text


@pytest.mark.parametrize("gpus", [8, 16])
def test_the_bound_is_met_by_even_loads_and_holds_for_others(gpus: int) -> None:
    """Definition: even experts in order are as good as can be where every copy is sent; uneven ones take longer."""
    keys = {"model": "moonlight-16b-a3b", "gpus": gpus}
    for loads in ([5] * 64, [5 + k % 7 for k in range(64)]):
        asked = load_experts(problem(loads=[loads], **keys))
        assert asked.timing is not None
        value = objective_value(asked, derive(asked, asked.traces, (tuple(range(64)),)))
        bound = asked.timing.bound(64 // gpus, 1.0, (1.0, 1.0))
        assert value is not None
        assert bound <= value
        assert (bound == pytest.approx(value, rel=1e-9)) == (len(set(loads)) == 1)


def test_moving_weights_is_weighed_against_what_it_saves() -> None:
    """One forward pass never pays for moving experts; a million do."""
    few, many = two_nodes(passes=1), two_nodes(passes=1_000_000)
    for found in (few, many):
        assert found.moves is not None
        assert found.moves.seconds is not None
        assert found.moves.pays_after_passes is not None
        assert found.moves.pays_after_passes > 1
    assert few.verdict is not None
    assert many.verdict is not None
    assert not few.verdict.worth_it
    assert "not in the 1 there are" in few.verdict.text
    assert many.verdict.worth_it


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"gpus": 12, "slots_per_gpu": 1}, "gpus: .*do not fill NVLink domains of 8"),
        ({"gpus": 32, "slots_per_gpu": 1}, "gpus: .*32, .* has 16"),
        ({"model": "deepseek-v3"}, "has 256 experts, the loads have 8"),
        ({"gpus_per_node": 2}, "gpus_per_node: 2: 4 GPUs of the cluster share NVLink"),
        ({"routing": {"groups": 3, "limit": 1}}, "3 groups do not divide the 8 experts"),
        ({"routing": {"groups": 4, "limit": 3}}, "3 groups of a token exceed its 2 experts"),
        ({"precision": "fp4"}, "has no fp4"),
        ({"robust": "worst"}, "worst is for balance and transitions, not time"),
        ({"objective": "balance", "dispatch": "deduplicated"}, "dispatch: .*has no meaning for objective balance"),
    ],
)
def test_what_cannot_be_priced_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        load_experts(problem(**keys))
