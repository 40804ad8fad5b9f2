"""Orders over a grid: against every order of small problems, and on the trial instances."""

import numpy as np
import pytest

from solvers.mapping.bounds import lower_bounds
from solvers.mapping.evaluate import evaluate
from solvers.mapping.grid import grid_of
from solvers.mapping.kernels import value
from solvers.mapping.solve import solve_mapping
from tests.oracles.mapping import best, values
from tests.solvers.mapping.random_problems import random_problem


@pytest.mark.parametrize("first", range(0, 200, 10))
def test_small_problems_are_solved_as_by_trying_every_order(first: int) -> None:
    """Both objectives, shared links, blocks, fixed places, spare and excluded hosts; the oracle prices all orders."""
    for seed in range(first, first + 10):
        problem = random_problem(seed)
        expected = best(problem)
        solution = solve_mapping(problem, seed=seed)
        assert solution.choice is not None
        assert solution.status == "optimal", seed
        assert solution.value == pytest.approx(expected, rel=1e-9), seed
        assert values(problem, solution.choice[None])[0] == pytest.approx(expected, rel=1e-9), seed
        assert lower_bounds(problem).value <= expected * (1 + 1e-9), seed


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_three_evaluations_of_random_orders_agree(seed: int) -> None:
    """Plain Python, compiled, and the oracle's over all orders at once."""
    problem = random_problem(seed)
    generator = np.random.default_rng(seed)
    for _ in range(4):
        order = generator.permutation(problem.hosts)[: problem.places].reshape(problem.rows, problem.columns)
        expected = values(problem, order[None])[0]
        assert evaluate(problem, order).value == pytest.approx(expected, rel=1e-12)
        assert value(grid_of(problem), order) == pytest.approx(expected, rel=1e-12)
