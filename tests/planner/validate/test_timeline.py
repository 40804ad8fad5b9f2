"""The independent check of timed schedules: sound ones pass, each kind of fault gives its own finding."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from costmodels.timeline import SCHEDULES
from planner.named_schedules import UnsuitableScheduleError
from planner.plan.compact import Step, compress
from planner.plan.schedule_result import ScheduleResult, TimedOperation
from planner.schedule import plan_schedule
from planner.validate.timeline import check_schedule, peak_activations
from solvers.schedule.problem import ScheduleProblem
from tests.planner.pipelines import pipeline, pipelines

Rows = list[list[TimedOperation]]

BY_HAND = """
0  F0 0-1   F1 1-2   I0 3-4   W0 4-5   I1 5-6   W1 6-7
1  F0 1-2   I0 2-3   F1 3-4   I1 4-5   W0 5-6   W1 6-7
"""
"""Two devices, two micro-batches, all of one second, no transfer: drawn on paper."""

UNIT = {"forward_seconds": 1, "input_grad_seconds": 1, "weight_grad_seconds": 1}
VOCABULARY = {
    "passes": "vocab-1",
    "s_seconds": 2,
    "t_seconds": 3,
    "input_forward_seconds": 1,
    "input_backward_seconds": 1,
    "barrier_seconds": 1,
    "broadcast_seconds": 2,
    "kept": 0.25,
}


def drawn() -> tuple[ScheduleProblem, ScheduleResult]:
    rows = []
    for line in BY_HAND.split("\n")[1:-1]:
        device, *words = line.split()
        pairs = zip(words[::2], words[1::2], strict=True)
        rows.append(
            [
                TimedOperation(
                    op=name[0],
                    chunk=int(device),
                    microbatch=int(name[1]),
                    start=float(times.split("-")[0]),
                    end=float(times.split("-")[1]),
                )
                for name, times in pairs
            ]
        )
    problem = pipeline(2, 2, **UNIT, memory_cap=[2, 2])
    result = ScheduleResult(
        name="by hand",
        schedule="best",
        objective="makespan",
        status="optimal",  # one device works 6 of the 7 seconds and cannot start before the first F is through
        stop="exhausted",
        value=7.0,
        lower_bound=7.0,
        gap=0.0,
        seconds=0.0,
        seed=0,
        devices=2,
        microbatches=2,
        device_of_chunk=(0, 1),
        split_backward=True,
        makespan_seconds=7.0,
        span_seconds=7.0,
        device_span_seconds=(7.0, 6.0),
        bubble_seconds=(1.0, 1.0),
        peak_activation=(2.0, 1.5),
        compact=("F*2 (I W)*2", "(F I)*2 W*2"),
        operations=tuple(map(tuple, rows)),
    )
    return problem, result


def rules(problem: ScheduleProblem, result: ScheduleResult) -> set[str]:
    return {finding.rule for finding in check_schedule(problem, result)}


def moved(result: ScheduleResult, change: Callable[[Rows], None]) -> ScheduleResult:
    rows = [list(row) for row in result.operations]
    change(rows)
    return replace(result, operations=tuple(map(tuple, rows)))


def shifted(operation: TimedOperation, seconds: float) -> TimedOperation:
    return replace(operation, start=operation.start + seconds, end=operation.end + seconds)


def test_a_schedule_drawn_by_hand_is_sound() -> None:
    assert check_schedule(*drawn()) == []


def _drop(rows: Rows) -> None:
    del rows[1][4]


def _twice(rows: Rows) -> None:
    rows[1].append(shifted(rows[1][-1], 1))


def _elsewhere(rows: Rows) -> None:
    rows[1].append(shifted(rows[0].pop(), 1))


def _unknown(rows: Rows) -> None:
    rows[0].append(replace(rows[0][-1], op="B", start=7.0, end=8.0))


def _sooner(rows: Rows) -> None:
    rows[0][2] = shifted(rows[0][2], -0.5)  # I of chunk 0 before that of chunk 1 has ended


def _over_another(rows: Rows) -> None:
    rows[0][3] = shifted(rows[0][3], 0.5)  # W runs into the next I


def _swap(rows: Rows) -> None:
    first, second = rows[1][0], rows[1][1]  # I before its own F, each at the other's time
    rows[1][0] = replace(second, start=first.start, end=first.end)
    rows[1][1] = replace(first, start=second.start, end=second.end)


def _weight_first(rows: Rows) -> None:
    first, second = rows[0][2], rows[0][3]
    rows[0][2] = replace(second, start=first.start, end=first.end)
    rows[0][3] = replace(first, start=second.start, end=second.end)


def _listed_wrongly(rows: Rows) -> None:
    rows[0][0], rows[0][1] = rows[0][1], rows[0][0]


def _longer(rows: Rows) -> None:
    rows[1][5] = replace(rows[1][5], end=7.5)


def _undefined(rows: Rows) -> None:
    rows[1][5] = replace(rows[1][5], start=float("nan"))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_drop, "operation.missing"),
        (_twice, "operation.once"),
        (_elsewhere, "operation.device"),
        (_unknown, "operation.known"),
        (_sooner, "wait.backward"),
        (_over_another, "device.overlap"),
        (_swap, "wait.turn"),
        (_weight_first, "wait.weight"),
        (_listed_wrongly, "device.overlap"),
        (_longer, "operation.seconds"),
        (_undefined, "operation.start"),
    ],
)
def test_a_fault_in_the_operations_is_found(change: Callable[[Rows], None], rule: str) -> None:
    problem, result = drawn()
    assert rule in rules(problem, moved(result, change))


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ({"makespan_seconds": 6.5}, {"time.makespan"}),
        ({"span_seconds": 6.0}, {"time.span"}),
        ({"device_span_seconds": (7.0, 7.0)}, {"time.span"}),
        ({"bubble_seconds": (1.0, 0.0)}, {"time.bubble"}),
        ({"bubble_seconds": (1.0,)}, {"time.bubble"}),
        ({"peak_activation": (2.0, 2.0)}, {"memory.peak"}),
        ({"value": 6.0, "lower_bound": 6.0}, {"time.value"}),
        ({"lower_bound": 7.5}, {"bound.above"}),
        ({"lower_bound": None}, {"bound.missing"}),
        ({"lower_bound": 6.0}, {"bound.gap", "bound.status"}),
        ({"lower_bound": 6.0, "gap": 1 / 7}, {"bound.status"}),
        ({"lower_bound": 6.0, "gap": 1 / 7, "status": "feasible"}, set()),
        ({"status": "feasible"}, {"bound.status"}),
        ({"gap": 0.1}, {"bound.gap"}),
        ({"compact": ("F*2 (I W)*2", "(F I)*2 W")}, {"compact.same"}),
        ({"compact": ("F*2 (I W)*2", "(F I)*2 W*")}, {"compact.text"}),
        ({"compact": ("F*2 (I W)*2",)}, {"compact.devices"}),
        ({"operations": ()}, {"schedule.devices"}),
        ({"value": None}, {"schedule.status"}),
    ],
)
def test_a_misstated_figure_is_found(stated: dict[str, Any], found: set[str]) -> None:
    problem, result = drawn()
    assert rules(problem, replace(result, **stated)) == found


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"p2p_seconds": 1}, {"wait.forward", "wait.backward"}),
        ({"p2p_seconds": 0.001}, {"wait.forward", "wait.backward"}),
        ({"memory_cap": [2, 1]}, {"memory.cap"}),
        ({"memory_cap": [1.9, 2]}, {"memory.cap"}),
        ({"activation": {"forward": 1, "released_by_input_grad": 0}}, {"memory.peak"}),  # 2 alive on device 1
        ({"activation": {"forward": 1, "released_by_input_grad": -1}}, {"memory.peak", "memory.cap"}),
        ({"forward_seconds": 0.9}, {"operation.seconds"}),
        ({"microbatches": 3}, {"operation.missing"}),
        ({"microbatches": 1}, {"operation.known"}),
        ({"split_backward": False}, {"schedule.split"}),
        ({"placement": [1, 0]}, {"operation.device", "compact.same"}),
    ],
)
def test_a_schedule_of_another_pipeline_is_found(keys: dict[str, Any], found: set[str]) -> None:
    _, result = drawn()
    given = {"memory_cap": [2, 2], **keys}
    assert rules(pipeline(2, given.pop("microbatches", 2), **UNIT | given), result) == found


BARRIERS = {"wait.lookup", "wait.lookup_gradient", "wait.statistics", "wait.output_gradient"}


@pytest.mark.parametrize("passes", ["vocab-1", "vocab-2"])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"barrier_seconds": 1.5}, BARRIERS),
        ({"broadcast_seconds": 2.5}, {"wait.broadcast"}),
        ({"kept": 0.5}, {"memory.peak"}),
        ({"s_seconds": 1}, {"operation.seconds"}),
    ],
)
def test_rules_of_the_vocabulary_passes(passes: str, change: dict[str, Any], found: set[str]) -> None:
    given = VOCABULARY | {"passes": passes}
    result = plan_schedule(pipeline(4, 8, vocabulary=given), "1f1b")
    assert rules(pipeline(4, 8, vocabulary=given | change), result) == found


def test_vocab_1_waits_for_the_second_half_too() -> None:
    """A schedule of vocab-2 starts the last backward before T: only vocab-1 minds, never the other way round."""
    first = pipeline(4, 8, vocabulary=VOCABULARY)
    second = pipeline(4, 8, vocabulary=VOCABULARY | {"passes": "vocab-2"})
    assert rules(second, plan_schedule(first, "1f1b")) == set()
    assert rules(first, plan_schedule(second, "1f1b")) == {"wait.output_gradient"}


def test_the_clock_may_start_anywhere() -> None:
    """By hand: all of it 5 seconds later has the same makespan, spans and bubble."""
    problem, result = drawn()
    later = tuple(tuple(shifted(operation, 5) for operation in row) for row in result.operations)
    assert rules(problem, replace(result, operations=later)) == set()


def test_the_value_is_that_of_the_objective() -> None:
    """ZB-H2 of four devices: span 240 without a bubble, makespan at least 270."""
    problem = pipeline(objective="span")
    result = plan_schedule(problem, "zb-h2")
    assert result.value == 240
    assert rules(problem, result) == set()
    assert rules(replace(problem, objective="makespan"), result) >= {"time.value"}


@settings(max_examples=80, deadline=None)
@given(pipelines())
def test_every_named_schedule_is_sound(problem: ScheduleProblem) -> None:
    """``plan_schedule`` would raise; and the peaks agree with the solver's own count."""
    for name in SCHEDULES:
        try:
            result = plan_schedule(problem, name)
        except UnsuitableScheduleError:
            continue
        assert check_schedule(problem, result) == []
        assert peak_activations(problem, result.operations) == pytest.approx(result.peak_activation)


@settings(max_examples=40, deadline=None)
@given(pipelines())
def test_no_operation_of_an_earliest_schedule_can_start_sooner(problem: ScheduleProblem) -> None:
    """Each is held by an overlap, a wait, or the start; a check that forgot one of them would let it go."""
    problem = replace(problem, objective="makespan")
    name = {(1, False): "1f1b", (2, False): "interleaved-1f1b"}.get(
        (problem.chunks // problem.devices, problem.device_of_chunk[-1] == 0 and problem.devices > 1), "zb-v"
    )
    try:
        result = plan_schedule(problem, name)
    except UnsuitableScheduleError:
        return
    for device, row in enumerate(result.operations):
        for position, operation in enumerate(row):

            def sooner(rows: Rows, at: tuple[int, int] = (device, position), one: TimedOperation = operation) -> None:
                rows[at[0]][at[1]] = shifted(one, -0.01)

            held = rules(problem, moved(result, sooner))
            assert any(rule.startswith(("wait.", "device.", "operation.start")) for rule in held), (device, position)


def test_the_compact_text_of_the_drawing() -> None:
    _, result = drawn()
    for device, row in enumerate(result.operations):
        assert compress([Step(o.op, o.chunk, o.microbatch) for o in row], [device]) == result.compact[device]
