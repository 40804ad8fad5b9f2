import dataclasses
import math
import os
import signal
import threading

import numpy as np
import pytest

from solvers.schedule.cpsat import common_unit, solve_model
from solvers.schedule.graph import operation_graph
from solvers.schedule.greedy import rule_orders
from solvers.schedule.schedule import timed
from tests.oracles.schedules import least_makespan
from tests.solvers.schedule.instances import linear
from tests.solvers.schedule.random_problems import random_problem


def test_the_exact_model_alone_finds_what_trying_every_order_finds() -> None:
    """Without a bound to start from, from the worst of the rules."""
    better = 0
    for seed in range(60):
        problem = random_problem(np.random.default_rng(9000 + seed), most=18)
        best = least_makespan(problem)
        if best == math.inf:
            continue
        graph = operation_graph(problem)
        worst = max((timed(graph, orders) for orders in rule_orders(graph)), key=lambda one: one.makespan)
        outcome = solve_model(
            graph, objective="makespan", best=worst.makespan, lower_bound=0.0, seconds=60, seed=0, workers=2, hint=worst
        )
        assert outcome.solved
        assert outcome.lower_bound == pytest.approx(best), f"seed {seed}"
        assert outcome.orders is not None
        found = timed(graph, outcome.orders)
        assert (found.makespan, found.over_cap) == (pytest.approx(best), ())
        better += found.makespan < worst.makespan - 1e-9
    assert better >= 10


def test_one_device_alone_is_a_bound() -> None:
    """8 stages, room for 4: 770 of 790 from the first device, where bounds.py gives 720."""
    graph = operation_graph(linear(8, 16, 0, 4))
    outcome = solve_model(
        graph, objective="makespan", best=790.0, lower_bound=720.0, seconds=60, seed=0, workers=2, devices=[0]
    )
    assert (outcome.solved, outcome.orders, outcome.lower_bound) == (True, None, pytest.approx(770.0))


def test_figures_with_a_common_unit_are_exact_and_others_rounded_down() -> None:
    tenths = dataclasses.replace(linear(2, 2), forward_seconds=(0.3, 0.5), input_grad_seconds=(0.1, 0.7))
    assert common_unit(operation_graph(tenths), 50.0) == (pytest.approx(0.1 / 5), True)
    assert common_unit(operation_graph(linear(2, 2, 5.0)), 50.0) == (1.0, True)
    thirds = dataclasses.replace(linear(2, 2), forward_seconds=(1 / 3, math.pi))
    assert common_unit(operation_graph(thirds), 50.0) == (pytest.approx(50e-9), False)


def test_rounded_figures_give_a_bound_just_below_and_an_order_timed_with_the_true_ones() -> None:
    """2 stages, F = I = W = 1/3 (no common decimal unit): by hand F F (I W) ... = 1/3 (1 + 3 m + ...), as with 1."""
    whole, third = linear(2, 3, 0.0, 1.5, seconds=1.0), linear(2, 3, 0.0, 1.5, seconds=1 / 3)
    best = least_makespan(whole)
    graph = operation_graph(third)
    hint = timed(graph, next(rule_orders(graph)))
    outcome = solve_model(
        graph, objective="makespan", best=hint.makespan, lower_bound=0.0, seconds=60, seed=0, workers=2, hint=hint
    )
    assert outcome.orders is not None
    assert timed(graph, outcome.orders).makespan == pytest.approx(best / 3)
    assert best / 3 * (1 - 1e-7) < outcome.lower_bound <= best / 3


def test_an_interrupt_ends_the_search_and_keeps_what_it_found() -> None:
    """A real signal, while the solver runs: 8 stages, room for 4, which takes far longer without a bound or hint."""
    graph = operation_graph(linear(8, 24, 1.0, 5.0))
    worst = max((timed(graph, orders) for orders in rule_orders(graph)), key=lambda one: one.makespan)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    outcome = solve_model(
        graph, objective="makespan", best=worst.makespan, lower_bound=0.0, seconds=300, seed=0, workers=2, hint=worst
    )
    assert (outcome.interrupted, outcome.solved) == (True, False)
    assert outcome.lower_bound < worst.makespan
