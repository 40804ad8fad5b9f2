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


def _replace(of: Ints, to: Ints) -> None:
    for k in range(of.shape[0]):
        to[k] = of[k]


replace = compiled(_replace, inner=True)


def _laid_out(grid: Grid, sequence: Ints, order: Order) -> float:
    """Seconds of the order that ``sequence`` fills row by row."""
    p = order.shape[1]
    for r in range(order.shape[0]):
        for c in range(p):
            order[r, c] = sequence[r * p + c]
    return float(value(grid, order))


laid_out = compiled(_laid_out, inner=True)


def _permute(grid: Grid, sequence: Ints, n: int, p: int, steps: int, random: np.random.Generator) -> float:
    """Anneals ``sequence`` [usable hosts] in place; returns the value of the best, which it ends as."""
    count = sequence.shape[0]
    order = np.empty((n, p), np.int64)
    best, other = np.empty(count, np.int64), np.empty(count, np.int64)
    replace(sequence, other)
    replace(sequence, best)
    now = best_value = laid_out(grid, sequence, order)
    temperature = HOTTEST
    for _ in range(steps):
        a, b = int(random.random() * count), int(random.random() * count)
        kind = int(random.random() * 3)
        replace(sequence, other)
        if kind == 0:
            other[a], other[b] = sequence[b], sequence[a]
        elif kind == 1:
            host = sequence[a]
            for k in range(a, b):
                other[k] = sequence[k + 1]
            for k in range(b, a):
                other[k + 1] = sequence[k]
            other[b] = host
        else:
            first, last = min(a, b), max(a, b)
            for k in range(first, last + 1):
                other[k] = sequence[first + last - k]
        new = laid_out(grid, other, order)
        if new <= now or random.random() < np.exp((now - new) * 1e3 / temperature):
            replace(other, sequence)
            now = new
            if now < best_value:
                best_value = now
                replace(sequence, best)
        temperature *= COOLING
    replace(best, sequence)
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
