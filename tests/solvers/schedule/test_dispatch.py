import numpy as np
import pytest

from solvers.schedule.dispatch import Ledger, Rules, dispatch
from solvers.schedule.graph import operation_graph
from solvers.schedule.greedy import rule_orders
from solvers.schedule.improve import improved
from solvers.schedule.problem import Kind
from solvers.schedule.schedule import timed
from solvers.schedule.steady import steady_orders
from tests.solvers.schedule.instances import linear, one_forward_one_backward, placed
from tests.solvers.schedule.random_problems import random_problem


def test_any_keys_give_a_whole_schedule_within_the_caps() -> None:
    """Also backwards in time, and where one micro-batch at a time is all that fits."""
    tight = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        problem = random_problem(generator, most=60)
        graph = operation_graph(problem)
        if any(need > cap for need, cap in zip(problem.least_memory(), problem.memory_cap, strict=True)):
            with pytest.raises(ValueError, match=r"memory_cap\[\d\]: .* is less than the .* of one micro-batch"):
                dispatch(graph, Rules(keys=[0.0] * len(graph)))
            continue
        for one in (graph, graph.reversed()):
            keys = generator.random((len(one.lanes), problem.microbatches)).ravel().tolist()
            patience = generator.choice([0.0, 1.0, 5.0], len(one.lanes)).tolist()
            schedule = timed(one, dispatch(one, Rules(keys=keys, patience=patience)))
            assert schedule.over_cap == ()
            tight += any(2 * peak > cap for peak, cap in zip(schedule.peak_memory, graph.cap, strict=True))
    assert tight >= 200


def test_a_forward_is_refused_where_those_already_in_could_not_drain() -> None:
    """V placement, device 1 holds chunks 1 and 2: with a cap of 3 two micro-batches may be in chunk 1, as one of them
    finds room in chunk 2 and frees both; with a third of the cap taken no second one."""
    graph = operation_graph(placed([0, 1, 1, 0], 3, cap=3.0))
    ledger = Ledger(graph, 1)
    first = graph.number[Kind.F, 1]
    for k, admitted in ((0, True), (1, True), (2, False)):
        assert ledger.admits(first, k) is admitted
        if admitted:
            ledger.run(first, k)


def test_one_rule_is_zero_bubble_of_the_first_kind() -> None:
    """I before F before W on 4 stages: 270, the published ZB-H1 (the design's reference table)."""
    graph = operation_graph(linear(4, 8, 0, 4))
    assert timed(graph, next(rule_orders(graph))).makespan == 270.0


def test_steady_cycles_hold_their_published_memory() -> None:
    """1F1B: p - i micro-batches; ZB-H1: no more than p; ZB-H2: 2p - 1 (Qi et al., arXiv 2401.10241, table 2)."""
    graph = operation_graph(linear(4, 12))
    peaks = [timed(graph, orders).peak_memory for orders in steady_orders(graph)]
    assert peaks[0] == (4.0, 3.0, 2.0, 1.0)
    assert max(peaks[1]) == 4.0
    assert max(peaks[3]) == 7.0
    assert list(steady_orders(operation_graph(linear(4, 12, cap=3.0)))) == []


def test_there_and_back_again_never_leaves_the_caps_and_gains() -> None:
    graph = operation_graph(linear(8, 24, 1, 8))
    start = timed(graph, next(rule_orders(graph)))
    found = [schedule for schedule, _ in zip(improved(graph, start, "makespan", 0), range(8), strict=False)]
    assert all(schedule.over_cap == () for schedule in found)
    assert min(schedule.makespan for schedule in found) < start.makespan


def test_reversed_twice_is_the_same_graph() -> None:
    graph = operation_graph(placed([0, 1, 1, 0], 2, p2p=1.0, cap=2.0))
    again = graph.reversed().reversed()
    assert (again.lanes, again.edges, again.holds) == (graph.lanes, graph.edges, graph.holds)


def test_the_makespan_backwards_is_that_forwards() -> None:
    graph = operation_graph(linear(4, 6, 1.0, whole=True))
    orders = graph.orders(one_forward_one_backward(4, 6))
    backwards = tuple(tuple(5 - 2 * (one % 6) + one for one in reversed(order)) for order in orders)
    assert timed(graph.reversed(), backwards).makespan == timed(graph, orders).makespan
