"""A plan with placed experts: any one corruption of loads or placement is caught by what it means."""

from typing import Any

import pytest

from planner.plan import Plan, with_order
from planner.plan.writing import seal
from planner.validate import validate_json
from tests.planner.test_expert_training import UNEVEN, solved
from tests.planner.validate.mutations import mutations


@pytest.fixture(scope="module")
def plan() -> Plan:
    return solved(loads=UNEVEN, ep=2)


def silent(plan: Plan, inside: tuple[str, ...], least: int) -> list[str]:
    """Corruptions of parts of the plan that are not caught although the digests are made anew."""
    document = plan.to_json()
    assert validate_json(document) == []
    found, seen = [], 0
    for path, what, corrupted in mutations(document):
        if path.startswith(inside):
            seen += 1
            if not validate_json(seal(corrupted)):
                found.append(f"{path} {what}")
    assert seen >= least
    return found


def test_every_corruption_of_loads_and_placement_is_caught(plan: Plan) -> None:
    assert plan.experts is not None
    assert min(plan.experts.imbalance) > 1.0
    mirrored = [f"/inputs/expert_loads/tokens/{k} swapped" for k in range(3)]  # two pairs of four: each its own mirror
    assert silent(plan, ("/experts", "/inputs/expert_loads"), 200) == mirrored


def test_every_corruption_of_what_an_alternative_comes_to_is_caught() -> None:
    """The placement behind it is not in the plan: its price tells."""
    plan = solved(loads=UNEVEN)
    assert plan.experts is not None
    assert [other.ep for other in plan.experts.others] == [2]
    assert silent(plan, ("/experts/others",), 20) == []


def changed(plan: Plan, **placed: Any) -> dict[str, Any]:
    document = plan.to_json()
    return seal({**document, "experts": {**document["experts"], **placed}})


def rules(document: dict[str, Any]) -> set[str]:
    return {finding.rule for finding in validate_json(document)}


def test_an_expert_lost_and_another_twice_is_named(plan: Plan) -> None:
    rows = plan.to_json()["experts"]["new_to_old"]
    assert "experts.permutation" in rules(changed(plan, new_to_old=[[0, 0, 2, 3], *rows[1:]]))


def test_an_imbalance_better_than_the_placements_own_is_caught() -> None:
    """Of layer 0, with the old numbers in order, 11 of 7: not the 1 that the figure says."""
    plan = solved(ep=2)
    rows = plan.to_json()["experts"]["new_to_old"]
    document = changed(plan, new_to_old=[[0, 1, 2, 3], *rows[1:]])
    found = [finding for finding in validate_json(document) if finding.rule == "experts.imbalance"]
    assert [finding.path for finding in found] == ["/experts/imbalance/0"]
    assert float(found[0].expected) == 11 / 7


def test_a_section_without_its_loads_is_caught(plan: Plan) -> None:
    document = plan.to_json()
    document = {**document, "inputs": {k: v for k, v in document["inputs"].items() if k != "expert_loads"}}
    assert "experts.both" in rules(seal(document))


def test_pipelines_on_consecutive_ranks_pull_the_ranks_of_a_group_apart() -> None:
    """Two stages on two nodes of two GPUs: by hand the group of rank 0 is 0 and 1 in one node with stages last, and 0
    and 2 in two nodes with pipelines on consecutive ranks."""
    plan = solved(loads=UNEVEN, ep=2, pp=2)
    assert (plan.parallelism.tp, plan.parallelism.dp, plan.cluster().domain_gpus) == (1, 2, 2)
    found = validate_json(with_order(plan, "tp-cp-pp-dp").to_json())
    assert {(finding.path, finding.expected) for finding in found} == {
        ("/experts/group/domains", "2"),
        ("/experts/group/ranks_per_domain", "1"),
    }
