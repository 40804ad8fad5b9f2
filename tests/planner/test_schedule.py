"""One pipeline alone: the best schedule, a named one, and what is said of both."""

import json
import math
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.timeline import SCHEDULES
from planner.cli.output import plain
from planner.named_schedules import UnsuitableScheduleError
from planner.plan.compact import Step, expand
from planner.plan.schedule_result import ScheduleResult
from planner.plan.writing import render
from planner.schedule import plan_schedule
from solvers.schedule.problem import ScheduleProblem
from tests.planner.pipelines import pipeline, pipelines

SCHEDULING = import_module("planner.schedule")


@pytest.mark.parametrize(
    ("keys", "makespan"),
    [
        ({"memory_cap": 4}, 270),  # proven optimal in the literature's reference table
        ({"memory_cap": 3}, 310),
        ({"memory_cap": 4, "split_backward": False}, 330),  # (m + p - 1)(F + B): 1F1B is optimal
    ],
)
def test_the_best_schedule_of_four_devices(keys: dict[str, Any], makespan: float) -> None:
    problem = pipeline(**keys)
    result = plan_schedule(problem)
    assert (result.value, result.makespan_seconds, result.status) == (makespan, makespan, "optimal")
    assert result.lower_bound == pytest.approx(makespan)
    assert result.gap == pytest.approx(0, abs=1e-9)
    assert max(result.peak_activation) <= keys["memory_cap"]
    assert len(result.operations) == 4
    assert all(len(row) == 8 * (3 if problem.split_backward else 2) for row in result.operations)
    for device, row in enumerate(result.operations):
        assert expand(result.compact[device], [device]) == [Step(o.op, o.chunk, o.microbatch) for o in row]


def test_never_slower_than_a_named_schedule_that_fits() -> None:
    result = plan_schedule(pipeline(3, 5, memory_cap=3, forward_seconds=[9, 10, 12], p2p_seconds=1))
    fitting = [one.makespan_seconds for one in result.baselines if one.fits]
    assert fitting
    assert result.value is not None
    assert all(other is not None and result.value <= other for other in fitting)


@settings(max_examples=15, deadline=None)
@given(pipelines(), st.sampled_from([1.0, 1.5, 3.0]))
def test_the_best_of_any_pipeline_passes_the_independent_check(problem: ScheduleProblem, room: float) -> None:
    """``plan_schedule`` raises on a finding; no named schedule that fits is better."""
    capped = replace(problem, memory_cap=tuple(room * need for need in problem.least_memory()))
    result = plan_schedule(capped, time_limit_seconds=0.3)
    assert result.value is not None  # one micro-batch at a time always fits
    fitting = [one for one in result.baselines if one.fits and one.makespan_seconds is not None]
    for one in fitting:
        other = one.makespan_seconds if problem.objective == "makespan" else one.span_seconds
        assert other is not None
        assert result.value <= other * (1 + 1e-9)


def test_one_device_or_one_micro_batch() -> None:
    """By hand: a single device works 8 x 30; a single micro-batch waits for its chain, 4 x 10 + 4 x 10, and W."""
    alone = plan_schedule(pipeline(1, 8))
    assert (alone.value, alone.status, alone.bubble_seconds) == (240, "optimal", (0,))
    single = plan_schedule(pipeline(4, 1))
    assert (single.value, single.status) == (90, "optimal")


def test_a_named_schedule_says_how_far_from_the_bound_it_is() -> None:
    """1f1b of whole backward passes: 330 by its formula; some schedule of split ones takes 270."""
    result = plan_schedule(pipeline(memory_cap=4), "1f1b")
    assert (result.value, result.status, result.split_backward) == (330, "feasible", False)
    assert result.lower_bound is not None
    assert 240 <= result.lower_bound <= 270
    assert result.compact == ("F*3 (F B)*5 B*3", "F*2 (F B)*6 B*2", "F (F B)*7 B", "(F B)*8")
    assert result.peak_activation == (4, 3, 2, 1)
    assert result.device_span_seconds == (330, 300, 270, 240)
    assert result.bubble_seconds == (90, 90, 90, 90)


def test_a_named_schedule_over_a_cap_is_infeasible_by_name_and_amount() -> None:
    result = plan_schedule(pipeline(memory_cap=[4, 2.5, 4, 4]), "1f1b")  # it keeps 4, 3, 2, 1
    assert (result.status, result.value, result.lower_bound, result.operations) == ("infeasible", None, None, ())
    assert result.reasons == ("1f1b keeps 3 alive on device 1, its memory_cap is 2.5: 0.5 short",)
    assert result.shortfall == 0.5


def test_a_cap_below_one_micro_batch_is_infeasible_for_all() -> None:
    """A device of a V holds a micro-batch in both its chunks at once: 2, of which the cap leaves 1.5."""
    result = plan_schedule(pipeline(placement="v", memory_cap=[2, 1.5, 2, 2]))
    assert (result.status, result.value) == ("infeasible", None)
    assert result.reasons == ("device 1 keeps 2 alive for one micro-batch alone, its memory_cap is 1.5: 0.5 short",)
    assert result.shortfall == pytest.approx(0.5)
    assert not any(one.fits for one in result.baselines)


def test_baselines_are_all_named_schedules() -> None:
    found = {one.name: one for one in plan_schedule(pipeline(memory_cap=4), "zb-h1").baselines}
    assert tuple(found) == SCHEDULES
    assert (found["zb-h1"].makespan_seconds, found["zb-h1"].fits) == (270, True)
    assert (found["gpipe"].makespan_seconds, found["gpipe"].fits) == (330, False)
    assert found["gpipe"].reason == "keeps 8 alive on device 0, its memory_cap is 4: 4 short (and on 3 more)"
    assert found["zb-v"].makespan_seconds is None
    assert "2 chunks on each device" in found["zb-v"].reason


def test_what_does_not_suit_or_exist_is_refused() -> None:
    with pytest.raises(UnsuitableScheduleError, match="2 chunks on each device"):
        plan_schedule(pipeline(), "zb-v")
    with pytest.raises(UnsuitableScheduleError, match="'2f2b' is not one of best, gpipe"):
        plan_schedule(pipeline(), "2f2b")


def test_the_span_is_an_objective_of_its_own() -> None:
    """ZB-H2 leaves no bubble in any device's span: 8 x 30."""
    result = plan_schedule(pipeline(memory_cap=7, objective="span"))
    assert (result.value, result.span_seconds, result.status) == (240, 240, "optimal")
    assert result.makespan_seconds is not None
    assert result.makespan_seconds >= 240


def test_a_result_that_fails_its_check_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SCHEDULING._result

    def broken(*arguments: Any, **keywords: Any) -> ScheduleResult:
        result: ScheduleResult = made(*arguments, **keywords)
        return replace(result, peak_activation=(0.0,) * 4)

    monkeypatch.setattr(SCHEDULING, "_result", broken)
    with pytest.raises(RuntimeError, match="4 findings: /peak_activation/0"):
        plan_schedule(pipeline(), "1f1b")


def test_the_same_problem_and_seed_give_the_same_bytes() -> None:
    def text() -> str:
        data = plain(plan_schedule(pipeline(memory_cap=3), seed=5))
        return render({**data, "seconds": 0.0})

    first = text()
    assert text() == first
    assert json.loads(first)["seed"] == 5
    assert math.isfinite(json.loads(first)["value"])
