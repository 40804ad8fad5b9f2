"""Options within a budget against every combination, and slots that differ by layer."""

from itertools import product

import numpy as np
import pytest

from solvers.experts.budget import balance_uneven, least_totals, options_within
from tests.oracles.experts import least_largest_load


@pytest.mark.parametrize("case", range(40))
def test_totals_are_those_of_the_best_combination(case: int) -> None:
    rng = np.random.default_rng(case)
    values = [rng.random(rng.integers(1, 4)) for _ in range(4)]
    costs = [rng.integers(0, 4, len(each)) for each in values]
    totals, taken = least_totals(values, costs, 8)
    for budget in range(9):
        found = [
            sum(values[k][o] for k, o in enumerate(options))
            for options in product(*(range(len(each)) for each in values))
            if sum(costs[k][o] for k, o in enumerate(options)) <= budget
        ]
        assert totals[budget] == pytest.approx(min(found, default=np.inf))
        if found:
            chosen = options_within(taken, costs, budget)
            assert sum(values[k][o] for k, o in enumerate(chosen)) == pytest.approx(totals[budget])
            assert sum(costs[k][o] for k, o in enumerate(chosen)) <= budget


@pytest.mark.parametrize("case", range(10))
def test_uneven_slots_are_optimal_as_brute_force_finds(case: int) -> None:
    rng = np.random.default_rng(case)
    loads = rng.lognormal(0, 1, (3, 4))
    values = np.array([[least_largest_load(w, 3, s) / w.sum() * 3 for s in (2, 3)] for w in loads])
    best = min(
        sum(values[k, pick] for k, pick in enumerate(picks)) / 3
        for picks in product((0, 1), repeat=3)
        if sum(picks) <= 1
    )
    solution = balance_uneven(loads, gpus=3, slots_per_gpu=[2, 3], total_slots_per_gpu=7)
    assert solution.value == pytest.approx(best)
    assert solution.status == "optimal"
    assert solution.choice is not None
    assert sum(solution.choice.placement.slots_per_gpu) <= 7


def test_too_little_memory_is_named() -> None:
    with pytest.raises(ValueError, match="at least 4 are needed"):
        balance_uneven(np.ones((2, 4)), gpus=2, slots_per_gpu=[2, 3], total_slots_per_gpu=3)
