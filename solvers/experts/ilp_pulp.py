"""Integer programmes by the CBC that PuLP 3 carries: the only place that knows PuLP."""

import math

from solvers.experts.ilp_model import IntegerProgramme, ProgrammeResult


def solve_with_cbc(programme: IntegerProgramme, seconds: float, seed: int) -> ProgrammeResult:
    """See ``ilp_model.solve``. PuLP does not hand on CBC's bound: it is -inf unless the optimum is proven."""
    import pulp
    from pulp.apis.coin_api import pulp_cbc_path

    model = pulp.LpProblem("experts", pulp.LpMinimize)
    variables = [
        model.add_variable(f"x{k}", 0, upper, pulp.LpInteger if whole else pulp.LpContinuous)
        for k, (upper, whole) in enumerate(zip(programme.upper, programme.whole, strict=True))
    ]
    model.setObjective(pulp.LpAffineExpression(zip(variables, programme.cost, strict=True)))
    for row in programme.rows:
        left = pulp.LpAffineExpression([(variables[k], a) for k, a in row.terms])
        if row.lower == row.upper:
            model.addConstraint(left == row.upper)
            continue
        if math.isfinite(row.upper):
            model.addConstraint(left <= row.upper)
        if math.isfinite(row.lower):
            model.addConstraint(left >= row.lower)
    solver = pulp.COIN_CMD(
        path=pulp_cbc_path, msg=False, timeLimit=seconds, gapRel=0.0, threads=1, options=[f"randomSeed {seed + 1}"]
    )
    model.solve(solver)
    if model.sol_status == pulp.LpSolutionInfeasible:
        return ProgrammeResult(None, math.inf, True)
    values = tuple(float(variable.value() or 0.0) for variable in variables)
    if model.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        return ProgrammeResult(None, -math.inf, False)
    proven = model.sol_status == pulp.LpSolutionOptimal
    value = sum(c * x for c, x in zip(programme.cost, values, strict=True))
    return ProgrammeResult(values, value if proven else -math.inf, proven)
