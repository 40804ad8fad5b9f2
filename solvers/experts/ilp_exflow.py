"""ExFlow's one integer programme (Yao et al., arXiv 2401.08383), for small instances.

    x[l, e, g] = 1: expert e of layer l is on GPU g;    y[l, e, f, g] <= 1: e and f of the next layer are both on g
    minimise    sum t[l, e, f] - sum t[l, e, f] y[l, e, f, g]
    1. sum_g x[l, e, g] = 1                             every expert has a GPU
    2. sum_e x[l, e, g] = E / G                         every GPU as many
    3. y[l, e, f, g] <= x[l, e, g],  <= x[l + 1, f, g]  only those together stay
    4. sum_e w[l, e] x[l, e, g] <= limit                (ours) load limits
    5. x[0, e, g] = 0 for g > e                         (ours) GPUs are alike: numbered as they first appear
    6. sum_f y[l, e, f, g] <= E / G x[l, e, g]          (ours) an expert meets E / G others; the same for f

Rows 3 are tight at whole x, so y need not be declared whole. Without rows 6 the relaxation keeps all
(x = 1 / G); with them it is the partners' bound of ``partners`` at best. With open solvers 8 experts x 32 layers is
out of reach, where the dynamic programme of ``transitions_exact`` takes a fraction of a second. The programme
serves as a second method that shares no code with ours.
"""

import time

import numpy as np

from solvers.experts.ilp_model import Backend, IntegerProgramme, solve
from solvers.experts.transitions import Integers, Transitions, uniform_cost
from solvers.solution import Solution


def exflow_ilp(
    problem: Transitions, *, backend: Backend = "cbc", seconds: float = 60.0, seed: int = 0
) -> Solution[Integers]:
    """``gpu_of_expert`` [layers, experts] by ExFlow's programme.

    Raises ``ValueError`` unless the objective is the total with cost 1 between GPUs and 0 within: the programme
    knows no other.
    """
    began = time.perf_counter()
    if problem.objective != "total" or not np.array_equal(problem.cost, uniform_cost(problem.gpus)):
        raise ValueError("cost: ExFlow's programme counts tokens that leave their GPU, no other cost and no tail")
    programme = IntegerProgramme()
    layers, experts, gpus = problem.layers, problem.experts, problem.gpus
    on = np.array([[[programme.variable() for _ in range(gpus)] for _ in range(experts)] for _ in range(layers)])
    caps = problem.load_cap()
    for layer in range(layers):
        for expert in range(experts):
            programme.equal([(int(k), 1.0) for k in on[layer, expert]], 1.0)
        for gpu in range(gpus):
            programme.equal([(int(k), 1.0) for k in on[layer, :, gpu]], float(problem.slots))
            if problem.limited:
                loads = problem.loads[layer]
                programme.at_most(
                    [(int(k), float(w)) for k, w in zip(on[layer, :, gpu], loads, strict=True)], float(caps[layer])
                )
    for expert in range(min(experts, gpus)):
        for gpu in range(expert + 1, gpus):
            programme.equal([(int(on[0, expert, gpu]), 1.0)], 0.0)
    met: dict[int, tuple[list[int], list[int]]] = {}  # x: its y towards the layer before and the layer after
    for layer, e, f in np.argwhere(problem.counts > 0):
        for gpu in range(gpus):
            stays = programme.variable(-float(problem.counts[layer, e, f]), whole=False)
            programme.at_most([(stays, 1.0), (int(on[layer, e, gpu]), -1.0)], 0.0)
            programme.at_most([(stays, 1.0), (int(on[layer + 1, f, gpu]), -1.0)], 0.0)
            met.setdefault(int(on[layer, e, gpu]), ([], []))[1].append(stays)
            met.setdefault(int(on[layer + 1, f, gpu]), ([], []))[0].append(stays)
    for expert_on, sides in met.items():
        for side in sides:
            programme.at_most([*((stays, 1.0) for stays in side), (expert_on, -float(problem.slots))], 0.0)
    result = solve(programme, backend, seconds=seconds, seed=seed)
    choice = None
    if result.values is not None:
        choice = np.asarray(np.array(result.values)[on].argmax(axis=2), dtype=np.intp)
    value = np.inf if choice is None else problem.value(choice)
    bound = max(0.0, result.lower_bound + float(problem.counts.sum()))
    return Solution(
        value=value,
        lower_bound=min(value, bound) if choice is not None else bound,
        status="feasible" if not result.proven else "infeasible" if choice is None else "optimal",
        stop=result.stop,
        choice=choice,
        seconds=time.perf_counter() - began,
        seed=seed,
    )
