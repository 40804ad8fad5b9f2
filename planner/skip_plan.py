"""Skipping in a whole plan: its pipeline as a skip problem under forced ends, solved, and written into the plan."""

from collections.abc import Callable

from planner.plan.document import Plan
from planner.plan.skip import write_order
from planner.plan.writing import seal
from planner.skip import bound_over
from planner.skip_pins import cannot_skip
from planner.skip_problem import FORCED_ENDS, path_length_of
from planner.validate.skip import PROVEN_GAP
from solvers.skip.problem import PROFILES, SkipProblem
from solvers.skip.readiness import ready
from solvers.skip.schedule import SkipSchedule
from solvers.skip.solve import solve_skip
from solvers.solution import relative_gap

METHOD = "skip problem of the plan's stages under forced ends; every stage kept where it is"


def with_skipping(
    plan: Plan,
    skip_ratio: float,
    *,
    seconds: float = 10.0,
    seed: int = 0,
    on_compiling: Callable[[], None] | None = None,
) -> Plan:
    """``plan`` with its ``skip`` section: about ``skip_ratio`` of the stages skipped by every micro-batch.

    No stage keeps more micro-batches than under the plan's own schedule. ``on_compiling`` is called if the search must
    be compiled first, once on a machine and outside ``seconds``. Raises ``SpecError`` for a pipeline of
    one stage or with interleaved chunks, and where no set of paths keeps the rules.
    """
    problem = problem_of(plan, skip_ratio)
    ready(on_compiling)
    solution = solve_skip(problem, time_limit_seconds=seconds, seed=seed, gap=PROVEN_GAP).solution
    best = solution.choice
    if best is None:
        raise cannot_skip(
            f"no set of paths with {problem.path_length} of {problem.stages} stages keeps every rule: {solution.status}"
        )
    gap, prediction = relative_gap(best.value, solution.lower_bound), plan.prediction
    section = {
        "profile": FORCED_ENDS,
        "skip_ratio": 1 - problem.path_length / problem.stages,
        "path_length": problem.path_length,
        "paths": _paths(best),
        "order": [write_order([(o.kind.name, o.microbatch) for o in row]) for row in best.operations],
        "makespan_seconds": best.makespan,
        "full_pipeline_seconds": prediction.pipeline_seconds,
        "step_seconds": prediction.step_seconds - prediction.pipeline_seconds + best.makespan,
        "status": "optimal" if gap <= PROVEN_GAP else "feasible",
        "value": best.value,
        "lower_bound": min(solution.lower_bound, best.value),
        "gap": gap,
        "bound_over": bound_over(problem),
        "method": METHOD,
        "seed": seed,
    }
    document = plan.to_json()
    items = list(document.items())
    at = [key for key, _ in items].index("prediction")
    return Plan.from_json(seal(dict([*items[:at], ("skip", section), *items[at:]])))


def problem_of(plan: Plan, skip_ratio: float) -> SkipProblem:
    """The plan's stages, one node each: F, the rest of a micro-batch's work as B, and the plan's messages.

    A message to a stage further on takes what the slowest step between takes: it leaves a domain where one of them
    does. A stage may keep as many micro-batches as it does under the plan's own schedule.
    """
    stages = plan.stages
    if len(stages) == 1:
        raise cannot_skip(
            "the plan has one stage (pp=1): nothing can be skipped; pin pp=2 or more, or leave --skip-ratio out"
        )
    if plan.parallelism.vp > 1:
        raise cannot_skip(f"the plan interleaves {plan.parallelism.vp} chunks a stage: pin vp=1")
    chunks = [stage.chunks[0] for stage in stages]
    size, sends = len(stages), [stage.send_seconds for stage in stages]
    return SkipProblem(
        forward_seconds=tuple(chunk.forward_seconds for chunk in chunks),
        backward_seconds=tuple(c.recompute_seconds + c.input_grad_seconds + c.weight_grad_seconds for c in chunks),
        link_seconds=tuple(
            tuple(0.0 if a == b else max(sends[min(a, b) : max(a, b)]) for b in range(size)) for a in range(size)
        ),
        memory_cap=tuple(stage.memory.in_flight for stage in stages),
        group_sizes=(1,) * size,
        microbatches=plan.parallelism.microbatches,
        path_length=path_length_of(skip_ratio, size, FORCED_ENDS),
        stage_of_node=tuple(range(size)),
        rules=PROFILES[FORCED_ENDS],
    )


def _paths(schedule: SkipSchedule) -> list[dict[str, list[int]]]:
    """Every path once, with its micro-batches; a node is its stage here."""
    found: dict[tuple[int, ...], list[int]] = {}
    for microbatch, path in enumerate(schedule.paths):
        found.setdefault(path, []).append(microbatch)
    return [{"stages": list(path), "microbatches": own} for path, own in found.items()]
