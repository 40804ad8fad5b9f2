"""From specs to a plan: enumerate, bound, search, price, prove, write."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster
from costmodels.host_network import HostNetwork
from costmodels.price import StepPrice
from planner.expert_training import (
    ExpertLoads,
    Renumbering,
    check_loads,
    experts_section,
    priced_model,
    renumber_all,
)
from planner.hosts.pricing import HostPricing, check_placeable, unlike_links
from planner.infeasibility import Infeasibility, explain_infeasible
from planner.plan.build import build_plan
from planner.plan.certificate import EVERY_CUT, SOME_CUTS, Alternative, Certificate, PartitionProof, ScheduleProof
from planner.plan.document import Plan
from planner.plan.inputs import PlanOptions
from planner.plan.mapping import with_hosts
from planner.plan.order import written
from planner.pricing import Pricing, calibration_for
from planner.skip_pins import skip_pins
from planner.space import IllegalConfiguration, Space, enumerate_space
from solvers.mapping.readiness import ready
from solvers.search import Progress as SearchProgress
from solvers.search import SearchResult, best_first
from solvers.stop import MaxSeconds, NoLimit


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveOptions:
    """What to hold fixed and when to stop.

    ``pins`` fixes degrees, ``forbid`` switches kinds of parallelism off (``folding``: experts keep to the attention's
    own groups), ``allow`` frees fields that few runtimes execute (``costmodels.configuration.ALLOWABLE``), ``gap`` is
    the relative gap that counts as proven, ``top_k`` how many plans to rank (the best and its alternatives).
    ``calibration`` is one, or a file that replaces figures of the GPU's own. ``order_seconds`` is how long the
    order of operations of a plan whose schedule is ``best`` may be improved once it has won, ``host_seconds`` how long
    the order of its hosts where their links differ; ``seed`` is of both. With ``skip_ratio`` every micro-batch skips
    about that share of the winner's stages (``planner.skip_plan``), which needs one chunk a stage; ``skip_seconds`` is
    how long that is solved.
    """

    pins: Mapping[str, int | str] = field(default_factory=dict)
    forbid: frozenset[str] = frozenset()
    allow: frozenset[str] = frozenset()
    gap: float = 0.0
    time_limit_seconds: float | None = None
    seed: int = 0
    top_k: int = 5
    calibration: Calibration | Path | None = None
    order_seconds: float = 10.0
    host_seconds: float = 10.0
    skip_ratio: float | None = None
    skip_seconds: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``plan`` is None when no configuration fits, and ``infeasibility`` says why."""

    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    plan: Plan | None
    infeasibility: Infeasibility | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """``stage`` is enumerate, bound or search, or compile where hosts to place or skipped stages need it; counts of
    candidates handled so far."""

    stage: Literal["enumerate", "bound", "search", "compile"]
    done: int
    total: int
    best_seconds: float | None = None
    bound_seconds: float | None = None


def solve(
    cluster: Cluster,
    model: Model,
    job: Job,
    *,
    options: SolveOptions = SolveOptions(),
    progress: Callable[[Progress], None] | None = None,
    expert_loads: ExpertLoads | None = None,
) -> Outcome:
    """The fastest configuration of the stated space that fits, with its proof.

    ``expert_loads``: experts are placed by them, a permutation of each layer's for every ``ep``, and every layer is
    priced, in seconds and bytes, with its busiest rank's load.

    Raises ``IllegalConfiguration`` for pins that name no degree, ``SpecError`` for loads that are not of the model or
    stand beside the job's ``expert_imbalance``, and where ``skip_ratio`` is asked of a pipeline that cannot skip. A
    keyboard interrupt or the time limit ends the search with the best plan so far and its gap.
    """
    tell = progress or (lambda _: None)
    network = unlike_links(cluster)
    if network is not None:
        ready(lambda: tell(Progress(stage="compile", done=0, total=0)))
    started = time.monotonic()
    calibration = calibration_for(cluster, job, options.calibration)
    if expert_loads is not None:
        check_loads(model, job, expert_loads)
    if options.skip_ratio is not None:
        options = replace(options, pins=skip_pins(options.pins))

    space = enumerate_space(cluster, model, job, options.pins, options.forbid, options.allow)
    total = len(space.columns)
    tell(Progress(stage="enumerate", done=total, total=total))

    pricing, placed = _pricing(cluster, model, job, options, calibration, space, expert_loads, network)
    bounds = pricing.coarse_bounds()
    tell(Progress(stage="bound", done=total, total=total))

    limit = options.time_limit_seconds
    left = None if limit is None else max(0.0, limit - (time.monotonic() - started))
    result = best_first(
        bounds,
        refine=pricing.refine,
        evaluate=pricing.evaluate,
        sharpen=pricing.sharpen,
        keep=options.top_k,
        best_only=pricing.made_to_order,
        gap=options.gap,
        stop=NoLimit() if left is None else MaxSeconds(left),
        on_progress=lambda found: tell(searching(found, total)),
    )
    seconds = time.monotonic() - started
    if result.choice is None:
        if result.status != "infeasible":
            return Outcome(status="unknown", plan=None, seconds=seconds)
        demands = (dict(options.pins), options.forbid, options.allow)
        anywhere = _on_any_ranks(model, expert_loads) if expert_loads is not None else model
        report = explain_infeasible(cluster, anywhere, job, calibration, space, *demands)
        return Outcome(status="infeasible", plan=None, infeasibility=report, seconds=seconds)
    best = result.choice[0].candidate
    pricing.improve(best)
    pricing.settle(best, _left(started, limit, options.host_seconds), options.seed)
    order = pricing.polish(best, _left(started, limit, options.order_seconds), options.seed)
    certificate = _certify(pricing, pricing.price(best), result, space.pruned, options)
    experts = None
    if expert_loads is not None:
        others = [other.ep for other in certificate.alternatives]
        experts = experts_section(expert_loads, placed, pricing.configuration(best), others, cluster.domain_gpus)
    plan = build_plan(
        cluster,
        model,
        job,
        calibration,
        pricing.configuration(best),
        pricing.boundaries(best),
        pricing.price(best),
        certificate,
        demanded(options),
        operations=written(order) if order is not None else None,
        vocabulary_rows=pricing.rows(best),
        expert_loads=expert_loads.as_input() if expert_loads is not None else None,
        experts=experts,
        ground=pricing.ground(best),
    )
    if (hosts := pricing.hosts(best)) is not None:
        plan = with_hosts(plan, hosts)
    if options.skip_ratio is not None:
        return _skipping(plan, options, options.skip_ratio, _left(started, limit, options.skip_seconds), seconds, tell)
    return Outcome(status=certificate.status, plan=plan, seconds=seconds)


def _skipping(
    plan: Plan, options: SolveOptions, ratio: float, allowed: float, seconds: float, tell: Callable[[Progress], None]
) -> Outcome:
    """The plan with every micro-batch skipping a share of its stages, solved for ``allowed`` seconds."""
    from planner.skip_plan import with_skipping

    found = with_skipping(
        plan,
        ratio,
        seconds=allowed,
        seed=options.seed,
        on_compiling=lambda: tell(Progress(stage="compile", done=0, total=0)),
    )
    proven = found.skip is not None and found.skip.status != "feasible"
    return Outcome(status=plan.certificate.status if proven else "feasible", plan=found, seconds=seconds)


def least_step_seconds(
    cluster: Cluster,
    model: Model,
    job: Job,
    *,
    options: SolveOptions = SolveOptions(),
    expert_loads: ExpertLoads | None = None,
) -> float:
    """Seconds that the step of no configuration is below, at once and without a search: inf where none can fit.
    Arguments and errors are those of ``solve``."""
    pins = skip_pins(options.pins) if options.skip_ratio is not None else options.pins
    calibration = calibration_for(cluster, job, options.calibration)
    space = enumerate_space(cluster, model, job, pins, options.forbid, options.allow)
    pricing, _ = _pricing(cluster, model, job, options, calibration, space, expert_loads, unlike_links(cluster))
    return float(pricing.coarse_bounds().min(initial=float("inf")))


def _pricing(
    cluster: Cluster,
    model: Model,
    job: Job,
    options: SolveOptions,
    calibration: Calibration,
    space: Space,
    expert_loads: ExpertLoads | None,
    network: HostNetwork | None,
) -> tuple[Pricing, dict[int, Renumbering]]:
    """Prices of all configurations, and where experts are placed by load, their places for every ``ep``."""
    placed = renumber_all(expert_loads, space.columns.ep.tolist()) if expert_loads is not None else {}
    priced = priced_model(model, placed) if placed else model
    inputs = (cluster, priced, job, calibration, space.columns)
    if network is None:
        return Pricing(*inputs), placed
    _check_placeable(options)
    return HostPricing(*inputs, network), placed


def _check_placeable(options: SolveOptions) -> None:
    """What is priced on equal links alone is refused where links differ."""
    if "vocabulary" in options.allow:
        raise IllegalConfiguration(
            ["a split vocabulary is priced on equal links alone, and here they differ; leave it out of --allow"]
        )
    pinned = {name: value for name, value in options.pins.items() if name in ("vocabulary", "schedule")}
    check_placeable(Configuration(**pinned))  # type: ignore[arg-type]


def _on_any_ranks(model: Model, loads: ExpertLoads) -> Model:
    """The model with its experts placed for every ``ep`` there is: a remedy may need another than the space has."""
    experts = loads.tokens.shape[1]
    return priced_model(model, renumber_all(loads, [ep for ep in range(1, experts + 1) if experts % ep == 0]))


def searching(found: SearchProgress, total: int) -> Progress:
    """What is told of a search over ``total`` candidates."""
    return Progress(
        stage="search",
        done=found.evaluated,
        total=total,
        best_seconds=found.value,
        bound_seconds=found.lower_bound,
    )


def demanded(options: SolveOptions) -> PlanOptions:
    """What the plan says of the options."""
    return PlanOptions(
        pins=dict(options.pins),
        forbid=tuple(sorted(options.forbid)),
        allow=tuple(sorted(options.allow)),
        gap=options.gap,
    )


METHOD = "best-first search over admissible bounds; the best cut of each candidate; event simulation"


def _left(started: float, limit: float | None, most: float) -> float:
    """Seconds left of the limit, at most ``most``."""
    return most if limit is None else min(most, max(0.0, limit - (time.monotonic() - started)))


def _certify(
    pricing: Pricing, winner: StepPrice, result: SearchResult, pruned: Mapping[str, int], options: SolveOptions
) -> Certificate:
    assert result.choice is not None
    counts, value, best = result.counts, winner.step_seconds, result.choice[0].candidate
    made = pricing.made.get(best)
    others = [other.candidate for other in result.choice[1:]]
    done = result.stop in ("exhausted", "gap")
    lower_bound = min(value, pricing.unproven_seconds if done and not options.gap else result.lower_bound)
    return Certificate.of(
        value=value,
        lower_bound=lower_bound,
        cuts=EVERY_CUT if pricing.covers_every_cut(lower_bound) else SOME_CUTS,
        partition=PartitionProof.of(value, pricing.cut_bound(best)),
        schedule=ScheduleProof.of(winner.pipeline_seconds, made.lower_bound) if made is not None else None,
        allowed_gap=options.gap,
        method=METHOD,
        candidates=counts["candidates"],
        refined=counts["refined"],
        evaluated=counts["evaluated"] - counts["infeasible"],
        infeasible=counts["infeasible"] + counts["refined_impossible"] + counts["impossible"],
        cut_by_bound=counts["cut"] if done or result.status == "optimal" else 0,
        pruned=pruned,
        alternatives=[_alternative(pricing, winner, other) for other in others],
    )


def _alternative(pricing: Pricing, winner: StepPrice, other: int) -> Alternative:
    loser = pricing.price(other)
    return Alternative.of(
        pricing.configuration(other),
        pricing.boundaries(other),
        step_seconds=loser.step_seconds,
        peak_memory_bytes=loser.peak_bytes,
        best_seconds=winner.step_seconds,
        reason=why_slower(winner, loser),
        vocabulary_rows=pricing.rows(other),
    )


def why_slower(winner: StepPrice, loser: StepPrice) -> str:
    """The part of the step in which ``loser`` gives most away, in words."""
    lost = {
        name: after - before
        for (name, before), after in zip(_parts(winner).items(), _parts(loser).values(), strict=True)
    }
    name, seconds = max(lost.items(), key=lambda item: item[1])
    if seconds <= 0:
        return "as fast; kept for comparison"
    return f"{name} {seconds * 1e3:+.1f} ms"


def _parts(price: StepPrice) -> dict[str, float]:
    """Seconds of a step by cause, adding up to it: the pipeline on its busiest stage and its bubble."""
    busiest = max(stage.busy_seconds for stage in price.stages)
    exposed = {f"exposed {kind} communication": seconds for kind, seconds in price.exposed_seconds.items()}
    return {
        "computation": busiest - sum(exposed.values()),
        **exposed,
        "pipeline bubble and imbalance": price.pipeline_seconds - busiest,
        "exposed gradient reduction": price.gradient_seconds,
        "optimizer": price.optimizer_seconds,
        "exposed weight gather": price.parameter_seconds,
        "overhead": price.overhead_seconds,
    }
