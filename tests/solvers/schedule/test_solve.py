import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.schedule.graph import operation_graph
from solvers.schedule.problem import ScheduleProblem
from solvers.schedule.schedule import timed
from solvers.schedule.solve import solve_schedule
from solvers.search import Progress
from tests.oracles.schedules import least_makespan, least_span
from tests.solvers.schedule.instances import linear, one_forward_one_backward, passes, placed, v_placed
from tests.solvers.schedule.random_problems import random_problem


def test_the_solver_finds_what_trying_every_order_finds() -> None:
    statuses = {"optimal": 0, "infeasible": 0}
    exact = vocabulary = several = 0
    for seed in range(200):
        problem = random_problem(np.random.default_rng(seed), most=30)
        solution = solve_schedule(problem, time_limit_seconds=60)
        assert solution.value == pytest.approx(least_makespan(problem)), f"seed {seed}"
        statuses[solution.status] += 1
        exact += solution.counts["exact"]
        vocabulary += problem.vocabulary is not None
        several += problem.chunks > problem.devices
    assert min(statuses.values()) >= 5
    assert min(exact, vocabulary, several) >= 15  # all ways to the answer were taken


def test_micro_batches_in_turn_are_no_restriction() -> None:
    """The oracle without that assumption, on the smallest."""
    checked = 0
    for seed in range(60):
        problem = random_problem(np.random.default_rng(1000 + seed), most=12)
        if problem.microbatches > 1:
            assert least_makespan(problem, in_turn=False) == least_makespan(problem)
            checked += 1
    assert checked >= 20


def test_the_least_span_is_that_of_trying_every_order() -> None:
    for seed in range(25):
        problem = random_problem(np.random.default_rng(2000 + seed), most=9, objective="span")
        solution = solve_schedule(problem, time_limit_seconds=60)
        assert solution.status in ("optimal", "infeasible")
        assert solution.value == pytest.approx(least_span(problem), abs=1e-3), f"seed {seed}"


@pytest.mark.parametrize(
    ("problem", "makespan"),  # the reference table; proven: the last two columns of the benchmark
    [
        pytest.param(linear(4, 8, 0, 4), 270.0, id="4,8,0,4"),
        pytest.param(linear(4, 8, 0, 3), 310.0, id="4,8,0,3"),
        pytest.param(linear(8, 16, 0, 8), 550.0, id="8,16,0,8"),
        pytest.param(linear(8, 16, 0, 6), 610.0, id="8,16,0,6"),
        pytest.param(linear(8, 24, 1, 8), 818.0, id="8,24,1,8"),
        pytest.param(linear(16, 64, 1, 16), 2130.0, id="16,64,1,16"),
        pytest.param(v_placed(4, 8, 0, 6), 265.0, id="V 4,8,0,6"),
        pytest.param(v_placed(4, 8, 0, 8), 255.0, id="V 4,8,0,8"),
    ],
)
def test_the_reference_table_is_met_and_proven(problem: ScheduleProblem, makespan: float) -> None:
    solution = solve_schedule(problem, time_limit_seconds=60)
    assert (solution.value, solution.status, solution.lower_bound) == (makespan, "optimal", makespan)
    assert solution.choice is not None
    again = timed(solution.choice.graph, solution.choice.orders)
    assert (again.makespan, again.over_cap) == (makespan, ())


def test_more_memory_is_never_slower_and_less_work_never_either() -> None:
    caps = [solve_schedule(linear(3, 4, 1.0, cap), time_limit_seconds=60).value for cap in (1, 1.5, 2, 3, math.inf)]
    assert caps == sorted(caps, reverse=True)
    assert caps[0] > caps[-1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), key=st.sampled_from(["forward_seconds", "input_grad_seconds", "p2p_seconds"]))
def test_what_takes_longer_never_ends_sooner(seed: int, key: str) -> None:
    problem = random_problem(np.random.default_rng(seed), most=18)
    longer = dataclasses.replace(problem, **{key: tuple(one + 1.0 for one in getattr(problem, key))})
    values = [solve_schedule(one, time_limit_seconds=60).value for one in (problem, longer)]
    assert values[0] <= values[1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_larger_cap_never_ends_later(seed: int) -> None:
    problem = random_problem(np.random.default_rng(seed), most=18)
    larger = dataclasses.replace(problem, memory_cap=tuple(cap * 1.5 for cap in problem.memory_cap))
    values = [solve_schedule(one, time_limit_seconds=60).value for one in (problem, larger)]
    assert values[0] >= values[1]


def test_a_cap_below_one_microbatch_is_proven_infeasible_with_what_is_lacking() -> None:
    solution = solve_schedule(placed([0, 1, 1, 0], 4, cap=1.5), time_limit_seconds=10)
    assert (solution.status, solution.choice, solution.value) == ("infeasible", None, math.inf)
    assert solution.shortfall == 0.5  # two chunks of 1 a device


def test_orders_handed_in_are_used_where_they_fit() -> None:
    fitting, tight = linear(4, 8, whole=True), linear(4, 8, cap=3.0, whole=True)
    for problem, refused in ((fitting, 0), (tight, 1)):
        hint = operation_graph(problem).orders(one_forward_one_backward(4, 8))
        solution = solve_schedule(problem, time_limit_seconds=0, hints=[hint])
        assert (solution.counts["hints"], solution.counts["hints_over_cap"]) == (1, refused)
        assert solution.value == 330.0 if not refused else solution.value > 330.0


def test_no_time_still_gives_a_schedule_and_says_that_it_is_not_proven() -> None:
    solution = solve_schedule(v_placed(4, 8, 0, 4), time_limit_seconds=0)
    assert (solution.status, solution.stop) == ("feasible", "time_limit")
    assert solution.choice is not None
    assert solution.choice.over_cap == ()
    assert 0 < solution.lower_bound < solution.value


def test_an_interrupt_returns_the_best_so_far() -> None:
    def interrupt(progress: Progress) -> None:
        if progress.evaluated >= 5:
            raise KeyboardInterrupt

    solution = solve_schedule(v_placed(4, 8, 0, 4), time_limit_seconds=60, on_progress=interrupt)
    assert (solution.status, solution.stop) == ("feasible", "interrupted")
    assert solution.choice is not None


def test_progress_never_gets_worse() -> None:
    seen: list[Progress] = []
    solve_schedule(linear(4, 8, 0, 3), time_limit_seconds=60, on_progress=seen.append)
    values = [progress.value for progress in seen]
    assert values == sorted(values, reverse=True)
    assert all(progress.lower_bound <= progress.value for progress in seen)


def test_the_same_seed_gives_the_same_schedule() -> None:
    problem = linear(4, 8, 0, 3)
    first, second = (solve_schedule(problem, time_limit_seconds=60, seed=3) for _ in range(2))
    assert first.choice is not None
    assert second.choice is not None
    assert (first.choice.orders, first.counts) == (second.choice.orders, second.counts)


@pytest.mark.parametrize("method", ["vocab-1", "vocab-2"])
def test_vocabulary_passes_are_scheduled_within_a_small_gap(method: str) -> None:
    """p = 4, m = 12: no better than the busiest device's work and the ramps, and not far from it."""
    vocabulary = passes(4, method, 2.0, 4.0, look_up=0.5, barrier=1.0)
    problem = placed(range(4), 12, 0.5, 6.0, vocabulary=vocabulary, whole=True)
    solution = solve_schedule(problem, time_limit_seconds=60, gap=0.1)
    assert solution.lower_bound >= 12 * (30 + 7)
    assert (solution.status, solution.stop) == ("optimal", "exhausted")  # within the gap asked for
    assert solution.gap <= 0.1
