"""Experts along the layers: the problem, its figures, and the methods against enumeration."""

from typing import Any

import numpy as np
import pytest

from solvers.experts.partners import staying_at_most, staying_in_parts
from solvers.experts.transitions import (
    as_placement,
    gpus_of_experts,
    leaving_share,
    transitions_problem,
    two_level_cost,
    uniform_cost,
)
from solvers.experts.transitions_bounds import lower_bound
from solvers.experts.transitions_exact import all_assignments, interchangeable, matchable, representatives, state_counts
from solvers.experts.transitions_solve import place_along_layers
from solvers.stop import MaxEvaluations
from tests.oracles import transitions as oracle
from tests.solvers.experts.published import exflow_placement, mixtral_transitions


@pytest.mark.parametrize(("gpus", "exflow", "contiguous"), [(4, 0.711, 0.754), (8, 0.845, 0.879)])
def test_published_placements_leave_the_published_share(gpus: int, exflow: float, contiguous: float) -> None:
    """Shares of ExFlow's placements and of experts in a row on the pooled counts, to three digits."""
    counts = mixtral_transitions("pooled")
    in_a_row = np.broadcast_to(np.arange(8) // (8 // gpus), (32, 8))
    assert round(leaving_share(counts, exflow_placement(gpus)), 3) == exflow
    assert round(leaving_share(counts, in_a_row), 3) == contiguous
    problem = transitions_problem(counts, gpus=gpus)
    assert problem.value(exflow_placement(gpus)) / counts.sum() == pytest.approx(exflow, abs=5e-4)


@pytest.mark.parametrize(("gpus", "method", "share"), [(4, "enumeration", 0.6626), (8, "matching", 0.8108)])
def test_mixtral_is_solved_to_proven_optimality(gpus: int, method: Any, share: float) -> None:
    """The optima of a dynamic programme without symmetry and of Hungarian matchings."""
    counts = mixtral_transitions("pooled")
    solution = place_along_layers(transitions_problem(counts, gpus=gpus))
    assert solution.status == "optimal"
    assert solution.choice is not None
    assert solution.choice.method == method
    assert round(solution.value / counts.sum(), 4) == share
    assert leaving_share(counts, solution.choice.gpu_of_expert) == pytest.approx(solution.value / counts.sum())
    assert solution.lower_bound == solution.value


def test_matchings_and_enumeration_agree_on_mixtral() -> None:
    """Two methods that share no code."""
    problem = transitions_problem(mixtral_transitions("gsm8k"), gpus=8)
    assert (
        place_along_layers(problem, method="matching").value == place_along_layers(problem, method="enumeration").value
    )


def test_descent_comes_close_to_the_optimum_of_mixtral_and_its_bound_holds() -> None:
    """The optimum at 4 GPUs is 0.66262, by enumeration."""
    counts = mixtral_transitions("pooled")
    found = place_along_layers(transitions_problem(counts, gpus=4), method="descent", stop=MaxEvaluations(20_000))
    assert 0.66262 <= found.value / counts.sum() < 0.6645
    assert 0.64 < found.lower_bound / counts.sum() < 0.66263
    assert found.status == "feasible"
    again = place_along_layers(transitions_problem(counts, gpus=4), method="descent", stop=MaxEvaluations(20_000))
    assert again.value == found.value


SHAPES = [(4, 2, 4), (4, 2, 3), (6, 3, 2), (6, 2, 3), (3, 3, 4), (4, 4, 3), (4, 1, 3), (2, 2, 5)]


def _instance(seed: int) -> dict[str, Any]:
    """A small random instance: any cost matrix, a load limit in every second, both objectives."""
    random = np.random.default_rng(seed)
    experts, gpus, layers = SHAPES[seed % len(SHAPES)]
    kind = int(random.integers(4))
    if kind == 0:
        cost = uniform_cost(gpus)
    elif kind == 1 and gpus == 4:
        cost = two_level_cost(4, 2, same_node=1, other_node=3)
    elif kind == 2:
        cost = random.integers(0, 6, (gpus, gpus)).astype(float)
    else:
        cost = random.integers(1, 6, (gpus, gpus)) * uniform_cost(gpus)
    return {
        "counts": random.integers(0, 12, (layers - 1, experts, experts)).astype(float),
        "gpus": gpus,
        "cost": cost,
        "loads": random.integers(1, 20, (layers, experts)).astype(float),
        "max_over_mean": [None, 1.3][int(random.integers(2))],
        "objective": ["total", "tail"][int(random.integers(2))],
    }


@pytest.mark.parametrize("seed", range(300))
def test_small_instances_equal_brute_force(seed: int) -> None:
    given = _instance(seed)
    problem = transitions_problem(**given)
    least = oracle.best(
        given["counts"].tolist(),
        given["cost"].tolist(),
        given["gpus"],
        given["loads"].tolist(),
        given["max_over_mean"] or np.inf,
        given["objective"],
    )
    solution = place_along_layers(problem)
    assert solution.value == pytest.approx(least)
    assert solution.status == ("optimal" if np.isfinite(least) else "infeasible")
    if solution.choice is not None:
        path = solution.choice.gpu_of_expert
        assert problem.allowed(path)
        priced = oracle.value(given["counts"].tolist(), given["cost"].tolist(), path.tolist(), given["objective"])
        assert priced == pytest.approx(least)
    bound, _ = lower_bound(problem)
    assert bound <= least * (1 + 1e-9)
    found = place_along_layers(problem, method="descent", seed=seed)
    assert found.value >= least * (1 - 1e-9)
    assert found.lower_bound <= least * (1 + 1e-9)
    if found.choice is not None:
        assert problem.allowed(found.choice.gpu_of_expert)


def test_descent_finds_most_small_optima() -> None:
    """By enumeration; without load limits, which it meets by a heuristic."""
    hits = 0
    for seed in range(40):
        problem = transitions_problem(**(_instance(seed) | {"max_over_mean": None, "objective": "total"}))
        hits += place_along_layers(problem, method="descent").value == pytest.approx(place_along_layers(problem).value)
    assert hits >= 36


def test_states_and_their_classes_are_counted_right() -> None:
    """8! / 2^4 = 2,520 states, / 4! = 105 for like GPUs, / (2! 2! 2!) = 315 for two nodes of two."""
    states = all_assignments(8, 4)
    assert len(states) == len(np.unique(states, axis=0)) == 2520
    for per_node, classes in ((4, 105), (2, 315), (0, 2520)):
        members, relabelling = representatives(states, 4, per_node)
        assert len(np.unique(members, axis=0)) == classes == state_counts(8, 4, per_node)[1]
        assert (np.take_along_axis(relabelling, members, axis=1) == states).all()


def test_like_gpus_are_recognised() -> None:
    assert interchangeable(uniform_cost(4)) == 4
    assert interchangeable(two_level_cost(8, 4, same_node=1, other_node=2)) == 4
    odd = uniform_cost(4)
    odd[0, 1] = 2
    assert interchangeable(odd) == 0


def test_matching_is_refused_where_it_is_not_exact() -> None:
    counts = np.ones((1, 4, 4))
    assert not matchable(transitions_problem(counts, gpus=2))
    assert not matchable(transitions_problem(counts, gpus=4, cost=two_level_cost(4, 2, same_node=1, other_node=2)))
    with pytest.raises(ValueError, match="use enumeration or descent"):
        place_along_layers(transitions_problem(counts, gpus=2), method="matching")


def test_more_gpus_never_keep_more_tokens() -> None:
    """Halving every GPU's experts is one way to fill twice the GPUs."""
    counts = mixtral_transitions("humaneval")
    values = [place_along_layers(transitions_problem(counts, gpus=gpus)).value for gpus in (1, 2, 4, 8)]
    assert values == sorted(values)
    assert values[0] == 0


def test_a_tighter_load_limit_never_helps() -> None:
    counts = mixtral_transitions("pooled")
    values = [
        place_along_layers(transitions_problem(counts, gpus=4, max_over_mean=limit)).value
        for limit in (None, 1.5, 1.3, 1.2)
    ]
    assert values == sorted(values)
    assert values[-1] > values[0]


def test_a_load_limit_that_one_expert_breaks_is_infeasible_by_the_amount_that_lacks() -> None:
    """Loads 10, 2, 2, 2 on two GPUs: 12 at least on one, the limit is 1.25 x 8 = 10."""
    loads = np.tile([10.0, 2, 2, 2], (2, 1))
    problem = transitions_problem(np.ones((1, 4, 4)), gpus=2, loads=loads, max_over_mean=1.25)
    solution = place_along_layers(problem)
    assert (solution.status, solution.choice) == ("infeasible", None)
    assert solution.shortfall == pytest.approx(2)


def test_partners_are_bounded_by_the_best_matching_of_few() -> None:
    """By hand: of [[5, 1], [4, 3]] one partner each keeps 5 + 3; two partners keep all 13."""
    counts = np.array([[[5.0, 1], [4, 3]]])
    assert staying_at_most(counts, 1) == pytest.approx([8])
    assert staying_at_most(counts, 2) == pytest.approx([13])
    assert staying_at_most(counts, 0) == pytest.approx([0])


def test_singular_values_are_exact_for_blocks() -> None:
    """By hand: two blocks of two, 3 inside and 1 outside, keep 24 of 32; P t P has one singular value, 4."""
    blocks = np.kron(np.eye(2), np.ones((2, 2)))
    counts = (1 + 2 * blocks)[None]
    assert staying_in_parts(counts, 2) == pytest.approx([24])
    assert staying_in_parts(counts, 1) == pytest.approx([32])


@pytest.mark.parametrize("seed", range(20))
def test_no_placement_of_two_layers_keeps_more_than_the_bounds(seed: int) -> None:
    """By enumeration of all placements of 6 experts on 2 or 3 parts."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 20, (1, 6, 6)) * random.integers(0, 2, (1, 6, 6)).astype(float)
    for parts in (2, 3):
        options = [np.eye(parts)[list(x)] for x in oracle.equal_assignments(6, parts)]
        most = max(float((x * (counts[0] @ y)).sum()) for x in options for y in options)
        assert staying_in_parts(counts, parts)[0] >= most - 1e-9
        assert staying_at_most(counts, 6 // parts)[0] >= most - 1e-9


def test_made_up_routing_has_a_bound_well_above_zero() -> None:
    from tests.benchmarks.routing import made_transitions

    counts = made_transitions(12, 32, seed=3)
    solution = place_along_layers(transitions_problem(counts, gpus=8))
    assert 0.7 < solution.lower_bound / counts.sum() <= solution.value / counts.sum() < 0.82
    assert solution.choice is not None
    assert (solution.choice.method, solution.choice.bound) == ("descent", "staying")


def test_placements_are_converted_both_ways() -> None:
    gpu_of_expert = exflow_placement(4)
    placement = as_placement(gpu_of_expert, 4)
    assert placement.slots_per_gpu == (2,) * 32
    assert placement.on_gpus(0).tolist() == [[0, 1], [3, 6], [2, 5], [4, 7]]  # by hand, from 0 0 2 1 3 2 1 3
    assert (gpus_of_experts(placement) == gpu_of_expert).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": np.ones((2, 4))}, "transitions: has the shape"),
        ({"counts": np.ones((2, 4, 3))}, "transitions: has the shape"),
        ({"counts": np.full((1, 4, 4), np.nan)}, "finite numbers are needed"),
        ({"counts": -np.ones((1, 4, 4))}, "none negative"),
        ({"gpus": 3}, "4 experts do not divide among 3 GPUs"),
        ({"cost": np.ones((3, 3))}, "cost: has the shape"),
        ({"loads": np.ones((3, 4))}, "loads: has the shape"),
        ({"max_over_mean": 0.9}, "max_over_mean: 0.9"),
        ({"objective": "mean"}, "objective: 'mean'; total or tail"),
    ],
)
def test_bad_figures_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        transitions_problem(**({"counts": np.ones((1, 4, 4)), "gpus": 2} | change))
