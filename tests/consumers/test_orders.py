"""The hand-written schedules are what they are called: their makespans are those of the literature and of CP-SAT."""

import pytest

from costmodels.timeline import schedule_order
from planner.exports.torch_csv import schedule_csv
from tests.consumers.orders import CAPPED, V_SHAPE, Cell, cells, made, makespan, order_from, peak_in_flight, zb_h1

TENS = {"F": 10, "I": 10, "W": 10, "B": 20}
FIVES = {"F": 5, "I": 5, "W": 5}


@pytest.mark.parametrize(
    ("rows", "seconds", "expected", "cap"),
    [
        pytest.param(zb_h1(4, 8), TENS, 270, 4, id="zb-h1"),  # the published heuristic's, and the optimum
        pytest.param(zb_h1(8, 16), TENS, 550, 8, id="zb-h1-of-eight"),
        pytest.param([cells(line) for line in CAPPED], TENS, 310, 3, id="capped"),  # the proved optimum
        pytest.param([cells(line) for line in V_SHAPE], FIVES, 205, 6, id="v"),
    ],
)
def test_makespan_and_memory(rows: list[list[Cell]], seconds: dict[str, int], expected: int, cap: float) -> None:
    assert makespan(rows, seconds) == expected
    assert max(peak_in_flight(row) for row in rows) == cap


def test_the_simulator_gives_1f1b_its_known_makespan() -> None:
    """(m + p - 1)(F + B) = 11 x 30, read back from the exported rows."""
    text = schedule_csv(schedule_order("1f1b", 4, 1, 8))
    assert makespan([cells(line, ",") for line in text.splitlines()], TENS) == 330


def test_the_made_order_has_the_proved_makespan_under_its_cap() -> None:
    """310 with room for 3 (the reference table of zero-bubble schedules), by a simulator that is not ours."""
    rows = [cells(line, ",") for line in schedule_csv(made(4, 8, 3.0)).splitlines()]
    assert makespan(rows, TENS) == 310
    assert max(peak_in_flight(row) for row in rows) <= 3


def test_rows_come_back_as_they_were_written() -> None:
    for rows in (zb_h1(4, 8), [cells(line) for line in V_SHAPE]):
        text = schedule_csv(order_from(rows))
        assert [cells(line, ",") for line in text.splitlines()] == rows
