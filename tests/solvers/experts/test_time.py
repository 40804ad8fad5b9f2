"""Layers judged by seconds: what tokens need against enumeration, exchanges against placements made anew."""

from itertools import combinations, pairwise, product

import numpy as np
import pytest

from solvers.experts.problem import Floats
from solvers.experts.reached import reached_by_rule, symmetric
from solvers.experts.time_layer import Standing, TimeLayer, exchanges
from solvers.experts.time_search import descend, way_to_balance
from solvers.stop import NoLimit

RNG = np.random.default_rng(7)


def busiest(shares: Floats, on_gpus: Floats | None, on_nodes: Floats | None) -> Floats:
    """Seconds that depend on all three."""
    found = 10 * shares.max(axis=1)
    if on_gpus is not None and on_nodes is not None:
        found = found + on_gpus.max(axis=1) + on_nodes.max(axis=1) + 0.1 * on_nodes.sum(axis=1)
    return np.asarray(found)


def by_rule() -> TimeLayer:
    loads = RNG.lognormal(0.0, 0.7, 8)
    return TimeLayer(loads=loads, gpus=4, gpus_per_node=2, seconds=busiest, merged=True, top_k=4, groups=4, limit=2)


def by_routes() -> TimeLayer:
    routes = np.array([RNG.choice(8, 3, replace=False) for _ in range(40)])
    tokens = RNG.integers(1, 9, 40).astype(float)
    loads = np.bincount(routes.ravel(), weights=np.repeat(tokens, 3), minlength=8)
    return TimeLayer(
        loads=loads, gpus=4, gpus_per_node=2, seconds=busiest, merged=True, top_k=3, routes=routes, tokens=tokens
    )


def test_symmetric_sums_by_hand() -> None:
    """e_2 of 2, 3, 5: 6 + 10 + 15."""
    assert symmetric(np.array([2.0, 3.0, 5.0]), 2) == 31.0
    assert symmetric(np.array([2.0, 3.0, 5.0]), 0) == 1.0


def test_tokens_that_need_a_place_by_going_through_all_choices_of_groups() -> None:
    weights, held = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.3, 0.0, 0.1, 0.1])
    likely = missing = 0.0
    for choice in combinations(range(4), 2):
        chance = float(np.prod(weights[list(choice)]))
        likely += chance
        missing += chance * float(np.prod((1 - held[list(choice)] / weights[list(choice)]) ** 3))
    assert reached_by_rule(held, weights, 6, 2) == pytest.approx(1 - missing / likely)


def test_without_groups_the_draws_are_independent() -> None:
    """By hand: 8 draws that miss a place with 3/4 each."""
    assert reached_by_rule(np.array([0.25]), np.array([1.0]), 8, 1) == pytest.approx(1 - 0.75**8)


def test_whole_groups_are_needed_as_often_as_they_are_chosen() -> None:
    """By hand: one of four equal groups, two chosen: 1 - (3 choices without it of 6) = 1/2."""
    assert reached_by_rule(np.array([0.25, 0, 0, 0]), np.full(4, 0.25), 8, 2) == pytest.approx(0.5)


def test_tokens_are_counted_where_they_are_known() -> None:
    """By hand: of four tokens, GPU 0 (experts 0 and 1) is needed by three, node 1 (2 and 3) by two."""
    layer = TimeLayer(
        loads=np.array([2.0, 2.0, 2.0, 2.0]),
        gpus=4,
        gpus_per_node=2,
        seconds=busiest,
        merged=True,
        routes=np.array([[0, 1], [0, 2], [1, 3]]),
        tokens=np.array([2.0, 1.0, 1.0]),
    )
    standing = Standing(layer=layer, held=np.arange(4)[:, None])
    assert standing.on_gpus.tolist() == [0.75, 0.75, 0.25, 0.25]
    assert standing.on_nodes.tolist() == [1.0, 0.5]


@pytest.mark.parametrize("layer", [by_rule(), by_routes()], ids=["rule", "routes"])
@pytest.mark.parametrize("gpu", range(4))
def test_every_exchange_is_priced_as_the_placement_that_it_makes(layer: TimeLayer, gpu: int) -> None:
    """Second method: the placement after each exchange, counted from nothing."""
    standing = Standing(layer=layer, held=RNG.permutation(8).reshape(4, 2))
    found = exchanges(standing, gpu)
    assert len(found.own) == 2 * 3 * 2
    for k in range(len(found.own)):
        after = standing.exchanged(gpu, int(found.own[k]), int(found.other[k]), int(found.slot[k]))
        assert sorted(after.held.ravel().tolist()) == list(range(8))
        assert found.seconds[k] == pytest.approx(after.seconds, rel=1e-12)
        np.testing.assert_allclose(found.shares[k], after.shares, atol=1e-15)


def test_exchanges_of_replicas_are_priced_too() -> None:
    layer = TimeLayer(loads=np.array([5.0, 1.0, 2.0]), gpus=2, gpus_per_node=1, seconds=busiest, merged=True, top_k=2)
    standing = Standing(layer=layer, held=np.array([[0, 0], [1, 2]]))
    found = exchanges(standing, 0)
    for k in range(len(found.own)):
        after = standing.exchanged(0, int(found.own[k]), int(found.other[k]), int(found.slot[k]))
        assert found.seconds[k] == pytest.approx(after.seconds, rel=1e-12)


@pytest.mark.parametrize("layer", [by_rule(), by_routes()], ids=["rule", "routes"])
def test_a_descent_ends_no_worse_and_near_the_best_of_all_placements(layer: TimeLayer) -> None:
    """Oracle: all 2,520 placements of eight experts on four GPUs."""
    best = np.inf
    for order in product(range(4), repeat=8):
        if np.bincount(order, minlength=4).tolist() == [2, 2, 2, 2]:
            held = np.argsort(order, kind="stable").reshape(4, 2)
            best = min(best, Standing(layer=layer, held=held).seconds)
    start = Standing(layer=layer, held=np.arange(8).reshape(4, 2))
    end = descend(start, NoLimit())
    assert best <= end.seconds * (1 + 1e-12)
    assert end.seconds <= start.seconds
    assert end.seconds <= best * 1.1


def test_the_way_to_balance_lessens_the_largest_share_step_by_step() -> None:
    layer = by_rule()
    order = np.argsort(layer.loads)
    way = way_to_balance(Standing(layer=layer, held=order.reshape(4, 2)), NoLimit())
    largest = [one.shares.max() for one in way]
    assert len(way) > 1
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(largest))
    assert largest[-1] < largest[0]
