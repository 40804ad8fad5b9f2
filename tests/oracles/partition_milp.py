"""The best contiguous split as a mixed-integer programme, through PuLP and its CBC.

Chunk j may hold items s..e with choice r of recompute: x_jser in {0, 1}, on triples that fit in memory.

    minimise  z
    (1)  sum over e, r of x_0,0,e,r = 1
    (2)  sum over s, r of x_j-1,s,i,r = sum over e, r of x_j,i,e,r     for every chunk j > 0 and item i
    (3)  sum over s, r of x_P-1,s,n,r = 1
    (4)  z >= sum over s, e, r of cost_jser x_jser                     for every chunk j

Here z is the largest chunk cost. The 1F1B makespan of stages that may differ is added where asked for:

    (5)  F_j, B_j = sums of their seconds over the chosen triple
    (6)  ends of operations t(o) >= t(before o on its device) + d(o), t(o) >= t(feeder of o) + link + d(o)
    (7)  z >= t(o) for the last operations.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pulp

from tests.oracles.timeline import one_forward_one_backward

Triple = tuple[int, int, int, int]
"""Chunk, first item, end, choice of recompute."""


def least_bottleneck(items: int, chunks: int, cost: Mapping[Triple, float]) -> float | None:
    """The least largest cost; None where no split is made of the triples of ``cost``."""
    programme, chosen, most = _split(items, chunks, cost)
    for chunk in range(chunks):
        programme += most >= pulp.lpSum(cost[t] * x for t, x in chosen.items() if t[0] == chunk)
    return _solved(programme)


def least_makespan(
    items: int,
    stages: int,
    microbatches: int,
    forward: Mapping[Triple, float],
    backward: Mapping[Triple, float],
    links: Sequence[float],
) -> float | None:
    """The least 1F1B makespan; None where no split is made of the triples of ``forward``."""
    programme, chosen, most = _split(items, stages, forward)
    seconds = {
        (kind, stage): pulp.lpSum(table[t] * x for t, x in chosen.items() if t[0] == stage)
        for kind, table in (("F", forward), ("B", backward))
        for stage in range(stages)
    }
    rows = one_forward_one_backward(stages, microbatches)
    end = {op: programme.add_variable(f"t_{op[0]}_{op[1]}_{op[2]}", lowBound=0) for row in rows for op in row}
    for row in rows:
        for before, after in pairwise(row):
            programme += end[after] >= end[before] + seconds[after[:2]]
        programme += most >= end[row[-1]]
    for kind, stage, microbatch in end:
        here, took = end[kind, stage, microbatch], seconds[kind, stage]
        programme += here >= took
        if kind == "F" and stage > 0:
            programme += here >= end["F", stage - 1, microbatch] + links[stage - 1] + took
        if kind == "B" and stage < stages - 1:
            programme += here >= end["B", stage + 1, microbatch] + links[stage] + took
        if kind == "B" and stage == stages - 1:
            programme += here >= end["F", stage, microbatch] + took
    return _solved(programme)


def _split(
    items: int, chunks: int, triples: Mapping[Triple, float]
) -> tuple[pulp.LpProblem, dict[Triple, pulp.LpVariable], pulp.LpVariable]:
    programme = pulp.LpProblem("split", pulp.LpMinimize)
    most = programme.add_variable("z", lowBound=0)
    chosen = {t: programme.add_variable("x_" + "_".join(map(str, t)), cat=pulp.LpBinary) for t in triples}
    programme += most
    for chunk in range(chunks + 1):
        for item in range(items + 1):
            entering = pulp.lpSum(x for t, x in chosen.items() if t[0] == chunk - 1 and t[2] == item)
            leaving = pulp.lpSum(x for t, x in chosen.items() if t[0] == chunk and t[1] == item)
            source, sink = (chunk, item) == (0, 0), (chunk, item) == (chunks, items)
            programme += entering + int(source) == leaving + int(sink)
    return programme, chosen, most


def _solved(programme: pulp.LpProblem) -> float | None:
    solver = pulp.COIN_CMD(path=pulp.apis.coin_api.pulp_cbc_path, msg=False, threads=1, options=["RandomS 1"])
    status = programme.solve(solver)
    if pulp.LpStatus[status] == "Infeasible":
        return None
    if pulp.LpStatus[status] != "Optimal":
        raise RuntimeError(f"the oracle ended {pulp.LpStatus[status]}")
    return float(pulp.value(programme.objective))
