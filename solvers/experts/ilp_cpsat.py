"""Integer programmes by OR-tools' CP-SAT: the only place of the experts that knows it."""

import math

from solvers.cpsat import run
from solvers.experts.ilp_model import IntegerProgramme, ProgrammeResult


def solve_with_cpsat(programme: IntegerProgramme, seconds: float, seed: int) -> ProgrammeResult:
    """See ``ilp_model.solve``. Raises ``ValueError`` for coefficients that are not whole."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    variables = [model.new_int_var(0, math.floor(upper), f"x{k}") for k, upper in enumerate(programme.upper)]
    for row in programme.rows:
        left = sum(_whole(a) * variables[k] for k, a in row.terms)
        lower = -(2**62) if math.isinf(row.lower) else math.ceil(row.lower - 1e-9)
        upper = 2**62 if math.isinf(row.upper) else math.floor(row.upper + 1e-9)
        model.add_linear_constraint(left, lower, upper)
    model.minimize(sum(_whole(c) * x for c, x in zip(programme.cost, variables, strict=True) if c))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_time_in_seconds = seconds
    status, interrupted = run(solver, model)
    if interrupted:
        raise KeyboardInterrupt
    if status == cp_model.INFEASIBLE:
        return ProgrammeResult(None, math.inf, True)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return ProgrammeResult(None, -math.inf, False)
    values = tuple(float(solver.value(x)) for x in variables)
    return ProgrammeResult(values, solver.best_objective_bound, status == cp_model.OPTIMAL)


def _whole(figure: float) -> int:
    if figure != round(figure):
        raise ValueError(f"backend: cp-sat needs whole figures, not {figure}; scale them or use cbc")
    return round(figure)
