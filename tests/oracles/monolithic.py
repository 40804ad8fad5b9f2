"""Configuration, layer split and 1F1B timing in one constraint model (CP-SAT), for small integers.

Given configurations k with p_k stages, m_k micro-batches, costs F_ki, B_ki of each item and a fixed
extra cost e_k, choose k and boundaries b; minimise e_k + the end of the last operation, where

1. b_0 = 0 < b_1 < .. < b_p = n;
2. an operation of stage s lasts prefix[b_{s+1}] - prefix[b_s];
3. F(s, j) starts after F(s - 1, j); B(s, j) after B(s + 1, j), B(p - 1, j) after F(p - 1, j);
4. the operations of a stage follow each other in 1F1B order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ortools.sat.python import cp_model

from tests.oracles.timeline import one_forward_one_backward


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstract:
    stages: int
    microbatches: int
    forward: Sequence[int]
    backward: Sequence[int]
    extra: int


def best_of_all(configurations: Sequence[Abstract]) -> tuple[int, int]:
    """Objective and index of the best configuration, proven."""
    model = cp_model.CpModel()
    chosen = [model.new_bool_var(f"configuration {k}") for k in range(len(configurations))]
    model.add_exactly_one(chosen)
    horizon = max(c.extra + c.microbatches * sum([*c.forward, *c.backward]) for c in configurations)
    objective = model.new_int_var(0, horizon, "objective")
    for configuration, choice in zip(configurations, chosen, strict=True):
        _add(model, configuration, choice, objective, horizon)
    model.minimize(objective)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.catch_sigint_signal = False
    if solver.solve(model) != cp_model.OPTIMAL:
        raise RuntimeError("the oracle did not prove its optimum")
    return int(solver.objective_value), next(k for k, c in enumerate(chosen) if solver.value(c))


def _add(
    model: cp_model.CpModel,
    configuration: Abstract,
    choice: cp_model.IntVar,
    objective: cp_model.IntVar,
    horizon: int,
) -> None:
    p, items = configuration.stages, len(configuration.forward)
    boundary = [model.new_int_var(s, items - p + s, "") for s in range(p + 1)]
    model.add(boundary[0] == 0)
    model.add(boundary[p] == items)
    duration: dict[tuple[str, int], cp_model.LinearExpr] = {}
    for kind, costs in (("F", configuration.forward), ("B", configuration.backward)):
        prefix = [sum(costs[:i]) for i in range(items + 1)]
        at = [model.new_int_var(0, prefix[-1], "") for _ in boundary]
        for where, value in zip(boundary, at, strict=True):
            model.add_element(where, prefix, value)
        for s in range(p):
            duration[kind, s] = at[s + 1] - at[s]
    for s in range(p):
        model.add(boundary[s] < boundary[s + 1])

    rows = one_forward_one_backward(p, configuration.microbatches)
    start = {operation: model.new_int_var(0, horizon, "") for row in rows for operation in row}

    def end(operation: tuple[str, int, int]) -> cp_model.LinearExpr:
        return start[operation] + duration[operation[0], operation[1]]

    for row in rows:
        for before, after in pairwise(row):
            model.add(start[after] >= end(before))
        model.add(objective >= configuration.extra + end(row[-1])).only_enforce_if(choice)
    for kind, stage, microbatch in start:
        if kind == "F" and stage > 0:
            model.add(start[kind, stage, microbatch] >= end(("F", stage - 1, microbatch)))
        if kind == "B":
            feeder = ("B", stage + 1, microbatch) if stage < p - 1 else ("F", stage, microbatch)
            model.add(start[kind, stage, microbatch] >= end(feeder))
