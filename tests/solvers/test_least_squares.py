"""Robust least squares against closed forms, exhaustive scans and repeated sampling."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from solvers.least_squares import covariance, least_squares

Values = NDArray[np.float64]
WIDE = 1e6


def numeric(residuals: Callable[[Values], Values]) -> Callable[[Values, Values], Values]:
    def jacobian(x: Values, at: Values) -> Values:
        steps = np.eye(len(x)) * 1e-6
        return np.stack([(residuals(x + step) - at) / 1e-6 for step in steps], axis=1)

    return jacobian


def objective(x: Values, residuals: Callable[[Values], Values], centre: Values, width: Values) -> float:
    """f as the module's docstring states it."""
    return float(2 * (np.sqrt(1 + residuals(x) ** 2) - 1).sum() + (((x - centre) / width) ** 2).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_small_residuals_of_a_line_are_solved_by_the_normal_equations(seed: int, unknowns: int) -> None:
    """Soft L1 is the square up to fourth order: residuals of 1e-3 have (A'A + P) x = A'b + P c."""
    rng = np.random.default_rng(seed)
    a, b = 1e-3 * rng.normal(size=(12, unknowns)), 1e-3 * rng.normal(size=12)
    centre, width = rng.normal(size=unknowns), np.full(unknowns, 1e3)
    found = least_squares(
        lambda x: a @ x - b,
        lambda x, _: a,
        centre=centre,
        width=width,
        low=np.full(unknowns, -WIDE),
        high=np.full(unknowns, WIDE),
    )
    prior = np.eye(unknowns) / width**2
    exact = np.linalg.solve(a.T @ a + prior, a.T @ b + prior @ centre)
    assert found.converged
    assert found.x == pytest.approx(exact, abs=0.05)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_point_of_a_fine_grid_around_it_is_better_by_what_measurements_can_tell(seed: int) -> None:
    """f counts squares of the noise: a unit is a standard error; in a flat valley the search may leave half of one."""
    rng = np.random.default_rng(seed)
    t, noise = np.linspace(0, 1, 9), rng.normal(size=9)
    noise[rng.integers(9)] += 30  # an outlier
    truth = rng.uniform(-1.5, 1.5, size=2)

    def residuals(x: Values) -> Values:
        return 5 * (np.exp(x[0] * t) + x[1] * t - np.exp(truth[0] * t) - truth[1] * t) + noise

    centre, width = np.zeros(2), np.ones(2)
    low, high = np.full(2, -1.0), np.full(2, 1.0)
    found = least_squares(residuals, numeric(residuals), centre=centre, width=width, low=low, high=high)
    assert np.all((low <= found.x) & (found.x <= high))
    around = np.clip(found.x[:, None] + np.linspace(-0.2, 0.2, 41), -1, 1)
    best = min(objective(np.array([a, b]), residuals, centre, width) for a in around[0] for b in around[1])
    assert found.cost <= best + 0.5
    assert found.cost == pytest.approx(objective(found.x, residuals, centre, width))


def test_an_outlier_hardly_moves_the_estimate() -> None:
    """Nineteen measurements of 0 and one of 1000: the mean is 50; soft L1 stays where one unit pull of the
    outlier balances nineteen, x / sqrt(1 + x^2) = 1 / 19."""
    data = np.array([0.0] * 19 + [1000.0])
    found = least_squares(
        lambda x: x[0] - data,
        lambda x, _: np.ones((20, 1)),
        centre=np.array([3.0]),
        width=np.array([10.0]),
        low=np.array([-WIDE]),
        high=np.array([WIDE]),
        start=np.array([50.0]),
    )
    balance = 1 / 19
    assert found.x[0] == pytest.approx(balance / np.sqrt(1 - balance**2), abs=0.01)


def test_a_smooth_problem_needs_far_fewer_jacobians_than_steps() -> None:
    """Broyden's update stands in for most of them."""
    calls = {"residuals": 0, "jacobian": 0}
    t = np.linspace(0, 1, 20)

    def residuals(x: Values) -> Values:
        calls["residuals"] += 1
        return 30 * (np.exp(x[0] * t) + x[1] - np.exp(0.7 * t) - 0.2)

    inner = numeric(residuals)

    def jacobian(x: Values, at: Values) -> Values:
        calls["jacobian"] += 1
        return inner(x, at)

    bounds = {"low": np.full(2, -9.0), "high": np.full(2, 9.0)}
    found = least_squares(residuals, jacobian, centre=np.zeros(2), width=np.full(2, 10.0), **bounds)
    assert found.x == pytest.approx([0.7, 0.2], abs=1e-3)
    assert calls["jacobian"] <= 4


def test_the_stated_error_is_the_spread_over_repeated_measurements() -> None:
    """300 repetitions of a mean of 50 normal draws of standard deviation 2: its spread is what is stated."""
    rng = np.random.default_rng(7)
    means, stated = [], []
    one = np.array([1.0])
    for _ in range(300):
        data = 0.3 * rng.normal(size=50)
        found = least_squares(
            lambda x, data=data: x[0] - data,  # type: ignore[misc]
            lambda x, _: np.ones((50, 1)),
            centre=np.zeros(1),
            width=one,
            low=-WIDE * one,
            high=WIDE * one,
        )
        means.append(found.x[0])
        stated.append(np.sqrt(covariance(found.jacobian, found.residuals, one)[0, 0]))
    assert np.mean(stated) == pytest.approx(np.std(means), rel=0.15)


def test_the_prior_pulls_with_its_own_weight() -> None:
    """(0.1 (x - 1))^2 + (x / 10)^2 is least half-way, at 0.5."""
    one = np.ones(1)
    found = least_squares(
        lambda x: 0.1 * (x - 1),
        lambda x, _: np.full((1, 1), 0.1),
        centre=0 * one,
        width=10 * one,
        low=-9 * one,
        high=9 * one,
        start=one,
    )
    assert found.x[0] == pytest.approx(0.5, abs=0.01)


def test_the_covariance_of_four_equal_residuals_is_that_worked_out_by_hand() -> None:
    """Residuals of 1 and -1: psi^2 = 1/2, mean psi' = 2^-1.5; (1 + 2) / (1 + 4 - 1) x 8 = 6, over J'J = 4."""
    found = covariance(np.ones((4, 1)), np.array([1.0, -1.0, 1.0, -1.0]), np.array([1e4]))
    assert found[0, 0] == pytest.approx(1.5, rel=1e-6)


def test_without_measurements_the_error_is_the_prior_s_width() -> None:
    found = covariance(np.zeros((0, 2)), np.zeros(0), np.array([0.5, 2.0]))
    assert found == pytest.approx(np.diag([0.25, 4.0]))


def test_a_start_without_finite_residuals_and_crossed_bounds_are_refused() -> None:
    one = np.ones(1)
    with pytest.raises(ValueError, match="not finite"):
        least_squares(lambda x: x * np.inf, lambda x, _: np.ones((1, 1)), centre=one, width=one, low=0 * one, high=one)
    with pytest.raises(ValueError, match="crossed"):
        least_squares(lambda x: x, lambda x, _: np.ones((1, 1)), centre=one, width=one, low=one, high=0 * one)
