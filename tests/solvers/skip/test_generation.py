"""Paths that are generated instead of listed: the graph, the prices and the relaxed programme against full lists."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from solvers.skip import pricing
from solvers.skip.bounds import bound_over_arrangements, bound_over_paths
from solvers.skip.generation import PathGenerator
from solvers.skip.path_graph import PathGraph, closing, least_times, path_graph
from solvers.skip.path_program import path_rows, relaxed_makespan
from solvers.skip.paths import Floats, Ints, every_path, least_times_of, times_alone
from solvers.skip.pricing import Prices, Pricing
from solvers.skip.problem import FORCED_ENDS, Rules, SkipProblem, SwapRules
from solvers.skip.solve import solve_skip
from solvers.skip.starts import balanced_paths
from tests.oracles.skip import arrangements, broken_rules, legal_paths
from tests.solvers.skip.instances import twenty_nodes
from tests.solvers.skip.random_problems import random_problem

EVERY = 200_000


def fixed(seed: int) -> tuple[SkipProblem, tuple[int, ...]]:
    """A small random problem (all rules drawn) in its first arrangement."""
    problem = random_problem(seed)
    stages = next(arrangements(problem))
    return dataclasses.replace(problem, stage_of_node=stages), stages


def larger(seed: int, stages: int = 8, length: int = 5, copies: int = 2) -> tuple[SkipProblem, tuple[int, ...]]:
    """Hundreds to thousands of paths; swaps over up to two stages, or forced ends; caps and loads bind."""
    rng = np.random.default_rng(seed)
    nodes = stages * copies
    swaps = SwapRules(
        count=int(rng.integers(0, 3)),
        furthest=int(rng.integers(1, 3)),
        total_distance=int(rng.integers(1, 4)),
        forward_jump=int(rng.integers(3, 6)),
    )
    rules = Rules(swaps=swaps, visits_per_wave=bool(rng.random() < 0.3), balanced_stages=bool(rng.random() < 0.8))
    forward = rng.uniform(1, 3, nodes)
    links = rng.uniform(0, 4, (nodes, nodes))
    np.fill_diagonal(links, 0)
    order = tuple(map(int, rng.permutation(np.repeat(np.arange(stages), copies))))
    problem = SkipProblem(
        forward_seconds=tuple(forward),
        backward_seconds=tuple(forward * 1.5),
        loss_seconds=tuple(forward / 4),
        link_seconds=tuple(map(tuple, links)),
        memory_cap=tuple(map(int, rng.integers(2, 6, nodes))),
        group_sizes=(copies,) * stages,
        microbatches=int(rng.integers(2, 7)) * copies,
        path_length=length,
        stage_of_node=order,
        rules=rules if rng.random() < 0.6 else FORCED_ENDS,
    )
    return problem, order


def forty_stages(rules: Rules) -> SkipProblem:
    """Single nodes at random places; K = 20, too many paths for any list."""
    rng = np.random.default_rng(0)
    places = rng.random((40, 2))
    links = 0.2 + 3 * np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(links, 0)
    forward = rng.uniform(1, 2, 40)
    return SkipProblem(
        forward_seconds=tuple(forward),
        backward_seconds=tuple(1.5 * forward),
        loss_seconds=tuple(forward / 4),
        link_seconds=tuple(map(tuple, links)),
        memory_cap=(4,) * 40,
        group_sizes=(1,) * 40,
        microbatches=40,
        path_length=20,
        stage_of_node=tuple(range(40)),
        rules=rules,
    )


def every_walk(graph: PathGraph) -> Iterator[tuple[int, ...]]:
    def onward(walk: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(walk) == len(graph.layer) - 1:
            yield tuple(int(graph.node[s]) for s in walk)
            return
        for state in graph.to[graph.first_arc[walk[-1]] : graph.first_arc[walk[-1] + 1]]:
            yield from onward((*walk, int(state)))

    for start in graph.starts:
        yield from onward((start,))


def costs(problem: SkipProblem, paths: Ints, prices: Prices) -> Floats:
    """Path after path: what its nodes charge, and their rates times its stays."""
    times = times_alone(problem, paths)
    rated: Floats = (prices.fixed[paths] + prices.rate[paths] * times.stay).sum(axis=1) + prices.base * times.trip
    return rated


def random_prices(problem: SkipProblem, rng: np.random.Generator) -> Prices:
    rate = rng.uniform(0, 1, problem.nodes) * (rng.random(problem.nodes) < 0.7)
    return Prices(fixed=rng.uniform(-30, 10, problem.nodes), rate=rate, base=float(rng.integers(0, 2)) / 10)


def test_walks_are_the_legal_paths() -> None:
    """Each once; oracle: every sequence of nodes, tried against the rules."""
    many = 0
    for seed in range(100):
        problem, stages = fixed(seed)
        graph = path_graph(problem, stages)
        assert graph is not None
        walks = [w for w in every_walk(graph) if np.isfinite(closing(problem, w[0])[w[-1]])]
        legal = [
            path for path in legal_paths(problem, stages) if np.isfinite(times_alone(problem, np.array([path])).trip[0])
        ]
        assert sorted(walks) == sorted(legal), f"seed {seed}"
        many += len(legal) > 5
    assert many > 10


@pytest.mark.parametrize("seed", range(12))
def test_walks_least_times_and_prices_of_larger_graphs(seed: int) -> None:
    """Against the list of all paths (paths.py): the same paths, the same least head, stay and tail of every node, and
    the same least cost under random prices, never more than any path's."""
    problem, stages = larger(seed)
    graph = path_graph(problem, stages)
    paths = every_path(problem, stages, EVERY)
    assert graph is not None
    assert paths is not None
    assert len(paths) > 500
    assert sorted(every_walk(graph)) == sorted(map(tuple, paths.tolist()))
    least, wanted = least_times(problem, graph), least_times_of(problem.nodes, paths, times_alone(problem, paths))
    for one, other in ((least.head, wanted.head), (least.stay, wanted.stay), (least.tail, wanted.tail)):
        np.testing.assert_allclose(one, other)
    rng, engine = np.random.default_rng(seed), Pricing(problem, graph)
    for _ in range(10):
        prices = random_prices(problem, rng)
        found = engine.cheapest(prices)
        listed = costs(problem, paths, prices)
        assert found.least == pytest.approx(listed.min())
        assert costs(problem, found.paths, prices).min() == pytest.approx(listed.min())
        assert set(map(tuple, found.paths.tolist())) <= set(map(tuple, paths.tolist()))


def test_thinned_hulls_still_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two points a hull: no path is cheaper than what is found, sometimes all are dearer, and paths stay legal."""
    monkeypatch.setattr(pricing, "MOST_LABELS", 2)
    below = 0
    for seed in range(12):
        problem, stages = larger(seed)
        graph, paths = path_graph(problem, stages), every_path(problem, stages, EVERY)
        assert graph is not None
        assert paths is not None
        rng, engine = np.random.default_rng(seed), Pricing(problem, graph)
        for _ in range(10):
            prices = random_prices(problem, rng)
            found, least = engine.cheapest(prices), costs(problem, paths, prices).min()
            assert found.least <= least + 1e-9
            below += found.least < least - 1e-6
            assert set(map(tuple, found.paths.tolist())) <= set(map(tuple, paths.tolist()))
    assert below > 5


def test_compiled_pricing_is_its_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, stages = larger(3, stages=5, length=3)
    graph = path_graph(problem, stages)
    assert graph is not None
    prices = random_prices(problem, np.random.default_rng(0))
    wanted = Pricing(problem, graph).cheapest(prices)
    for name in ("suffixes", "through", "lower_hull", "thin"):
        monkeypatch.setattr(pricing, name, getattr(pricing, name).py_func)
    found = Pricing(problem, graph).cheapest(prices)
    assert found.least == wanted.least
    assert found.paths.tolist() == wanted.paths.tolist()


def test_generated_programme_is_the_listed_one() -> None:
    """The same optimum as with every path, or infeasible as it is: small problems of all rules."""
    solved = 0
    for seed in range(200):
        problem, stages = fixed(seed)
        paths = every_path(problem, stages, EVERY)
        assert paths is not None
        wanted = relaxed_makespan(path_rows(problem, stages, paths)) if len(paths) else np.inf
        found = PathGenerator(problem, stages).generated(problem, seconds=10)
        assert found is not None
        assert found.closed
        assert max(found.bound, found.least_trip) == pytest.approx(wanted, rel=1e-6), f"seed {seed}"
        solved += np.isfinite(wanted)
    assert 100 < solved < 200


@pytest.mark.parametrize("seed", range(12))
def test_generated_programme_of_thousands_of_paths(seed: int) -> None:
    """And with far fewer columns than paths; stopped after its first rounds, it still bounds."""
    problem, stages = larger(100 + seed)
    paths = every_path(problem, stages, EVERY)
    assert paths is not None
    wanted = relaxed_makespan(path_rows(problem, stages, paths))
    generator = PathGenerator(problem, stages)
    found, stopped = (generator.generated(problem, seconds=s) for s in (20.0, 0.0))
    assert found is not None
    assert stopped is not None
    assert max(found.bound, found.least_trip) == pytest.approx(wanted, rel=1e-6)
    assert max(stopped.bound, stopped.least_trip) <= wanted * (1 + 1e-9)
    assert len(found.columns) < max(1500, len(paths) / 3)


def test_skippipes_own_paths_are_generated_to_the_same_bound() -> None:
    """2,970 paths in two waves of loads."""
    problem = twenty_nodes()
    assert problem.stage_of_node is not None
    paths = every_path(problem, problem.stage_of_node, EVERY)
    assert paths is not None
    assert len(paths) == 2970
    generated = PathGenerator(problem, problem.stage_of_node).generated(problem, seconds=20)
    assert generated is not None
    listed = bound_over_paths(problem, problem.stage_of_node, paths)
    unlisted = bound_over_paths(problem, problem.stage_of_node, None, generated)
    assert unlisted.seconds == pytest.approx(listed.seconds, rel=1e-6)
    assert unlisted.reason == "relaxed path programme, its paths generated"


@pytest.mark.parametrize("rules", [Rules(visits_per_wave=False), FORCED_ENDS], ids=["swaps", "forced-ends"])
def test_forty_stages_have_a_schedule_and_a_bound(rules: Rules) -> None:
    """More paths than are listed; random balanced ones exist, the bound is above the one without paths."""
    problem = forty_stages(rules)
    stages = tuple(range(40))
    assert balanced_paths(problem, stages, np.random.default_rng(0)) is not None
    result = solve_skip(problem, time_limit_seconds=20, gap=0.3)
    solution, choice = result.solution, result.solution.choice
    assert solution.counts["paths"] == 0
    assert solution.counts["generated"] > 0
    assert choice is not None
    assert broken_rules(problem, stages, choice.paths, choice.operations) == []
    assert bound_over_arrangements(problem).seconds < solution.lower_bound <= solution.value


def test_a_graph_too_large_generates_nothing() -> None:
    problem = forty_stages(FORCED_ENDS)
    assert path_graph(problem, tuple(range(40)), most_arcs=100) is None
