"""Whole steps from their steady state, against the best known makespans.

F = I = W = 10, memory +1 at F, -1/2 at I and W; V placement: two chunks of 5 a device, caps in chunks. The
makespans are the optima found by full-horizon CP-SAT, or the published zero-bubble heuristic's (2130).
"""

import pytest

from solvers.schedule.graph import operation_graph
from solvers.schedule.periodic_orders import periodic_orders
from solvers.schedule.problem import ScheduleProblem
from solvers.schedule.schedule import timed
from tests.solvers.schedule.instances import linear, passes, placed, v_placed


def best(problem: ScheduleProblem, seconds: float = 8.0) -> float:
    graph = operation_graph(problem)
    schedules = [timed(graph, orders) for orders in periodic_orders(problem, time_limit_seconds=seconds)]
    assert [schedule.over_cap for schedule in schedules] == [()] * len(schedules)
    makespans = [schedule.makespan for schedule in schedules]
    assert makespans == sorted(makespans)
    return makespans[0]


@pytest.mark.parametrize(
    ("problem", "makespan"),
    [
        (linear(4, 8, cap=4), 270),
        (linear(8, 16, cap=8), 550),
        (linear(8, 16, cap=6), 610),
        (linear(8, 24, 1.0, cap=8), 818),
        (linear(16, 64, 1.0, cap=16), 2130),
        (v_placed(4, 8, cap=4), 295),
        (v_placed(4, 8, cap=6), 265),
        (v_placed(4, 8, cap=8), 255),
    ],
)
def test_the_best_known_makespans_are_reached(problem: ScheduleProblem, makespan: float) -> None:
    assert best(problem) <= makespan


@pytest.mark.parametrize(("method", "cap"), [("vocab-1", 10), ("vocab-2", 9)])
def test_a_split_vocabulary_runs_without_bubble_within_its_count(method: str, cap: float) -> None:
    """p = 8, m = 128 as measured in the paper: 128 periods of 37 and what the ramps take, less than 4 %."""
    s, t = (2.0, 4.0) if method == "vocab-1" else (4.0, 2.0)
    vocabulary = passes(8, method, s, t, barrier=6)
    assert 128 * 37 < best(placed(range(8), 128, cap=cap, whole=True, vocabulary=vocabulary)) < 1.04 * 128 * 37


def test_different_stages_links_caps_and_passes_at_once() -> None:
    """A V of different chunks: no less than the busiest device's work for 60 micro-batches, 40 + 3 + 3 + 1 each."""
    problem = ScheduleProblem(
        devices=3,
        microbatches=60,
        device_of_chunk=(0, 1, 2, 2, 1, 0),
        forward_seconds=(5, 6, 5, 7, 6, 5),
        input_grad_seconds=(5, 7, 5, 7, 7, 5),
        weight_grad_seconds=(5, 7, 5, 5, 7, 5),
        p2p_seconds=(1, 2, 0, 2, 1),
        activation=(1, 2, 1, 1, 2, 1),
        released_by_input_grad=(0.5, 1, 0.5, 0.5, 1, 0.5),
        released_by_weight_grad=(0.5, 1, 0.5, 0.5, 1, 0.5),
        memory_cap=(8, 16, 8),
        vocabulary=passes(3, "vocab-1", 3, 3, barrier=1),
    )
    assert 60 * 47 <= best(problem) < 1.02 * 60 * 47


def test_caps_below_one_micro_batch_give_none() -> None:
    assert periodic_orders(linear(2, 4, cap=0.5)) == []
