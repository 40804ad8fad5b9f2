"""Packing for given counts: exchanges never lose, and second replicas leave a GPU where that costs nothing."""

import numpy as np
import pytest

from solvers.experts.packing import exchange, pack_rows, spread
from solvers.experts.pairing import pair_loads, pair_up, search_counts
from solvers.experts.replicas import least_largest_share
from solvers.stop import NoLimit
from tests.oracles.experts import gpu_loads, least_largest_load
from tests.solvers.experts.instances import some_loads


def test_packing_puts_the_heaviest_on_the_lightest_with_room() -> None:
    """9 | 8, 1 would be 7 then onto 8; with two places each: 9 + 1, 8 + 7 -> the lightest with room (by hand)."""
    packed = pack_rows(np.array([[9.0, 8.0, 7.0, 1.0]]), 2)
    assert packed.tolist() == [[[0, 3], [1, 2]]]


@pytest.mark.parametrize("case", range(20))
def test_exchanges_lower_the_busiest_gpu_and_keep_every_replica(case: int) -> None:
    rng = np.random.default_rng(case)
    loads = rng.lognormal(0, 1, (3, 24))
    before = rng.permuted(np.tile(np.arange(24), (3, 1)), axis=1).reshape(3, 6, 4)
    after, largest = exchange(before, loads, loads.sum(axis=1) / 6)
    for row in range(3):
        assert sorted(after[row].ravel()) == list(range(24))
        own = gpu_loads(after[row][None], loads[row]).max()
        assert largest[row] == pytest.approx(own)
        assert own < gpu_loads(before[row][None], loads[row]).max()


def test_second_replicas_are_spread_where_that_costs_nothing() -> None:
    """Expert 0 twice on GPU 0, with experts 1 and 2 of its share's size elsewhere."""
    loads = np.array([[2.0, 1.0, 1.0]])
    assert spread(np.array([[[0, 0], [1, 2]]]), loads).tolist() == [[[0, 1], [0, 2]]]
    assert spread(np.array([[[0, 0], [1, 2]]]), np.array([[9.0, 1.0, 1.0]])).tolist() != [[[0, 0], [1, 2]]]
    kept = np.array([[[0, 0], [1, 1]]])  # nothing to exchange with
    alone = np.array([[[0, 0]]])
    assert spread(alone, np.array([[1.0]])).tolist() == alone.tolist()
    assert sorted(spread(kept, np.array([[1.0, 1.0]]))[0].ravel().tolist()) == [0, 0, 1, 1]


def test_pairs_are_largest_with_smallest() -> None:
    assert pair_loads(np.array([5.0, 1.0, 4.0, 3.0])).tolist() == [6.0, 7.0]
    paired = pair_up(np.array([[1, 1, 2]]), np.array([[5.0, 1.0, 8.0]]))  # shares 5, 1, 4, 4
    assert sorted(sorted(pair) for pair in paired[0].tolist()) == [[0, 1], [2, 2]]


def test_searched_counts_never_lose_and_mostly_reach_the_optimum() -> None:
    reached = []
    for case in range(40):
        rng = np.random.default_rng(case)
        loads = some_loads(rng, 5)[None] + 0.1
        start = least_largest_share(loads, 8)
        counts, largest = search_counts(start, loads, loads.sum(axis=1) / 4, 40, rng, NoLimit())
        experts = pair_up(counts, loads)
        assert counts.sum() == 8
        assert largest[0] == pytest.approx(gpu_loads(experts, loads[0]).max())
        assert largest[0] <= gpu_loads(pair_up(start, loads), loads[0]).max() * (1 + 1e-12)
        reached.append((largest[0] / least_largest_load(loads[0], 4, 2), largest[0] < pair_loads_of(start, loads)))
    ratio = np.array([each[0] for each in reached])
    assert (ratio < 1 + 1e-9).sum() >= 30
    assert ratio.max() < 1.25
    assert sum(each[1] for each in reached) >= 5  # the counts it starts from are not the best


def pair_loads_of(counts: np.ndarray, loads: np.ndarray) -> float:
    return float(gpu_loads(pair_up(counts, loads), loads[0]).max()) * (1 - 1e-9)
