"""Two slots per GPU, to a proof: whether any counts reach a largest load T, asked of CP-SAT.

Largest with smallest is the best pairing, so T is reached if and only if, for every share x > T / 2,

    #(replicas >= x) <= #(replicas <= T - x),                                                       (1)

with one count per expert and sum of r_e = 2 G. A Boolean says that expert e has r replicas, for the fewest
that fit below T and the next few; one more stands for all counts beyond, as many as wanted and as small as can
be: a relaxation, so "no" is a proof, and "yes" gives counts to be evaluated. With x falling, both sides
of (1) only grow: their difference is a chain of integers, each the one before plus the replicas that join.

T is halved between bound and value. Needs OR-tools, imported when called.
"""

import numpy as np

from solvers.cpsat import run
from solvers.experts.balance import PROVEN, Balanced
from solvers.experts.pairing import pair_loads, pair_up
from solvers.experts.problem import Balance, Floats, Integers, Placement
from solvers.experts.replicas import expand

OPTIONS = 6
HALVINGS = 20
CLOSE = 1e-3  # value over bound, below which it is asked again whether anything is better
ABOVE = 1e-10  # well below PROVEN


def prove_pairs(problem: Balance, found: Balanced, *, work_per_layer: float = 10.0, seed: int = 0) -> Balanced:
    """``found`` with layers improved and bounds raised as far as ``work_per_layer`` allows.

    Only layers with two slots per GPU and no groups; the others are left as they are. ``work_per_layer`` is
    CP-SAT's deterministic time, about seconds.
    """
    if problem.expert_groups is not None:
        return found
    mean = problem.mean_load()
    rows = found.placement.physical_to_logical.copy()
    low, high = found.lower_bound.copy(), found.max_over_mean.copy()
    for layer in np.flatnonzero(~found.proven).tolist():
        if problem.slots_per_gpu[layer] != 2:
            continue
        loads = problem.loads[layer] / mean[layer]
        counts, low[layer] = _halve(loads, problem.gpus, low[layer], high[layer], work_per_layer, seed)
        if counts is not None:
            rows[layer, : 2 * problem.gpus] = pair_up(counts[None], problem.loads[layer : layer + 1]).ravel()
    placement = Placement(rows, problem.gpus, problem.slots_per_gpu)
    value = problem.max_over_mean(placement)
    return Balanced(placement=placement, max_over_mean=value, lower_bound=np.minimum(low, value))


def _halve(loads: Floats, gpus: int, low: float, high: float, work: float, seed: int) -> tuple[Integers | None, float]:
    """Counts below ``high`` (None: none found) and the largest load shown to be too small."""
    best = None
    target, share = high * (1 - PROVEN / 2), 0.25  # first whether anything at all is better: often the last question
    for _ in range(HALVINGS):
        if target <= low or work <= 0:
            break
        answer, counts, used = counts_within(loads, gpus, target, work * share, seed)
        work -= used
        if answer == "no":
            low = target
        elif counts is not None:
            reached = float(pair_loads(np.take_along_axis(loads / counts, expand(counts[None])[0], axis=0)).max())
            if reached >= high:
                break  # only by what the relaxation allows
            best, high = counts, reached
        elif share == 1.0:
            break
        if high <= low * (1 + PROVEN):
            break
        close = high - low < CLOSE * high
        target, share = high * (1 - PROVEN / 2) if close else (low + high) / 2, 1.0
    return best, low


def counts_within(
    loads: Floats, gpus: int, largest: float, work: float, seed: int
) -> tuple[str, Integers | None, float]:
    """("yes", counts), ("no", None) or ("unknown", None) for a largest load, and the deterministic time used.

    ``loads`` is [experts]; the counts of a "yes" may rest on the relaxation: evaluate them.
    """
    from ortools.sat.python import cp_model

    slots = 2 * gpus
    fewest = np.maximum(np.ceil(loads / largest * (1 - ABOVE)), 1).astype(int)
    if fewest.sum() > slots:
        return "no", None, 0.0
    replicas = fewest[:, None] + np.arange(OPTIONS)
    share = loads[:, None] / replicas
    share[:, -1] = 0.0
    thresholds = np.unique(share[share * (1 - ABOVE) > largest / 2])[::-1]  # falling
    joins_large = np.searchsorted(-thresholds, -share, side="left")  # first threshold <= share
    joins_small = np.searchsorted(-thresholds, share * (1 - ABOVE) - largest, side="left")  # first x <= T - share
    model = cp_model.CpModel()
    joining: list[list[cp_model.LinearExpr]] = [[] for _ in range(len(thresholds) + 1)]
    chosen, total, beyond = [], [], []
    for expert in range(len(loads)):
        picks = [model.new_bool_var("") for _ in range(OPTIONS)]
        more = model.new_int_var(0, slots, "")
        model.add(more == 0).only_enforce_if(~picks[-1])
        model.add_exactly_one(picks)
        for option, pick in enumerate(picks):
            count = int(replicas[expert, option])
            total.append(count * pick)
            if share[expert, option] * (1 - ABOVE) > largest / 2:
                joining[joins_large[expert, option]].append(count * pick)
            elif option < OPTIONS - 1 or len(thresholds):
                joining[joins_small[expert, option]].append(-count * pick)
        total.append(more)
        joining[0].append(-more)
        chosen.append(picks)
        beyond.append(more)
    model.add(sum(total) == slots)
    before: cp_model.LinearExpr = model.new_constant(0)
    for joined in joining[:-1]:
        excess = model.new_int_var(-slots, 0, "")
        model.add(excess == cp_model.LinearExpr.sum([before, *joined]))
        before = excess
    solver = cp_model.CpSolver()
    solver.parameters.max_deterministic_time = max(work, 0.01)
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    status, interrupted = run(solver, model)
    if interrupted:
        raise KeyboardInterrupt
    used = float(solver.response_proto.deterministic_time)
    if status == cp_model.INFEASIBLE:
        return "no", None, used
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return "unknown", None, used
    counts = [
        int(replicas[expert][[solver.boolean_value(pick) for pick in chosen[expert]].index(True)])
        + solver.value(beyond[expert])
        for expert in range(len(loads))
    ]
    return "yes", np.array(counts, dtype=np.intp), used
