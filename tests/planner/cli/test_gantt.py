"""The chart of a small schedule."""

import pytest

from planner.cli.gantt import gantt
from planner.schedule import plan_schedule
from tests.planner.pipelines import pipeline


def test_rows_are_the_schedule_drawn_by_hand() -> None:
    """Two devices, two micro-batches, 10 each: (F B) on the second, three columns to an operation of 10."""
    found = gantt(plan_schedule(pipeline(2, 2), "1f1b"), 80)
    assert found.splitlines() == [
        " 0  F0-F1-......B0----...B1----",
        " 1  ...F0-B0----F1-B1----......",
    ]


@pytest.mark.parametrize(
    ("width", "second"), [(31, "...F0-B0----F1-B1----......"), (22, "..F0B0--F1B1--...."), (13, ".FB0FB1..")]
)
def test_columns_shrink_with_the_width(width: int, second: str) -> None:
    assert gantt(plan_schedule(pipeline(2, 2), "1f1b"), width).splitlines()[1] == f" 1  {second}"


def test_no_chart_where_an_operation_would_vanish() -> None:
    assert gantt(plan_schedule(pipeline(2, 2), "1f1b"), 12) == ""
    assert gantt(plan_schedule(pipeline(9, 2), "1f1b"), 1000) == ""


def test_later_chunks_of_a_device_are_in_lower_case() -> None:
    """By hand, one micro-batch through a V of two devices: F0 F1 | f2 f3, and back."""
    found = gantt(plan_schedule(pipeline(2, 1, placement="v"), "v-half"), 80)
    first, second = found.splitlines()
    assert first.startswith(" 0  F0-......f0-i0-")
    assert second.startswith(" 1  ...F0-f0-")
