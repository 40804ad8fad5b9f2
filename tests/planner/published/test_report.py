"""The report over all bundled rows, and the data that is made from it."""

import pytest

from planner.published import PredictedRow
from planner.published.report import make_report
from planner.published.residuals import coverage, fit_residuals, time_residuals
from planner.published.selection import reasons
from planner.uncertainty import COVERAGE, FEWEST_ROWS, Spread, bundled_residuals


def test_totals_are_those_of_a_plain_loop(published: list[PredictedRow]) -> None:
    errors = [r.time_error for r in published if r.time_error is not None and "seconds" not in reasons(r)]
    total = make_report(published).total
    assert total.scored.time is not None
    assert total.scored.time.rows == len(errors) > 400
    assert total.scored.time.mean == pytest.approx(sum(map(abs, errors)) / len(errors))
    assert total.scored.time.bias == pytest.approx(sum(errors) / len(errors))
    assert total.every.rows == len(published)
    assert total.every.time is not None
    assert total.every.time.rows > total.scored.time.rows


def test_every_scored_time_is_in_one_group(published: list[PredictedRow]) -> None:
    report = make_report(published)
    assert report.total.scored.time is not None
    grouped = sum(part.scored.time.rows for part in report.groups if part.scored.time)
    assert grouped == report.total.scored.time.rows


def test_vtrains_runs_are_a_sweep_that_is_ranked_well(published: list[PredictedRow]) -> None:
    """26 runs of one model on 64 A100s, arXiv 2312.12391; less the three failed ones."""
    (part,) = [p for p in make_report(published).sources if p.name == "vtrain-multi"]
    assert part.sweeps is not None
    assert part.sweeps.count == 1
    assert part.sweeps.rank_correlation is not None
    assert part.sweeps.rank_correlation > 0.9


def test_the_bundled_shares_are_those_of_the_bundled_rows(published: list[PredictedRow]) -> None:
    """Stale? ``python -m tools.update_accuracy`` writes them anew."""
    now, kept = fit_residuals(published), bundled_residuals()
    for fresh, old in ((now.step_seconds, kept.step_seconds), (now.peak_memory_bytes, kept.peak_memory_bytes)):
        assert set(fresh) == set(old)
        for kind, spread in fresh.items():
            assert old[kind].sources == spread.sources, kind
            assert old[kind].share == pytest.approx(spread.share, abs=0.0015), kind


def test_shares_hold_what_they_say_on_their_own_rows(published: list[PredictedRow]) -> None:
    """Counted, not computed: at least four of five rows of each kind are within its share."""
    residuals = time_residuals(published)
    for kind, spread in bundled_residuals().step_seconds.items():
        own = [r for r in residuals if kind == "any configuration" or ", ".join(r.facets).startswith(kind)]
        assert len(own) == spread.rows
        within = sum(r.miss <= spread.share + 0.0015 for r in own)
        assert within >= COVERAGE * len(own), kind
        assert isinstance(spread, Spread)
        assert spread.rows >= FEWEST_ROWS or kind == "any configuration"


def test_intervals_hold_for_most_rows_of_sources_they_have_not_seen(published: list[PredictedRow]) -> None:
    found = {check.left_out: check for check in coverage(time_residuals(published))}
    assert found["each source"].rows == len(time_residuals(published))
    assert found["each source"].within / found["each source"].rows > 0.6  # nominal 0.8; 0.73 when this was written
