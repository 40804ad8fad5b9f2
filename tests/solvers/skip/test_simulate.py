"""Executions of given paths and orders, against slow ones and published figures."""

import dataclasses

import numpy as np
import pytest

from solvers.skip import decoder
from solvers.skip.arrays import machine_of
from solvers.skip.decoder import decode
from solvers.skip.paths import Ints
from solvers.skip.problem import FORCED_ENDS, Kind, SkipProblem
from solvers.skip.schedule import timed
from solvers.skip.simulate import FIRST_IN_FIRST_OUT, first_in_first_out
from solvers.skip.starts import balanced_paths
from tests.oracles import skip as slow
from tests.oracles import skippipe
from tests.solvers.skip.instances import chain, published_paths, read, twenty_nodes
from tests.solvers.skip.random_problems import random_problem
from tests.solvers.skip.test_problem import LINE


def _paths(seed: int, serial: bool) -> tuple[SkipProblem, tuple[int, ...], Ints | None]:
    problem = random_problem(seed)
    problem = dataclasses.replace(problem, rules=dataclasses.replace(problem.rules, serial_links=serial))
    stages = problem.stage_of_node or tuple(s for s, size in enumerate(problem.group_sizes) for _ in range(size))
    return problem, stages, balanced_paths(problem, stages, np.random.default_rng(seed))


@pytest.mark.parametrize("serial", [False, True])
def test_first_in_first_out_is_that_of_the_slow_simulation(serial: bool) -> None:
    compared = stuck = 0
    for seed in range(150):
        problem, stages, paths = _paths(seed, serial)
        if paths is None:
            continue
        schedule = first_in_first_out(problem, stages, paths.tolist())
        wanted = slow.first_in_first_out(problem, paths.tolist())
        compared += 1
        stuck += schedule is None
        assert (schedule.makespan if schedule else np.inf) == pytest.approx(wanted)
        if schedule:
            assert slow.broken_rules(problem, stages, paths.tolist(), schedule.operations) == []
            assert not schedule.over_cap
    assert compared > 100


def test_large_first_in_first_out_is_that_of_the_slow_simulation() -> None:
    problem = chain("chain_12", 32, 9)
    paths = balanced_paths(problem, problem.stage_of_node or (), np.random.default_rng(0))
    assert paths is not None
    schedule = first_in_first_out(problem, problem.stage_of_node or (), paths.tolist())
    assert schedule is not None
    assert schedule.makespan == pytest.approx(slow.first_in_first_out(problem, paths.tolist()))


def test_compiled_decoder_is_its_python_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its helpers plain, too: those that it calls itself are written into the compiled one."""
    for name in ("kind_of", "node_of", "rank_operations", "first_to_end", "chosen", "look_ahead"):
        monkeypatch.setattr(decoder, name, getattr(decoder, name).py_func)
    problem = twenty_nodes()
    paths = np.array(published_paths("ca-paths"))
    rng = np.random.default_rng(1)
    shape = (30, problem.operations_per_microbatch)
    for _ in range(5):
        weights = np.array([rng.random(), rng.random() - 0.5, rng.random()])
        offset, detail = rng.normal(size=30), rng.normal(size=shape)
        both = []
        for function in (decode, decode.py_func):
            start, finish = np.zeros(shape), np.zeros(30)
            value = function(*machine_of(problem), paths, weights, offset, detail, start, finish)
            both.append((value, start, finish))
        assert both[0][0] == both[1][0]
        assert np.array_equal(both[0][1], both[1][1])
        assert np.array_equal(both[0][2], both[1][2])


@pytest.mark.parametrize(
    ("key", "figure", "broken"),
    [
        ("ca-paths", "ca-expected-time", [f"wave {w}: node 4 is visited 4 times" for w in range(2)]),
        ("non-ca-paths", "nonca-expected-time", []),
    ],
)
def test_published_schedules(key: str, figure: str, broken: list[str]) -> None:
    """SkipPipe's rules of simulation give its figures to the last digit; ours, without its pauses between
    operations, are a little below. Its collision-aware paths visit one node once more than its own cap of 3."""
    problem, data = twenty_nodes(), read("instance_20_nodes")
    paths = published_paths(key)
    names = [100 * (k // 15) + k % 15 for k in range(30)]
    starts = [2.5 * (k // 15) + 1.76 * (k % 15 % 3) for k in range(30)]
    theirs, returned = skippipe.makespan(data["fwd_time_s"], data["link_time_s"], 3, paths, names, starts)
    assert returned == 30
    assert theirs == pytest.approx(data["published_schedule"][figure], abs=1e-9)
    schedule = first_in_first_out(problem, problem.stage_of_node or (), paths)
    assert schedule is not None
    assert 0.95 * theirs < schedule.makespan < theirs
    assert slow.broken_rules(problem, problem.stage_of_node or (), paths, schedule.operations) == broken


def test_full_pipeline_of_eight_stages() -> None:
    """101.43 s, as published with the instance: for M = 8 the first micro-batches are never held up."""
    problem = chain("chain_8", 8, 8)
    schedule = first_in_first_out(problem, tuple(range(8)), [tuple(range(8))] * 8)
    assert schedule is not None
    assert schedule.makespan == pytest.approx(read("chain_8")["results"][0]["full_pipeline"])


def test_timed_by_hand() -> None:
    """Both micro-batches 0 -> 2 (links 5 s): F0 0-1, F1 1-2; node 2: F0 6-9, B0 9-13, F1 13-16, B1 16-20; B0 back at
    18-20, B1 at 25-27."""
    F, B = Kind.F, Kind.B  # noqa: N806 - the field's own letters
    problem = dataclasses.replace(LINE, rules=dataclasses.replace(FORCED_ENDS, balanced_stages=False))
    orders = [((F, 0), (F, 1), (B, 0), (B, 1)), (), ((F, 0), (B, 0), (F, 1), (B, 1))]
    schedule = timed(problem, (0, 1, 2), [(0, 2), (0, 2)], orders)
    assert [(o.start, o.end) for o in schedule.operations[2]] == [(6, 9), (9, 13), (13, 16), (16, 20)]
    assert schedule.makespan == 27
    assert schedule.peak_in_flight == (2, 0, 1)
    tight = dataclasses.replace(problem, memory_cap=(1, 2, 2))
    assert timed(tight, (0, 1, 2), [(0, 2), (0, 2)], orders).over_cap == (0,)


def test_serial_links_by_hand() -> None:
    """Messages of 5 s one after another: the second leaves node 0 at 6, not at 2; F1 starts on node 2 at 11."""
    F, B = Kind.F, Kind.B  # noqa: N806 - the field's own letters
    rules = dataclasses.replace(FORCED_ENDS, balanced_stages=False, serial_links=True)
    problem = dataclasses.replace(LINE, rules=rules)
    orders = [((F, 0), (F, 1), (B, 0), (B, 1)), (), ((F, 0), (F, 1), (B, 0), (B, 1))]
    schedule = timed(problem, (0, 1, 2), [(0, 2), (0, 2)], orders)
    assert [o.start for o in schedule.operations[2]] == [6, 11, 14, 18]


def test_orders_that_wait_for_ever_or_lack_operations_are_refused() -> None:
    F, B = Kind.F, Kind.B  # noqa: N806 - the field's own letters
    with pytest.raises(ValueError, match="wait for ever, node 0 for B0"):
        timed(
            LINE, (0, 1, 2), [(0, 2), (0, 2)], [((B, 0), (F, 0), (F, 1), (B, 1)), (), ((F, 0), (B, 0), (F, 1), (B, 1))]
        )
    with pytest.raises(ValueError, match=r"orders\[2\]: not the operations"):
        timed(LINE, (0, 1, 2), [(0, 2), (0, 2)], [((F, 0), (F, 1), (B, 0), (B, 1)), (), ((F, 0),)])


def test_nodes_that_wait_for_each_other_have_no_schedule() -> None:
    """Two micro-batches cross on two nodes of one place each: 0-1-2 and 0-2-1, with time for both to enter."""
    problem = dataclasses.replace(
        twenty_nodes(),
        forward_seconds=(1.0,) * 3,
        backward_seconds=(1.0,) * 3,
        loss_seconds=(),
        link_seconds=((0.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)),
        memory_cap=(2, 1, 1),
        group_sizes=(1, 1, 1),
        microbatches=2,
        path_length=3,
        waves=1,
        stage_of_node=(0, 1, 2),
        rules=dataclasses.replace(twenty_nodes().rules, visits_per_wave=False),
    )
    paths = [(0, 1, 2), (0, 2, 1)]
    assert first_in_first_out(problem, (0, 1, 2), paths) is None
    assert slow.first_in_first_out(problem, paths) == np.inf
    assert FIRST_IN_FIRST_OUT.tolist() == [1, 0, 0]
