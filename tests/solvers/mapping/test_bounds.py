"""Bounds and searches on clusters of leaves, by hand and as properties."""

from dataclasses import replace

import numpy as np
import pytest

from solvers.mapping.bounds import lower_bounds
from solvers.mapping.evaluate import evaluate
from solvers.mapping.problem import GridProblem, SharedLink, training_grid
from solvers.mapping.solve import solve_mapping
from solvers.stop import MaxEvaluations
from tests.oracles.mapping import best
from tests.solvers.mapping.random_problems import clustered_problem, leaves


def cluster(
    hosts: int, leaf: int, n: int, p: int, *, ring_bytes: float = 1e9, degraded: float = 0.0, **more: object
) -> GridProblem:
    """50 GB/s inside leaves, 12.5 GB/s between; 16 waves of p micro-batches, 1e8 bytes each way."""
    return training_grid(
        "step",
        bandwidth=leaves(hosts, leaf, oversubscription=4.0, degraded=degraded, seed=1),
        stages=p,
        rows=n,
        pipeline_bytes=1e8,
        data_parallel_bytes=ring_bytes,
        microbatches=16 * p,
        **more,
    )


def test_rings_longer_than_a_leaf_cross_the_spine() -> None:
    """n = 16 rows on leaves of 8: a ring link of 2 * 15/16 * 1e9 / 12.5e9 = 150 ms; three edges in a leaf of
    32e8 / 50e9 = 64 ms each."""
    bounds = lower_bounds(cluster(64, 8, 16, 4))
    assert bounds.column == pytest.approx(0.150)
    assert bounds.row == pytest.approx(0.192)
    assert bounds.value == pytest.approx(0.342)


def test_either_rows_or_columns_cross() -> None:
    """n = p = 8 on leaves of 8: columns inside leaves (35 ms of ring) make all 7 edges cross (256 ms each), rows inside
    leaves (7 * 64 ms) make rings cross: 448 + 2 * 7/8 * 1e9 / 12.5e9 = 140 ms. The bound knows it cannot have both."""
    given = cluster(64, 8, 8, 8)
    assert lower_bounds(given).value == pytest.approx(0.448 + 0.140)
    heavy = cluster(64, 8, 8, 8, ring_bytes=40e9)  # 5.6 s of ring across, 1.4 s inside with 7 * 256 ms of edges
    assert lower_bounds(heavy).value == pytest.approx(7 * 0.256 + 1.4)


@pytest.mark.parametrize("ring_bytes", [1e9, 40e9])
def test_search_meets_the_bound_on_even_leaves(ring_bytes: float) -> None:
    solution = solve_mapping(cluster(64, 8, 8, 8, ring_bytes=ring_bytes), time_limit_seconds=600)
    assert (solution.status, solution.stop) == ("optimal", "gap")


def test_search_avoids_slow_links() -> None:
    """One link in twenty is slow: the bound, which knows the slow ones, is met to a tenth; the default order is far."""
    given = cluster(128, 16, 32, 4, degraded=0.05)
    solution = solve_mapping(given, time_limit_seconds=600)
    assert solution.choice is not None
    assert solution.gap < 0.1
    assert solution.value < 0.5 * evaluate(given, given.default_order()).value


def test_slow_links_are_avoided_without_leaving_the_leaf() -> None:
    """Every row fills a leaf of 16, where one link in ten is slow, and so is one in ten between leaves."""
    solution = solve_mapping(cluster(1024, 16, 64, 16, degraded=0.1), stop=MaxEvaluations(1_000_000))
    assert (solution.status, solution.stop) == ("optimal", "gap")


@pytest.mark.parametrize("seed", range(3))
def test_slower_links_never_lower_the_bound_or_the_optimum(seed: int) -> None:
    generator = np.random.default_rng(seed)
    bandwidth = generator.uniform(5e9, 25e9, (9, 9))
    given = training_grid(
        "step",
        bandwidth=bandwidth,
        stages=3,
        rows=3,
        pipeline_bytes=5e7,
        data_parallel_bytes=6e8,
        microbatches=9,
    )
    slower = replace(given, bandwidth=bandwidth * np.where(generator.random((9, 9)) < 0.3, 0.5, 1.0))
    narrow = replace(given, shared=(SharedLink(members=(0, 1, 2), bytes_per_second=12e9),))
    for other in (slower, narrow):
        assert lower_bounds(other).value >= lower_bounds(given).value * (1 - 1e-12)
        assert solve_mapping(other).value >= solve_mapping(given).value * (1 - 1e-12)


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_no_order_is_below_the_bound(first: int) -> None:
    """Against all orders; and the bound is often the best of them."""
    met = 0
    for seed in range(first, first + 100):
        given = clustered_problem(seed)
        bound, least = lower_bounds(given).value, best(given)
        assert bound <= least * (1 + 1e-9), seed
        met += bound >= least * (1 - 1e-9)
    assert met >= 20


def test_a_stopped_search_returns_an_order_and_a_bound() -> None:
    given = cluster(64, 8, 8, 8, degraded=0.2)
    solution = solve_mapping(given, stop=MaxEvaluations(1))
    assert solution.choice is not None
    assert sorted(solution.choice.reshape(-1).tolist()) == list(range(64))
    assert (solution.status, solution.stop) == ("feasible", "evaluation_limit")
    assert 0 < solution.lower_bound < solution.value
    assert solution.value == pytest.approx(evaluate(given, solution.choice).value)


def test_spare_hosts_are_those_with_slow_links() -> None:
    """Two of 18 hosts have links of a tenth: nobody needs them."""
    bandwidth = np.full((18, 18), 20e9)
    for slow in (3, 11):
        bandwidth[slow, :] = bandwidth[:, slow] = 2e9
    given = training_grid(
        "step",
        bandwidth=bandwidth,
        stages=4,
        rows=4,
        pipeline_bytes=1e8,
        data_parallel_bytes=1e9,
        microbatches=4,
    )
    solution = solve_mapping(given)
    assert solution.choice is not None
    assert set(range(18)) - set(solution.choice.reshape(-1).tolist()) == {3, 11}
    assert solution.value == pytest.approx(3 * 2e8 / 20e9 + 1.5e9 / 20e9)  # three edges, and a ring link
    assert solution.status == "optimal"
