"""The schedules that run I and W apart: rows by hand, memory and makespans of the papers, no deadlock."""

import numpy as np
import pytest

from costmodels.timeline import (
    FORWARD,
    INPUT_GRAD,
    NAMED_SCHEDULES,
    WEIGHT_GRAD,
    Order,
    device_of_chunk,
    makespan_seconds,
    peak_activation,
    peak_live_counts,
    schedule_order,
    simulate,
)
from costmodels.timeline.orders import _rule
from costmodels.timeline.schedules import Schedule

SPLIT: tuple[Schedule, ...] = tuple(name for name, named in NAMED_SCHEDULES.items() if named.splits_backward)


def order_of(schedule: Schedule, p: int, m: int) -> Order:
    return schedule_order(schedule, p, NAMED_SCHEDULES[schedule].chunks_per_device or 1, m)


def row(order: Order, device: int) -> str:
    cells = zip(order.kind[device], order.chunk[device], order.microbatch[device], strict=True)
    return " ".join(f"{'FB---IW'[kind]}{chunk}.{microbatch}" for kind, chunk, microbatch in cells)


def makespan(schedule: Schedule, p: int, m: int, passes: float = 10.0, link: float = 0.0) -> float:
    order = order_of(schedule, p, m)
    each = np.full(order.chunks, passes)
    links = np.where(np.diff(order.device_of_chunk) == 0, 0.0, link)
    return float(makespan_seconds(order, each, each, links, weight_grad_seconds=each))


def test_rows_of_zb_h1_and_zb_h2() -> None:
    # By hand from the rule, p = 3: before the first I p - i and 2 (p - i) - 1 forwards, W i and 2 i behind.
    first = order_of("zb-h1", 3, 4)
    assert row(first, 0) == "F0.0 F0.1 F0.2 I0.0 W0.0 F0.3 I0.1 W0.1 I0.2 W0.2 I0.3 W0.3"
    assert row(first, 2) == "F2.0 I2.0 F2.1 I2.1 F2.2 I2.2 W2.0 F2.3 I2.3 W2.1 W2.2 W2.3"
    second = order_of("zb-h2", 3, 6)
    assert row(second, 0) == (
        "F0.0 F0.1 F0.2 F0.3 F0.4 I0.0 W0.0 F0.5 I0.1 W0.1 I0.2 W0.2 I0.3 W0.3 I0.4 W0.4 I0.5 W0.5"
    )
    assert row(second, 2) == (
        "F2.0 I2.0 F2.1 I2.1 F2.2 I2.2 F2.3 I2.3 F2.4 I2.4 W2.0 F2.5 I2.5 W2.1 W2.2 W2.3 W2.4 W2.5"
    )


def test_rows_of_zb_v() -> None:
    # By hand from the rule, p = 2, m = 3: device 0 holds chunks 0 and 3, device 1 chunks 1 and 2.
    order = order_of("zb-v", 2, 3)
    assert row(order, 0) == (
        "F0.0 F0.1 F0.2 F3.0 I3.0 W3.0 F3.1 I3.1 W3.1 I0.0 W0.0 F3.2 I3.2 W3.2 I0.1 W0.1 I0.2 W0.2"
    )
    assert row(order, 1) == (
        "F1.0 F2.0 F1.1 F2.1 I2.0 W2.0 F1.2 I1.0 W1.0 F2.2 I2.1 W2.1 I1.1 I2.2 I1.2 W1.1 W2.2 W1.2"
    )


@pytest.mark.parametrize("schedule", SPLIT)
@pytest.mark.parametrize("p", range(1, 17))
def test_every_operation_runs_once_and_none_waits_for_ever(schedule: Schedule, p: int) -> None:
    # Second method: the simulation raises on a deadlock; counts are by definition.
    for m in sorted({1, 2, 3, p, p + 1, 2 * p - 1, 2 * p, 21, 40}):
        order = order_of(schedule, p, m)
        ones = np.ones(order.chunks)
        timeline = simulate(order, ones, ones, np.zeros(order.chunks - 1), weight_grad_seconds=ones)
        assert (timeline.busy_seconds == 3 * m * order.chunks_per_device).all()
        for kind in (FORWARD, INPUT_GRAD, WEIGHT_GRAD):
            chosen = order.kind == kind
            seen = set(zip(order.chunk[chosen].tolist(), order.microbatch[chosen].tolist(), strict=True))
            assert len(seen) == chosen.sum() == order.chunks * m
        assert (order.device_of_chunk[order.chunk] == np.arange(p)[:, None]).all()


@pytest.mark.parametrize("schedule", SPLIT)
@pytest.mark.parametrize(("p", "m"), [(2, 40), (3, 31), (7, 50), (8, 45), (9, 64), (16, 90)])
def test_the_repeated_part_is_the_rules_own(schedule: Schedule, p: int, m: int) -> None:
    # Second method: the rule applied to all m micro-batches, not to 4 p + 8 of them.
    assert m > 4 * p + 8
    order, direct = order_of(schedule, p, m), _rule(schedule, p, m)
    assert (np.stack([order.kind, order.chunk, order.microbatch], axis=-1) == direct).all()


@pytest.mark.parametrize("p", range(2, 17))
def test_no_more_in_flight_than_published(p: int) -> None:
    # Papers: p and 2 p - 1 (arXiv 2401.10241 table 1); p, (p + 2) // 2, (p + 4) // 3 of a device's two chunks
    # (arXiv 2405.15362), each until its W.
    m = 5 * p
    assert (peak_live_counts(order_of("zb-h1", p, m)) == p).all()
    assert (peak_live_counts(order_of("zb-h2", p, m)) == 2 * p - 1).all()
    assert (peak_live_counts(order_of("zb-v", p, m)) == 2 * p).all()
    for schedule, most in (("v-half", (p + 2) // 2), ("v-min", (p + 4) // 3)):
        assert peak_live_counts(order_of(schedule, p, m)).max() == 2 * most  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("schedule", "p", "m", "link", "expected"),
    [
        ("zb-h1", 4, 8, 0, 270),
        ("zb-h1", 8, 16, 0, 550),
        ("zb-h1", 8, 24, 1, 818),
        ("zb-h1", 16, 64, 1, 2130),
        ("zb-v", 4, 8, 0, 255),
        ("v-half", 4, 8, 0, 265),
        ("v-min", 4, 8, 0, 295),
    ],
)
def test_makespans_of_the_published_schedulers(schedule: Schedule, p: int, m: int, link: float, expected: int) -> None:
    # Papers: what the schedulers published with arXiv 2401.10241 and 2405.15362 reach under these schedules'
    # memory, passes of 10 (of 5 for each of two chunks).
    assert makespan(schedule, p, m, 5.0 if "v" in schedule else 10.0, link) == expected


@pytest.mark.parametrize(("p", "m"), [(2, 3), (4, 8), (8, 64), (16, 40)])
def test_bubbles_of_equal_stages(p: int, m: int) -> None:
    # Paper: (p - 1)(F + I - W) and, of a device's span, (p - 1)(F + I - 2 W), arXiv 2401.10241 table 1.
    for schedule, sizes, bubble in (
        ("zb-h1", (10, 12, 7), (p - 1) * (10 + 12 - 7)),
        ("zb-h2", (10, 10, 10), 0),
        ("zb-v", (10, 10, 10), 0),
    ):
        order = order_of(schedule, p, m)  # type: ignore[arg-type]
        forward, input_grad, weight_grad = (np.full(order.chunks, float(size)) for size in sizes)
        timeline = simulate(order, forward, input_grad, np.zeros(order.chunks - 1), weight_grad_seconds=weight_grad)
        enough = m >= 2 * p - 1  # zero bubble takes that many micro-batches
        if schedule == "zb-h1" or enough:
            assert (timeline.span_seconds - timeline.busy_seconds).max() == bubble


@pytest.mark.parametrize("p", [4, 8, 12, 16])
def test_v_half_and_v_min_trade_bubble_for_memory(p: int) -> None:
    # Paper: about half and two thirds of 1F1B's bubble (p - 1) (F + B) (arXiv 2405.15362); these: at most
    # 0.5 and 0.7 of it.
    m = 6 * p
    bubbles = [(makespan(name, p, m, 5.0) - 30 * m) / (30 * (p - 1)) for name in ("v-half", "v-min")]
    assert 0.25 < bubbles[0] <= 0.5
    assert 0.5 < bubbles[1] <= 0.7


def test_split_activations_fall_by_what_i_frees() -> None:
    # By hand: zb-h1, p = 4, F +1, I - 1/2, W - 1/2: device i ends a period with i halves waiting.
    order = order_of("zb-h1", 4, 12)
    assert peak_activation(order, np.ones(4), np.full(4, 0.5)).tolist() == [4, 3.5, 3, 2.5]


def test_the_v_turns_on_one_device() -> None:
    # By hand: 2 p - 1 - c for the second half.
    assert device_of_chunk("v", 3, 2).tolist() == [0, 1, 2, 2, 1, 0]
    assert device_of_chunk("interleaved", 3, 2).tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(ValueError, match="v has 2 chunks per device, not 1"):
        device_of_chunk("v", 3, 1)
    with pytest.raises(ValueError, match="chunks_per_stage: zb-v has 2, not 1"):
        schedule_order("zb-v", 3, 1, 4)
    with pytest.raises(ValueError, match="chunks_per_stage: zb-h1 has 1, not 2"):
        schedule_order("zb-h1", 3, 2, 4)
