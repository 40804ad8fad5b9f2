import dataclasses
import math

import pytest

from tests.solvers.schedule.instances import linear, passes, placed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 0}, r"devices: 0 must be at least 1"),
        ({"microbatches": 0}, r"microbatches: 0 must be at least 1"),
        ({"devices": 3}, r"device_of_chunk: no chunk lies on device 2"),
        ({"device_of_chunk": (0, 2)}, r"device_of_chunk\[1\]: 2 is not one of the devices 0 to 1"),
        ({"forward_seconds": (1.0,)}, r"forward_seconds: 1 values for 2 chunks"),
        ({"weight_grad_seconds": (1.0, -1.0)}, r"weight_grad_seconds\[1\]: -1.0 must be a non-negative number"),
        ({"input_grad_seconds": (math.nan, 1.0)}, r"input_grad_seconds\[0\]: nan must be"),
        ({"p2p_seconds": (math.inf,)}, r"p2p_seconds\[0\]: inf must be"),
        ({"memory_cap": (math.nan, 1.0)}, r"memory_cap\[0\]: nan must be"),
        ({"activation": (2.0, 1.0)}, r"activation\[0\]: 2.0 is not the sum of released_by_input_grad 0.5"),
        ({"vocabulary": passes(3, "vocab-1", 1.0, 1.0)}, r"vocabulary.s_seconds: 3 values for 2 devices"),
    ],
)
def test_each_wrong_figure_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(linear(2, 2), **changes)  # type: ignore[arg-type]


def test_all_wrong_figures_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"microbatches: -1 .*; forward_seconds\[0\]: -2.0"):
        dataclasses.replace(linear(2, 2), microbatches=-1, forward_seconds=(-2.0, 1.0))


def test_an_infinite_cap_and_a_negative_share_of_the_input_gradient_are_allowed() -> None:
    problem = dataclasses.replace(linear(2, 2), released_by_input_grad=(-0.5, 0.5), released_by_weight_grad=(1.5, 0.5))
    assert problem.memory_cap == (math.inf, math.inf)
    assert problem.least_memory() == (1.5, 1.0)  # by hand: 1 from F, and 0.5 more from I until W is done


def test_least_memory_counts_all_chunks_of_a_device_and_what_the_output_layer_keeps() -> None:
    problem = placed([0, 1, 1, 0], 2, vocabulary=passes(2, "vocab-2", 1.0, 1.0, kept=0.25))
    assert problem.least_memory() == (2.25, 2.25)
