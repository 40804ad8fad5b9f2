import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from solvers.schedule.graph import operation_graph
from solvers.schedule.problem import Kind
from solvers.schedule.schedule import largest_cycle_mean, memory_of, timed
from tests.solvers.schedule.instances import linear, one_forward_one_backward


@pytest.mark.parametrize(
    ("devices", "microbatches", "p2p", "makespan"),
    # published for no communication; with it by hand: the last B starts at 100 + 3, on the first device at 100 + 4
    [(4, 8, 0.0, 330.0), (8, 16, 0.0, 690.0), (2, 3, 1.0, 124.0)],
)
def test_1f1b_takes_the_time_known_for_it(devices: int, microbatches: int, p2p: float, makespan: float) -> None:
    graph = operation_graph(linear(devices, microbatches, p2p, whole=True))
    schedule = timed(graph, graph.orders(one_forward_one_backward(devices, microbatches)))
    assert schedule.makespan == makespan
    assert schedule.peak_memory == tuple(range(devices, 0, -1))  # p, p - 1, ... 1 micro-batches in flight
    assert schedule.over_cap == ()


def test_memory_over_the_cap_is_told_and_delays_nothing() -> None:
    graph = operation_graph(linear(4, 8, cap=2.0, whole=True))
    schedule = timed(graph, graph.orders(one_forward_one_backward(4, 8)))
    assert (schedule.makespan, schedule.over_cap) == (330.0, (0, 1))


def test_memory_counts_from_the_start_of_f_to_the_ends_of_i_and_w() -> None:
    graph = operation_graph(linear(1, 3))
    rows = [[(Kind.F, 0, 0), (Kind.F, 0, 1), (Kind.I, 0, 0), (Kind.I, 0, 1), (Kind.F, 0, 2), (Kind.W, 0, 0)]]
    rows[0] += [(Kind.W, 0, 1), (Kind.I, 0, 2), (Kind.W, 0, 2)]
    assert memory_of(graph, graph.orders(rows)) == (2.0,)  # by hand: 1, 2, (I I) 1, then F again 2


def test_an_input_gradient_may_keep_more_than_it_frees() -> None:
    problem = dataclasses.replace(linear(1, 2), released_by_input_grad=(-0.25,), released_by_weight_grad=(1.25,))
    graph = operation_graph(problem)
    rows = [[(Kind.F, 0, 0), (Kind.F, 0, 1), (Kind.I, 0, 0), (Kind.I, 0, 1), (Kind.W, 0, 0), (Kind.W, 0, 1)]]
    assert memory_of(graph, graph.orders(rows)) == (2.5,)


def test_orders_that_wait_for_each_other_are_refused() -> None:
    graph = operation_graph(linear(2, 1, whole=True))
    with pytest.raises(ValueError, match=r"4 operations wait for each other for ever"):
        timed(graph, graph.orders([[(Kind.B, 0, 0), (Kind.F, 0, 0)], [(Kind.F, 1, 0), (Kind.B, 1, 0)]]))


def test_orders_that_lose_or_repeat_an_operation_are_refused() -> None:
    graph = operation_graph(linear(2, 1, whole=True))
    rows = one_forward_one_backward(2, 1)
    for wrong in ([rows[0][:1], rows[1]], [rows[0] + rows[0][:1], rows[1]]):
        with pytest.raises(ValueError, match=r"orders\[0\]: not the device's operations, each once"):
            timed(graph, graph.orders(wrong))
    with pytest.raises(ValueError, match=r"1 for 2 devices"):
        timed(graph, graph.orders(rows[:1]))


def test_the_span_leaves_out_what_devices_wait_before_their_first_and_after_their_last_operation() -> None:
    """Two devices, one micro-batch, by hand: device 0 must span F0 F1 I1 I0 (40) and W0, the makespan's 50;
    two micro-batches with all forwards first: device 1 starts as late as its inputs allow."""
    graph = operation_graph(linear(2, 1))
    rows = [[(Kind.F, 0, 0), (Kind.I, 0, 0), (Kind.W, 0, 0)], [(Kind.F, 1, 0), (Kind.I, 1, 0), (Kind.W, 1, 0)]]
    schedule = timed(graph, graph.orders(rows), "span")
    assert (schedule.makespan, schedule.span) == (50.0, 50.0)


def test_the_least_span_of_an_order_is_that_of_a_linear_programme() -> None:
    from scipy.optimize import linprog

    generator = np.random.default_rng(5)
    smaller = 0
    for _ in range(20):
        chunks = int(generator.integers(2, 4))
        problem = dataclasses.replace(
            linear(chunks, 3, p2p=2.0),
            forward_seconds=tuple(map(float, generator.integers(1, 9, chunks))),
            input_grad_seconds=tuple(map(float, generator.integers(1, 9, chunks))),
            weight_grad_seconds=tuple(map(float, [1, *generator.integers(5, 25, chunks - 1)])),
        )
        graph = operation_graph(problem)
        rows = [
            [(Kind.F, c, k) for k in range(3)] + [(kind, c, k) for kind in (Kind.I, Kind.W) for k in range(3)]
            for c in range(chunks)
        ]
        orders = graph.orders(rows)
        matrix, limit = [], []

        def constrain(terms: dict[int, float], at_most: float) -> None:
            row = np.zeros(len(graph) + 1)  # noqa: B023 - used at once
            for column, value in terms.items():
                row[column] = value
            matrix.append(row)  # noqa: B023
            limit.append(at_most)  # noqa: B023

        for before, after, lag in zip(graph.before, graph.after, graph.lag, strict=True):
            constrain({before: 1.0, after: -1.0}, -graph.seconds[before] - lag)
        for order in orders:
            for one, other in pairwise(order):
                constrain({one: 1.0, other: -1.0}, -graph.seconds[one])
            constrain({order[-1]: 1.0, order[0]: -1.0, len(graph): -1.0}, -graph.seconds[order[-1]])
        least = linprog([0.0] * len(graph) + [1.0], np.array(matrix), limit).fun
        schedule = timed(graph, orders, "span")
        assert schedule.span == pytest.approx(least)
        smaller += schedule.span < timed(graph, orders).span - 1e-6
    assert smaller  # as early as possible is not the least span


def test_the_largest_cycle_mean_of_a_small_graph() -> None:
    weights = np.array([[1.0, 5.0], [2.0, -np.inf]])  # by hand: 1, or (5 + 2) / 2
    assert largest_cycle_mean(weights) == 3.5
