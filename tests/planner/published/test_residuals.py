"""The +- of predictions: quantiles and coverage by hand."""

import pytest

from planner.published.residuals import Residual, coverage, memory_residuals, spreads, time_residuals
from planner.uncertainty import ANY
from tests.planner.published.made import made

FACETS = ("hopper", "dense", "one NVLink domain", "16 bits")


def residuals(
    misses: list[float], source: str = "a", gpus: int = 8, facets: tuple[str, ...] = FACETS
) -> list[Residual]:
    return [Residual(source_id=source, gpus=gpus, facets=facets, miss=miss) for miss in misses]


def test_the_share_is_the_miss_that_four_of_five_stay_within() -> None:
    """15 misses of 1 % to 15 %: rank ceil(16 x 0.8) = 13, so 13 %. 19: rank ceil(20 x 0.8) = 16."""
    fifteen, nineteen = ([n / 100 for n in range(1, count + 1)] for count in (15, 19))
    assert spreads(residuals(fifteen))[", ".join(FACETS)].share == pytest.approx(0.13)
    assert spreads(residuals(nineteen[::-1]))[", ".join(FACETS)].share == pytest.approx(0.16)


def test_few_rows_have_a_spread_of_the_coarsest_kind_only() -> None:
    """Four rows: rank ceil(5 x 0.8) = 4, the largest. One row: its own miss."""
    assert {kind: s.share for kind, s in spreads(residuals([0.01, 0.04, 0.02, 0.03])).items()} == {ANY: 0.04}
    assert spreads(residuals([0.0612]))[ANY].share == pytest.approx(0.062)  # rounded up to 0.1 %


def test_kinds_pool_the_rows_of_finer_ones_and_count_sources() -> None:
    other = (*FACETS[:3], "8 bits or fewer")
    found = spreads([*residuals([0.1] * 10), *residuals([0.2] * 5, "b", facets=other)])
    assert set(found) == {"hopper", "hopper, dense", "hopper, dense, one NVLink domain", ANY}
    assert found["hopper"].sources == {"a": 10, "b": 5}
    assert found["hopper"].rows == 15
    assert found["hopper"].share == 0.2  # rank 13 of 15


def test_coverage_counts_rows_that_were_left_out() -> None:
    """Made from a alone (all 1 %), none of b's rows is within; from b alone (all 9 %), all of a's are.
    Made from both, the share would be 9 % (rank 13 of 15), and all of b's rows within."""
    found = {c.left_out: c for c in coverage([*residuals([0.01] * 10), *residuals([0.09] * 5, "b", 128)])}
    assert (found["source a"].rows, found["source a"].within) == (10, 10)
    assert (found["source b"].rows, found["source b"].within) == (5, 0)
    assert (found["each source"].rows, found["each source"].within) == (15, 10)
    assert (found["runs on more than 64 GPUs"].rows, found["runs on more than 64 GPUs"].within) == (5, 0)


def test_one_source_leaves_nothing_to_compare_with() -> None:
    assert coverage(residuals([0.1, 0.2])) == []
    assert coverage([]) == []


def test_residuals_are_of_the_measured_value_over_the_predicted() -> None:
    (time,) = time_residuals([made(11, 10), made(None, 10), made(10, None, status="unsupported: x")])
    assert time.miss == pytest.approx(0.1)
    assert (time.source_id, time.gpus) == ("made", 8)
    assert time.facets == ("megatron", "ampere", "dense", "one NVLink domain", "16 bits")
    (memory,) = memory_residuals([made(11, 10, memory=(40.0, 50.0))])
    assert memory.miss == pytest.approx(0.2)
