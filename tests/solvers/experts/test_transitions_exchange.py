"""Exchanges between two GPUs in all layers at once, against the dynamic programme over everything."""

import numpy as np
import pytest

from solvers.experts.transitions import transitions_problem, two_level_cost
from solvers.experts.transitions_exchange import exchange, free_experts, most_freed, prices, splits_of, twins
from solvers.experts.transitions_solve import place_along_layers

PAIR = np.array([[0, 1]])


@pytest.mark.parametrize("seed", range(20))
def test_freeing_all_experts_of_two_gpus_solves_the_problem(seed: int) -> None:
    """By enumeration, with any cost and, in every second, a load limit."""
    random = np.random.default_rng(seed)
    problem = transitions_problem(
        random.integers(0, 9, (3, 4, 4)),
        gpus=2,
        cost=random.integers(0, 5, (2, 2)),
        loads=random.integers(1, 9, (4, 4)),
        max_over_mean=1.5 if seed % 2 else None,
    )
    best = place_along_layers(problem, method="enumeration")
    start = np.array([random.permutation([0, 0, 1, 1]) for _ in range(4)])
    found = exchange(problem, start, PAIR, free_experts(start, PAIR, 2, random))
    if best.choice is None:
        return
    assert problem.allowed(found)
    assert problem.value(found) == pytest.approx(best.value)


@pytest.mark.parametrize("freed", [1, 2])
def test_disjoint_twins_are_exchanged_at_once_as_one_after_the_other(freed: int) -> None:
    random = np.random.default_rng(freed)
    cost = two_level_cost(4, 2, same_node=1, other_node=4)
    problem = transitions_problem(random.integers(0, 30, (4, 12, 12)), gpus=4, cost=cost)
    placed = np.array([random.permutation(np.arange(12) % 4) for _ in range(5)])
    pairs = np.array([[0, 1], [2, 3]])
    free = free_experts(placed, pairs, freed, random)
    together = exchange(problem, placed, pairs, free)
    one = exchange(problem, placed, pairs[:1], free[:1])
    both = exchange(problem, one, pairs[1:], free[1:])
    assert problem.value(together) == pytest.approx(problem.value(both))
    assert problem.value(together) < problem.value(placed)
    still = np.ones(placed.shape, dtype=bool)
    np.put_along_axis(still, free.transpose(1, 0, 2).reshape(5, -1), False, axis=1)
    assert (together[still] == placed[still]).all()


def test_freed_experts_are_on_their_gpus() -> None:
    random = np.random.default_rng(0)
    placed = np.array([random.permutation(np.arange(12) % 4) for _ in range(5)])
    pairs = np.array([[3, 0], [1, 2]])
    free = free_experts(placed, pairs, 2, random)
    held = placed[np.arange(5)[:, None], free]
    assert (held.reshape(2, 5, 2, 2) == pairs[:, None, :, None]).all()
    assert all(len(set(row)) == 4 for row in free.reshape(-1, 4).tolist())


def test_prices_are_differences_of_the_objective() -> None:
    """Moving one expert in thought: the change of the total by whole evaluation."""
    random = np.random.default_rng(1)
    problem = transitions_problem(random.integers(0, 9, (2, 4, 4)), gpus=2, cost=random.integers(0, 5, (2, 2)))
    placed = np.array([random.permutation([0, 0, 1, 1]) for _ in range(3)])
    table = prices(problem, placed)
    for layer in range(3):
        for expert in range(4):
            moved = placed.copy()
            moved[layer, expert] = 1 - placed[layer, expert]
            change = table[layer, expert, moved[layer, expert]] - table[layer, expert, placed[layer, expert]]
            assert change == pytest.approx(problem.value(moved) - problem.value(placed))


def test_twins_are_alike_towards_all_others() -> None:
    cost = two_level_cost(4, 2, same_node=1, other_node=4)
    assert twins(cost, 0, 1)
    assert not twins(cost, 0, 2)


def test_splits_are_counted_right() -> None:
    """C(4, 2) = 6 and C(8, 4) = 70; C(10, 5) = 252 is too many."""
    assert len(splits_of(2)) == 6
    assert (splits_of(2).sum(axis=1) == 2).all()
    assert [most_freed(slots) for slots in (1, 2, 4, 8)] == [1, 2, 4, 4]
