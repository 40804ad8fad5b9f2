"""From unlike groups of nodes to a plan that stands on them, with its proof and what overlooking them would cost."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.configuration import Job
from planner.infeasibility import Infeasibility
from planner.mixed.baselines import SECONDS, Baseline, baselines
from planner.mixed.ground import Lane, groups_used
from planner.mixed.hosts import hosts_in_rank_order
from planner.mixed.infeasibility import Asked, explain_infeasible
from planner.mixed.islands import Islands
from planner.mixed.search import Found, Standing, search
from planner.plan.build import build_plan
from planner.plan.certificate import EVERY_CUT, Alternative, Certificate, PartitionProof
from planner.plan.document import Plan
from planner.plan.ground import PlanGround
from planner.plan.mapping import with_hosts
from planner.pricing import calibration_for
from planner.solve import Progress, SolveOptions, demanded, searching, why_slower
from planner.space import IllegalConfiguration
from solvers.search import Progress as SearchProgress
from solvers.stop import MaxSeconds, NoLimit

COMPARED = 0.2
"""Of the time limit, kept for the plans beside; no more than they take."""

METHOD = (
    "best-first search over bounds of families of chains of node groups; bounds of every chain with its memory; the "
    "best cut of each; event simulation"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedOutcome:
    """``plan`` and ``standing`` are None where nothing was found, ``infeasibility`` says why where nothing fits;
    ``members`` and ``bounded`` as ``search.Found``."""

    status: str
    plan: Plan | None
    standing: Standing | None
    baselines: tuple[Baseline, ...]
    members: int
    bounded: int
    seconds: float
    infeasibility: Infeasibility | None = None


def solve_mixed(
    islands: Islands,
    model: Model,
    job: Job,
    *,
    options: SolveOptions = SolveOptions(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] | None = None,
    compare: bool = True,
) -> MixedOutcome:
    """The fastest configuration of the space of ``planner.mixed.space`` (a calibration among the options is of all
    GPUs, a file of figures cannot be of several), and with ``compare`` the plans of
    ``planner.mixed.baselines`` beside it.

    Raises ``IllegalConfiguration`` for what is not searched on unlike groups. The time limit counts from
    the call on, whatever is done first; it, and a keyboard interrupt, end the search with the best plan so far and its
    gap, or without a plan ("unknown") where nothing was bounded yet.
    """
    started = time.monotonic()
    _refuse(islands, job, options)
    calibrations = [calibration_for(group, job, options.calibration) for group in islands.groups]
    limit = options.time_limit_seconds
    compared = 0.0 if limit is None or not compare else min(2 * SECONDS, COMPARED * limit)
    found = search(
        islands,
        calibrations,
        model,
        job,
        pins=options.pins,
        forbid=options.forbid,
        allow=options.allow,
        gap=options.gap,
        stop=NoLimit() if limit is None else MaxSeconds(limit - compared),
        on_progress=_teller(progress),
        keep=options.top_k,
    )
    seconds = time.monotonic() - started
    if found.best is None:
        status = "infeasible" if found.result.status == "infeasible" else "unknown"
        return MixedOutcome(
            status=status,
            plan=None,
            standing=None,
            baselines=(),
            members=found.members,
            bounded=found.bounded,
            seconds=seconds,
            infeasibility=_why(islands, calibrations, model, job, options) if status == "infeasible" else None,
        )
    plan = _plan(islands, calibrations, model, job, options, found, found.best)
    return MixedOutcome(
        status=plan.certificate.status,
        plan=plan,
        standing=found.best,
        baselines=baselines(islands, calibrations, model, job, options, seconds=compared or None) if compare else (),
        members=found.members,
        bounded=found.bounded,
        seconds=seconds,
    )


def _why(
    islands: Islands, calibrations: Sequence[Calibration], model: Model, job: Job, options: SolveOptions
) -> Infeasibility:
    return explain_infeasible(
        Asked(
            islands=islands,
            calibrations=calibrations,
            model=model,
            job=job,
            pins=options.pins,
            forbid=options.forbid,
            allow=options.allow,
        )
    )


def _refuse(islands: Islands, job: Job, options: SolveOptions) -> None:
    found = []
    if options.skip_ratio is not None:
        found.append("skip_ratio: skipping stages is solved on equal nodes alone")
    if isinstance(options.calibration, Path) and len({group.gpu.name for group in islands.groups}) > 1:
        found.append("calibration: its figures are of one GPU, the node groups have several; put them in the catalogue")
    for group in islands.groups:
        if job.precision not in group.gpu.peak_flops:
            found.append(f"precision={job.precision}: {group.gpu.name} has none; leave {group.name} out")
    if found:
        raise IllegalConfiguration(found)


def _teller(progress: Callable[[Progress], None] | None) -> Callable[[SearchProgress, int], None] | None:
    if progress is None:
        return None
    return lambda told, total: progress(searching(told, total))


def _plan(
    islands: Islands,
    calibrations: Sequence[Calibration],
    model: Model,
    job: Job,
    options: SolveOptions,
    found: Found,
    best: Standing,
) -> Plan:
    used = [calibrations[g] for g in groups_used(best.lanes)]
    section = PlanGround.of("groups", best.ground, best.price, used)
    plan = build_plan(
        replace(best.ground.machines[0], name=islands.name),
        model,
        job,
        used[0],
        best.configuration,
        best.boundaries,
        best.price.step,
        _certificate(found, best, options),
        demanded(options),
        ground=section,
    )
    hosts = hosts_in_rank_order(islands, best.configuration, best.lanes)
    return plan if hosts is None else with_hosts(plan, hosts)


def _certificate(found: Found, best: Standing, options: SolveOptions) -> Certificate:
    counts = found.result.counts
    done = found.result.stop in ("exhausted", "gap")
    return Certificate.of(
        value=best.seconds,
        lower_bound=min(best.seconds, found.result.lower_bound),
        cuts=EVERY_CUT,
        partition=PartitionProof.of(best.seconds, best.lower_bound),
        allowed_gap=options.gap,
        method=METHOD,
        candidates=counts["candidates"],
        refined=counts["evaluated"],
        evaluated=counts["evaluated"] - counts["infeasible"],
        infeasible=counts["infeasible"] + counts["impossible"],
        cut_by_bound=counts["cut"] if done else 0,
        pruned=found.pruned,
        alternatives=[
            Alternative.of(
                other.configuration,
                other.boundaries,
                step_seconds=other.seconds,
                peak_memory_bytes=other.price.step.peak_bytes,
                best_seconds=best.seconds,
                reason=f"{why_slower(best.price.step, other.price.step)}; {_where(other.lanes)}",
            )
            for other in found.others
        ],
    )


def _where(lanes: Sequence[Lane]) -> str:
    """Stages by group, as groups are numbered."""
    return " | ".join(
        f"{lane.pipelines} x ({' -> '.join(f'{stages} on group {group}' for group, stages in lane.chain)})"
        for lane in lanes
    )
