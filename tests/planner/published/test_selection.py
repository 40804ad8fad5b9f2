"""Groups and rows not to score."""

from typing import Any

import pytest

import cases
from planner.published import PredictedRow
from planner.published.selection import Selection, exclusions, groups, judged, reasons, scored
from tests.planner.published.made import made

MIXTRAL = {"model": "Mixtral", "model_key": "mixtral_8x7b", "extra_json": "", "gpu": "H100", "ep": "8", "tp": "1"}


@pytest.mark.parametrize(
    ("entry", "cells", "holds"),
    [
        ({"source": "made"}, {}, True),
        ({"source": ["other", "made"]}, {}, True),
        ({"source": "other"}, {}, False),
        ({"rows": "made-*"}, {}, True),
        ({"rows": "made-[2-9]"}, {}, False),
        ({"gpu": "a100"}, {}, True),
        ({"gpu": ["h100", "b200"]}, {}, False),
        ({"precision": "bf16"}, {}, True),
        ({"precision": "fp8"}, {}, False),
        ({"model": "GPT 22B"}, {}, True),
        ({"model": "GPT 2"}, {}, False),
        ({"experts": False}, {}, True),
        ({"experts": True}, {}, False),
        ({"experts": True}, MIXTRAL, True),
        ({"experts": False}, {"task": "lora"}, False),  # refused: nothing is known of its model
        ({"context_parallel": False}, {}, True),
        ({"context_parallel": True}, {"cp": "2", "tp": "4"}, True),
        ({"nodes": "one"}, {}, True),
        ({"nodes": "several"}, {}, False),
        ({"nodes": "several"}, {"n_gpus": "16"}, True),
        ({"source": "made", "gpu": "h100"}, {}, False),
    ],
)
def test_a_selection_holds_when_all_it_states_does(entry: dict[str, Any], cells: dict[str, str], holds: bool) -> None:
    assert Selection.of(entry).holds(made(1, 1, **cells)) is holds


def test_the_published_peak_and_what_was_assumed_can_be_asked_for() -> None:
    small = Selection.of({"below_gigabytes": 8})
    assert small.holds(made(memory=(7.9, 8.0), predicted=1))
    assert not small.holds(made(memory=(8.0, 7.9), predicted=1))
    assert not small.holds(made(1, 1))
    guessed = Selection.of({"assumed": ["a vocabulary of"]})
    assert not guessed.holds(made(1, 1))
    row = made(1, 1)
    assert guessed.holds(PredictedRow(row=row.row, status="ok", seconds=1, assumptions=("a vocabulary of 50257",)))


def test_a_rule_that_states_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="states nothing"):
        Selection.of({"name": "all of them"})


def test_every_rule_of_the_file_is_of_some_row(published: list[PredictedRow]) -> None:
    """A rule that no row meets is a slip of the pen, or stale."""
    for name, rule in groups().items():
        assert any(rule.holds(row) for row in published), name
    for exclusion in exclusions():
        assert any(exclusion.rows.holds(row) for row in published), exclusion
        assert exclusion.of
        assert exclusion.reason
    ids = {row.row.row_id for row in published}
    named = [n for e in exclusions() for n in e.rows.rows if not any(c in n for c in "*?[")]
    assert set(named) <= ids


def test_every_key_of_the_file_is_read() -> None:
    """A misspelt key would silently state less."""
    known = set(Selection.__dataclass_fields__)
    for entry in cases.published_sources()["groups"]:
        assert set(entry) <= known | {"name"}
    for entry in cases.published_sources()["not_scored"]:
        assert set(entry) <= known | {"reason", "of"}
        assert entry.get("of", "bytes") in ("seconds", "bytes")


def test_rows_not_to_score_lose_only_the_figures_that_are_not(published: list[PredictedRow]) -> None:
    by_id = {row.row.row_id: row for row in published}
    failed, ci, plain = (by_id[name] for name in ("vtrain-multi-0016", "mlm-golden-0041", "simumax-b200-0001"))
    assert set(reasons(failed)) == {"seconds", "bytes"}
    assert set(reasons(ci)) == {"seconds"}
    assert reasons(plain) == {}
    kept = {row.row.row_id: row for row in scored([failed, ci, plain])}
    assert set(kept) == {"mlm-golden-0041", "simumax-b200-0001"}
    assert kept["mlm-golden-0041"].time_error is None
    assert kept["mlm-golden-0041"].memory_error == ci.memory_error
    assert kept["simumax-b200-0001"] is plain
    assert judged([failed, ci, plain]) == [ci, plain]
