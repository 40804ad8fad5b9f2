"""Schedules by rule as orders of a stated pipeline."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from costmodels.timeline import SCHEDULES, schedule_order, simulate
from planner.named_schedules import UnsuitableScheduleError, named_schedule
from solvers.schedule.graph import operation_graph
from solvers.schedule.problem import ScheduleProblem
from solvers.schedule.schedule import timed
from tests.planner.pipelines import pipeline, pipelines


@pytest.mark.parametrize(
    ("name", "keys", "makespan", "span", "peak"),
    [
        # (m + p - 1)(F + B), in flight m and p: Huang et al., Narayanan et al.
        ("gpipe", {}, 330, 330, 8),
        ("1f1b", {}, 330, 330, 4),
        # the makespan of 1F1B less (p - 1) W: arXiv 2401.10241, ZB-H1 with the memory of 1F1B
        ("zb-h1", {}, 270, 270, 4),
        # a span without bubble and 2 p - 1 in flight: the same, ZB-H2
        ("zb-h2", {}, 270, 240, 7),
        # m (F + B) + (p - 1)(F + B) / v: arXiv 2104.04473, chunks of half the work
        (
            "interleaved-1f1b",
            {
                "placement": {"interleaved": {"chunks": 2}},
                "forward_seconds": 5,
                "input_grad_seconds": 5,
                "weight_grad_seconds": 5,
            },
            285,
            285,
            11,
        ),
    ],
)
def test_published_times_and_memory(
    name: str, keys: dict[str, object], makespan: float, span: float, peak: float
) -> None:
    """4 devices, 8 micro-batches; interleaved peak by hand: (v - 1) p + 2 (p - 1) + 1 = 11 chunks on device 0."""
    found = named_schedule(name, pipeline(**keys)).schedule
    assert found.makespan == makespan
    assert max(found.peak_memory) == peak
    assert named_schedule(name, pipeline(**keys, objective="span")).schedule.span == span


@settings(max_examples=60, deadline=None)
@given(pipelines())
def test_times_are_those_of_the_cost_models_simulation(problem: ScheduleProblem) -> None:
    """Second method: ``costmodels.timeline.simulate`` of the same rule with whole backward passes."""
    if problem.vocabulary is not None:
        problem = replace(problem, vocabulary=None)
    problem = replace(problem, objective="makespan")
    per_device = problem.chunks // problem.devices
    name = "1f1b" if per_device == 1 else "interleaved-1f1b"
    if problem.device_of_chunk != tuple(range(problem.devices)) * per_device:
        return
    backward = [i + w for i, w in zip(problem.input_grad_seconds, problem.weight_grad_seconds, strict=True)]
    order = schedule_order(name, problem.devices, per_device, problem.microbatches)
    expected = simulate(order, problem.forward_seconds, backward, problem.p2p_seconds).makespan_seconds
    found = named_schedule(name, problem)
    assert not found.splits_backward
    assert found.schedule.makespan == pytest.approx(float(expected))


@settings(max_examples=60, deadline=None)
@given(pipelines())
def test_a_hint_is_a_schedule_of_the_problem_as_stated(problem: ScheduleProblem) -> None:
    """No later than with whole backward passes: I alone lets go sooner than B."""
    graph, some = operation_graph(replace(problem, objective="makespan")), 0
    for name in SCHEDULES:
        try:
            found = named_schedule(name, replace(problem, objective="makespan"))
        except UnsuitableScheduleError:
            continue
        assert timed(graph, found.hint).makespan <= found.schedule.makespan + 1e-9
        some += 1
    assert some or (problem.chunks > problem.devices and not problem.split_backward)  # V schedules split it


def test_any_numbering_of_the_devices_will_do() -> None:
    shuffled = named_schedule("zb-h1", pipeline(placement=[2, 0, 3, 1])).schedule
    plain = named_schedule("zb-h1", pipeline()).schedule
    assert shuffled.makespan == plain.makespan
    assert [shuffled.peak_memory[device] for device in (2, 0, 3, 1)] == list(plain.peak_memory)


@pytest.mark.parametrize(
    ("name", "keys", "said"),
    [
        ("2f2b", {}, "'2f2b' is not one of gpipe, 1f1b"),
        ("zb-h1", {"split_backward": False}, "zb-h1 runs I and W apart, and split_backward is false"),
        ("zb-v", {}, "zb-v has 2 chunks on each device, not 4 on 4"),
        ("1f1b", {"placement": "v"}, "1f1b has 1 chunk on each device, not 8 on 4"),
        ("1f1b", {"placement": [0, 1, 2, 3, 3]}, "not 5 on 4"),
        ("interleaved-1f1b", {}, "several chunks on each device, not 1"),
        ("interleaved-1f1b", {"placement": [0, 1, 2, 3, 3]}, "the same number of chunks on each device, not 5 on 4"),
        ("interleaved-1f1b", {"placement": "v"}, "has chunks 0 and 4 on one device, placement has not"),
        (
            "interleaved-1f1b",
            {"placement": {"interleaved": {"chunks": 2}}, "microbatches": 6},
            "needs a multiple of 4 micro-batches, not 6",
        ),
        ("v-min", {"placement": {"interleaved": {"chunks": 2}}}, "v-min has chunks 0 and 7 on one device"),
        (
            "zb-h1",
            {"vocabulary": {"passes": "vocab-1", "s_seconds": 1, "t_seconds": 1}},
            "zb-h1 has no rule here for the passes of a split vocabulary",
        ),
        (
            "1f1b",
            {"devices": 1, "vocabulary": {"passes": "vocab-1", "s_seconds": 1, "t_seconds": 1}},
            "1f1b has no rule here for the passes",
        ),
    ],
)
def test_what_does_not_suit_says_why(name: str, keys: dict[str, object], said: str) -> None:
    with pytest.raises(UnsuitableScheduleError, match=said):
        named_schedule(name, pipeline(**keys))
