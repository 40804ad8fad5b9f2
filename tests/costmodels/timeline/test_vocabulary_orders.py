"""Orders with a split vocabulary: every pass once, never a deadlock, memory as the paper has it."""

import numpy as np
import pytest

from costmodels.timeline import (
    BACKWARD,
    FORWARD,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    VOCABULARY,
    VOCABULARY_METHODS,
    peak_live_counts,
    vocabulary_order,
)
from costmodels.timeline.vocabulary import vocabulary_graph

SIZES = [(p, m) for p in (2, 3, 4, 5, 8) for m in (1, 2, 3, 5, 8, 13)]
CASES = [(method, p, m) for method in VOCABULARY_METHODS for p, m in SIZES]


@pytest.mark.parametrize(("method", "p", "m"), CASES)
def test_every_device_runs_every_pass_of_every_micro_batch_once_and_in_turn(method: str, p: int, m: int) -> None:
    order = vocabulary_order(method, p, m)  # type: ignore[arg-type]
    steps = m if method == "interlaced" else m + 1
    for device in range(p):
        for kind in (FORWARD, BACKWARD, VOCABULARY, INPUT_FORWARD, INPUT_BACKWARD):
            found = order.microbatch[device][order.kind[device] == kind]
            assert found.tolist() == list(range(steps if kind == VOCABULARY else m))


@pytest.mark.parametrize(("method", "p", "m"), CASES)
def test_devices_never_wait_for_each_other_for_ever(method: str, p: int, m: int) -> None:
    graph = vocabulary_graph(vocabulary_order(method, p, m))  # type: ignore[arg-type]
    assert sum(end - begin for begin, end in graph.levels) == len(graph.after)


@pytest.mark.parametrize(("method", "p", "m"), CASES)
def test_in_flight_as_in_the_paper(method: str, p: int, m: int) -> None:
    """arXiv 2411.05288 sec. 5: p + 2 micro-batches for algorithm 1, p + 1 for algorithm 2, 1.5 p
    interlaced on the first device, one less on each next."""
    first = {"vocab-1": p + 2, "vocab-2": p + 1, "interlaced": p * 3 // 2}[method]
    live = peak_live_counts(vocabulary_order(method, p, m))  # type: ignore[arg-type]
    assert live.tolist() == [min(m, first - device) for device in range(p)]


def test_the_order_of_two_devices_by_hand() -> None:
    """vocab-2, 3 micro-batches, written out from the published schedule (fig. 10 b): a lookup more before
    each device's first forward, one forward more than 1F1B before the first backward, dW of the last
    micro-batch at the very end."""
    order = vocabulary_order("vocab-2", 2, 3)
    names = "FBVIi"  # F, B, V, input forward, input backward
    rows = [
        " ".join(f"{names[k]}{j}" for k, j in zip(order.kind[d], order.microbatch[d], strict=True)) for d in range(2)
    ]
    assert rows == [
        "I0 I1 F0 I2 F1 V0 F2 V1 B0 V2 B1 i0 B2 i1 i2 V3",
        "I0 I1 I2 F0 V0 F1 B0 V1 F2 B1 V2 B2 i0 i1 i2 V3",
    ]


def test_a_step_moves_behind_the_forward_pass_where_passes_have_drifted_by_a_backward() -> None:
    """p = 8, B a little under 2 F: V runs between B and F on all devices but 2 and 5, counted from the
    first (the published generator's placement)."""
    order = vocabulary_order("vocab-2", 8, 32)
    for device in range(8):
        kinds = order.kind[device]
        middle = len(kinds) // 2
        window = [int(k) for k in kinds[middle : middle + 10] if k in (FORWARD, BACKWARD, VOCABULARY)]
        at = window.index(BACKWARD)
        follows = VOCABULARY if device not in (2, 5) else FORWARD
        assert window[at + 1] == follows, device


def test_what_is_no_order_is_refused() -> None:
    with pytest.raises(ValueError, match="method"):
        vocabulary_order("vocab-3", 4, 8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stages"):
        vocabulary_order("vocab-1", 1, 8)
    with pytest.raises(ValueError, match="microbatches"):
        vocabulary_order("vocab-1", 4, 0)


def test_orders_cannot_be_changed() -> None:
    order = vocabulary_order("vocab-1", 2, 2)
    assert not any(a.flags.writeable for a in (order.kind, order.microbatch, order.chunk, order.device_of_chunk))
    assert np.array_equal(order.chunk[:, 0], [0, 1])
