"""One pipeline alone: its best schedule, or a named one, with a bound on all others and the named ones beside it."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from costmodels.timeline import SCHEDULES
from planner.named_schedules import RuledSchedule, UnsuitableScheduleError, named_schedule
from planner.plan.certificate import PROVEN_GAP
from planner.plan.compact import Step, compress
from planner.plan.schedule_result import Baseline, ScheduleResult, TimedOperation
from planner.validate.timeline import check_schedule
from solvers.schedule.bounds import lower_bound
from solvers.schedule.graph import operation_graph
from solvers.schedule.problem import Kind, ScheduleProblem
from solvers.schedule.schedule import Schedule, fits
from solvers.schedule.solve import solve_schedule
from solvers.solution import Solution, Status, relative_gap

BEST = "best"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The best objective so far (inf: none yet) and what nothing is below; first told before the search begins."""

    value: float
    lower_bound: float


def plan_schedule(
    problem: ScheduleProblem,
    schedule: str = BEST,
    *,
    name: str = "pipeline",
    time_limit_seconds: float = 60.0,
    seed: int = 0,
    workers: int = 2,
    on_progress: Callable[[Progress], None] | None = None,
) -> ScheduleResult:
    """The ``best`` schedule of ``problem`` within the time limit, or the one that a named rule makes.

    A named schedule is run in its own order, whatever else the caps would allow; where it exceeds one, the
    status is infeasible. Its bound holds for every schedule of the problem. The result has passed
    ``check_schedule``. Raises ``UnsuitableScheduleError`` for a name whose rule does not suit the problem,
    ``RuntimeError`` if the result fails its check. Ctrl-C ends the search with the best so far.
    """
    started = time.monotonic()
    tell = on_progress or (lambda _: None)
    ruled: dict[str, RuledSchedule | UnsuitableScheduleError] = {key: _ruled(problem, key) for key in SCHEDULES}
    tell(Progress(value=_best_by_rule(problem, ruled), lower_bound=0.0))
    if schedule == BEST:
        solution = solve_schedule(
            problem,
            time_limit_seconds=time_limit_seconds,
            seed=seed,
            workers=workers,
            gap=PROVEN_GAP,
            hints=[one.hint for one in ruled.values() if isinstance(one, RuledSchedule)],
            on_progress=lambda p: tell(Progress(value=p.value, lower_bound=p.lower_bound)),
        )
        splits, reasons = problem.split_backward, tuple(_too_small(problem)) if solution.choice is None else ()
    else:
        one = ruled[schedule] if schedule in ruled else _unknown(schedule)
        if isinstance(one, UnsuitableScheduleError):
            raise one
        splits, reasons = one.splits_backward, tuple(_over(problem, one))
        solution = _of_the_rule(problem, one)
    result = _result(
        problem,
        solution,
        name=name,
        schedule=schedule,
        seed=seed,
        splits=splits,
        reasons=reasons,
        baselines=tuple(_described(problem, key, value) for key, value in ruled.items()),
        seconds=time.monotonic() - started,
    )
    if findings := check_schedule(problem, result):
        first = findings[0]
        raise RuntimeError(f"the schedule fails its check, {len(findings)} findings: {first.path}: {first.message}")
    return result


def _ruled(problem: ScheduleProblem, name: str) -> RuledSchedule | UnsuitableScheduleError:
    try:
        return named_schedule(name, problem)
    except UnsuitableScheduleError as why:
        return why


def _best_by_rule(problem: ScheduleProblem, ruled: Mapping[str, RuledSchedule | UnsuitableScheduleError]) -> float:
    made = [one.schedule for one in ruled.values() if isinstance(one, RuledSchedule)]
    return min((one.value(problem.objective) for one in made if not one.over_cap), default=math.inf)


def _unknown(name: str) -> UnsuitableScheduleError:
    return UnsuitableScheduleError(f"{name!r} is not one of {', '.join((BEST, *SCHEDULES))}")


def _of_the_rule(problem: ScheduleProblem, ruled: RuledSchedule) -> Solution[Schedule]:
    """A single schedule, with the bound on all of them; none where it exceeds a cap."""
    schedule = ruled.schedule
    excess = [schedule.peak_memory[d] - problem.memory_cap[d] for d in schedule.over_cap]
    value = math.inf if excess else schedule.value(problem.objective)
    bound = value if excess else min(value, lower_bound(operation_graph(problem), problem.objective).seconds)
    closed: Status = "optimal" if relative_gap(value, bound) <= PROVEN_GAP else "feasible"
    return Solution(
        value=value,
        lower_bound=bound,
        status="infeasible" if excess else closed,
        stop="exhausted",
        choice=None if excess else schedule,
        seconds=0.0,
        shortfall=max(excess, default=0.0),
    )


def _over(problem: ScheduleProblem, ruled: RuledSchedule) -> Iterator[str]:
    for device in ruled.schedule.over_cap:
        peak, cap = ruled.schedule.peak_memory[device], problem.memory_cap[device]
        yield f"{ruled.name} keeps {peak:g} alive on device {device}, its memory_cap is {cap:g}: {peak - cap:g} short"


def _too_small(problem: ScheduleProblem) -> Iterator[str]:
    """Caps below what a device keeps alive for a single micro-batch."""
    for device, (need, cap) in enumerate(zip(problem.least_memory(), problem.memory_cap, strict=True)):
        if not fits(need, cap):
            yield (
                f"device {device} keeps {need:g} alive for one micro-batch alone, its memory_cap is {cap:g}: "
                f"{need - cap:g} short"
            )


def _described(problem: ScheduleProblem, name: str, ruled: RuledSchedule | UnsuitableScheduleError) -> Baseline:
    if isinstance(ruled, UnsuitableScheduleError):
        return Baseline(name=name, fits=False, reason=str(ruled))
    over = list(_over(problem, ruled))
    more = f" (and on {len(over) - 1} more)" if len(over) > 1 else ""
    return Baseline(
        name=name,
        fits=not over,
        makespan_seconds=ruled.schedule.makespan,
        span_seconds=ruled.schedule.span,
        peak_activation=ruled.schedule.peak_memory,
        reason=over[0].removeprefix(f"{name} ") + more if over else "",
    )


def _result(
    problem: ScheduleProblem,
    solution: Solution[Schedule],
    *,
    name: str,
    schedule: str,
    seed: int,
    splits: bool,
    reasons: tuple[str, ...],
    baselines: tuple[Baseline, ...],
    seconds: float,
) -> ScheduleResult:
    bound, best = solution.lower_bound, solution.choice
    common: dict[str, Any] = {
        "name": name,
        "schedule": schedule,
        "objective": problem.objective,
        "stop": solution.stop,
        "seconds": seconds,
        "seed": seed,
        "devices": problem.devices,
        "microbatches": problem.microbatches,
        "device_of_chunk": problem.device_of_chunk,
        "split_backward": splits,
        "baselines": baselines,
        "counts": dict(solution.counts),
    }
    if best is None:
        return ScheduleResult(
            status="infeasible" if solution.status == "infeasible" else "unknown",
            value=None,
            lower_bound=bound if math.isfinite(bound) else None,
            gap=None,
            reasons=reasons,
            shortfall=solution.shortfall,
            **common,
        )
    rows = timed_operations(best)
    work = [sum(operation.end - operation.start for operation in row) for row in rows]
    return ScheduleResult(
        status=solution.status,
        value=solution.value,
        lower_bound=bound,
        gap=relative_gap(solution.value, bound),
        makespan_seconds=best.makespan,
        span_seconds=best.span,
        device_span_seconds=tuple(row[-1].end - row[0].start for row in rows),
        bubble_seconds=tuple(best.makespan - busy for busy in work),
        peak_activation=best.peak_memory,
        compact=tuple(_compact(problem, device, row) for device, row in enumerate(rows)),
        operations=rows,
        **common,
    )


def timed_operations(schedule: Schedule) -> tuple[tuple[TimedOperation, ...], ...]:
    """Per device its operations with start and end, in the order it runs them."""
    graph = schedule.graph
    kind, chunk, microbatch = graph.kind.tolist(), graph.chunk.tolist(), graph.microbatch.tolist()
    start, seconds = schedule.start.tolist(), graph.seconds.tolist()
    return tuple(
        tuple(
            TimedOperation(
                op=Kind(kind[o]).name,
                chunk=chunk[o] if chunk[o] >= 0 else None,
                microbatch=microbatch[o],
                start=start[o],
                end=start[o] + seconds[o],
            )
            for o in order
        )
        for order in schedule.orders
    )


def _compact(problem: ScheduleProblem, device: int, row: tuple[TimedOperation, ...]) -> str:
    held = [chunk for chunk, home in enumerate(problem.device_of_chunk) if home == device]
    return compress((Step(one.op, one.chunk, one.microbatch) for one in row), held)
