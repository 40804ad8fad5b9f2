"""Copies of tokens in standard expert parallelism, against sets and enumeration."""

from typing import Any

import numpy as np
import pytest

from solvers.experts import traffic_search
from solvers.experts.traffic import Traffic, distinct_gpus_between, routes_of_pairs, traffic_problem
from solvers.experts.traffic_bounds import traffic_lower_bound
from solvers.experts.traffic_search import place_for_traffic
from solvers.stop import MaxEvaluations
from tests.oracles import traffic as oracle

SHAPES = [(4, 2, 1, 2), (6, 3, 3, 3), (8, 2, 2, 3), (4, 4, 2, 2), (6, 2, 1, 2), (8, 4, 2, 2), (6, 3, 1, 4)]


def _instance(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    experts, gpus, per_node, top_k = SHAPES[seed % len(SHAPES)]
    tokens = int(random.integers(3, 12))
    liked = random.random(experts)
    routes = np.argsort(-(liked + random.random((tokens, experts))), axis=1)[:, :top_k]
    return {
        "routes": routes,
        "experts": experts,
        "gpus": gpus,
        "gpus_per_node": per_node,
        "home": random.integers(0, gpus, tokens) if random.integers(2) else None,
        "gpu_weight": float(random.integers(0, 3)),
        "node_weight": float(random.integers(0, 3)),
    }


@pytest.mark.parametrize("seed", range(300))
def test_small_layers_equal_brute_force(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = _instance(seed)
    problem = traffic_problem(**given)
    homes = None if given["home"] is None else given["home"].tolist()
    weights = (given["gpu_weight"], given["node_weight"])
    shape = (given["gpus"], given["gpus_per_node"])
    least = oracle.best(given["routes"].tolist(), homes, given["experts"], *shape, weights)
    solution = place_for_traffic(problem)
    assert solution.status == "optimal"
    assert solution.value == pytest.approx(least)
    assert solution.choice is not None
    assert problem.copies(solution.choice) == pytest.approx(
        oracle.copies(given["routes"].tolist(), homes, solution.choice.tolist(), *shape)
    )
    assert traffic_lower_bound(problem) <= least + 1e-9
    monkeypatch.setattr(traffic_search, "STATES", 0)
    found = place_for_traffic(problem, seed=seed)
    assert found.choice is not None
    assert (np.bincount(found.choice, minlength=given["gpus"]) == problem.slots).all()
    assert least - 1e-9 <= found.value == pytest.approx(problem.value(found.choice))


def _clustered() -> tuple[Traffic, float]:
    """16 experts in 4 hidden groups of which tokens take 3; the hidden placement has one copy group per token."""
    random = np.random.default_rng(1)
    group = random.permutation(np.arange(16) % 4)
    members = [np.flatnonzero(group == g) for g in range(4)]
    routes = np.array([random.permutation(members[g])[:3] for g in random.integers(0, 4, 400)])
    problem = traffic_problem(routes, experts=16, gpus=4)
    return problem, problem.value(group)


def test_exchanges_find_a_hidden_clustering() -> None:
    """By construction: all experts of a token on one GPU, 1 - 1 / 4 copies with homes spread evenly."""
    problem, hidden = _clustered()
    assert hidden == pytest.approx(0.75)
    solution = place_for_traffic(problem)
    assert solution.value == pytest.approx(hidden)
    assert solution.status == "optimal"
    assert solution.counts["exchanges"] > 0


def test_incremental_prices_equal_evaluation() -> None:
    """Each exchange's price from the tables against the difference of two whole evaluations."""
    for seed in range(20):
        problem = traffic_problem(**_instance(seed))
        search = traffic_search._Exchanges(problem, MaxEvaluations(1), 0, None)
        placed = np.random.default_rng(seed).permutation(search.best)
        change = search._changes(placed, *search._tables(placed, np.arange(len(problem.routes))))
        total = problem.tokens.sum()
        for e in range(problem.experts):
            for f in range(e):
                other = placed.copy()
                other[[e, f]] = other[[f, e]]
                assert change[e, f] / total == pytest.approx(problem.value(other) - problem.value(placed), abs=1e-9)


def test_top_2_is_exact_from_pairs() -> None:
    """The same problem from routes and from its counts of pairs."""
    random = np.random.default_rng(2)
    routes = np.argsort(random.random((200, 8)), axis=1)[:, :2]
    whole = traffic_problem(routes, experts=8, gpus=4)
    pairs, tokens = routes_of_pairs(whole.pairs())
    counted = traffic_problem(pairs, tokens=tokens, experts=8, gpus=4)
    assert place_for_traffic(whole).value == place_for_traffic(counted).value


@pytest.mark.parametrize("top_k", [2, 3, 5, 8])
def test_pairs_bound_the_distinct_gpus(top_k: int) -> None:
    """By counting, on random placements of random routes."""
    random = np.random.default_rng(top_k)
    for gpus in (2, 4, 8):
        routes = np.argsort(random.random((50, 16)), axis=1)[:, :top_k]
        problem = traffic_problem(routes, experts=16, gpus=gpus)
        placed = random.permutation(16) // problem.slots
        together = problem.pairs()[placed[:, None] == placed].sum() / 2 / 50
        least, most = distinct_gpus_between(together, top_k, problem.slots)
        distinct = problem.touched(placed)[0] @ problem.tokens / 50
        assert least - 1e-9 <= distinct <= most + 1e-9
        if top_k == 2:
            assert least == pytest.approx(distinct)
            assert most == pytest.approx(distinct)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"routes": np.array([0, 1])}, "routes: has the shape"),
        ({"routes": np.array([[0, 4]])}, "names expert 4"),
        ({"routes": np.array([[1, 1]])}, "same expert twice"),
        ({"gpus": 3}, "4 experts do not divide among 3 GPUs"),
        ({"gpus_per_node": 3}, "gpus_per_node: 3 does not divide"),
        ({"tokens": [-1.0]}, "tokens: one finite number"),
        ({"home": [2]}, "home: one GPU of 0 ... 1"),
        ({"node_weight": -1.0}, "must not be negative"),
    ],
)
def test_bad_routes_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        traffic_problem(**({"routes": np.array([[0, 1]]), "experts": 4, "gpus": 2} | change))
