"""Balances experts over GPUs: replica counts and packing together, with a bound for every layer."""

import time
from dataclasses import dataclass

import numpy as np

from solvers.experts.bounds import cardinality_bound, simple_bound
from solvers.experts.exact import improve_exactly
from solvers.experts.hierarchy import (
    Assignment,
    Members,
    enumerate_assignments,
    even_assignment,
    experts_of,
    subset_bounds,
)
from solvers.experts.problem import EMPTY, Balance, Floats, Integers, Placement, over_mean
from solvers.experts.rows import place_rows
from solvers.solution import Solution
from solvers.stop import NoLimit, StoppingRule

EFFORT = 60
NO_LIMIT = NoLimit()
EXACT_SLOTS = {1: 0, 2: 20}  # by slots per GPU: so many in all (of a node, with groups), and
EXACT_SLOTS_ELSE = 14  # so many with more than two per GPU, the exact search is tried
EXACT_BUDGET = 50_000  # choices to try, of one layer
PROVEN = 1e-9
ROUNDS = 8  # of further assignments of groups to nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """A placement, and of every layer the busiest GPU over the mean and a bound on it, both [layers]."""

    placement: Placement
    max_over_mean: Floats
    lower_bound: Floats

    @property
    def proven(self) -> np.ndarray:
        """Which layers are optimal, [layers]."""
        return np.asarray(self.max_over_mean <= self.lower_bound * (1 + PROVEN))


def balance(
    problem: Balance, *, seed: int = 0, effort: int = EFFORT, exact: bool = True, stop: StoppingRule = NO_LIMIT
) -> Solution[Balanced]:
    """The placement with the least mean over the layers of busiest over mean GPU that was found.

    ``effort`` counts the steps of the searches by chance, ``exact`` allows the exhaustive search of small
    layers. ``stop`` is asked between steps and layers, with the steps of the search that runs; a placement with
    bounds is returned whatever it says. The status is ``optimal`` where every layer meets its bound. Layers
    without load have value and bound 1.
    """
    began = time.perf_counter()
    rng = np.random.default_rng(seed)
    rows = np.full((problem.layers, problem.gpus * max(problem.slots_per_gpu)), EMPTY, dtype=np.intp)
    low, high = np.zeros(problem.layers), np.zeros(problem.layers)
    for slots in sorted(set(problem.slots_per_gpu)):
        layers = np.flatnonzero(np.array(problem.slots_per_gpu) == slots)
        loads = problem.loads[layers]
        solve = _free if problem.expert_groups is None else _grouped
        experts, high[layers], low[layers] = solve(problem, loads, slots, effort, exact, rng, stop)
        rows[layers, : problem.gpus * slots] = experts.reshape(len(layers), -1)
    placement = Placement(rows, problem.gpus, problem.slots_per_gpu)
    problem.check(placement)
    value = problem.max_over_mean(placement)
    bound = np.minimum(over_mean(low, problem.mean_load()), value)
    found = Balanced(placement=placement, max_over_mean=value, lower_bound=bound)
    proven = bool(found.proven.all())
    return Solution(
        value=float(value.mean()),
        lower_bound=float(value.mean() if proven else bound.mean()),
        status="optimal" if proven else "feasible",
        stop="exhausted" if proven else stop(effort) or "evaluation_limit",
        choice=found,
        seconds=time.perf_counter() - began,
        seed=seed,
        counts={"layers": problem.layers, "layers_proven": int(found.proven.sum())},
    )


def _free(
    problem: Balance, loads: Floats, slots: int, effort: int, exact: bool, rng: np.random.Generator, stop: StoppingRule
) -> tuple[Integers, Floats, Floats]:
    simple = simple_bound(loads, problem.gpus, slots)
    experts, high = place_rows(loads, problem.gpus, slots, simple, effort, rng, stop)
    low = np.minimum(simple, high)
    if exact and _small(problem.gpus, slots):
        _exactly(experts, high, low, loads, problem.gpus, slots, stop)
    return experts, high, cardinality_bound(loads, problem.gpus, slots, low, high)


def _small(gpus: int, slots: int) -> bool:
    return gpus * slots <= EXACT_SLOTS.get(slots, EXACT_SLOTS_ELSE)


def _exactly(
    experts: Integers, high: Floats, low: Floats, loads: Floats, gpus: int, slots: int, stop: StoppingRule
) -> None:
    """Improves ``experts`` [rows, gpus, slots], ``high`` and ``low`` [rows] in place."""
    for row in np.flatnonzero(high > low * (1 + PROVEN)):
        if stop(0):
            break
        found, largest, proven = improve_exactly(
            loads[row], gpus, slots, best=high[row], enough=low[row], budget=EXACT_BUDGET
        )
        if found is not None:
            experts[row], high[row] = found, largest
        if proven:
            low[row] = high[row]


def _grouped(
    problem: Balance, loads: Floats, slots: int, effort: int, exact: bool, rng: np.random.Generator, stop: StoppingRule
) -> tuple[Integers, Floats, Floats]:
    groups = problem.expert_groups or 1
    size, layers = problem.experts // groups, len(loads)
    nodes = _Nodes(loads, size, problem.gpus_per_node, slots, effort, exact, rng, stop)
    options = enumerate_assignments(groups, problem.nodes, problem.gpus_per_node * slots // size)
    if options is None:
        chosen = even_assignment(loads, groups, problem.nodes)
        nodes.place([(layer, node) for layer in range(layers) for node in chosen[layer]])
        high = np.array([nodes.reached(layer, chosen[layer]) for layer in range(layers)])
        low = np.maximum(
            simple_bound(loads, problem.gpus, slots),
            loads.reshape(layers, groups, size).sum(axis=2).max(axis=1) / problem.gpus_per_node,
        )
        return np.stack([nodes.experts(layer, chosen[layer]) for layer in range(layers)]), high, np.minimum(low, high)
    bounds = subset_bounds(loads, options.subsets, size, problem.gpus_per_node, slots)[:, options.options]
    largest, total = bounds.max(axis=2), bounds.sum(axis=2)
    best: list[Assignment] = [()] * layers
    high, low = np.full(layers, np.inf), largest.min(axis=1)
    tried = np.zeros(largest.shape, dtype=bool)
    for _ in range(len(options.options) if exact and _small(problem.gpus_per_node, slots) else ROUNDS):
        left = np.where(tried, np.inf, largest)
        promising = np.flatnonzero(left.min(axis=1) < high * (1 - PROVEN))
        if not len(promising) or (nodes.solved and stop(0)):
            break
        picks = {}
        for layer in promising.tolist():
            pick = int(np.lexsort((total[layer], left[layer]))[0])
            tried[layer, pick] = True
            picks[layer] = tuple(options.subsets[k] for k in options.options[pick])
        nodes.place([(layer, node) for layer, assignment in picks.items() for node in assignment])
        for layer, assignment in picks.items():
            reached = nodes.reached(layer, assignment)
            if reached < high[layer]:
                high[layer], best[layer] = reached, assignment
    # below the value reached: assignments not tried, by their bound, and tried ones, by what their nodes were shown
    shown = np.where(tried, np.inf, largest)
    for layer, pick in np.argwhere(tried).tolist():
        shown[layer, pick] = nodes.bound(layer, tuple(options.subsets[k] for k in options.options[pick]))
    low = np.minimum(shown.min(axis=1), high)
    return np.stack([nodes.experts(layer, best[layer]) for layer in range(layers)]), high, low


class _Nodes:
    """Placements of single nodes with a set of groups, each solved once."""

    def __init__(
        self,
        loads: Floats,
        size: int,
        gpus: int,
        slots: int,
        effort: int,
        exact: bool,
        rng: np.random.Generator,
        stop: StoppingRule,
    ) -> None:
        self.loads, self.size, self.gpus, self.slots = loads, size, gpus, slots
        self.effort, self.exact, self.rng, self.stop = effort, exact, rng, stop
        self.solved: dict[tuple[int, Members], tuple[Integers, float, float]] = {}

    def place(self, wanted: list[tuple[int, Members]]) -> None:
        """Places the groups of each (layer, groups) on a node."""
        new = sorted(set(wanted) - set(self.solved))
        for count in sorted({len(members) for _, members in new}):
            keys = [key for key in new if len(key[1]) == count]
            names = np.stack([experts_of(members, self.size) for _, members in keys])
            rows = np.take_along_axis(self.loads[[layer for layer, _ in keys]], names, axis=1)
            low = simple_bound(rows, self.gpus, self.slots)
            local, high = place_rows(rows, self.gpus, self.slots, low, self.effort, self.rng, self.stop)
            if self.exact and _small(self.gpus, self.slots):
                _exactly(local, high, low, rows, self.gpus, self.slots, self.stop)
            placed = np.take_along_axis(names, local.reshape(len(keys), -1), axis=1)
            for k, key in enumerate(keys):
                self.solved[key] = placed[k], float(high[k]), float(low[k])

    def experts(self, layer: int, assignment: Assignment) -> Integers:
        return np.concatenate([self.solved[layer, node][0] for node in assignment])

    def reached(self, layer: int, assignment: Assignment) -> float:
        return max(self.solved[layer, node][1] for node in assignment)

    def bound(self, layer: int, assignment: Assignment) -> float:
        return max(self.solved[layer, node][2] for node in assignment)
