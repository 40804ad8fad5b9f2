"""The bundled tables: complete, small, and what the publications print."""

from collections import Counter

import pytest

import cases
from planner.published import PredictedRow
from planner.published.bundled import UnknownSourceError, bundled_rows, source_names
from planner.readers.published.cells import text


def test_every_row_has_a_name_a_known_source_and_a_place(published: list[PredictedRow]) -> None:
    names = [row.row.row_id for row in published]
    assert len(set(names)) == len(names) == 2030
    assert {row.row.source_id for row in published} == set(source_names())
    assert all(text(row.row.cells, "source_ref") and text(row.row.cells, "source_date") for row in published)


def test_rows_of_each_source_are_all_there() -> None:
    """Counted in the publications: tables 1, 3 to 5 of two papers, 26 runs of vTrain, 149 of llm-foundry's README."""
    counts = Counter(row.source_id for row in bundled_rows())
    assert (counts["narayanan21"], counts["korthikanti22"], counts["vtrain-multi"]) == (10, 9, 26)
    assert (counts["llm-foundry"], counts["simumax-b200"], counts["vocabpar"]) == (149, 14, 20)
    assert (counts["megascale24"], counts["mtnlg22"], counts["nemotron4-15b"], counts["nemotron4-340b"]) == (
        16,
        3,
        3,
        3,
    )


@pytest.mark.parametrize(
    ("source", "model", "gpus", "seconds"),
    [
        ("korthikanti22", "GPT 22B", 8, 1.10),  # arXiv 2205.05198, table 5, sequence parallel + selective
        ("korthikanti22", "GPT 1T", 512, 71.49),
        ("narayanan21-table2", "GPT 529.6B", 2240, 55.446),  # table 2: 159 TFLOP/s
        ("megascale24", "GPT 175B (Megatron-LM)", 12288, 8.57),  # arXiv 2402.15627, table 2
        ("mtnlg22", "MT-NLG 530B", 3360, 44.4),  # arXiv 2201.11990, section 2.4
        ("nemotron4-340b", "Nemotron-4 340B", 6144, 8.0),  # arXiv 2406.11704, table 2
        ("narayanan21", "GPT 1.7B", 32, 3.528),  # arXiv 2104.04473, table 1: 137 TFLOP/s by its equation 3
    ],
)
def test_figures_are_those_printed(source: str, model: str, gpus: int, seconds: float) -> None:
    rows = [row for row in bundled_rows([source]) if text(row.cells, "model") == model and row.request]
    found = [row.measured_seconds for row in rows if row.request and row.request.cluster.gpus == gpus]
    assert seconds in found


def test_the_times_of_table_2_give_the_days_it_prints() -> None:
    """arXiv 2104.04473, table 2: days for 300 billion tokens beside the TFLOP/s that our seconds come from."""
    rows = bundled_rows(["narayanan21-zero3", "narayanan21-table2"])
    printed = [90, 74, 74, 169, 137, 140, None, 84, 43, 23, 156, 80, 42]
    for row, days in zip(rows, printed, strict=True):
        assert row.request is not None
        if days is None:
            assert (text(row.cells, "outcome"), row.measured_seconds) == ("out of memory", None)
        else:
            assert row.measured_seconds is not None
            steps = 300e9 / row.request.job.tokens
            assert steps * row.measured_seconds / 86_400 == pytest.approx(days, abs=1.0)


def test_the_tables_are_small() -> None:
    assert sum(path.stat().st_size for path in cases.published_tables()) < 750_000


def test_an_unknown_source_is_named_with_a_near_one() -> None:
    with pytest.raises(UnknownSourceError, match=r"'dgx'.*did you mean 'dgxc'"):
        bundled_rows(["dgx"])
    with pytest.raises(UnknownSourceError, match=r"one of .*simumax-b200"):
        bundled_rows(["zzz"])
