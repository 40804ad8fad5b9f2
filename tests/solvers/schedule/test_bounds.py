import numpy as np
import pytest

from solvers.schedule.bounds import chain, lower_bound, memory, one_device, ramps
from solvers.schedule.graph import operation_graph
from solvers.schedule.relaxation import memory_windows, relaxed
from tests.oracles.schedules import least_makespan, least_span
from tests.solvers.schedule.instances import linear, v_placed
from tests.solvers.schedule.random_problems import random_problem


def test_no_bound_is_above_the_best_schedule() -> None:
    met = 0
    for seed in range(300):
        problem = random_problem(np.random.default_rng(5000 + seed), most=24)
        best = least_makespan(problem)
        if best == np.inf:
            continue
        graph = operation_graph(problem)
        relaxation = relaxed(graph)
        assert chain(graph, relaxation) <= best + 1e-9, f"chain, seed {seed}"
        for device in range(problem.devices):
            assert one_device(graph, relaxation, device) <= best + 1e-9, f"device, seed {seed}"
            assert ramps(graph, relaxation, device) <= best + 1e-9, f"ramps, seed {seed}"
            assert memory(graph, relaxation, device, best) <= best + 1e-9, f"memory, seed {seed}"
        met += lower_bound(graph).seconds >= best - 1e-9
    assert met >= 150  # they are not idle


def test_no_bound_is_above_the_least_span() -> None:
    for seed in range(40):
        problem = random_problem(np.random.default_rng(6000 + seed), most=9, objective="span")
        assert lower_bound(operation_graph(problem), "span").seconds <= least_span(problem) + 1e-3, f"seed {seed}"


@pytest.mark.parametrize(
    ("problem", "seconds", "name", "device"),
    [
        # 8 forwards fill the first device, whose first I comes 8 F and 7 I and 14 links later, at 164, 84 idle; after
        # its last F stand 7 F, 8 I, 14 links and W behind 8 micro-batches' I and W: 174 - 160 idle; work 720
        pytest.param(linear(8, 24, 1, 8), 84 + 720 + 14, "ramps", 0, id="8,24,1,8"),
        # likewise 64 F and 63 I and 126 links: 1396 - 640 idle, work 15360; 63 F, 64 I, 126 links, W: 1406 - 1280
        pytest.param(linear(64, 512, 1, 64), 756 + 15360 + 126, "ramps", 0, id="64,512,1,64"),
        # no cap: the first device ends no sooner than its work, the last one starts after 3 F and ends 3 I and W sooner
        pytest.param(linear(4, 8), 30 + 240, "device", 0, id="4,8,0"),
        pytest.param(v_placed(4, 8, 0, 4), 295.0, "ramps", 3, id="V 4,8,0,4"),
    ],
)
def test_bounds_by_hand(problem: object, seconds: float, name: str, device: int) -> None:
    bound = lower_bound(operation_graph(problem))  # type: ignore[arg-type]
    assert (bound.seconds, bound.name) == (pytest.approx(seconds), name)
    assert device == bound.device or name == "device"


def test_memory_over_time_is_a_bound_of_its_own() -> None:
    """8 stages of 10 + 10 + 10, cap 4: each of 16 micro-batches holds 1 for the 8 F and 8 I of the round trip and 1/2
    for W, 165; the first three F leave 3 + 2 + 1 times 10 of the cap unused. At the end W leave 3.5 ... 0.5
    times 10: 140. (2640 + 60 + 140) / 4."""
    graph = operation_graph(linear(8, 16, 0, 4))
    assert memory(graph, relaxed(graph), 0, 720.0) == pytest.approx(710.0)


def test_round_trips_are_a_chain_where_few_micro_batches_fit() -> None:
    """One at a time on 3 stages: F F F I I I, then the next; the last W after that."""
    graph = operation_graph(linear(3, 4, 1.0, 1.0))
    window = {(graph.lanes[r].kind.name, graph.lanes[x].kind.name, n) for r, x, n in memory_windows(graph)}
    assert window == {("I", "F", 1), ("W", "F", 1)}
    assert chain(graph, relaxed(graph)) == 4 * (6 * 10 + 4 * 1.0 + 10)
