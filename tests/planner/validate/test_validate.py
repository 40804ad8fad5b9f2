"""The validator as a whole: sound plans pass, anything else gives findings, nothing raises."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.plan import Plan, PlanError
from planner.plan.writing import seal
from planner.validate import validate, validate_json
from tests.planner.plan import samples

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_sound_plans_have_no_findings(sample: Any, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    sample().save(path)
    assert validate(path) == []
    assert validate(sample()) == []


def test_all_findings_come_at_once() -> None:
    document = samples.interleaved_dense().to_json()
    document["schedule"]["microbatches"] = 3
    document["prediction"]["mfu"] = 0.9
    document["certificate"]["gap"] = 0.5
    found = {finding.path for finding in validate_json(seal(document))}
    assert found == {"/schedule/microbatches", "/prediction/mfu", "/certificate/gap"}


def test_a_file_that_is_not_json_could_not_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(samples.single_stage_windowed().text()[:-40], encoding="utf-8")
    with pytest.raises(PlanError, match="is the file cut short"):
        validate(path)


def test_a_plan_object_changed_in_memory_is_checked_too() -> None:
    plan = samples.single_stage_windowed()
    wrong = plan.model_copy(update={"schedule": plan.schedule.model_copy(update={"microbatches": 5})})
    assert {finding.rule for finding in validate(wrong)} == {"digest", "schedule"}


def test_schema_findings_point_into_the_document() -> None:
    document = samples.interleaved_dense().to_json()
    document["certificate"]["pruned"]["a/b"] = "many"
    (finding,) = validate_json(document)
    assert (finding.rule, finding.path) == ("schema", "/certificate/pruned/a~1b")


@given(JSON)
def test_any_json_gives_findings(value: Any) -> None:
    assert validate_json(value) != []


def _leaves(value: Any, steps: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [steps] * bool(steps) + [leaf for key, item in items for leaf in _leaves(item, (*steps, key))]


DOCUMENT = samples.experts_and_prediction_layer().to_json()
NUMBERS = st.integers(-3, 10**18) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(_leaves(DOCUMENT)), NUMBERS | JSON), min_size=1, max_size=4))
def test_a_plan_with_arbitrary_values_put_in_never_raises(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """Sealed again, so that the checks behind the digests run."""
    document = copy.deepcopy(DOCUMENT)
    for steps, value in changes:
        holder: Any = document
        try:
            for step in steps[:-1]:
                holder = holder[step]
            holder[steps[-1]] = value
        except (KeyError, IndexError, TypeError):  # an earlier change took the place away
            continue
    sealed = seal(document) if isinstance(document["inputs"], dict) else document
    for finding in validate_json(sealed):
        assert finding.rule
        assert finding.message
    assert Plan.from_json(DOCUMENT).to_json() == DOCUMENT
