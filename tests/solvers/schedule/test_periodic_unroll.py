"""List scheduling from orders that work: it never gets stuck, never exceeds a cap, and gains."""

import random

import pytest

from solvers.schedule.graph import OperationGraph, Orders, operation_graph
from solvers.schedule.periodic_unroll import RULES, Rule, backwards, justified, list_scheduled
from solvers.schedule.problem import Kind, ScheduleProblem
from solvers.schedule.schedule import memory_of, timed
from tests.solvers.schedule.instances import linear, one_forward_one_backward, passes, placed, v_placed


def one_at_a_time(graph: OperationGraph) -> Orders:
    """Micro-batch after micro-batch, everything in its turn: works within any cap of one."""
    upstream = [lane for lane in graph.upstream if graph.lanes[lane].device >= 0]
    m = graph.microbatches
    return tuple(
        tuple(lane * m + k for k in range(m) for lane in upstream if graph.lanes[lane].device == device)
        for device in range(graph.devices)
    )


PROBLEMS: list[ScheduleProblem] = [
    linear(3, 7, 1.0, cap=2),
    linear(4, 9, 3.0, cap=4),
    v_placed(3, 5, 1.0, cap=4),
    placed([0, 1, 0, 1], 6, 1.0, cap=3),
    placed(range(3), 6, 1.0, cap=4, whole=True, vocabulary=passes(3, "vocab-1", 2, 4, barrier=2)),
    placed(range(3), 6, 1.0, cap=4, vocabulary=passes(3, "vocab-2", 4, 2, barrier=3, kept=1)),
]


@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_every_rule_ends_in_orders_that_work_and_fit(number: int) -> None:
    graph = operation_graph(PROBLEMS[number])
    chance = random.Random(number)
    rules = [*RULES, Rule(patient=False)]
    for _ in range(20):
        kinds = list(Kind)
        chance.shuffle(kinds)
        rules.append(Rule(rank={kind: place for place, kind in enumerate(kinds)}, patient=chance.random() < 0.5))
    makespans = set()
    for rule in rules:
        schedule = timed(graph, list_scheduled(graph, one_at_a_time(graph), rule))
        assert schedule.over_cap == ()
        makespans.add(schedule.makespan)
    assert max(makespans) < timed(graph, one_at_a_time(graph)).makespan
    assert len(makespans) > 1


def test_orders_that_wait_for_each_other_are_refused() -> None:
    """B before F of the same chunk; without room for F ahead of it nothing can mend that."""
    graph = operation_graph(linear(2, 1, cap=0.5, whole=True))
    with pytest.raises(ValueError, match="wait for each other for ever"):
        list_scheduled(graph, ((2, 0), (1, 3)), Rule())


def test_time_reversed_twice_is_time() -> None:
    graph = operation_graph(PROBLEMS[4])
    orders = one_at_a_time(graph)
    mirror = graph.reversed()
    assert backwards(backwards(orders, graph.microbatches), graph.microbatches) == orders
    assert timed(mirror, backwards(orders, graph.microbatches)).makespan == timed(graph, orders).makespan
    assert memory_of(mirror, backwards(orders, graph.microbatches)) == memory_of(graph, orders)


@pytest.mark.parametrize(
    ("problem", "makespan"),
    [(linear(8, 16, cap=8), 550), (linear(8, 24, 1.0, cap=8), 818), (linear(16, 64, 1.0, cap=16), 2130)],
)
def test_1f1b_with_weight_gradients_apart_becomes_the_best_known(problem: ScheduleProblem, makespan: float) -> None:
    """The makespans are those of the published zero-bubble heuristic (Qi et al. 2024); two are known optimal."""
    graph = operation_graph(problem)
    rows = []
    for row in one_forward_one_backward(problem.devices, problem.microbatches):
        rows.append([])
        for kind, chunk, k in row:
            rows[-1] += [(kind, chunk, k)] if kind == Kind.F else [(Kind.I, chunk, k), (Kind.W, chunk, k)]
    schedule = justified(graph, graph.orders(rows))
    assert schedule.over_cap == ()
    assert schedule.makespan == makespan
