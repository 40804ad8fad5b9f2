"""Experts of a model to GPUs: the best placement for counts of its tokens, with a bound and what stands beside it."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from planner.expert_figures import derive, layer_figures, objective_by_layer, objective_value, summary
from planner.expert_methods import (
    Effort,
    Found,
    bounds_of_layers,
    contiguous,
    method_for,
    published_balancer,
)
from planner.expert_problem import ExpertProblem, Rows
from planner.expert_verdict import against_balancer, against_moves, judge
from planner.exports.experts.served import ServedPlacement
from planner.plan.experts_result import ExpertsResult, HeldOut, Moves, PlacementFigures, Verdict
from planner.specs.errors import SpecError
from planner.validate.experts import PROVEN_GAP, check_experts, placement_faults
from solvers.solution import relative_gap
from solvers.stop import FirstOf, MaxSeconds, NoLimit, StoppingRule

CONTIGUOUS, EPLB, NEAR, CURRENT = "contiguous", "eplb", "eplb on nodes", "current"
OURS = "this placement"
DEFAULT_SECONDS = 60.0


def plan_experts(
    problem: ExpertProblem,
    *,
    time_limit_seconds: float | None = None,
    seed: int = 0,
    stop: StoppingRule | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> ExpertsResult:
    """The best placement found for ``problem``, checked, with baselines and the report on held-out counts.

    ``time_limit_seconds`` stands before the problem's own; where neither is given every solver ends after its
    usual effort, or after a minute. ``stop`` is asked as well (a Ctrl-C); a ``KeyboardInterrupt`` ends the search
    with the best so far, which is at least the best of the baselines.
    Raises ``SpecError`` for what cannot be solved, ``RuntimeError`` if the result fails its check.
    """
    began = time.perf_counter()
    tell = on_progress or (lambda _: None)
    method = method_for(problem)
    limit = time_limit_seconds or problem.spec.time_limit
    seconds = limit or DEFAULT_SECONDS
    effort = Effort(
        stop=FirstOf(stop or NoLimit(), MaxSeconds(seconds)),
        seconds=seconds,
        use_all_time=limit is not None,
        seed=seed,
    )
    baselines = _baselines(problem)
    tell(f"{problem.layers} layers of {problem.experts} experts on {problem.gpus} GPUs")
    try:
        found = method(problem, effort)
    except KeyboardInterrupt:
        found = Found(rows=None, lower_bound=-np.inf, status="feasible", stop="interrupted", method="none", seed=seed)
    problem, found = _with_the_best(problem, found, baselines)
    result = _result(problem, found, baselines, began)
    findings = check_experts(
        problem,
        problem.traces,
        result,
        price=problem.cost.tolist(),
        worst=problem.spec.robust == "worst",
        tail=problem.spec.tail,
        weights=(problem.spec.weights.gpu, problem.spec.weights.node),
        groups=problem.spec.expert_groups,
        apart=problem.spec.replicas_apart,
        load_limit=problem.spec.load_limit,
        timing=problem.timing,
    )
    if findings:
        first = findings[0]
        raise RuntimeError(f"the placement fails its check, {len(findings)} findings: {first.path}: {first.message}")
    return result


def served_placement(result: ExpertsResult) -> ServedPlacement:
    """The placement of a result as the exports take it; raises ``ValueError`` where there is none."""
    if not result.physical_to_logical:
        raise ValueError(f"there is no placement: {result.status}")
    return ServedPlacement(
        rows=result.physical_to_logical,
        gpus=result.gpus,
        experts=result.experts,
        layer_ids=result.layer_ids,
        hidden_layers=result.hidden_layers,
    )


def _baselines(problem: ExpertProblem) -> dict[str, Rows | str]:
    """By name; a text says why one does not apply."""
    found: dict[str, Rows | str] = {CONTIGUOUS: contiguous(problem)}
    if problem.spec.objective in ("balance", "time"):
        try:
            found[EPLB] = published_balancer(problem)
        except ValueError as error:
            found[EPLB] = str(error)
    timing = problem.timing
    if timing is not None and timing.groups > 1 and timing.priced.domains > 1:
        spec = problem.spec.model_copy(update={"expert_groups": timing.groups})
        grouped = replace(problem, spec=spec, gpus_per_node=timing.gpus_per_domain)
        try:
            found[NEAR] = published_balancer(grouped)
        except (ValueError, SpecError) as error:
            found[NEAR] = str(error)
    if problem.current is not None:
        found[CURRENT] = problem.current
    return found


def _with_the_best(
    problem: ExpertProblem, found: Found, baselines: dict[str, Rows | str]
) -> tuple[ExpertProblem, Found]:
    """The problem with the slots that were chosen, and what was found or, if that is better, a baseline."""
    if found.rows is not None:
        slots = tuple(len(row) // problem.gpus for row in found.rows)
        if slots != problem.slots_per_gpu:
            return replace(problem, slots_per_gpu=slots), found
    if found.status == "infeasible":
        return problem, found
    best, value = found, np.inf if found.rows is None else _value(problem, found.rows)
    for name, rows in baselines.items():
        if isinstance(rows, str) or not _allowed(problem, rows, name):
            continue
        if (reached := _value(problem, rows)) < value - PROVEN_GAP * abs(reached):
            value = reached
            best = replace(found, rows=rows, method=name, layer_bounds=None)
    return problem, best


def _value(problem: ExpertProblem, rows: Rows) -> float:
    value = objective_value(problem, derive(problem, problem.traces, rows))
    return np.inf if value is None else value


def _allowed(problem: ExpertProblem, rows: Rows, name: str) -> bool:
    """Whether a baseline keeps the problem's constraints."""
    spec = problem.spec
    if any(placement_faults(problem, rows, spec.expert_groups, apart=spec.replicas_apart)):
        return False
    if spec.load_limit is not None:
        return max(derive(problem, problem.traces, rows).max_over_mean) <= spec.load_limit * (1 + PROVEN_GAP)
    return spec.move_limit is None or name == CURRENT


def _result(problem: ExpertProblem, found: Found, baselines: dict[str, Rows | str], began: float) -> ExpertsResult:
    spec = problem.spec
    beside = tuple(_figures(name, problem, rows, held=False) for name, rows in baselines.items())
    common = ExpertsResult(
        name=problem.name,
        objective=spec.objective,
        status="infeasible" if found.status == "infeasible" else "unknown",
        stop=found.stop,
        method=found.method,
        value=None,
        lower_bound=None,
        gap=None,
        seconds=time.perf_counter() - began,
        seed=found.seed,
        gpus=problem.gpus,
        gpus_per_node=problem.gpus_per_node,
        experts=problem.experts,
        slots_per_gpu=problem.slots_per_gpu,
        layer_ids=problem.layer_ids,
        hidden_layers=problem.hidden_layers,
        baselines=beside,
        reasons=found.reasons,
        notes=problem.notes,
        counts=found.counts,
    )
    if found.rows is None:
        return common
    rows, moves = _moved(problem, found.rows)
    derived = derive(problem, problem.traces, rows)
    ours = summary(OURS, problem, derived)
    assert ours.value is not None
    reached = np.array(derived.max_over_mean)
    bounds = bounds_of_layers(problem, reached)
    if found.layer_bounds is not None:
        bounds = np.minimum(np.maximum(bounds, found.layer_bounds), reached)
    bound = _bound(problem, found.lower_bound, ours.value, float(bounds.mean()))
    gap = relative_gap(ours.value, bound)
    proven = gap <= PROVEN_GAP
    held = _held_out(problem, rows, baselines)
    moves = _with_seconds(problem, moves, rows, baselines)
    return replace(
        common,
        status="optimal" if proven else "feasible",
        value=ours.value,
        lower_bound=bound,
        gap=gap,
        max_over_mean=ours.max_over_mean,
        worst_max_over_mean=ours.worst_max_over_mean,
        transition_share_leaving_gpu=ours.transition_share_leaving_gpu,
        transition_share_leaving_node=ours.transition_share_leaving_node,
        gpu_copies_per_token=ours.gpu_copies_per_token,
        node_copies_per_token=ours.node_copies_per_token,
        held_out=held,
        verdict=_verdict(problem, rows, baselines, moves),
        time=ours.time,
        curve=found.curve,
        moves=moves,
        per_layer=layer_figures(problem, derived, bounds.tolist()),
        physical_to_logical=rows,
        seconds=time.perf_counter() - began,
    )


def _bound(problem: ExpertProblem, found: float, value: float, mean_of_layers: float) -> float:
    """The solver's bound; for balance the mean of the layers' bounds too, where slots and moves are not shared."""
    bound = max(found, 0.0)
    if problem.spec.objective == "balance" and problem.spec.total_slots_per_gpu is None:
        bound = max(bound, mean_of_layers)
    return min(bound, value)


def _figures(name: str, problem: ExpertProblem, rows: Rows | str, *, held: bool) -> PlacementFigures:
    if isinstance(rows, str):
        return PlacementFigures(name=name, value=None, reason=rows)
    shape = replace(problem, slots_per_gpu=tuple(len(row) // problem.gpus for row in rows))
    return summary(name, shape, derive(shape, problem.holdout if held else problem.traces, rows))


def _held_out(problem: ExpertProblem, rows: Rows, baselines: dict[str, Rows | str]) -> HeldOut | None:
    if not (problem.holdout.loads or problem.holdout.transitions or problem.holdout.routes):
        return None
    placed = {OURS: rows, **{name: other for name, other in baselines.items() if not isinstance(other, str)}}
    return HeldOut(figures=tuple(_figures(name, problem, other, held=True) for name, other in placed.items()))


def _with_seconds(
    problem: ExpertProblem, moves: Moves | None, rows: Rows, baselines: dict[str, Rows | str]
) -> Moves | None:
    """What moving weights takes: to the GPU that gets most of them, over its share of the NICs; from the current
    placement, or, where ``passes`` asks, from the contiguous one that runtimes begin with."""
    timing = problem.timing
    told = problem.current is not None or problem.spec.passes is not None
    if timing is None or problem.expert_bytes is None or not told:
        return moves
    before = problem.current or baselines[CONTIGUOUS]
    assert not isinstance(before, str)
    got = np.zeros(problem.gpus)
    for old, new in zip(before, rows, strict=True):
        pairs = zip(
            np.reshape(old, (problem.gpus, -1)).tolist(), np.reshape(new, (problem.gpus, -1)).tolist(), strict=True
        )
        got += [len(set(after) - set(held)) for held, after in pairs]
    seconds = float(got.max()) * problem.expert_bytes / timing.move_bytes_per_second
    times = [objective_value(problem, derive(problem, problem.traces, each)) for each in (before, rows)]
    assert times[0] is not None
    assert times[1] is not None
    saved = times[0] - times[1]
    plain = Moves(
        slots=int(got.sum()),
        of_slots=sum(map(len, rows)),
        bytes=float(got.sum()) * problem.expert_bytes,
        relabelled=False,
    )
    return replace(moves or plain, seconds=seconds, pays_after_passes=seconds / saved if saved > 0 else None)


def _verdict(
    problem: ExpertProblem, rows: Rows, baselines: dict[str, Rows | str], moves: Moves | None
) -> Verdict | None:
    name = CURRENT if problem.current is not None else CONTIGUOUS
    base = baselines[name]
    assert not isinstance(base, str)
    seen = [objective_by_layer(problem, derive(problem, problem.traces, each)) for each in (rows, base)]
    held = [objective_by_layer(problem, derive(problem, problem.holdout, each)) for each in (rows, base)]
    if seen[0] is None or seen[1] is None:
        return None
    unseen = (held[0], held[1]) if held[0] is not None and held[1] is not None else None
    verdict = judge(name, (seen[0], seen[1]), unseen)
    if problem.timing is None:
        return verdict
    other = baselines.get(EPLB)
    if other is not None and not isinstance(other, str):
        beside = objective_by_layer(problem, derive(problem, problem.traces, other))
        assert beside is not None
        verdict = against_balancer(verdict, float(seen[0].sum()), float(beside.sum()))
    return against_moves(verdict, moves, problem.spec.passes)


def _moved(problem: ExpertProblem, rows: Rows) -> tuple[Rows, Moves | None]:
    """``rows`` with alike GPUs named so that few slots differ from the current placement, and how many do.

    Only balance leaves every layer's GPUs free to be renamed; elsewhere the names tie the layers together.
    """
    from solvers.experts.movement import moved_slots, relabelled

    if problem.current is None:
        return rows, None
    free = problem.spec.objective in ("balance", "traffic", "time")
    chosen, moved = [], 0
    for before, after in zip(problem.current, rows, strict=True):
        old, new = (np.array(row, dtype=np.intp).reshape(problem.gpus, -1) for row in (before, after))
        new = relabelled(old, new, problem.gpus_per_node) if free else new
        moved += moved_slots(old, new)
        chosen.append(tuple(new.ravel().tolist()))
    slots = sum(len(row) for row in rows)
    size = problem.expert_bytes
    return tuple(chosen), Moves(
        slots=moved, of_slots=slots, bytes=None if size is None else moved * size, relabelled=free
    )
