import numpy as np
import pytest

from costmodels.timeline import BACKWARD, FORWARD, Order, schedule_order
from tests.oracles.timeline import one_forward_one_backward


def row(order: Order, device: int) -> str:
    cells = zip(order.kind[device], order.chunk[device], order.microbatch[device], strict=True)
    return " ".join(f"{'FB'[kind]}{chunk}.{microbatch}" for kind, chunk, microbatch in cells)


def test_interleaved_order_is_megatrons() -> None:
    # By hand from Megatron-LM's forward_backward_pipelining_with_interleaving: p = 2, v = 2, m = 4,
    # warm-up 2 (p - 1 - rank) + (v - 1) p = 4 and 2, then one forward, one backward.
    order = schedule_order("interleaved-1f1b", 2, 2, 4)
    assert row(order, 0) == ("F0.0 F0.1 F2.0 F2.1 F0.2 B2.0 F0.3 B2.1 F2.2 B0.0 F2.3 B0.1 B2.2 B2.3 B0.2 B0.3")
    assert row(order, 1) == ("F1.0 F1.1 F3.0 B3.0 F3.1 B3.1 F1.2 B1.0 F1.3 B1.1 F3.2 B3.2 F3.3 B3.3 B1.2 B1.3")


@pytest.mark.parametrize(("stages", "microbatches"), [(1, 1), (1, 5), (4, 2), (4, 4), (4, 11), (7, 30)])
def test_1f1b_keeps_at_most_p_minus_i_in_flight(stages: int, microbatches: int) -> None:
    # Second method: the oracle decides step by step from the micro-batches in flight.
    order = schedule_order("1f1b", stages, 1, microbatches)
    for device, expected in enumerate(one_forward_one_backward(stages, microbatches)):
        assert row(order, device) == " ".join(f"{kind}{chunk}.{mb}" for kind, chunk, mb in expected)


def test_gpipe_runs_all_forwards_first() -> None:
    # By hand from the schedule's definition.
    assert row(schedule_order("gpipe", 2, 1, 3), 0) == "F0.0 F0.1 F0.2 B0.0 B0.1 B0.2"


@pytest.mark.parametrize(
    "arguments", [("gpipe", 3, 1, 5), ("1f1b", 5, 1, 3), ("interleaved-1f1b", 4, 3, 12), ("interleaved-1f1b", 4, 2, 4)]
)
def test_every_chunk_sees_every_microbatch_once_each_way(arguments: tuple[str, int, int, int]) -> None:
    order = schedule_order(*arguments)
    for kind in (FORWARD, BACKWARD):
        chosen = order.kind == kind
        seen = set(zip(order.chunk[chosen].tolist(), order.microbatch[chosen].tolist(), strict=True))
        assert len(seen) == chosen.sum() == order.chunks * order.microbatches
    devices = np.arange(order.devices)[:, None]
    assert (order.device_of_chunk[order.chunk] == devices).all()


def test_orders_are_shared_and_read_only() -> None:
    order = schedule_order("1f1b", 4, 1, 8)
    assert schedule_order("1f1b", 4, 1, 8) is order
    with pytest.raises(ValueError, match="read-only"):
        order.kind[0, 0] = BACKWARD


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("zero", 4, 1, 8), "schedule"),
        (("1f1b", 0, 1, 8), "stages"),
        (("1f1b", 4, 1, 0), "microbatches"),
        (("1f1b", 4, 2, 8), "interleaved-1f1b"),
        (("interleaved-1f1b", 4, 1, 8), "use 1f1b"),
        (("interleaved-1f1b", 4, 2, 6), "multiple of the 4 stages, not 6"),
    ],
)
def test_wrong_counts_are_named(arguments: tuple[str, int, int, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        schedule_order(*arguments)
