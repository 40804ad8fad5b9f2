"""Proofs for two slots per GPU: against brute force, and on a large load."""

import numpy as np
import pytest

from solvers.experts.balance import balance
from solvers.experts.pairing_proof import counts_within, prove_pairs
from solvers.experts.problem import balance_problem
from tests.oracles.experts import least_largest_load
from tests.solvers.experts.instances import deepseek_like, some_loads


@pytest.mark.parametrize("case", range(40))
def test_small_layers_are_proven_at_the_optimum_that_brute_force_finds(case: int) -> None:
    rng = np.random.default_rng(case)
    experts, gpus = [(5, 3), (5, 4), (6, 3), (4, 4)][case % 4]
    loads = some_loads(rng, experts) + 0.01
    problem = balance_problem(loads, gpus=gpus, slots_per_gpu=2)
    rough = balance(problem, effort=0, exact=False).choice
    assert rough is not None
    proven = prove_pairs(problem, rough)
    best = least_largest_load(loads, gpus, 2) / loads.sum() * gpus
    assert proven.lower_bound[0] <= best * (1 + 1e-9)
    assert proven.max_over_mean[0] == pytest.approx(best)
    assert proven.proven.all()


def test_no_counts_are_found_below_the_optimum_and_some_at_it() -> None:
    """10, 10, 10, 1, 1, 1, 1 on 4 GPUs: 11 (by hand, in the tests of the bounds)."""
    loads = np.array([10.0, 10.0, 10.0, 1.0, 1.0, 1.0, 1.0])
    assert counts_within(loads, 4, 10.99, 1.0, 0)[0] == "no"
    answer, counts, _ = counts_within(loads, 4, 11.0, 1.0, 0)
    assert answer == "yes"
    assert counts is not None
    assert counts.sum() == 8


def test_a_layer_of_the_large_load_is_proven_that_the_bound_leaves_open() -> None:
    problem = balance_problem(deepseek_like()[:1], gpus=144, slots_per_gpu=2)
    found = balance(problem).choice
    assert found is not None
    assert not found.proven.any()
    proven = prove_pairs(problem, found, work_per_layer=5.0)
    assert proven.proven.all()
    assert proven.max_over_mean[0] == pytest.approx(1.2494967, abs=1e-6)  # as a plain model with no chain also shows


def test_counts_beyond_those_listed_are_allowed() -> None:
    """Eight of 10 and one of 0.6 on 8 GPUs: the mean, 10.075, is reached by eight replicas of the last (by hand)."""
    answer, counts, _ = counts_within(np.array([10.0] * 8 + [0.6]), 8, 10.0750001, 1.0, 0)
    assert answer == "yes"
    assert counts is not None
    assert counts.sum() == 16
