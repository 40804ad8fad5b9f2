"""One option for each layer, the least total within a budget; and slots per GPU that differ by layer."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from solvers.experts.balance import EFFORT, PROVEN, Balanced, balance
from solvers.experts.problem import EMPTY, Floats, Integers, Placement, balance_problem
from solvers.solution import Solution


def least_totals(values: Sequence[ArrayLike], costs: Sequence[ArrayLike], budget: int) -> tuple[Floats, list[Integers]]:
    """The least sum of one value per layer for every budget 0 ... ``budget``, and the options that reach it.

    ``values`` and ``costs`` hold [options] for each layer, costs whole numbers >= 0. Returns [budget + 1] (inf
    where no choice is cheap enough) and, per layer, [budget + 1] the option taken for that much left over
    for this layer and those before: follow it with ``options_within``. Exact: a dynamic programme over layers.
    """
    totals = np.zeros(budget + 1)
    taken = []
    for value, cost in zip(values, costs, strict=True):
        each = np.full((len(np.asarray(cost)), budget + 1), np.inf)
        for option, (gain, price) in enumerate(zip(np.asarray(value), np.asarray(cost), strict=True)):
            if price <= budget:
                each[option, price:] = totals[: budget + 1 - price] + gain
        taken.append(each.argmin(axis=0))
        totals = each.min(axis=0)
    return totals, taken


def options_within(taken: Sequence[Integers], costs: Sequence[ArrayLike], budget: int) -> list[int]:
    """The option of every layer that ``least_totals`` took for ``budget``."""
    chosen = []
    for option, cost in zip(reversed(taken), reversed(costs), strict=True):
        pick = int(option[budget])
        chosen.append(pick)
        budget -= int(np.asarray(cost)[pick])
    return chosen[::-1]


def balance_uneven(
    loads: ArrayLike,
    *,
    gpus: int,
    slots_per_gpu: Sequence[int],
    total_slots_per_gpu: int,
    gpus_per_node: int | None = None,
    expert_groups: int | None = None,
    seed: int = 0,
    effort: int = EFFORT,
) -> Solution[Balanced]:
    """Slots per GPU of every layer, out of those in ``slots_per_gpu``, within a sum over the layers, and a placement.

    ``total_slots_per_gpu`` is the memory of a GPU for experts over the bytes of one. The bound is over all
    choices from ``slots_per_gpu``: every layer's bound at every option, combined exactly.
    Raises ``ValueError`` as ``balance_problem`` does, and for a total below the fewest slots of every layer.
    """
    began = time.perf_counter()
    options = sorted(set(slots_per_gpu))
    solved = []
    for slots in options:
        problem = balance_problem(
            loads, gpus=gpus, slots_per_gpu=slots, gpus_per_node=gpus_per_node, expert_groups=expert_groups
        )
        choice = balance(problem, seed=seed, effort=effort).choice
        assert choice is not None
        solved.append(choice)
    layers = problem.layers
    if options[0] * layers > total_slots_per_gpu:
        raise ValueError(
            f"total_slots_per_gpu: {total_slots_per_gpu} for {layers} layers of at least {options[0]} slots each; "
            f"at least {options[0] * layers} are needed"
        )
    values = np.stack([each.max_over_mean for each in solved], axis=1)
    bounds = np.stack([each.lower_bound for each in solved], axis=1)
    costs = [np.array(options)] * layers
    _, taken = least_totals(list(values), costs, total_slots_per_gpu)
    picks = options_within(taken, costs, total_slots_per_gpu)
    least, _ = least_totals(list(bounds), costs, total_slots_per_gpu)
    slots_of = tuple(options[pick] for pick in picks)
    rows = np.full((layers, gpus * max(slots_of)), EMPTY, dtype=np.intp)
    for layer, pick in enumerate(picks):
        rows[layer, : gpus * slots_of[layer]] = solved[pick].placement.physical_to_logical[layer]
    found = Balanced(
        placement=Placement(rows, gpus, slots_of),
        max_over_mean=values[np.arange(layers), picks],
        lower_bound=bounds[np.arange(layers), picks],
    )
    value, bound = float(found.max_over_mean.mean()), float(least[-1]) / layers
    proven = value <= bound * (1 + PROVEN)
    return Solution(
        value=value,
        lower_bound=value if proven else bound,
        status="optimal" if proven else "feasible",
        stop="exhausted" if proven else "evaluation_limit",
        choice=found,
        seconds=time.perf_counter() - began,
        seed=seed,
        counts={"slots_per_gpu": sum(slots_of), "layers": layers},
    )
