"""Robust least squares within bounds and with a prior, by Levenberg-Marquardt.

Over low <= x <= high, minimise

    f(x) = sum_i rho(r_i(x)^2) + sum_j ((x_j - c_j) / w_j)^2,      rho(z) = 2 (sqrt(1 + z) - 1)

with residuals r in units of their expected noise, so that outliers count linearly (soft L1), and a
prior of centre c and width w for each unknown.

One step weighs residuals by rho' = (1 + r^2)^(-1/2) and solves (J' W J + P + l D) s = -(J' W r + P (x - c)),
P = diag(1 / w^2), D the diagonal of the rest, over the unknowns that no bound holds (More 1978). Between
steps the Jacobian is corrected by Broyden's rank-one update and computed anew when a step fails or the
search ends: computing it costs as many evaluations as there are unknowns. Deterministic.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

TOLERANCE = 1e-3
"""Of a step, relative to the prior's width: far below what measurements can tell."""
PROGRESS = 5e-4
"""A step that lowers f by less than this share ends the search, for the same reason."""
FIRST_DAMPING = 1e-3
LARGEST_DAMPING = 1e8


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquares:
    """``x`` [p], its ``residuals`` [n] and their ``jacobian`` [n, p] there; ``converged`` is False when
    the iterations ran out."""

    x: Values
    cost: float
    residuals: Values
    jacobian: Values
    iterations: int
    converged: bool


def least_squares(
    residuals: Callable[[Values], Values],
    jacobian: Callable[[Values, Values], Values],
    *,
    centre: Values,
    width: Values,
    low: Values,
    high: Values,
    start: Values | None = None,
    most_iterations: int = 60,
) -> LeastSquares:
    """The x [p] of least f. ``residuals(x)`` is [n]; ``jacobian(x, residuals(x))`` is [n, p]. Starts at
    ``start``, else at the prior's centre.

    Raises ValueError when a residual is not finite at the start or bounds are crossed.
    """
    if np.any(low > high) or np.any(width <= 0):
        raise ValueError("bounds are crossed or a prior has no width")
    x = np.clip(centre if start is None else start, low, high)
    found = residuals(x)
    if not np.isfinite(found).all():
        raise ValueError("residuals are not finite at the start")
    slope, fresh = jacobian(x, found), True
    prior = 1.0 / width**2

    def cost(at: Values, r: Values) -> float:
        return objective(at, r, centre, width)

    value, damping, iterations = cost(x, found), FIRST_DAMPING, 0
    while iterations < most_iterations:
        iterations += 1
        gradient, curvature = _quadratic(x, found, slope, centre, prior)
        step = _step(x, gradient, curvature, damping, low, high)
        tried = residuals(x + step)
        better = cost(x + step, tried) if np.isfinite(tried).all() else np.inf
        small = bool(np.all(np.abs(step) <= TOLERANCE * width)) or value * (1 - PROGRESS) < better < value
        exact, worse = fresh, better >= value
        if not worse:
            slope, fresh = slope + np.outer((tried - found - slope @ step) / (step @ step), step), False
            x, found, value = x + step, tried, better
            damping = max(damping / 5, 1e-12)
        elif exact:
            damping *= 5
        if exact and (small or damping > LARGEST_DAMPING):
            break
        if not exact and (small or worse):
            slope, fresh = jacobian(x, found), True
    if not fresh:
        slope = jacobian(x, found)
    done = iterations < most_iterations
    return LeastSquares(x=x, cost=value, residuals=found, jacobian=slope, iterations=iterations, converged=done)


def objective(x: Values, residuals: Values, centre: Values, width: Values) -> float:
    """f of the module's first lines, for ``residuals`` at ``x``."""
    loss = 2.0 * (np.sqrt(1.0 + residuals**2) - 1.0)
    return float(loss.sum() + (((x - centre) / width) ** 2).sum())


def _quadratic(x: Values, found: Values, slope: Values, centre: Values, prior: Values) -> tuple[Values, Values]:
    """Half the gradient and half the (Gauss-Newton) curvature of f."""
    weight = 1.0 / np.sqrt(1.0 + found**2)
    weighted = slope * weight[:, None]
    return weighted.T @ found + prior * (x - centre), weighted.T @ slope + np.diag(prior)


def _step(x: Values, gradient: Values, curvature: Values, damping: float, low: Values, high: Values) -> Values:
    """The damped step over the unknowns that no bound holds, cut at the bounds: again without those that
    reach one, until none does."""
    step = np.zeros_like(x)
    free = ~((x <= low) & (gradient > 0)) & ~((x >= high) & (gradient < 0))
    while free.any():
        part = np.ix_(free, free)
        damped = curvature[part] + damping * np.diag(np.diag(curvature)[free])
        pulled = gradient[free] + curvature[np.ix_(free, ~free)] @ step[~free]
        wanted = np.linalg.solve(damped, -pulled)
        step[free] = np.clip(x[free] + wanted, low[free], high[free]) - x[free]
        held = free.copy()
        held[free] = step[free] != wanted
        held &= (x + step <= low) | (x + step >= high)
        if not held.any():
            break
        free &= ~held
    return step


def posterior(jacobian: Values, width: Values, variance: float = 1.0) -> Values:
    """Covariance [p, p] of the unknowns when residuals vary by ``variance``: (J' J / variance + P)^-1."""
    return np.asarray(np.linalg.inv(jacobian.T @ jacobian / variance + np.diag(1.0 / width**2)))


def covariance(jacobian: Values, residuals: Values, width: Values) -> Values:
    """Covariance [p, p] of the unknowns from ``jacobian`` [n, p] and ``residuals`` [n] at the optimum,
    the posterior under the variance that the residuals show (Huber 1981, sec. 7.6)

        s^2 = (1 + sum psi^2) / (1 + n - q) / (mean psi')^2,   psi = r (1 + r^2)^(-1/2)

    q: the unknowns that measurements rather than the prior determine; the ones stand for one measurement
    of the expected noise, which carries the estimate where there are few. Measurements count as
    independent: sweeps whose rows share an error make it too small.
    """
    psi = residuals / np.sqrt(1.0 + residuals**2)
    flat = float(np.mean((1.0 + residuals**2) ** -1.5)) if psi.size else 1.0
    variance = 1.0
    for _ in range(20):
        found = posterior(jacobian, width, variance)
        determined = len(width) - float((np.diag(found) / width**2).sum())
        variance = (1.0 + float((psi**2).sum())) / (1.0 + max(psi.size - determined, 0.0)) / flat**2
    return posterior(jacobian, width, variance)
