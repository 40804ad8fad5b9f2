"""Placements against brute force, bounds against placements, and what a placement must never do."""

import numpy as np
import pytest

from solvers.experts.balance import balance
from solvers.experts.bounds import cardinality_bound, simple_bound
from solvers.experts.eplb import eplb
from solvers.experts.problem import balance_problem
from solvers.stop import MaxEvaluations, MaxSeconds
from tests.oracles.experts import least_largest_load
from tests.solvers.experts.instances import deepseek_like, some_loads

FREE = [(4, 5, 1), (3, 6, 1), (5, 7, 1), (5, 3, 2), (5, 4, 2), (3, 4, 2), (6, 3, 2), (5, 2, 3), (4, 3, 3), (7, 3, 3)]
GROUPED = [(4, 4, 1, 2, 2), (4, 6, 1, 2, 2), (4, 4, 2, 2, 2), (4, 4, 2, 2, 4), (6, 4, 2, 2, 3), (4, 2, 3, 2, 4)]


@pytest.mark.parametrize("case", range(300))
def test_small_layers_are_optimal_as_brute_force_finds(case: int) -> None:
    rng = np.random.default_rng(case)
    if case % 3:
        experts, gpus, slots = FREE[rng.integers(len(FREE))]
        nodes, groups = 1, None
    else:
        experts, gpus, slots, nodes, groups = GROUPED[rng.integers(len(GROUPED))]
    loads = some_loads(rng, experts)
    problem = balance_problem(loads, gpus=gpus, slots_per_gpu=slots, gpus_per_node=gpus // nodes, expert_groups=groups)
    solution = balance(problem, seed=case)
    assert solution.choice is not None
    best = least_largest_load(loads, gpus, slots, nodes, groups or 0)
    mean = loads.sum() / gpus
    assert solution.value == pytest.approx(best / mean if mean else 1.0, rel=1e-9)
    assert solution.status == "optimal"
    assert solution.lower_bound == pytest.approx(solution.value, rel=1e-8)


# slots, GPUs, nodes: mean over the layers and worst layer of the best known with single exchanges (EPLB's with nodes)
PUBLISHED = {
    (256, 32, 1): (1.0880, 1.687),
    (288, 32, 1): (1.0006, 1.0018),
    (288, 32, 4): (1.0505, 1.144),
    (320, 64, 1): (1.0015, 1.0074),
    (320, 64, 8): (1.2790, 1.5926),
    (288, 144, 1): (1.1626, 1.4706),
    (320, 160, 1): (1.0405, 1.1300),
}


@pytest.mark.parametrize(("slots", "gpus", "nodes"), PUBLISHED)
def test_large_layers_are_at_or_below_the_best_known(slots: int, gpus: int, nodes: int) -> None:
    problem = balance_problem(
        deepseek_like(),
        gpus=gpus,
        slots_per_gpu=slots // gpus,
        gpus_per_node=gpus // nodes,
        expert_groups=8 if nodes > 1 else None,
    )
    found = balance(problem).choice
    assert found is not None
    mean, worst = PUBLISHED[slots, gpus, nodes]
    assert found.max_over_mean.mean() <= mean + 5e-5  # the figures are rounded to four digits
    assert found.max_over_mean.max() <= worst + 5e-4
    assert (found.lower_bound <= found.max_over_mean).all()
    assert found.lower_bound.mean() >= found.max_over_mean.mean() * (1 - 0.025)
    of_gpus = problem.gpu_loads(found.placement)  # the placement's own loads say the same
    assert found.max_over_mean == pytest.approx(of_gpus.max(axis=1) / problem.loads.sum(axis=1) * gpus)


def test_the_same_seed_gives_the_same_placement() -> None:
    problem = balance_problem(deepseek_like()[:4], gpus=160, slots_per_gpu=2)
    first, second = balance(problem, seed=3).choice, balance(problem, seed=3).choice
    assert first is not None
    assert second is not None
    assert (first.placement.physical_to_logical == second.placement.physical_to_logical).all()


def test_a_layer_without_load_has_value_and_bound_one() -> None:
    solution = balance(balance_problem([[0.0, 0.0, 0.0], [1.0, 1.0, 2.0]], gpus=2, slots_per_gpu=2))
    assert solution.choice is not None
    assert solution.choice.max_over_mean.tolist() == [1.0, 1.0]  # 2 / 2 | 2 / 2: the second layer by two replicas
    assert solution.status == "optimal"


def test_layers_may_have_different_slots() -> None:
    problem = balance_problem([[4.0, 1.0, 1.0], [4.0, 1.0, 1.0]], gpus=3, slots_per_gpu=[1, 2])
    solution = balance(problem)
    assert solution.choice is not None
    assert solution.choice.placement.physical_to_logical.shape == (2, 6)
    assert solution.choice.placement.physical_to_logical[0, 3:].tolist() == [-1, -1, -1]
    # mean 2: one slot each leaves the 4 whole; with two, three or four replicas of it, 4/3 + 1/1 + ... by brute force
    best = least_largest_load(np.array([4.0, 1.0, 1.0]), 3, 2) / 2
    assert solution.choice.max_over_mean == pytest.approx([2.0, best])


def test_many_groups_are_placed_without_enumeration() -> None:
    rng = np.random.default_rng(0)
    problem = balance_problem(
        rng.lognormal(0, 1, (3, 128)), gpus=16, slots_per_gpu=9, gpus_per_node=4, expert_groups=32
    )
    found = balance(problem).choice
    assert found is not None
    problem.check(found.placement)
    assert (found.max_over_mean < problem.max_over_mean(eplb(problem))).all()
    assert (found.lower_bound <= found.max_over_mean).all()


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


def test_the_cardinality_bound_says_more_than_mean_and_replicas() -> None:
    """10, 10, 10, 1, 1, 1, 1 on 4 GPUs with two slots each leave one slot: half a 1 beside two of the tens leaves
    11 on the third, and two halves of a 10 leave a 1 beside the others, 11 again. Mean 8.5, largest replica 10."""
    loads = np.array([[10.0, 10.0, 10.0, 1.0, 1.0, 1.0, 1.0]])
    simple = simple_bound(loads, 4, 2)
    assert simple.tolist() == [10.0]
    assert least_largest_load(loads[0], 4, 2) == 11.0
    assert 10.8 < cardinality_bound(loads, 4, 2, simple, np.array([11.0]))[0] <= 11.0


def test_a_stopped_search_still_gives_a_placement_with_bounds() -> None:
    problem = balance_problem(deepseek_like()[:6], gpus=160, slots_per_gpu=2)
    stopped, free = balance(problem, stop=MaxEvaluations(0)), balance(problem)
    assert stopped.stop == "evaluation_limit"
    assert stopped.value == pytest.approx(problem.max_over_mean(eplb(problem)).mean())  # nothing searched
    assert free.value < stopped.value * 0.97
    assert 1 < stopped.lower_bound <= free.value
    assert balance(problem, stop=MaxSeconds(0)).stop == "time_limit"


def test_bounds_allow_many_replicas_of_a_light_expert() -> None:
    """Eight experts of 10 and one of 0.6 on 8 GPUs: eight replicas of that, one beside each, make 10.075 everywhere."""
    loads = np.array([[10.0] * 8 + [0.6]])
    simple = simple_bound(loads, 8, 2)
    assert cardinality_bound(loads, 8, 2, simple, np.array([10.5]))[0] == pytest.approx(10.075)


@pytest.mark.parametrize("case", range(20))
def test_the_bound_holds_where_few_assignments_of_groups_were_tried(case: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("solvers.experts.balance.ROUNDS", 1)
    loads = some_loads(np.random.default_rng(case), 6) + 0.01
    problem = balance_problem(loads, gpus=4, slots_per_gpu=2, gpus_per_node=2, expert_groups=6)
    solution = balance(problem, effort=0, exact=False)
    best = least_largest_load(loads, 4, 2, 2, 6) / loads.sum() * 4
    assert solution.lower_bound <= best * (1 + 1e-9) <= solution.value * (1 + 2e-9)
