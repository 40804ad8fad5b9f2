"""Cells of the schedule; PyTorch itself reads and runs them in ``tests/consumers``."""

import pytest

from costmodels.timeline import schedule_order, vocabulary_order
from planner.exports import ExportRefused, export
from planner.exports.torch_csv import schedule_csv
from tests.consumers.orders import cells, order_from
from tests.planner.exports import plans


def test_1f1b_of_two_stages_by_hand() -> None:
    assert schedule_csv(schedule_order("1f1b", 2, 1, 3)) == "0F0,0F1,0B0,0F2,0B1,0B2\n1F0,1B0,1F1,1B1,1F2,1B2\n"


def test_halves_of_backward_passes_and_rows_of_unequal_length() -> None:
    order = order_from([cells("0F0 0I0 0W0"), cells("1F0 1B0")])
    assert schedule_csv(order) == "0F0,0I0,0W0\n1F0,1B0\n"


def test_the_vocabularys_passes_are_refused_by_name() -> None:
    with pytest.raises(ExportRefused, match="cannot express S, T, IF, IB"):
        schedule_csv(vocabulary_order("vocab-1", 4, 8))


def test_a_plan_has_a_row_a_stage() -> None:
    """64 sequences over dp=8 are 8 micro-batches, each with a forward and a backward."""
    rows = export(plans.llama_plan(), "torch-csv")["schedule.csv"].splitlines()
    assert [len(row.split(",")) for row in rows] == [16] * 4
