"""Better balance for few moved experts: from a placement in use, at most so many slots with another expert.

A move loads an expert's weights onto a GPU that did not hold them, so moves are counted per GPU, whatever
the order of its slots: sum over GPUs of the slots that hold something new. GPUs of a node are alike, and so
are nodes: a placement found elsewhere is first relabelled, by assignments that keep the most in place.

Every layer takes single steps (``steps``) away from the placement in use, and every one that lowers the busiest
GPU is an option, as is the free optimum relabelled; a dynamic programme (``budget``) then spends the moves over
the layers. The bound lets a layer that may move anything reach its free bound at once.
"""

import time
from dataclasses import dataclass

import numpy as np

from solvers.experts.balance import EFFORT, PROVEN, Balanced, balance
from solvers.experts.budget import least_totals, options_within
from solvers.experts.problem import Balance, Floats, Integers, Placement, over_mean
from solvers.experts.steps import Layer, homes, nodes_of
from solvers.solution import Solution

MOST_STEPS = 200  # of one layer
GOOD_ENOUGH = 1e-3  # above the bound: no further steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """``balanced`` within the limit, the slots that change [layers], and what other limits would give:
    ``curve`` [limit + 1] is the value for every number of moves up to the limit."""

    balanced: Balanced
    moves: Integers
    curve: Floats


def moved_slots(before: Integers, after: Integers) -> int:
    """Slots of ``after`` [gpus, slots] whose expert its GPU did not hold in ``before``; a replica beyond those too."""
    return int(after.size - _kept(before, after).trace())


def relabelled(before: Integers, after: Integers, gpus_per_node: int) -> Integers:
    """``after`` [gpus, slots] with GPUs of a node, and nodes, renamed so that the fewest slots change.

    Kept experts stay in the slots that they have in ``before``.
    """
    kept = _kept(before, after)
    gpus = len(before)
    nodes = gpus // gpus_per_node
    blocks = kept.reshape(nodes, gpus_per_node, nodes, gpus_per_node).swapaxes(1, 2)
    inside = np.empty((nodes, nodes, gpus_per_node), dtype=np.intp)
    shared = np.empty((nodes, nodes))
    for old in range(nodes):
        for new in range(nodes):
            inside[old, new] = _matching(blocks[old, new])
            shared[old, new] = blocks[old, new][np.arange(gpus_per_node), inside[old, new]].sum()
    node = _matching(shared)
    source = np.concatenate([node[old] * gpus_per_node + inside[old, node[old]] for old in range(nodes)])
    return np.stack([_in_place(before[gpu], after[source[gpu]]) for gpu in range(gpus)])


def move_within(
    problem: Balance, current: Placement, most_moves: int, *, seed: int = 0, effort: int = EFFORT
) -> Solution[Moved]:
    """The best placement found that changes at most ``most_moves`` slots of ``current``, over all layers.

    Raises ``ValueError`` for a negative limit and for a ``current`` that does not suit the problem.
    """
    began = time.perf_counter()
    if most_moves < 0:
        raise ValueError(f"most_moves: {most_moves} must not be negative")
    problem.check(current)
    free = balance(problem, seed=seed, effort=effort)
    assert free.choice is not None
    options = [_options(problem, current, free.choice, layer, most_moves) for layer in range(problem.layers)]
    values = [[value for _, value, _ in each] for each in options]
    costs = [[moves for moves, _, _ in each] for each in options]
    totals, taken = least_totals(values, costs, most_moves)
    picks = options_within(taken, costs, most_moves)
    rows = current.physical_to_logical.copy()
    for layer, pick in enumerate(picks):
        held = options[layer][pick][2]
        rows[layer, : held.size] = held.ravel()
    placement = Placement(rows, problem.gpus, problem.slots_per_gpu)
    problem.check(placement)
    bounds = [[each[0], min(float(free.choice.lower_bound[k]), each[0])] for k, each in enumerate(values)]
    least, _ = least_totals(bounds, [[0, 1]] * problem.layers, most_moves)
    reached = problem.max_over_mean(placement)
    value, bound = float(reached.mean()), float(least[-1]) / problem.layers
    proven = value <= bound * (1 + PROVEN)
    return Solution(
        value=value,
        lower_bound=value if proven else bound,
        status="optimal" if proven else "feasible",
        stop="exhausted" if proven else "evaluation_limit",
        choice=Moved(
            balanced=Balanced(
                placement=placement,
                max_over_mean=reached,
                lower_bound=np.minimum(free.choice.lower_bound, reached),
            ),
            moves=np.array([costs[layer][pick] for layer, pick in enumerate(picks)], dtype=np.intp),
            curve=totals / problem.layers,
        ),
        seconds=time.perf_counter() - began,
        seed=seed,
        counts={"moves": sum(costs[layer][pick] for layer, pick in enumerate(picks))},
    )


def _options(
    problem: Balance, current: Placement, free: Balanced, layer: int, most_moves: int
) -> list[tuple[int, float, Integers]]:
    """Moves, value and slots [gpus, slots] of what a layer may become, the placement in use first."""
    before = current.on_gpus(layer)
    mean = problem.mean_load()[layer : layer + 1]
    if mean[0] == 0:
        return [(0, 1.0, before)]
    node_of = nodes_of(problem.gpus, problem.gpus_per_node)
    home = homes(before, problem.experts, problem.gpus_per_node) if problem.expert_groups else None
    state = Layer(before.copy(), problem.loads[layer : layer + 1] / mean, node_of, home)
    found = [(0, state.value(), before)]
    enough = float(free.lower_bound[layer])
    for _ in range(MOST_STEPS):
        if found[-1][1] <= enough * (1 + GOOD_ENOUGH) or not state.step():
            break
        moves, value = moved_slots(before, state.held), state.value()
        if moves > most_moves:
            break
        if value < found[-1][1]:
            found.append((moves, value, state.held.copy()))
    best = relabelled(before, free.placement.on_gpus(layer), problem.gpus_per_node)
    share = problem.loads[layer] / np.bincount(best.ravel(), minlength=problem.experts)
    reached = over_mean(share[best].sum(axis=1).max(keepdims=True), mean)
    found.append((moved_slots(before, best), float(reached[0]), best))
    return found


def _kept(before: Integers, after: Integers) -> Integers:
    """Slots that a GPU of ``after`` would keep on a GPU of ``before``, [before, after]."""
    experts = int(max(before.max(), after.max())) + 1
    first, second = (np.zeros((len(before), experts), dtype=np.intp) for _ in range(2))
    for counts, held in ((first, before), (second, after)):
        np.add.at(counts, (np.arange(len(held))[:, None], held), 1)
    copies = max(int(first.max()), 1)
    kept = np.zeros((len(before), len(after)), dtype=np.intp)
    for copy in range(copies):  # min(a, b) = sum over c of (a > c) (b > c)
        kept += (first > copy).astype(np.intp) @ (second > copy).astype(np.intp).T
    return kept


def _matching(worth: Floats | Integers) -> Integers:
    """The column of every row in the assignment of most worth."""
    if len(worth) == 1:
        return np.zeros(1, dtype=np.intp)
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped, unused-ignore]

    return np.asarray(linear_sum_assignment(worth, maximize=True)[1], dtype=np.intp)


def _in_place(before: Integers, after: Integers) -> Integers:
    """The experts of ``after`` [slots], those also in ``before`` in their slots there."""
    left = after.tolist()
    slots: list[int | None] = []
    for expert in before.tolist():
        if expert in left:
            left.remove(expert)
            slots.append(expert)
        else:
            slots.append(None)
    return np.array([left.pop(0) if expert is None else expert for expert in slots], dtype=np.intp)
