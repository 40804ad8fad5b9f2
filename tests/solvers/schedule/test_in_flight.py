"""How many activations a pipeline without bubble keeps in flight, found and proven by CP-SAT.

F = 10, B = 20, S = 2, T = 4 (vocab-2: S = 4, T = 2), lookups of 0.5. The published counts are p for 1F1B,
p + 2 for vocab-1 and p + 1 for vocab-2 (Yeung et al., arXiv 2411.05288); that p + 1 suffices for vocab-1
without latency is what an independent periodic CP-SAT formulation found for p = 4 and 8.
"""

from dataclasses import replace

import pytest

from solvers.schedule.graph import operation_graph
from solvers.schedule.in_flight import least_in_flight
from solvers.schedule.periodic import busiest_work
from solvers.schedule.problem import ScheduleProblem
from solvers.schedule.schedule import timed
from tests.solvers.schedule.instances import linear, passes, placed


def pipeline(devices: int, method: str, barrier: float, *, whole: bool = True, m: int = 1) -> ScheduleProblem:
    s, t = (2.0, 4.0) if method == "vocab-1" else (4.0, 2.0)
    vocabulary = replace(passes(devices, method, s, t, barrier=barrier), broadcast_seconds=0.0)
    return placed(range(devices), m, whole=whole, vocabulary=vocabulary)


def count(problem: ScheduleProblem, together: int = 1) -> float:
    found = least_in_flight(problem, together=together)
    assert found.status == "optimal"
    assert found.lower_bound == found.value
    assert found.choice is not None
    assert found.choice.seconds_per_microbatch == busiest_work(operation_graph(problem))
    assert found.choice.peak_memory[0] == found.value
    return found.value


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_1f1b_keeps_p(devices: int) -> None:
    assert count(linear(devices, 1, whole=True)) == devices


@pytest.mark.parametrize("devices", [4, 8])
@pytest.mark.parametrize(("method", "barrier", "more"), [("vocab-1", 0, 1), ("vocab-1", 10, 2), ("vocab-2", 10, 1)])
def test_each_barrier_whose_latency_is_hidden_costs_one_more(
    devices: int, method: str, barrier: float, more: int
) -> None:
    assert count(pipeline(devices, method, barrier)) == devices + more


@pytest.mark.parametrize(("method", "barrier", "more"), [("vocab-1", 0, 0), ("vocab-1", 10, 1), ("vocab-2", 10, 0)])
def test_weight_gradients_apart_save_one(method: str, barrier: float, more: int) -> None:
    """No published count: I frees the device before, W waits; the optimiser's own, proven."""
    assert count(pipeline(4, method, barrier, whole=False)) == 4 + more


def test_two_micro_batches_a_period_need_less_than_one_where_weight_gradients_are_apart() -> None:
    assert count(linear(4, 1), together=2) == 3.5
    assert count(linear(4, 1), together=1) == 4
    assert count(linear(4, 1, whole=True), together=2) == 4


def test_a_cap_of_one_less_is_proven_too_small() -> None:
    found = least_in_flight(placed(range(4), 1, cap=5, whole=True, vocabulary=passes(4, "vocab-1", 2, 4, barrier=10)))
    assert found.status == "infeasible"
    assert found.choice is None


def test_the_orders_run_without_bubble_and_within_the_count() -> None:
    """10 micro-batches more take 10 periods of F + B + S + T + lookups = 37 more."""
    spans = []
    for m in (100, 110):
        problem = pipeline(4, "vocab-1", 10, m=m)
        choice = least_in_flight(problem).choice
        assert choice is not None
        graph = operation_graph(problem)
        schedule = timed(graph, choice.orders(graph))
        assert schedule.peak_memory[0] == 6
        spans.append(schedule.makespan)
    assert spans[1] - spans[0] == pytest.approx(10 * 37)


def test_a_device_that_keeps_nothing_is_named() -> None:
    problem = linear(2, 1, whole=True)
    empty = ScheduleProblem(
        **{
            **{field: getattr(problem, field) for field in problem.__slots__},
            **dict.fromkeys(("activation", "released_by_input_grad", "released_by_weight_grad"), (0.0, 0.0)),
        }
    )
    with pytest.raises(ValueError, match="activation"):
        least_in_flight(empty)
