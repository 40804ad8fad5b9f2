"""The plan's skip schedule, derived again from the plan's own stages: paths, order, times, memory and bound."""

from dataclasses import dataclass

from planner.plan import Plan
from planner.plan.skip import Skip, read_order
from planner.plan.skip_result import SkipResult
from planner.plan.skip_times import link_seconds, skip_operations
from planner.validate.findings import Report
from planner.validate.skip import check_skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Swaps:
    count: int = 0
    furthest: int = 0
    total_distance: int = 0
    forward_jump: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ForcedEnds:
    ends: str = "both"
    swaps: _Swaps = _Swaps()
    balanced_stages: bool = True
    balanced_starts: bool = True
    visits_per_wave: bool = False
    serial_links: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """One node a stage, as the plan has it."""

    forward_seconds: tuple[float, ...]
    backward_seconds: tuple[float, ...]
    link_seconds: tuple[tuple[float, ...], ...]
    memory_cap: tuple[int, ...]
    microbatches: int
    path_length: int
    group_sizes: tuple[int, ...]
    stage_of_node: tuple[int, ...]
    loss_seconds: tuple[float, ...] = ()
    waves: int = 1
    copy_link_factor: float = 0.0
    copy_link_limit_seconds: float = float("inf")
    rules: _ForcedEnds = _ForcedEnds()


def check_skip_section(plan: Plan, report: Report) -> None:
    """Nothing to say where the plan has none."""
    skip = plan.skip
    if skip is None:
        return
    stages = len(plan.stages)
    report.require(plan.parallelism.vp == 1, "skip.chunks", "/skip", "stages that are skipped hold one chunk each")
    report.require(2 <= skip.path_length <= stages, "skip.length", "/skip/path_length", f"2 to {stages} stages")
    report.same("skip.order", "/skip/order", len(skip.order), stages, "one sequence a stage")
    if report.clean:
        _check_schedule(plan, skip, report)
    pipeline = plan.prediction.pipeline_seconds
    path = "/skip/full_pipeline_seconds"
    report.same("skip.full", path, skip.full_pipeline_seconds, pipeline, "the plan's pipeline with every stage")
    step = plan.prediction.step_seconds - pipeline + skip.makespan_seconds
    report.same("skip.step", "/skip/step_seconds", skip.step_seconds, step, "the step with the makespan in its place")
    ratio = 1 - skip.path_length / stages
    report.same("skip.ratio", "/skip/skip_ratio", skip.skip_ratio, ratio, "stages that a micro-batch does not run")


def _check_schedule(plan: Plan, skip: Skip, report: Report) -> None:
    count, figures = plan.parallelism.microbatches, _figures(plan, skip)
    try:
        path_of = skip.path_of()
        orders = [read_order(text) for text in skip.order]
    except ValueError as error:
        report.add("skip.text", "/skip", str(error))
        return
    if sorted(path_of) != list(range(count)) or any(s >= len(plan.stages) for p in path_of.values() for s in p):
        report.add("skip.paths", "/skip/paths", f"give each of {count} micro-batches one path of the plan's stages")
        return
    firsts = [path.microbatches[0] if path.microbatches else -1 for path in skip.paths]
    alike = len({path.stages for path in skip.paths}) < len(skip.paths)
    if alike or firsts != sorted(firsts) or any(list(p.microbatches) != sorted(p.microbatches) for p in skip.paths):
        report.add("skip.paths", "/skip/paths", "every path once, by its first micro-batch, micro-batches ascending")
    paths = tuple(path_of[k] for k in range(count))
    try:
        rows = skip_operations(plan, skip)
    except ValueError as error:
        report.add("skip.order", "/skip/order", str(error))
        return
    result = SkipResult(
        name="plan",
        profile="forced-ends",
        status=skip.status,
        stop="exhausted",
        value=skip.value,
        lower_bound=skip.lower_bound,
        bound_over=skip.bound_over,
        gap=skip.gap,
        seconds=0.0,
        seed=skip.seed,
        nodes=tuple(map(str, range(len(plan.stages)))),
        stages=len(plan.stages),
        micro_batches=count,
        path_length=skip.path_length,
        skip_ratio=skip.skip_ratio,
        partitions=tuple((stage,) for stage in range(len(plan.stages))),
        paths=paths,
        order=rows,
        makespan_seconds=skip.makespan_seconds,
        peak_in_flight=tuple(_most_alive(row) for row in orders),
    )
    for finding in check_skip(figures, result):
        report.add(f"skip.{finding.rule}", f"/skip{finding.path}", finding.message)


def _figures(plan: Plan, skip: Skip) -> _Figures:
    """Seconds and caps of the plan's stages."""
    chunks = [stage.chunks[0] for stage in plan.stages]
    return _Figures(
        forward_seconds=tuple(chunk.forward_seconds for chunk in chunks),
        backward_seconds=tuple(c.recompute_seconds + c.input_grad_seconds + c.weight_grad_seconds for c in chunks),
        link_seconds=link_seconds(plan),
        memory_cap=tuple(stage.memory.in_flight for stage in plan.stages),
        microbatches=plan.parallelism.microbatches,
        path_length=skip.path_length,
        group_sizes=(1,) * len(plan.stages),
        stage_of_node=tuple(range(len(plan.stages))),
    )


def _most_alive(row: list[tuple[str, int]]) -> int:
    alive = most = 0
    for op, _ in row:
        alive += 1 if op == "F" else 0
        most = max(most, alive)
        alive -= 1 if op == "B" else 0
    return most
