"""Rank correlation and regret, worked out by hand."""

from math import sqrt

import pytest

from planner.published import PredictedRow
from planner.published.sweeps import rank_correlation, summary, sweeps
from tests.planner.published.made import made


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0], 0.8),  # 1 - 6 (0 + 1 + 1 + 0) / (4 x 15)
        ([1.0, 2.0, 3.0], [9.0, 4.0, 1.0], -1.0),
        ([1.0, 2.0, 2.0, 4.0], [1.0, 2.0, 3.0, 4.0], 4.5 / sqrt(4.5 * 5.0)),  # ranks 1, 2.5, 2.5, 4
    ],
)
def test_rank_correlation_is_spearmans(first: list[float], second: list[float], expected: float) -> None:
    assert rank_correlation(first, second) == pytest.approx(expected, abs=1e-12)


def test_without_any_order_there_is_no_rank_correlation() -> None:
    assert rank_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


def four(*figures: tuple[float, float], status: str = "ok") -> list[PredictedRow]:
    """(measured, predicted) of micro-batches 1, 2, 4, 8 of one job."""
    return [
        made(measured, predicted, status=status, mbs=str(mbs), row_id=f"mbs-{mbs}")
        for mbs, (measured, predicted) in zip((1, 2, 4, 8), figures, strict=False)
    ]


def test_regret_is_what_the_predicted_best_costs_over_the_measured_best() -> None:
    (found,) = sweeps(four((10, 10), (8, 9), (9, 8), (12, 13)))
    assert (found.chosen, found.best) == ("mbs-4", "mbs-2")
    assert found.regret == pytest.approx(9 / 8 - 1)
    assert found.rank_correlation == pytest.approx(1 - 6 * 2 / 60)
    assert found.configurations == 4


def test_what_is_predicted_not_to_fit_is_not_chosen() -> None:
    rows = four((10, 10), (8, 9), (9, 11), (12, 13))
    rows[1] = four((0, 0), (8, 9), status="infeasible")[1]
    (found,) = sweeps(rows)
    assert found.chosen == "mbs-1"
    assert found.regret == pytest.approx(10 / 8 - 1)


def test_three_configurations_are_no_sweep_and_other_jobs_do_not_count() -> None:
    assert sweeps(four((10, 10), (8, 9), (9, 8))) == []
    assert sweeps([*four((10, 10), (8, 9), (9, 8)), made(5, 5, gbs="16")]) == []
    assert summary([]) is None


def test_a_configuration_measured_twice_counts_with_its_mean() -> None:
    """Means: 7 against 8, so the first is best; a single one of its figures would not be."""
    rows = four((10, 7.5), (8, 7.6), (9, 8), (12, 13))
    (found,) = sweeps([*rows, made(4, 7.5, row_id="again")])
    assert found.configurations == 4
    assert (found.best, found.chosen, found.regret) == ("mbs-1", "mbs-1", 0.0)


def test_the_summary_counts_small_regrets() -> None:
    first = sweeps(four((10, 10), (8, 9), (9, 8), (12, 13)))
    second = sweeps(four((1, 1), (2, 2), (3, 3), (4, 4)))
    total = summary([*first, *second])
    assert total is not None
    assert (total.count, total.regret_below_1_percent) == (2, 1)
    assert (total.regret_mean, total.regret_worst) == (pytest.approx(0.0625), pytest.approx(0.125))
    assert total.rank_correlation == pytest.approx(0.9)
