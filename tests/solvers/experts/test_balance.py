"""Placements against brute force, bounds against placements, and what a placement must never do."""

import numpy as np
import pytest

from solvers.experts.balance import balance
from solvers.experts.bounds import cardinality_bound, simple_bound
from solvers.experts.problem import balance_problem
from tests.oracles.experts import least_largest_load

FREE = [(4, 5, 1), (3, 6, 1), (5, 7, 1), (5, 3, 2), (5, 4, 2), (3, 4, 2), (6, 3, 2), (5, 2, 3), (4, 3, 3), (7, 3, 3)]
GROUPED = [(4, 4, 1, 2, 2), (4, 6, 1, 2, 2), (4, 4, 2, 2, 2), (4, 4, 2, 2, 4), (6, 4, 2, 2, 3), (4, 2, 3, 2, 4)]


def some_loads(rng: np.random.Generator, experts: int) -> np.ndarray:
    kind = rng.integers(4)
    if kind == 0:
        return rng.integers(0, 10, experts).astype(float)
    if kind == 1:
        return rng.lognormal(0.0, 1.0, experts)
    if kind == 2:
        return rng.choice([0.0, 1.0, 7.0], experts)
    return rng.random(experts)


@pytest.mark.parametrize("case", range(300))
def test_small_layers_are_optimal_as_brute_force_finds(case: int) -> None:
    rng = np.random.default_rng(case)
    if case % 3:
        experts, gpus, slots = FREE[rng.integers(len(FREE))]
        nodes, groups = 1, None
    else:
        experts, gpus, slots, nodes, groups = GROUPED[rng.integers(len(GROUPED))]
    loads = some_loads(rng, experts)
    problem = balance_problem(
        loads, gpus=gpus, slots_per_gpu=slots, gpus_per_node=gpus // nodes, expert_groups=groups
    )
    solution = balance(problem, seed=case)
    assert solution.choice is not None
    best = least_largest_load(loads, gpus, slots, nodes, groups or 0)
    mean = loads.sum() / gpus
    assert solution.value == pytest.approx(best / mean if mean else 1.0, rel=1e-9)
    assert solution.status == "optimal"
    assert solution.lower_bound == pytest.approx(solution.value, rel=1e-8)


@pytest.mark.parametrize("case", range(200))
def test_no_bound_exceeds_the_optimum_that_brute_force_finds(case: int) -> None:
    rng = np.random.default_rng(1000 + case)
    experts, gpus, slots = FREE[rng.integers(len(FREE))]
    loads = some_loads(rng, experts)
    best = least_largest_load(loads, gpus, slots)
    simple = simple_bound(loads[None], gpus, slots)
    assert simple[0] <= best * (1 + 1e-12)
    high = np.maximum(np.array([best * 2]), simple)  # far above, so that the bound may overshoot if it is wrong
    assert cardinality_bound(loads[None], gpus, slots, simple, high)[0] <= best * (1 + 1e-9)
