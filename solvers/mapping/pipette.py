"""Pipette's annealing over permutations of hosts (Yim et al., DATE 2024), as a baseline.

From the default order, temperature 1 times 0.999 a step: swap two hosts, move one elsewhere, or reverse a stretch;
a worse order is kept with probability exp(-difference / temperature), the difference in milliseconds. After ``STEPS``
the temperature is below 1e-9 ms and nothing changes but for the better. Spare hosts stand behind the last place.
"""

import numpy as np

from solvers.compiled import compiled
from solvers.mapping.grid import Grid, grid_of
from solvers.mapping.kernels import value
from solvers.mapping.problem import GridProblem, Ints, Order

HOTTEST, COOLING, STEPS = 1.0, 0.999, 20_000


def _permute(grid: Grid, sequence: Ints, n: int, p: int, steps: int, random: np.random.Generator) -> float:
    """Anneals ``sequence`` [usable hosts] in place; returns the value of the best, which it ends as."""
    count = sequence.shape[0]
    places = n * p
    now = value(grid, sequence[:places].copy().reshape(n, p))
    best, best_value = sequence.copy(), now
    other = sequence.copy()
    temperature = HOTTEST
    for _ in range(steps):
        a, b = random.integers(0, count), random.integers(0, count)
        kind = random.integers(0, 3)
        other[:] = sequence
        if kind == 0:
            other[a], other[b] = sequence[b], sequence[a]
        elif kind == 1:
            host = sequence[a]
            if a < b:
                other[a:b] = sequence[a + 1 : b + 1]
            else:
                other[b + 1 : a + 1] = sequence[b:a]
            other[b] = host
        else:
            first, last = min(a, b), max(a, b)
            for k in range(first, last + 1):
                other[k] = sequence[first + last - k]
        new = value(grid, other[:places].copy().reshape(n, p))
        if new <= now or random.random() < np.exp((now - new) * 1e3 / temperature):
            sequence[:] = other
            now = new
            if now < best_value:
                best_value = now
                best[:] = sequence
        temperature *= COOLING
    sequence[:] = best
    return float(best_value)


permute = compiled(_permute)


def pipette_annealing(problem: GridProblem, seed: int, steps: int = STEPS) -> Order | None:
    """Its best order; None where places are fixed, which permutations do not know."""
    if problem.fixed:
        return None
    sequence = problem.usable.copy()
    permute(grid_of(problem), sequence, problem.rows, problem.columns, steps, np.random.default_rng(seed))
    order: Order = sequence[: problem.places].reshape(problem.rows, problem.columns)
    return order
