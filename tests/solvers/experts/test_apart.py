"""No GPU holds an expert twice, every expert stays somewhere, and the cheapest repair is taken."""

import numpy as np
import pytest

from solvers.experts.apart import apart


def twins(held: np.ndarray) -> int:
    return sum(len(row) - len(set(row)) for row in held.tolist())


def test_an_exchange_that_costs_nothing_is_found() -> None:
    """0 0 | 1 2 with loads 4, 2, 2: either exchange gives 4 and 4, as before; a third replica would not."""
    found = apart(np.array([[0, 0], [1, 2]]), np.array([[4.0, 2.0, 2.0]]), 2)
    assert sorted(found[0]) in ([0, 1], [0, 2])
    assert (found == 0).sum() == 2


def test_an_expert_with_more_replicas_than_gpus_gives_one_up() -> None:
    """0 0 1 | 0 2 3: on two GPUs 0 can be twice; 1, 2 or 3 gets the slot, the lighter GPU's best by load."""
    found = apart(np.array([[0, 0, 1], [0, 2, 3]]), np.array([[6.0, 1.0, 2.0, 4.0]]), 2)
    assert twins(found) == 0
    assert set(found.ravel().tolist()) == {0, 1, 2, 3}
    assert sorted(found[0].tolist()) == [0, 1, 3]  # 3 + 1 + 2 = 6 against 3 + 2 + 2 = 7, below any other choice


@pytest.mark.parametrize("groups", [None, 4])
def test_random_placements_are_mended_inside_their_nodes(groups: int | None) -> None:
    random = np.random.default_rng(1)
    for _ in range(30):
        nodes = [np.concatenate([np.arange(4), random.integers(0, 4, 4)]) + 4 * node for node in range(2)]
        held = np.stack([random.permutation(node) for node in nodes]).reshape(4, 4)
        found = apart(held, random.random((2, 8)), 2, groups)
        assert twins(found) == 0
        assert set(found.ravel().tolist()) == set(range(8))
        if groups:
            assert (found.reshape(2, -1) // 4 == [[0], [1]]).all()


def test_more_slots_than_experts_cannot_differ() -> None:
    with pytest.raises(ValueError, match="3 slots of a GPU cannot all hold different experts"):
        apart(np.array([[0, 1, 0]]), np.array([[1.0, 1.0]]), 1)
