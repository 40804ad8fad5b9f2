"""Differences of two plans."""

from dataclasses import replace

from planner.plan import Change, diff_plans
from planner.plan.diff import changes
from tests.planner.plan import samples


def test_a_plan_does_not_differ_from_itself() -> None:
    plan = samples.interleaved_dense()
    difference = diff_plans(plan, plan)
    assert not difference
    assert list(difference) == []
    assert str(difference) == "no difference"


def test_a_longer_sequence_shows_in_inputs_time_and_memory() -> None:
    plan = samples.interleaved_dense()
    longer = samples.make_plan(
        plan.cluster(),
        plan.model(),
        replace(plan.job(), sequence_length=8192),
        (plan.configuration(), plan.boundaries()),
        options=plan.inputs.options,
    )
    difference = diff_plans(plan, longer)
    assert Change(path="/inputs/job/sequence_length", before=4096, after=8192) in list(difference)
    effects = {effect.name: effect for effect in difference.effects}
    assert effects["step"].before == plan.prediction.step_seconds
    assert effects["step"].after == longer.prediction.step_seconds
    assert effects["step"].relative == longer.prediction.step_seconds / plan.prediction.step_seconds - 1
    assert effects["peak memory"].after > effects["peak memory"].before
    text = str(difference)
    assert "/inputs/job/sequence_length: 4096 -> 8192" in text
    assert "/stages/*/chunks/*/forward_seconds (8 values)" in text
    assert not any(change.path.endswith("digest") for change in difference)


def test_keys_and_items_that_come_and_go_are_changes() -> None:
    before = {"same": 1, "gone": None, "list": [{"a": 1}], "a/b": 1}
    after = {"same": 1, "new": 2, "list": [{"a": 1}, {"a": 2}], "a/b": 2}
    assert list(changes("", before, after)) == [
        Change(path="/gone", before=None, after=None),
        Change(path="/list/1", before=None, after={"a": 2}),
        Change(path="/a~1b", before=1, after=2),
        Change(path="/new", before=None, after=2),
    ]
