"""ExFlow's and MoETuner's integer programmes against our exact methods: two solvers, two formulations."""

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from solvers.experts.ilp_exflow import exflow_ilp
from solvers.experts.ilp_model import Backend, IntegerProgramme, solve
from solvers.experts.ilp_moetuner import cluster_ilp, clusters_to_gpus_ilp, moetuner_ilp
from solvers.experts.transitions import transitions_problem
from solvers.experts.transitions_solve import place_along_layers
from tests.oracles.transitions import equal_assignments

BACKENDS: tuple[Backend, ...] = ("cbc", "cp-sat")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(6))
def test_exflow_and_the_dynamic_programme_agree(seed: int, backend: Backend) -> None:
    random = np.random.default_rng(seed)
    experts, gpus, layers = [(4, 2, 4), (3, 3, 3), (6, 2, 2)][seed % 3]
    problem = transitions_problem(
        random.integers(0, 12, (layers - 1, experts, experts)),
        gpus=gpus,
        loads=random.integers(5, 12, (layers, experts)),
        max_over_mean=1.25 if seed % 2 else None,
    )
    ours, theirs = place_along_layers(problem), exflow_ilp(problem, backend=backend, seconds=30)
    assert theirs.status == ours.status
    assert theirs.value == pytest.approx(ours.value)
    assert theirs.lower_bound == pytest.approx(ours.value)
    if theirs.choice is not None:
        assert problem.allowed(theirs.choice)


@pytest.mark.parametrize("backend", BACKENDS)
def test_clusters_are_as_even_as_enumeration_makes_them(backend: Backend) -> None:
    for seed in range(3):
        loads = np.random.default_rng(seed).integers(1, 40, 8).astype(float)
        least = min(np.bincount(labels, weights=loads).max() for labels in equal_assignments(8, 4))
        solution = cluster_ilp(loads, 4, backend=backend, seconds=30)
        assert (solution.status, solution.value) == ("optimal", least)
        assert solution.choice is not None
        assert (np.bincount(solution.choice) == 2).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_clusters_are_put_on_gpus_as_enumeration_puts_them(backend: Backend) -> None:
    random = np.random.default_rng(4)
    problem = transitions_problem(
        random.integers(0, 12, (2, 6, 6)),
        gpus=3,
        cost=random.integers(1, 4, (3, 3)) * (1 - np.eye(3)),
        objective="tail",
    )
    clusters = np.array([random.permutation(np.arange(6) % 3) for _ in range(3)])
    orders = list(permutations(range(3)))
    least = min(
        problem.value(np.take_along_axis(np.array(path), clusters, axis=1)) for path in product(orders, repeat=3)
    )
    solution = clusters_to_gpus_ilp(problem, clusters, backend=backend, seconds=30)
    assert solution.status == "optimal"
    assert solution.value == pytest.approx(least)
    assert solution.lower_bound == pytest.approx(least)


def test_both_steps_are_no_better_than_the_best_tail() -> None:
    """The dynamic programme searches all placements, MoETuner's second step only those of its clusters."""
    random = np.random.default_rng(5)
    problem = transitions_problem(
        random.integers(0, 20, (2, 6, 6)),
        gpus=3,
        cost=random.integers(1, 4, (3, 3)) * (1 - np.eye(3)),
        objective="tail",
    )
    solution = moetuner_ilp(problem, seconds=20)
    assert solution.choice is not None
    assert problem.value(solution.choice) == solution.value >= place_along_layers(problem).value
    evenest = [min(np.bincount(x, weights=w).max() for x in equal_assignments(6, 3)) for w in problem.loads]
    assert problem.gpu_loads(solution.choice).max(axis=1) == pytest.approx(evenest)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_impossible_programme_is_infeasible(backend: Backend) -> None:
    programme = IntegerProgramme()
    one = programme.variable(1.0)
    programme.equal([(one, 1.0)], 2.0)
    result = solve(programme, backend, seconds=5)
    assert (result.values, result.proven, result.lower_bound) == (None, True, np.inf)


def test_what_a_programme_cannot_express_is_refused() -> None:
    counts: Any = np.ones((1, 4, 4))
    with pytest.raises(ValueError, match="no other cost and no tail"):
        exflow_ilp(transitions_problem(counts, gpus=2, objective="tail"))
    with pytest.raises(ValueError, match="minimises the tail"):
        clusters_to_gpus_ilp(transitions_problem(counts, gpus=2), np.zeros((2, 4), dtype=np.intp))
    with pytest.raises(ValueError, match="cp-sat needs whole figures"):
        exflow_ilp(transitions_problem(counts / 2, gpus=2), backend="cp-sat")
    with pytest.raises(ValueError, match="cbc or cp-sat"):
        solve(IntegerProgramme(), "gurobi", seconds=1)  # type: ignore[arg-type]
