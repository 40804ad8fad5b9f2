"""A partial pipeline alone: arrangement, paths and order, with a bound, others beside it, and what a loss costs."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from planner.plan.skip_result import (
    CurvePoint,
    NodeLoss,
    OutlierLink,
    SkipBaseline,
    SkipOperation,
    SkipResult,
    Survival,
)
from planner.skip_baselines import FULL, GREEDY, beside
from planner.skip_problem import SkipRequest
from planner.validate.skip import PROVEN_GAP, check_skip
from solvers.search import Progress
from solvers.skip.failure import without_node
from solvers.skip.problem import Path, SkipProblem
from solvers.skip.readiness import ready
from solvers.skip.repair import fatal_losses, repaired, surviving_arrangement
from solvers.skip.schedule import SkipSchedule
from solvers.skip.simulate import first_in_first_out
from solvers.skip.solve import Hint, solve_skip
from solvers.skip.solve import SkipResult as Solved
from solvers.solution import Status, Stop, relative_gap

CURVE_MOST = 0.5
"""Skip ratio at the end of the curve."""

RE_PLANNING_SHARE = 0.3
"""Of the time limit, for the losses of all nodes together."""

LEAST_SECONDS = 0.2

MOST_REASONS = 4

WAVE_SEARCHES = 6
"""Of one wave, each with a seed of its own, where all waves are to be alike."""

NUMBERINGS = 200
"""Of the micro-batches of a wave, tried first in, first out."""


def plan_skip(
    request: SkipRequest,
    *,
    time_limit_seconds: float = 60.0,
    seed: int = 0,
    workers: int = 2,
    survive_one_failure: bool = False,
    curve: bool = False,
    on_progress: Callable[[str], None] | None = None,
    on_compiling: Callable[[], None] | None = None,
) -> SkipResult:
    """The best schedule of ``request`` found within the time limit, checked, with others beside it.

    The limit is shared by the schedule itself, with ``curve`` those of the other skip ratios from 0 to 50 % (where a
    cap on visits of a wave that so many stages exceed is left out), and with ``survive_one_failure`` the re-planning
    after the loss of every node: first a repair of the paths that visit it, then a better plan. A node whose loss
    leaves nothing whatever the arrangement makes the result infeasible then; where the arrangement is free, one in
    which every loss leaves a set of paths is preferred. A
    ``KeyboardInterrupt`` ends the search with the best so far, and what was still to do is left out.
    ``on_compiling`` is called if the search must be compiled first, once on a machine and outside the limit. Raises
    ``RuntimeError`` if a result fails its check.
    """
    ready(on_compiling)
    began = time.perf_counter()
    lengths = [k for k in curve_lengths(request) if k != request.problem.path_length] if curve else []
    search = Search(seed=seed, workers=workers, tell=on_progress or (lambda _: None))
    if curve:
        request = request.with_path_length(request.problem.path_length)
    if survive_one_failure and (reasons := _fatal_losses(request)):
        return _without(request, reasons, seed, time.perf_counter() - began)
    share = (1 - RE_PLANNING_SHARE if survive_one_failure else 1.0) / (1 + len(lengths))
    result = search.result(request, time_limit_seconds * share)
    if survive_one_failure and request.problem.stage_of_node is None and search.goes_on(result):
        result = search.surviving(request, result, time_limit_seconds * RE_PLANNING_SHARE / 2)
    if curve:
        points = [result]
        for length in lengths:
            if points[-1].stop != "interrupted":
                search.named = f"{length} of {request.problem.stages} stages: "
                points.append(search.result(request.with_path_length(length), time_limit_seconds * share))
        points.sort(key=lambda one: one.skip_ratio)
        stop = "interrupted" if any(one.stop == "interrupted" for one in points) else result.stop
        result = replace(result, stop=stop, curve=tuple(map(_point, points)))
    if survive_one_failure and search.goes_on(result):
        left = max(time_limit_seconds - (time.perf_counter() - began), time_limit_seconds * RE_PLANNING_SHARE / 2)
        result = replace(result, survival=search.survival(request, result, left))
    return replace(result, seconds=time.perf_counter() - began)


def curve_lengths(request: SkipRequest) -> list[int]:
    """Stages of a micro-batch, from all down to half of them as far as the forced ones allow."""
    stages, least = request.problem.stages, len(request.problem.forced_stages)
    return [k for k in range(stages, least - 1, -1) if 1 - k / stages <= CURVE_MOST]


class Search:
    """Solves requests with one seed and progress line; ``named`` stands before what it tells."""

    def __init__(self, *, seed: int, workers: int, tell: Callable[[str], None]) -> None:
        self.seed, self.workers, self.tell, self.named = seed, workers, tell, ""
        self.ended = False
        """Whether a Ctrl-C ended one of the searches."""

    def goes_on(self, result: SkipResult) -> bool:
        """Whether there is a schedule to go on from, and nobody ended the search."""
        return result.value is not None and not self.ended

    def solved(self, problem: SkipProblem, seconds: float, hints: Sequence[Hint] = ()) -> Solved:
        """The solver's answer."""
        found = solve_skip(
            problem,
            time_limit_seconds=max(seconds, LEAST_SECONDS),
            seed=self.seed,
            workers=self.workers,
            gap=PROVEN_GAP,
            hints=hints,
            on_progress=self._told,
        )
        self.ended |= found.solution.stop == "interrupted"
        return found

    def alike(self, problem: SkipProblem, seconds: float, hints: Sequence[Hint] = ()) -> Solved:
        """The same paths in every wave, first in, first out: the best of several searches of one wave.

        The bound is that of any paths.
        """
        bound = self.solved(problem, 0.0)
        if bound.solution.status == "infeasible" or bound.solution.stop == "interrupted":
            return bound
        wave = replace(problem, microbatches=problem.wave_size, waves=1)
        sets = [(hint.stage_of_node, hint.paths[: problem.wave_size]) for hint in hints]
        stop: Stop = "time_limit"
        for number in range(WAVE_SEARCHES):
            self.named = f"one wave, search {number + 1} of {WAVE_SEARCHES}: "
            found = solve_skip(
                wave,
                time_limit_seconds=max(seconds / WAVE_SEARCHES, LEAST_SECONDS),
                seed=self.seed + number,
                workers=self.workers,
                on_progress=self._told,
            ).solution
            if found.choice is not None:
                sets.append((found.choice.stage_of_node, found.choice.paths))
            if found.stop == "interrupted":
                stop = "interrupted"
                break
        best = best_of_waves(problem, sets, self.seed)
        value = best.value if best is not None else math.inf
        lower = min(bound.solution.lower_bound, value)
        status: Status = "optimal" if relative_gap(value, lower) <= PROVEN_GAP else "feasible"
        solution = replace(
            bound.solution, value=value, choice=best, lower_bound=lower, status=status, stop=stop, seed=self.seed
        )
        return replace(bound, solution=solution, first_in_first_out=best)

    def _told(self, state: Progress) -> None:
        self.tell(f"{self.named}best {state.value:.6g} s, nothing below {state.lower_bound:.6g} s")

    def result(self, request: SkipRequest, seconds: float) -> SkipResult:
        """The checked result of a request, with its baselines; infeasible at once where memory counts too few."""
        began = time.perf_counter()
        if reasons := list(request.too_many_visits())[:MOST_REASONS]:
            return _without(request, reasons, self.seed, 0.0)
        solve = self.alike if request.waves_alike else self.solved
        solved = solve(request.problem, seconds, _hints(request))
        best = solved.solution.choice
        others: tuple[SkipBaseline, ...] = ()
        if best is not None:
            others, greedy = beside(request, best.stage_of_node, self.seed)
            better = greedy is not None and greedy.value < best.value and not greedy.over_cap
            if greedy is not None and better and not request.waves_alike:
                solution = replace(solved.solution, value=greedy.value, choice=greedy)
                solved = replace(solved, solution=solution, first_in_first_out=greedy)
        found = _result(request, solved, self.seed, others)
        if findings := check_skip(request.problem, found):
            first = findings[0]
            raise RuntimeError(f"the schedule fails its check, {len(findings)} findings: {first.path}: {first.message}")
        return replace(found, seconds=time.perf_counter() - began)

    def survival(self, request: SkipRequest, result: SkipResult, seconds: float) -> Survival | None:
        """What every node's loss leaves, arranged as planned; None after a Ctrl-C."""
        stage_of_node = arrangement(result)
        each = seconds / request.problem.nodes
        losses = []
        for node in range(request.problem.nodes):
            self.named = f"without node {node} of {request.problem.nodes}: "
            losses.append(self._loss(request, stage_of_node, result.paths, node, each))
            if self.ended:
                return None
        made = [one for one in losses if one.makespan_seconds is not None]
        worst = max(made, key=lambda one: one.makespan_seconds or 0.0, default=None)
        survives = len(made) == len(losses)
        return Survival(
            survives=survives,
            repairable=all(one.repair is not None for one in losses),
            worst=worst if survives else None,
            losses=tuple(losses),
        )

    def _loss(
        self,
        request: SkipRequest,
        stage_of_node: tuple[int, ...],
        paths: tuple[Path, ...],
        node: int,
        seconds: float,
    ) -> NodeLoss:
        """The paths that are left repaired, and better ones planned from there."""
        began, name = time.perf_counter(), request.names[node]
        try:
            left = without_node(request.problem, stage_of_node, node)
        except ValueError as why:
            return NodeLoss(
                node=node,
                name=name,
                makespan_seconds=None,
                lower_bound=None,
                replanning_seconds=0.0,
                reason=_remedy(request, stage_of_node, node, str(why)),
            )
        repair = repaired(request.problem, stage_of_node, paths, node, seconds=seconds / 2)
        hints = [Hint(stage_of_node=repair.schedule.stage_of_node, paths=repair.schedule.paths)] if repair else []
        names = tuple(other for i, other in enumerate(request.names) if i != node)
        rest = replace(
            request, problem=left, names=names, stage_of_node=left.stage_of_node, published=None, outliers=()
        )
        found = _result(rest, self.solved(left, seconds - (time.perf_counter() - began), hints), self.seed, ())
        if findings := check_skip(left, found):
            first = findings[0]
            raise RuntimeError(f"without node {node} the schedule fails its check: {first.path}: {first.message}")
        reason = ""
        if found.value is None:
            why_not = found.reasons[0] if found.reasons else "no schedule was found for the nodes left in this time"
            reason = _remedy(request, stage_of_node, node, f"node {node}: {why_not}")
        return NodeLoss(
            node=node,
            name=name,
            makespan_seconds=found.makespan_seconds,
            lower_bound=found.lower_bound,
            replanning_seconds=time.perf_counter() - began,
            repair=repair.how if repair else None,
            moved=sum(node in path for path in paths),
            repaired_makespan_seconds=repair.schedule.makespan if repair else None,
            reason=reason,
        )

    def surviving(self, request: SkipRequest, result: SkipResult, seconds: float) -> SkipResult:
        """``result``, or where a loss would leave no set of paths in its arrangement and another arrangement is free to
        be had in which all leave one, the best of that; a note says so either way."""
        stage_of_node = arrangement(result)
        fatal = fatal_losses(request.problem, stage_of_node)
        if not fatal:
            return result
        began, (node, why) = time.perf_counter(), next(iter(fatal.items()))
        lost = f"without node {node} ({request.names[node]}): {_remedy(request, stage_of_node, node, why)}"
        other = surviving_arrangement(request.problem, stage_of_node, seed=self.seed, seconds=seconds / 2)
        if other is None:
            note = f"no arrangement was found in which every loss leaves a set of paths; {lost}"
            return replace(result, notes=(*result.notes, note))
        self.named = "arrangement that survives: "
        fixed = replace(request, problem=replace(request.problem, stage_of_node=other), published=None)
        found = self.result(fixed, seconds - (time.perf_counter() - began))
        if found.value is None or result.value is None:
            return result
        note = (
            f"an arrangement of {result.value:.6g} s was left for one in which every loss leaves a set of paths; "
            f"in it {lost}"
        )
        assert result.lower_bound is not None
        gap = relative_gap(found.value, result.lower_bound)
        return replace(
            found,
            lower_bound=result.lower_bound,
            bound_over=result.bound_over,
            gap=gap,
            status="optimal" if gap <= PROVEN_GAP else "feasible",
            notes=(*result.notes, note),
            outlier_links=found.outlier_links,
        )


def arrangement(result: SkipResult) -> tuple[int, ...]:
    """[nodes] stages."""
    stage_of = {node: stage for stage, held in enumerate(result.partitions) for node in held}
    return tuple(stage_of[node] for node in range(len(result.nodes)))


def _remedy(request: SkipRequest, stage_of_node: Sequence[int], node: int, why: str) -> str:
    """Why the loss of ``node`` leaves nothing, with its stage and what would help."""
    stage = stage_of_node[node]
    others = [n for n, held in enumerate(stage_of_node) if held == stage and n != node]
    left = ", ".join(f"{request.names[n]} ({n})" for n in others)
    text = why.removeprefix(f"node {node}: ")
    helps = (
        f"stage {stage} would be left to {left}: give it one more node with memory and links to and from those of the "
        "other stages"
        if others
        else f"give stage {stage} a second node"
    )
    return f"{text}; {helps}"


def best_of_waves(
    problem: SkipProblem, sets: Sequence[tuple[tuple[int, ...], tuple[Path, ...]]], seed: int
) -> SkipSchedule | None:
    """The best first-in-first-out execution of an arrangement and a wave's paths repeated, under several numberings."""
    rng, best = np.random.default_rng(seed), None
    for stage_of_node, paths in sets:
        for number in range(NUMBERINGS):
            order = rng.permutation(len(paths)) if number else range(len(paths))
            repeated = [paths[k] for k in order] * problem.waves
            schedule = first_in_first_out(problem, stage_of_node, repeated)
            if schedule is not None and not schedule.over_cap and (best is None or schedule.value < best.value):
                best = schedule
    return best


def _fatal_losses(request: SkipRequest) -> list[str]:
    """Losses that no plan survives, the first of them: whatever the arrangement, the stages' sizes are the same."""
    problem = request.problem
    stage_of_node = request.stage_of_node or tuple(
        stage for stage, size in enumerate(problem.group_sizes) for _ in range(size)
    )
    found = []
    for node in range(problem.nodes):
        try:
            without_node(problem, stage_of_node, node)
        except ValueError as why:
            text = str(why).removeprefix(f"node {node}: ")
            place = f"of node {node} ({request.names[node]})" if problem.stage_of_node else "of a node"
            helps = "link it to a second node" if "unreachable" in text else "give that stage a second node"
            found.append(f"the loss {place} is not survived: {text}; {helps}")
    found = list(dict.fromkeys(found))
    more = len(found) - MOST_REASONS
    return found[:MOST_REASONS] + ([f"and {more} more"] if more > 0 else [])


def _common(request: SkipRequest, seed: int | None, seconds: float) -> SkipResult:
    problem = request.problem
    return SkipResult(
        name=request.name,
        profile="forced-ends" if request.profile == "forced-ends" else "skippipe",
        status="unknown",
        stop="exhausted",
        value=None,
        lower_bound=None,
        bound_over=bound_over(problem),
        gap=None,
        seconds=seconds,
        seed=seed,
        nodes=request.names,
        stages=problem.stages,
        micro_batches=problem.microbatches,
        path_length=problem.path_length,
        skip_ratio=request.skip_ratio,
        notes=request.notes,
        outlier_links=tuple(
            OutlierLink(
                between=(one.sender, one.receiver),
                names=(request.names[one.sender], request.names[one.receiver]),
                seconds=one.seconds,
                relayed_seconds=one.relayed_seconds,
                used=False,
            )
            for one in request.outliers
        ),
    )


def bound_over(problem: SkipProblem) -> str:
    """What a bound of ``problem`` leaves free, and what it holds fixed."""
    if problem.stage_of_node is None:
        return "every arrangement of the nodes, every set of paths that the rules allow, every order"
    return "this arrangement of the nodes, every set of paths that the rules allow, every order"


def _without(request: SkipRequest, reasons: list[str], seed: int, seconds: float) -> SkipResult:
    return replace(_common(request, seed, seconds), status="infeasible", reasons=tuple(reasons))


def _result(request: SkipRequest, solved: Solved, seed: int, others: tuple[SkipBaseline, ...]) -> SkipResult:
    solution, best = solved.solution, solved.solution.choice
    bound = solution.lower_bound if math.isfinite(solution.lower_bound) else None
    common = replace(
        _common(request, seed, solution.seconds), stop=solution.stop, lower_bound=bound, counts=dict(solution.counts)
    )
    if best is None:
        infeasible = solution.status == "infeasible"
        reasons = tuple(f"no set of paths keeps every rule: {one.reason}" for one in solved.bounds[:1] if infeasible)
        return replace(common, status="infeasible" if infeasible else "unknown", reasons=reasons)
    gap = relative_gap(best.value, solution.lower_bound)
    held: list[list[int]] = [[] for _ in range(request.problem.stages)]
    for node, stage in enumerate(best.stage_of_node):
        held[stage].append(node)
    named = {one.name: one.makespan_seconds for one in others}
    messages = set(_messages(request.problem, best))
    fifo = solved.first_in_first_out
    return replace(
        common,
        status="optimal" if gap <= PROVEN_GAP else "feasible",
        value=best.value,
        gap=gap,
        partitions=tuple(map(tuple, held)),
        paths=best.paths,
        order=tuple(
            tuple(SkipOperation(op=o.kind.name, microbatch=o.microbatch, start=o.start, end=o.end) for o in row)
            for row in best.operations
        ),
        makespan_seconds=best.makespan,
        fifo_makespan_seconds=fifo.makespan if fifo is not None else None,
        peak_in_flight=best.peak_in_flight,
        baselines=others,
        full_pipeline_makespan_seconds=named.get(FULL),
        greedy_makespan_seconds=named.get(GREEDY),
        outlier_links=tuple(replace(one, used=one.between in messages) for one in common.outlier_links),
    )


def _hints(request: SkipRequest) -> list[Hint]:
    """SkipPipe's published paths in its own arrangement, where the file has them for this problem."""
    problem, published = request.problem, request.published
    if published is None or published.stage_of_node is None:
        return []
    found = []
    for paths in published.paths.values():
        if len(paths) * problem.waves == problem.microbatches:
            found.append(Hint(stage_of_node=published.stage_of_node, paths=paths * problem.waves))
    return found


def _messages(problem: SkipProblem, schedule: SkipSchedule) -> list[tuple[int, int]]:
    """Who sends to whom."""
    found = []
    for path in schedule.paths:
        nodes = [node for _, node in problem.sequence(path)]
        found += [(a, b) for a, b in pairwise(nodes) if a != b]
    return found


def _point(result: SkipResult) -> CurvePoint:
    return CurvePoint(
        skip_ratio=result.skip_ratio,
        path_length=result.path_length,
        status=result.status,
        value=result.value,
        lower_bound=result.lower_bound,
        gap=result.gap,
        greedy_makespan_seconds=result.greedy_makespan_seconds,
    )
