"""Better balance for few moves: the limit holds, brute force is never beaten and mostly met."""

from itertools import permutations

import numpy as np
import pytest

from solvers.experts.eplb import eplb
from solvers.experts.movement import move_within, moved_slots, relabelled
from solvers.experts.problem import Balance, Placement, balance_problem
from solvers.experts.steps import Layer
from tests.oracles.experts import all_placements, gpu_loads
from tests.solvers.experts.instances import some_loads


def random_placement(rng: np.random.Generator, problem: Balance) -> Placement:
    """Any placement of every expert, balanced by nothing."""
    slots = problem.gpus * problem.slots_per_gpu[0]
    extra = rng.integers(0, problem.experts, (problem.layers, slots - problem.experts))
    rows = np.concatenate([np.tile(np.arange(problem.experts), (problem.layers, 1)), extra], axis=1)
    return Placement(rng.permuted(rows, axis=1), problem.gpus, problem.slots_per_gpu)


def fewest_moves(before: np.ndarray, after: np.ndarray) -> int:
    """By trying every order of the GPUs: slots whose expert is not matched with one on the GPU before."""
    least = after.size
    for order in permutations(range(len(after))):
        moves = 0
        for gpu, source in enumerate(order):
            left = before[gpu].tolist()
            for expert in after[source].tolist():
                if expert in left:
                    left.remove(expert)
                else:
                    moves += 1
        least = min(least, moves)
    return least


@pytest.mark.parametrize("case", range(40))
def test_relabelling_moves_as_few_slots_as_any_order_of_the_gpus(case: int) -> None:
    rng = np.random.default_rng(case)
    before, after = rng.integers(0, 5, (2, 4, 2))
    found = relabelled(before, after, 4)
    assert moved_slots(before, found) == fewest_moves(before, after) == int((found != before).sum())
    assert sorted(sorted(gpu) for gpu in found.tolist()) == sorted(sorted(gpu) for gpu in after.tolist())


def test_relabelling_keeps_gpus_of_a_node_together() -> None:
    """Nodes {0, 1} and {2, 3} exchanged, and their GPUs too: nothing moves. Half of each: only whole nodes may."""
    before = np.array([[0], [1], [2], [3]])
    assert relabelled(before, before[::-1], 2).tolist() == before.tolist()
    assert relabelled(before, np.array([[0], [2], [1], [3]]), 2).tolist() in (
        [[0], [2], [1], [3]],
        [[2], [0], [3], [1]],
    )


def test_moves_within_the_limit_are_never_better_and_mostly_as_good_as_brute_force() -> None:
    met = 0
    for case in range(60):
        rng = np.random.default_rng(case)
        experts, gpus, slots = [(5, 3, 2), (5, 4, 2), (6, 3, 2), (4, 3, 3)][case % 4]
        loads = some_loads(rng, experts) + 0.01
        problem = balance_problem(loads, gpus=gpus, slots_per_gpu=slots)
        current = random_placement(rng, problem)
        every = all_placements(experts, gpus, slots)
        largest = gpu_loads(every, loads).max(axis=1)
        limit = int(rng.integers(0, 4))
        before = current.on_gpus(0)
        near = [k for k in np.argsort(largest)[:400] if fewest_moves(before, every[k]) <= limit][:1]
        best = min([largest[k] for k in near] + [float(problem.gpu_loads(current).max())]) / loads.sum() * gpus
        solution = move_within(problem, current, limit, seed=case)
        assert solution.choice is not None
        after = solution.choice.balanced.placement.on_gpus(0)
        assert moved_slots(before, after) == solution.choice.moves.sum() <= limit
        assert solution.lower_bound <= solution.value * (1 + 1e-12)
        if near:  # the optimum within the limit, or something better than every placement looked at
            assert solution.value >= best * (1 - 1e-9)
            assert solution.lower_bound <= best * (1 + 1e-9)
            met += solution.value <= best * (1 + 1e-9)
    assert met >= 40


def test_no_move_leaves_everything_and_enough_moves_reach_the_free_optimum() -> None:
    rng = np.random.default_rng(0)
    problem = balance_problem(rng.lognormal(0, 1, (3, 6)), gpus=3, slots_per_gpu=3)
    current = random_placement(rng, problem)
    still = move_within(problem, current, 0)
    assert still.choice is not None
    assert (still.choice.balanced.placement.physical_to_logical == current.physical_to_logical).all()
    assert still.status == "optimal"
    free = move_within(problem, current, 27)
    assert free.status == "optimal"
    assert free.choice is not None
    curve = free.choice.curve
    assert curve[0] == pytest.approx(still.value)
    assert curve[-1] == pytest.approx(free.value)
    assert (np.diff(curve) <= 1e-12).all()
    assert len(np.unique(curve)) > 3


def test_groups_stay_on_their_nodes() -> None:
    rng = np.random.default_rng(1)
    problem = balance_problem(rng.lognormal(0, 1, (4, 16)), gpus=8, slots_per_gpu=3, gpus_per_node=4, expert_groups=4)
    drifted = balance_problem(rng.lognormal(0, 1, (4, 16)), gpus=8, slots_per_gpu=3, gpus_per_node=4, expert_groups=4)
    current = eplb(drifted)
    solution = move_within(problem, current, 12)  # checks the placement itself
    assert solution.choice is not None
    assert 0 < solution.choice.moves.sum() <= 12
    assert solution.value < problem.max_over_mean(current).mean() * 0.97


def test_a_negative_limit_is_refused() -> None:
    problem = balance_problem([1.0, 2.0], gpus=2, slots_per_gpu=1)
    with pytest.raises(ValueError, match="most_moves: -1"):
        move_within(problem, eplb(problem), -1)


@pytest.mark.parametrize("case", range(30))
def test_a_step_lowers_what_it_is_judged_by_and_keeps_every_expert(case: int) -> None:
    rng = np.random.default_rng(case)
    problem = balance_problem(rng.lognormal(0, 1, (2, 10)), gpus=4, slots_per_gpu=4)
    state = Layer(
        random_placement(rng, problem).on_gpus(0).copy(), problem.loads / problem.mean_load()[:, None], np.zeros(4, int)
    )
    judged = float((state.gpu_loads() ** 32).sum())
    for _ in range(20):
        if not state.step():
            break
        now = float((state.gpu_loads() ** 32).sum())
        assert now < judged
        assert (state.counts > 0).all()
        judged = now


@pytest.mark.parametrize("case", range(20))
def test_a_step_is_the_best_per_changed_slot_around_the_busiest_gpu(case: int) -> None:
    """Every exchange with the busiest GPU and every slot handed to or by one of its experts, evaluated from scratch."""
    rng = np.random.default_rng(case)
    loads = rng.lognormal(0, 1, (2, 6))
    loads /= loads.sum(axis=1, keepdims=True) / 3
    held = rng.permuted(np.concatenate([np.arange(6), rng.integers(0, 6, 3)])).reshape(3, 3)
    before = judged(held, loads)
    state = Layer(held.copy(), loads, np.zeros(3, dtype=np.intp))
    busiest = int(state.gpu_loads().max(axis=0).argmax())
    gains = []
    for slot in range(9):
        for other in range(9):
            tried = held.ravel().copy()
            tried[slot], tried[other] = tried[other], tried[slot]
            if slot // 3 == busiest != other // 3 and no_new_pair(held, tried):
                gains.append((before - judged(tried.reshape(3, 3), loads)) / 2)
        for expert in range(6):
            tried = held.ravel().copy()
            tried[slot] = expert
            allowed = slot // 3 == busiest or expert in held[busiest]
            if allowed and expert not in held[slot // 3] and len(set(tried.tolist())) == 6:
                gains.append(before - judged(tried.reshape(3, 3), loads))
    went = state.step()
    changed = int((state.held != held).sum())
    if went:
        assert (before - judged(state.held, loads)) / changed == pytest.approx(max(gains), rel=1e-6)
    else:
        assert max(gains) <= 1e-6 * before


def judged(held: np.ndarray, loads: np.ndarray) -> float:
    return float(sum((gpu_loads(held[None], trace) ** 32).sum() for trace in loads))


def no_new_pair(held: np.ndarray, tried: np.ndarray) -> bool:
    """No GPU gets a second replica of what it held before."""
    for gpu, now in zip(held, tried.reshape(held.shape), strict=True):
        gained = [expert for k, expert in enumerate(now.tolist()) if expert != gpu[k]]
        if any(expert in gpu.tolist() for expert in gained):
            return False
    return bool((held.ravel() != tried).any())
