"""Exact searches against each other, where trying every order takes too long."""

import numpy as np
import pytest

from solvers.mapping import ring, rows
from solvers.mapping.bounds import lower_bounds
from solvers.mapping.evaluate import evaluate
from solvers.mapping.places import PlaceSearch
from solvers.mapping.problem import GridProblem, training_grid
from solvers.mapping.rows import RowSearch
from solvers.mapping.solve import solve_mapping
from tests.solvers.mapping.random_problems import links, unlike_columns


def problem(seed: int, n: int, p: int, spare: int = 0) -> GridProblem:
    generator = np.random.default_rng(seed)
    made = training_grid(
        "step" if seed % 2 else "pipette",
        bandwidth=links(generator, n * p + spare),
        stages=p,
        rows=n,
        pipeline_bytes=5e7,
        data_parallel_bytes=6e8,
        microbatches=16,
        latency=generator.uniform(0, 1e-3, (n * p + spare,) * 2) if seed % 3 == 0 else None,
    )
    return unlike_columns(made, generator) if seed % 4 == 3 else made


@pytest.mark.parametrize(("n", "p", "spare"), [(2, 5, 0), (5, 2, 0), (3, 3, 0), (3, 3, 1), (2, 4, 2)])
@pytest.mark.parametrize("seed", range(4))
def test_two_exact_searches_agree(seed: int, n: int, p: int, spare: int) -> None:
    """Row by row over sets and tails, and place by place: they share no recursion. Both begin with the default."""
    given = problem(seed, n, p, spare)
    assert rows.suits(given)
    bounds = lower_bounds(given)
    begin = given.default_order()
    found = []
    for search in (RowSearch, PlaceSearch):
        exact = search(given, begin, evaluate(given, begin).value * (1 + 1e-9), (bounds.row, bounds.column))
        while not exact.finished:
            exact.run(10_000)
        assert evaluate(given, exact.best).value == pytest.approx(exact.best_value, rel=1e-9)
        found.append(evaluate(given, exact.best).value)
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    assert bounds.value <= found[0] * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_ring_is_that_of_the_place_search(seed: int) -> None:
    given = problem(2 * seed, 7, 1, spare=seed % 3)
    assert ring.suits(given)
    order = ring.best_ring(given)
    assert len(set(order.reshape(-1).tolist())) == 7
    exact = PlaceSearch(given, given.default_order(), np.inf, (0.0, 0.0))
    while not exact.finished:
        exact.run(10_000)
    assert evaluate(given, order).value == pytest.approx(exact.best_value, rel=1e-9)


@pytest.mark.parametrize(("n", "p"), [(2, 8), (4, 4)])
def test_sixteen_hosts_are_proven_in_steps_too(n: int, p: int) -> None:
    """No order that annealing finds from other seeds is below what is called optimal."""
    from solvers.mapping.search import LocalSearch
    from solvers.stop import NoLimit

    given = problem(1, n, p)
    solution = solve_mapping(given, time_limit_seconds=600)
    assert (solution.status, solution.stop) == ("optimal", "exhausted")
    for seed in (11, 12):
        local = LocalSearch(given, seed)
        local.run(NoLimit(), lambda _: None)
        assert local.best_value >= solution.value * (1 - 1e-12)
