import numpy as np
import pytest
from hypothesis import given, settings

from costmodels.timeline import (
    BACKWARD,
    FORWARD,
    IDLE,
    INPUT_GRAD,
    Order,
    makespan_bound,
    makespan_seconds,
    order_of_rows,
    peak_activation,
    schedule_order,
    simulate,
)
from tests.costmodels.timeline.strategies import Pipeline, pipelines
from tests.oracles.timeline import Operation, makespan_by_scanning


def rows(order: Order) -> list[list[Operation]]:
    return [
        [("FB---IW"[k], int(c), int(b)) for k, c, b in zip(*device, strict=True)]
        for device in zip(order.kind, order.chunk, order.microbatch, strict=True)
    ]


@settings(max_examples=200, deadline=None)
@given(pipelines())
def test_every_start_and_end_is_the_scanning_oracles(pipeline: Pipeline) -> None:
    order = pipeline.order
    timeline = simulate(order, *pipeline.costs, weight_grad_seconds=pipeline.weight_grad)
    makespan, times = makespan_by_scanning(rows(order), *pipeline.costs, pipeline.weight_grad or ())
    expected = np.array([[times[operation] for operation in row] for row in rows(order)])
    np.testing.assert_allclose(timeline.start, expected[..., 0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(timeline.end, expected[..., 1], rtol=1e-12, atol=1e-12)
    assert timeline.makespan_seconds == pytest.approx(makespan, rel=1e-12)


@pytest.mark.parametrize(("p", "m"), [(1, 4), (4, 8), (8, 16), (8, 3), (16, 128)])
@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_equal_stages_idle_for_p_minus_1_micro_batches(schedule: str, p: int, m: int) -> None:
    # Paper: bubble (p - 1)(F + B) for GPipe and 1F1B (Narayanan et al., arXiv 2104.04473, 2.2.1).
    timeline = simulate(schedule_order(schedule, p, 1, m), np.full(p, 10.0), np.full(p, 20.0), np.zeros(p - 1))
    assert timeline.makespan_seconds == (m + p - 1) * 30
    assert (timeline.idle_seconds == (p - 1) * 30).all()
    assert (timeline.busy_seconds == m * 30).all()


@pytest.mark.parametrize(("p", "v", "m"), [(2, 2, 4), (4, 2, 8), (4, 4, 16), (8, 3, 32), (4, 2, 4)])
def test_interleaving_divides_the_bubble_by_the_chunks(p: int, v: int, m: int) -> None:
    # Paper: bubble (p - 1)(F + B) / v, F and B of the whole stage (arXiv 2104.04473, 2.2.2).
    order = schedule_order("interleaved-1f1b", p, v, m)
    timeline = simulate(order, np.full(p * v, 10.0), np.full(p * v, 20.0), np.zeros(p * v - 1))
    assert timeline.idle_seconds.max() == (p - 1) * 30


@pytest.mark.parametrize(("p", "m", "makespan"), [(4, 8, 330), (8, 16, 690)])
def test_1f1b_of_small_pipelines(p: int, m: int, makespan: float) -> None:
    # By hand: (m + p - 1)(F + B) with F = 10, B = 20.
    order = schedule_order("1f1b", p, 1, m)
    assert makespan_seconds(order, np.full(p, 10), np.full(p, 20), np.zeros(p - 1)) == makespan


def test_a_latency_costs_1f1b_a_round_trip_for_every_p_micro_batches() -> None:
    # By hand, F = 10, B = 20, link 1: stage 0 runs F 0-10, F 10-20, B 42-62, F 62-72, B 72-92,
    # F 92-102, B 104-124, B 134-154; without waiting for the two in flight it would end at 152.
    timeline = simulate(schedule_order("1f1b", 2, 1, 4), [10, 10], [20, 20], [1])
    assert timeline.start[0].tolist() == [0, 10, 42, 62, 72, 92, 104, 134]
    assert timeline.makespan_seconds == 154


def test_a_slow_link_delays_both_directions_but_occupies_no_device() -> None:
    # By hand: F 0-1, over 5, F 6-7, B 7-9, over 5, B 14-16.
    timeline = simulate(schedule_order("1f1b", 2, 1, 1), [1, 1], [2, 2], [5])
    assert timeline.start.tolist() == [[0, 14], [6, 7]]
    assert timeline.end.tolist() == [[1, 16], [7, 9]]
    assert timeline.device_end_seconds.tolist() == [16, 9]


def test_a_batch_gives_what_its_members_give_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Second method: one cost vector at a time. Blocks of two force several passes.
    order = schedule_order("interleaved-1f1b", 3, 2, 6)
    monkeypatch.setattr("costmodels.timeline.simulation.BLOCK", 2 * order.kind.size)
    rng = np.random.default_rng(7)
    forward, backward, link = rng.random((5, 1, 6)), rng.random((3, 6)), rng.random(5)
    batch = simulate(order, forward, backward, link)
    assert batch.end.shape == (5, 3, *order.kind.shape)
    for i in range(5):
        for j in range(3):
            alone = simulate(order, forward[i, 0], backward[j], link)
            assert (batch.end[i, j] == alone.end).all()
            assert (batch.start[i, j] == alone.start).all()
    assert (makespan_seconds(order, forward, backward, link) == batch.makespan_seconds).all()


def test_an_empty_batch_is_empty() -> None:
    order = schedule_order("1f1b", 2, 1, 2)
    assert makespan_seconds(order, np.empty((0, 2)), [1, 1], [0]).shape == (0,)


@pytest.mark.parametrize(
    ("forward", "backward", "link", "named"),
    [
        ([1], [1, 1], [0], "forward_seconds"),
        ([1, 1], [1, -1], [0], "backward_seconds"),
        ([1, 1], [1, 1], [0, 0], "link_seconds"),
        ([1, float("nan")], [1, 1], [0], "forward_seconds"),
    ],
)
def test_wrong_costs_are_named(forward: list[float], backward: list[float], link: list[float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        simulate(schedule_order("1f1b", 2, 1, 2), forward, backward, link)


def test_seconds_of_w_go_with_the_orders_that_run_it() -> None:
    with pytest.raises(ValueError, match="zb-h1 runs W apart; give its seconds"):
        simulate(schedule_order("zb-h1", 2, 1, 2), [1, 1], [1, 1], [0])
    with pytest.raises(ValueError, match="1f1b runs no W apart; leave its seconds out"):
        simulate(schedule_order("1f1b", 2, 1, 2), [1, 1], [1, 1], [0], weight_grad_seconds=[1, 1])


def test_idle_operations_take_no_time() -> None:
    # By hand: device 0 holds chunks 0 and 2, device 1 chunk 1, so device 1 runs half as many operations.
    # F 0-1, 1-2 over, 2-3; then B (2 each) 3-5, 5-7 over, 7-9.
    row = [(FORWARD, 0, 0), (FORWARD, 2, 0), (BACKWARD, 2, 0), (BACKWARD, 0, 0)]
    order = order_of_rows("mine", [row, [(FORWARD, 1, 0), (BACKWARD, 1, 0)]], [0, 1, 0], 1)
    assert order.kind[1].tolist() == [FORWARD, BACKWARD, IDLE, IDLE]
    timeline = simulate(order, [1, 1, 1], [2, 2, 2], [0, 0])
    assert timeline.device_end_seconds.tolist() == [9, 7]
    assert timeline.busy_seconds.tolist() == [6, 3]
    assert timeline.span_seconds.tolist() == [9, 6]
    assert makespan_bound(order, [1, 1, 1], [2, 2, 2], [0, 0]) == 9
    assert peak_activation(order, [3, 5, 4]).tolist() == [7, 5]


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([[(FORWARD, 0, 0)]], r"device 0 runs \(kind, chunk, micro-batch\) \(1, 0, 0\)"),
        ([[(FORWARD, 0, 0), (BACKWARD, 0, 0), (BACKWARD, 0, 0)]], r"\(1, 0, 0\)"),
        ([[(FORWARD, 0, 0), (INPUT_GRAD, 0, 0)]], r"\(6, 0, 0\)"),
    ],
)
def test_rows_that_miss_or_repeat_an_operation_are_refused(rows: list[list[tuple[int, int, int]]], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        order_of_rows("mine", rows, [0], 1)
