"""The solvers of expert placement behind one door: an objective's name to what finds a placement for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from planner.expert_problem import ExpertProblem, Rows
from planner.expert_traces import Floats
from planner.plan.experts_result import CurvePoint
from planner.specs.errors import Problem, SpecError
from solvers.experts.apart import apart
from solvers.experts.balance import Balanced, balance
from solvers.experts.bounds import simple_bound
from solvers.experts.budget import balance_uneven
from solvers.experts.eplb import eplb
from solvers.experts.movement import move_within
from solvers.experts.problem import EMPTY, Balance, Placement, balance_problem
from solvers.experts.robust import balance_worst
from solvers.solution import Solution, Status, Stop
from solvers.stop import FirstOf, MaxEvaluations, MaxSeconds, StoppingRule

MORE_SLOTS = 3
"""With ``total_slots_per_gpu`` a layer gets the fewest slots, or up to so many more than its share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``rows`` None: none was found, ``reasons`` say why. ``value`` and ``lower_bound`` are the objective's."""

    rows: Rows | None
    lower_bound: float
    status: Status
    stop: Stop
    method: str
    seed: int | None
    layer_bounds: Floats | None = None
    reasons: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """When to end: ``stop`` is the limit of ``seconds`` and Ctrl-C; ``use_all_time`` keeps searching until then,
    where the user set the limit, instead of ending after each solver's own usual effort."""

    stop: StoppingRule
    seconds: float
    use_all_time: bool
    seed: int


Method = Callable[[ExpertProblem, Effort], Found]


def method_for(problem: ExpertProblem) -> Method:
    """Raises ``SpecError`` for an objective that nothing here solves."""
    objective = problem.spec.objective
    if objective not in METHODS:
        message = f"cannot be planned yet: one of {', '.join(METHODS)}"
        raise SpecError([Problem(file=problem.file, key="objective", value=objective, message=message)])
    return METHODS[objective]


def contiguous(problem: ExpertProblem) -> Rows:
    """Slot p holds expert p modulo experts, in every layer: what runtimes do without a table."""
    return tuple(
        tuple(slot % problem.experts for slot in range(problem.gpus * slots)) for slots in problem.slots_per_gpu
    )


def published_balancer(problem: ExpertProblem) -> Rows:
    """EPLB's placement; raises ``ValueError`` where it does not apply."""
    return rows_of(eplb(balance_of(problem, problem.traces.pooled_loads())))


def balance_of(problem: ExpertProblem, loads: Floats) -> Balance:
    """Raises ``SpecError`` where groups and slots do not fit."""
    try:
        return balance_problem(
            loads,
            gpus=problem.gpus,
            slots_per_gpu=np.array(problem.slots_per_gpu),
            gpus_per_node=problem.gpus_per_node,
            expert_groups=problem.spec.expert_groups,
        )
    except ValueError as error:
        key, _, message = str(error).partition(": ")
        raise SpecError([Problem(file=problem.file, key=key, value="", message=message)]) from None


def rows_of(placement: Placement) -> Rows:
    return tuple(tuple(e for e in row if e != EMPTY) for row in placement.physical_to_logical.tolist())


def placement_of(problem: ExpertProblem, rows: Rows) -> Placement:
    width = max(len(row) for row in rows)
    padded = [[*row, *[EMPTY] * (width - len(row))] for row in rows]
    return Placement(np.array(padded, dtype=np.intp), problem.gpus, problem.slots_per_gpu)


def bounds_of_layers(problem: ExpertProblem, reached: Floats) -> Floats:
    """On the busiest over mean GPU of each layer, [layers], not above ``reached``."""
    worst = problem.spec.robust == "worst"
    found = np.ones(problem.layers)
    for loads in problem.traces.loads if worst else (problem.traces.pooled_loads(),):
        mean = np.maximum(loads.sum(axis=1) / problem.gpus, np.finfo(float).tiny)
        for slots in sorted(set(problem.slots_per_gpu)):
            layers = np.flatnonzero(np.array(problem.slots_per_gpu) == slots)
            low = simple_bound(loads[layers], problem.gpus, slots)
            found[layers] = np.maximum(found[layers], low / mean[layers])
    return np.minimum(found, reached)


def _balanced(problem: ExpertProblem, effort: Effort) -> Found:
    found = best_balance(problem, effort)
    if not problem.spec.replicas_apart or found.rows is None:
        return found
    mended = tuple(_apart(problem, layer, row) for layer, row in enumerate(found.rows))
    changed = sum(before != after for before, after in zip(found.rows, mended, strict=True))
    return replace(found, rows=mended, method=f"{found.method}, replicas set apart in {changed} layers")


def _apart(problem: ExpertProblem, layer: int, row: tuple[int, ...]) -> tuple[int, ...]:
    traces = problem.traces
    loads = np.stack([one[layer] for one in traces.loads])
    if problem.spec.robust != "worst":
        loads = loads.sum(axis=0, keepdims=True)
    held = np.array(row, dtype=np.intp).reshape(problem.gpus, -1)
    try:
        mended = apart(held, loads, problem.gpus_per_node, problem.spec.expert_groups)
    except ValueError as error:
        message = f"{str(error).partition(': ')[2]}: fewer slots, or without replicas_apart"
        raise SpecError([Problem(file=problem.file, key="slots_per_gpu", value="", message=message)]) from None
    return tuple(mended.ravel().tolist())


def best_balance(problem: ExpertProblem, effort: Effort) -> Found:
    spec = problem.spec
    if spec.total_slots_per_gpu is not None:
        return _uneven(problem, effort)
    if spec.robust == "worst" and len(problem.traces.loads) > 1:
        each = [balance_of(problem, loads) for loads in problem.traces.loads]
        return _of_balanced(balance_worst(each, seed=effort.seed), "worst of several traces", effort)
    pooled = balance_of(problem, problem.traces.pooled_loads())
    if spec.move_limit is not None and problem.current is not None:
        current = placement_of(problem, problem.current)
        moved = move_within(pooled, current, spec.move_limit, seed=effort.seed)
        assert moved.choice is not None
        return Found(
            rows=rows_of(moved.choice.balanced.placement),
            lower_bound=moved.lower_bound,
            status=moved.status,
            stop=moved.stop,
            method=f"at most {spec.move_limit} moves",
            seed=effort.seed,
            layer_bounds=moved.choice.balanced.lower_bound,
            counts=dict(moved.counts),
        )
    return _of_balanced(_repeated(pooled, effort), "replicas and packing", effort)


def _repeated(problem: Balance, effort: Effort) -> Solution[Balanced]:
    """``balance``, and while there is time to use with other seeds, the best of every layer."""
    first = balance(problem, seed=effort.seed, stop=effort.stop)
    best = first.choice
    assert best is not None
    rounds, stop = 1, first.stop
    while effort.use_all_time and not best.proven.all():
        if why := effort.stop(rounds):
            stop = why
            break
        again = balance(problem, seed=effort.seed + rounds, stop=effort.stop).choice
        assert again is not None
        rounds += 1
        better = again.max_over_mean < best.max_over_mean
        rows = np.where(better[:, None], again.placement.physical_to_logical, best.placement.physical_to_logical)
        best = Balanced(
            placement=Placement(rows, problem.gpus, problem.slots_per_gpu),
            max_over_mean=np.minimum(again.max_over_mean, best.max_over_mean),
            lower_bound=np.minimum(
                np.maximum(again.lower_bound, best.lower_bound), np.minimum(again.max_over_mean, best.max_over_mean)
            ),
        )
    proven = bool(best.proven.all())
    value = float(best.max_over_mean.mean())
    return Solution(
        value=value,
        lower_bound=value if proven else float(best.lower_bound.mean()),
        status="optimal" if proven else "feasible",
        stop="exhausted" if proven else stop,
        choice=best,
        seconds=0.0,
        seed=effort.seed,
        counts={**first.counts, "layers_proven": int(best.proven.sum()), "rounds": rounds},
    )


def _uneven(problem: ExpertProblem, effort: Effort) -> Found:
    total = problem.spec.total_slots_per_gpu
    assert total is not None
    least = -(-problem.experts // problem.gpus)
    most = max(least, -(-total // problem.layers)) + MORE_SLOTS
    solution = balance_uneven(
        problem.traces.pooled_loads(),
        gpus=problem.gpus,
        slots_per_gpu=list(range(least, most + 1)),
        total_slots_per_gpu=total,
        gpus_per_node=problem.gpus_per_node,
        expert_groups=problem.spec.expert_groups,
        seed=effort.seed,
    )
    return _of_balanced(solution, f"{total} slots shared out, {least} to {most} a layer", effort)


def _of_balanced(solution: Solution[Balanced], method: str, effort: Effort) -> Found:
    assert solution.choice is not None
    return Found(
        rows=rows_of(solution.choice.placement),
        lower_bound=solution.lower_bound,
        status=solution.status,
        stop=solution.stop,
        method=method,
        seed=effort.seed,
        layer_bounds=solution.choice.lower_bound,
        counts=dict(solution.counts),
    )


def _along_layers(problem: ExpertProblem, effort: Effort) -> Found:
    from solvers.experts.transitions import Transitions, as_placement, transitions_problem
    from solvers.experts.transitions_exact import WORK_LIMIT, enumeration_work, matchable
    from solvers.experts.transitions_robust import ROUNDS, place_for_the_worst
    from solvers.experts.transitions_solve import SWEEPS_BY_DEFAULT, place_along_layers

    spec, counts = problem.spec, problem.traces.pooled_transitions()
    assert counts is not None

    def of(transitions: Floats) -> Transitions:
        return transitions_problem(
            transitions,
            gpus=problem.gpus,
            cost=problem.cost,
            loads=problem.traces.pooled_loads(),
            max_over_mean=spec.load_limit,
            objective="tail" if spec.tail else "total",
        )

    asked = of(counts)
    exact = matchable(asked) or enumeration_work(asked) <= WORK_LIMIT
    usual = FirstOf(effort.stop, MaxEvaluations(SWEEPS_BY_DEFAULT * problem.layers))
    stop = effort.stop if exact or effort.use_all_time else usual
    if spec.robust == "worst" and len(problem.traces.transitions) > 1:
        rounds = FirstOf(effort.stop, MaxEvaluations(ROUNDS))
        each = [of(one) for one in problem.traces.transitions]
        found, unit = place_for_the_worst(each, stop=rounds, seed=effort.seed), 1.0
    else:
        found = place_along_layers(asked, stop=stop, seed=effort.seed)
        unit = 1.0 if spec.tail else float(counts.sum()) or 1.0
    reasons: tuple[str, ...] = ()
    if found.choice is None and found.status == "infeasible":
        short = f", {found.shortfall:g} of its load too much" if found.shortfall else ""
        reasons = (f"load_limit: no placement keeps every GPU within {spec.load_limit:g} of the mean{short}",)
    return Found(
        rows=None if found.choice is None else rows_of(as_placement(found.choice.gpu_of_expert, problem.gpus)),
        lower_bound=found.lower_bound / unit,
        status=found.status,
        stop=found.stop,
        method="none" if found.choice is None else _along(problem, found.choice.method, found.choice.bound),
        seed=effort.seed,
        reasons=reasons,
        counts=dict(found.counts),
    )


def _along(problem: ExpertProblem, method: str, bound: str) -> str:
    if problem.spec.robust == "worst" and len(problem.traces.transitions) > 1:
        return f"{method} of mixtures of {len(problem.traces.transitions)} traces"
    return f"{method}, bound {bound}"


def fewest_copies(problem: ExpertProblem, effort: Effort) -> Found:
    """Layers are independent, as a token returns home after each; they share the time that is left equally."""
    from solvers.experts.traffic import traffic_problem
    from solvers.experts.traffic_search import EXCHANGES_BY_DEFAULT, place_for_traffic
    from solvers.experts.transitions import as_placement

    weights = problem.spec.weights
    rows: list[tuple[int, ...]] = []
    bounds, proven, exchanges = [], 0, 0
    why: Stop = "exhausted"
    end = time.perf_counter() + effort.seconds
    for layer, (routes, tokens) in enumerate(problem.traces.routes):
        asked = traffic_problem(
            routes,
            tokens=tokens,
            experts=problem.experts,
            gpus=problem.gpus,
            gpus_per_node=problem.gpus_per_node,
            gpu_weight=weights.gpu,
            node_weight=weights.node,
        )
        left = MaxSeconds(max(0.0, end - time.perf_counter()) / (problem.layers - layer))
        ends = FirstOf(effort.stop, left)
        usual = FirstOf(ends, MaxEvaluations(EXCHANGES_BY_DEFAULT * problem.experts))
        stop = ends if effort.use_all_time else usual
        found = place_for_traffic(asked, stop=stop, seed=effort.seed)
        assert found.choice is not None
        rows += rows_of(as_placement(found.choice[None], problem.gpus))
        bounds.append(found.lower_bound)
        proven += found.status == "optimal"
        exchanges += found.counts.get("exchanges", 0)
        why = found.stop if found.stop != "exhausted" else why
    return Found(
        rows=tuple(rows),
        lower_bound=float(np.mean(bounds)),
        status="optimal" if proven == problem.layers else "feasible",
        stop=why,
        method="enumeration and exchanges",
        seed=effort.seed,
        counts={"layers": problem.layers, "layers_proven": proven, "exchanges": exchanges},
    )


def _timed(problem: ExpertProblem, effort: Effort) -> Found:
    from planner.expert_time import placed_by_time

    return placed_by_time(problem, effort)


METHODS: dict[str, Method] = {
    "balance": _balanced,
    "time": _timed,
    "transitions": _along_layers,
    "traffic": fewest_copies,
}
