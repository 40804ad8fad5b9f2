"""The checks of a plan's skip section: sound as written, and no single corruption goes unnoticed."""

from copy import deepcopy
from typing import Any

import pytest

from planner.plan import Plan
from planner.plan.writing import seal
from planner.skip_plan import with_skipping
from planner.validate import validate_json
from tests.planner.exports.plans import llama_plan
from tests.planner.validate.mutations import mutations

WORDS = ("/bound_over", "/method", "/seed")
"""What nothing can derive: free text and the seed."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return with_skipping(llama_plan(), 0.25, seconds=2.0)


def findings(plan: Plan, skip: Any) -> list[str]:
    document = plan.to_json()
    document["skip"] = skip
    return [f"{one.rule} {one.path}" for one in validate_json(seal(document))]


def test_every_single_corruption_is_noticed(plan: Plan) -> None:
    section = plan.to_json()["skip"]
    seen, unnoticed = 0, []
    for pointer, what, corrupted in mutations(section):
        if not pointer or pointer.startswith(WORDS):
            continue
        seen += 1
        if not findings(plan, corrupted):
            unnoticed.append((pointer, what))
    assert seen > 100
    assert not unnoticed


def test_stages_that_wait_for_each_other_are_named(plan: Plan) -> None:
    """The last stage runs B of the first micro-batch before its F."""
    section = deepcopy(plan.to_json()["skip"])
    order = section["order"][-1].split()
    section["order"][-1] = " ".join([order[1], order[0], *order[2:]])
    assert order[1].startswith("B")
    assert findings(plan, section) == ["skip.order /skip/order"]


def test_more_in_flight_than_the_plan_has_memory_for(plan: Plan) -> None:
    """The last stage keeps one: two forward passes first need two."""
    section = deepcopy(plan.to_json()["skip"])
    order = section["order"][-1].split()
    at = next(i for i in range(1, len(order)) if order[i].startswith("F"))
    first, second = order[:at], order[at:]
    assert (first[-1][0], second[0][0]) == ("B", "F")
    section["order"][-1] = " ".join([*first[:-1], second[0], first[-1], *second[1:]])
    assert any(found.startswith("skip.memory.cap") for found in findings(plan, section))


def test_a_micro_batch_that_skips_more_than_others_is_named(plan: Plan) -> None:
    section = deepcopy(plan.to_json()["skip"])
    section["paths"][0]["stages"] = [0, 3]
    found = findings(plan, section)
    assert any("skip.order" in one or "path.length" in one for one in found)
