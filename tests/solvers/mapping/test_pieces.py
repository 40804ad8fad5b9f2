"""Pieces of rows inside groups of near hosts: by hand, and against every way to fill rows."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from solvers.mapping.bounds import lower_bounds
from solvers.mapping.pieces import anchored_pieces, least_pieces, levels
from solvers.mapping.problem import Floats, GridProblem, training_grid
from tests.oracles.mapping import best
from tests.solvers.mapping.random_problems import leaves


def near_and_far(sizes: tuple[int, ...]) -> Floats:
    """An edge is 1 s inside a leaf, 3 s between leaves."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    cost = np.where(of[:, None] == of[None, :], 1.0, 3.0)
    np.fill_diagonal(cost, 0.0)
    return cost


def edges(order: np.ndarray, cost: Floats) -> np.ndarray:
    """Seconds of each row."""
    total: np.ndarray = cost[order[:, :-1], order[:, 1:]].sum(axis=1)
    return total


@pytest.mark.parametrize(
    ("sizes", "rows", "columns", "dearer"),
    [
        ((4, 4), 2, 4, 0),  # a leaf each
        ((4, 4), 1, 8, 1),  # one row through both
        ((3, 3, 3), 1, 9, 2),
        ((5, 5, 5, 5, 5, 5, 5, 5), 5, 8, 2),  # 8 hosts take two leaves; 40 = 5 x 8 only all together: 12 pieces, not 10
        ((5, 5), 2, 4, 0),  # two hosts spare
        ((5, 5, 2), 3, 4, 1),  # no row fits the third leaf, and 5 hosts are no two rows
    ],
)
def test_edges_of_the_largest_row_by_hand(sizes: tuple[int, ...], rows: int, columns: int, dearer: int) -> None:
    found = levels(near_and_far(sizes), rows, columns).largest_row()
    assert found == pytest.approx(columns - 1 + 2 * dearer)


@pytest.mark.parametrize("sizes", [(4, 2), (3, 3), (5, 1), (2, 2, 2), (4, 3), (5, 2), (3, 2, 2)])
@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 6)])
def test_no_order_is_below(sizes: tuple[int, ...], shape: tuple[int, int]) -> None:
    """Also with one column inside a leaf, where that is possible."""
    cost, (n, p) = near_and_far(sizes), shape
    of = np.repeat(np.arange(len(sizes)), sizes)
    found = levels(cost, n, p)
    everywhere, inside = np.inf, np.inf
    for hosts in permutations(range(len(cost)), n * p):
        order = np.array(hosts).reshape(n, p)
        seconds = edges(order, cost).max()
        everywhere = min(everywhere, seconds)
        if (of[order] == of[order[:1]]).all(axis=0).any():
            inside = min(inside, seconds)
    assert found.largest_row() <= everywhere
    assert found.anchored(of) <= inside


def test_a_spare_host_saves_the_shortest_piece() -> None:
    """9 = 4 + 4 + 1, 6 = 4 + 2: five pieces; one host fewer saves the 1, three the 2 as well."""
    sizes = Counter({9: 1, 6: 1})
    assert [least_pieces(sizes, 4, spare) for spare in (0, 1, 2, 3, 7)] == [5, 4, 4, 3, 2]


def test_pieces_around_an_anchor() -> None:
    """16 rows of 64 with a host each in a leaf of 32: 63 more take two leaves, unless 31 of them are in the first,
    for which 16 are left. In a leaf of 64, 48 are left: one row saves a piece."""
    assert anchored_pieces(16, 64, 32, 32) == 48
    assert anchored_pieces(16, 64, 64, 32) == 47
    assert anchored_pieces(2, 4, 8, 4) == 2  # both rows all inside


def first_column(leaf: int, hosts: int, stages: int) -> GridProblem:
    return training_grid(
        "pipette",
        bandwidth=leaves(hosts, leaf, oversubscription=4.0, degraded=0.0, seed=1),
        stages=stages,
        rows=hosts // stages,
        pipeline_bytes=25e6,
        data_parallel_bytes=4e9,
        microbatches=8,
    )


def test_the_first_column_in_a_leaf_leaves_too_few_hosts_there() -> None:
    """Leaves of 32, 16 rows of 64; an edge 1 ms inside, 4 ms across; the first ring inside a leaf 150 ms, across 600.
    Sixteen places of that leaf go to its ring; 31 leaves more on 16 rows are 62 pieces in all, since no part of them
    is full alone: 46 crossings, 3 in some row. 60 + 3 * 4 + 150 ms."""
    assert lower_bounds(first_column(32, 1024, 64)).value == pytest.approx(0.222)


def test_bound_of_a_first_column_is_below_every_order() -> None:
    given = first_column(4, 8, 4)  # two rows over two leaves
    assert lower_bounds(given).value <= best(given) * (1 + 1e-9)
    assert best(given) < lower_bounds(given).value * 1.1
