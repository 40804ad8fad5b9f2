"""Other ways to run a skip problem's micro-batches, in our own simulator: what a schedule is held against.

All of them run first in, first out in the arrangement that was found, except SkipPipe's published paths, which run in
its own. SkipPipe's figures are of its own simulator: it moves time in whole seconds per look, adds 0.09 or 0.13 s
after each operation, starts the micro-batches of a wave apart, and lets backward passes of one node overlap.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.plan.skip_result import SkipBaseline
from planner.skip_problem import SkipRequest
from solvers.skip.paths import every_path, times_alone
from solvers.skip.problem import SkipProblem
from solvers.skip.schedule import SkipSchedule
from solvers.skip.simulate import first_in_first_out
from solvers.skip.starts import balanced_paths

FULL, GREEDY, RANDOM = "full pipeline", "greedy skipping", "random skipping"
PUBLISHED = {
    "ca-paths": "SkipPipe's paths",
    "non-ca-paths": "SkipPipe's paths without collision avoidance",
    "random-paths": "SkipPipe's random paths",
}
MOST_PATHS = 60_000
RANDOM_SETS = 9
"""Of random paths; their median is shown."""


def baselines(request: SkipRequest, best: SkipSchedule) -> tuple[SkipBaseline, ...]:
    """Full pipeline, greedy and random skipping, and what was published with the instance."""
    found = [full_pipeline(request.problem, best.stage_of_node)]
    if request.problem.path_length < request.problem.stages:
        found += [greedy(request.problem, best.stage_of_node), _random(request.problem, best.stage_of_node)]
    published = request.published
    if published is not None and published.full_seconds is not None:
        found[0] = replace(found[0], published_seconds=published.full_seconds)
    return (*found, *_published(request))


def full_pipeline(problem: SkipProblem, stage_of_node: tuple[int, ...]) -> SkipBaseline:
    """Every micro-batch through every stage, in their order, its copy of each the least used."""
    whole = replace(
        problem,
        path_length=problem.stages,
        stage_of_node=stage_of_node,
        rules=replace(problem.rules, visits_per_wave=False),
    )
    groups = _groups(stage_of_node, problem.stages)
    paths = [tuple(held[k % len(held)] for held in groups) for k in range(problem.microbatches)]
    return _run(FULL, whole, stage_of_node, paths)


def greedy(problem: SkipProblem, stage_of_node: tuple[int, ...]) -> SkipBaseline:
    """The better of two rules: the path that is through first, and the stages with most left to serve."""
    by_time = _first_through(problem, stage_of_node)
    paths = balanced_paths(problem, stage_of_node, np.random.default_rng(0))
    if paths is None:
        return by_time
    by_quota = _run(GREEDY, problem, stage_of_node, paths.tolist())
    made = [one for one in (by_time, by_quota) if one.makespan_seconds is not None]
    return min(made, key=lambda one: one.makespan_seconds or 0.0, default=by_time)


def _first_through(problem: SkipProblem, stage_of_node: tuple[int, ...]) -> SkipBaseline:
    """Micro-batch by micro-batch the path that would be through first: its seconds alone behind the work that its
    busiest node already has, of those that leave every stage and node its share of the wave."""
    columns = every_path(problem, stage_of_node, MOST_PATHS)
    if columns is None:
        return SkipBaseline(name=GREEDY, reason=f"there are more than {MOST_PATHS:,} paths to choose from")
    stage = np.asarray(stage_of_node)
    trip = times_alone(problem, columns).trip
    serves = np.zeros((len(columns), problem.stages), dtype=bool)
    serves[np.arange(len(columns))[:, None], stage[columns]] = True
    work = np.array(problem.forward_seconds) + np.array(problem.backward_seconds)
    load, paths = np.zeros(problem.nodes), []
    for _ in range(problem.waves):
        left = np.array([problem.stage_load(s)[1] for s in range(problem.stages)])
        room = np.array(_room(problem, stage_of_node))
        for remaining in range(problem.wave_size, 0, -1):
            open_ = (left[stage[columns]] > 0).all(axis=1) & (room[columns] > 0).all(axis=1)
            # a stage that needs every micro-batch still to come to serve its least is on this path
            least = left - (np.array([np.subtract(*problem.stage_load(s)[::-1]) for s in range(problem.stages)]))
            open_ &= serves[:, least >= remaining].all(axis=1)
            if not open_.any():
                return SkipBaseline(name=GREEDY, reason="it runs into a dead end: no path keeps the balance")
            best = int(np.argmin(np.where(open_, trip + load[columns].max(axis=1), np.inf)))
            path = columns[best]
            load[path] += work[path]
            left[stage[path]] -= 1
            room[path] -= 1
            paths.append(path.tolist())
    return _run(GREEDY, problem, stage_of_node, paths)


def _room(problem: SkipProblem, stage_of_node: tuple[int, ...]) -> list[float]:
    """Visits of each node in a wave: of stage 0 an even share, of others what memory allows where that counts."""
    most = problem.memory_cap if problem.rules.visits_per_wave else (problem.wave_size,) * problem.nodes
    return [problem.start_load()[1] if stage_of_node[node] == 0 else most[node] for node in range(problem.nodes)]


def _random(problem: SkipProblem, stage_of_node: tuple[int, ...]) -> SkipBaseline:
    """The median of several sets of balanced random paths."""
    rng, found = np.random.default_rng(0), []
    for _ in range(RANDOM_SETS):
        paths = balanced_paths(problem, stage_of_node, rng)
        if paths is not None:
            found.append(_run(RANDOM, problem, stage_of_node, paths.tolist()))
    made = sorted((one for one in found if one.makespan_seconds is not None), key=lambda one: one.makespan_seconds or 0)
    return made[len(made) // 2] if made else SkipBaseline(name=RANDOM, reason="no balanced random paths were found")


def _published(request: SkipRequest) -> list[SkipBaseline]:
    problem, published = request.problem, request.published
    if published is None:
        return []
    found = []
    for key, paths in published.paths.items():
        name, seconds = PUBLISHED[key], published.seconds.get(key)
        alike = len(paths) * problem.waves == problem.microbatches and len(paths[0]) == problem.path_length
        if published.stage_of_node is None or not alike:
            reason = "its arrangement is not in the file" if alike else "it is of other micro-batches or path lengths"
            found.append(SkipBaseline(name=name, published_seconds=seconds, reason=reason))
            continue
        one = _run(name, problem, published.stage_of_node, paths * problem.waves)
        found.append(replace(one, published_seconds=seconds))
    return found


def _run(
    name: str, problem: SkipProblem, stage_of_node: tuple[int, ...], paths: Sequence[Sequence[int]]
) -> SkipBaseline:
    schedule = first_in_first_out(problem, stage_of_node, [tuple(path) for path in paths])
    if schedule is None:
        return SkipBaseline(name=name, reason="its nodes wait for each other for ever in this memory")
    return SkipBaseline(name=name, makespan_seconds=schedule.makespan)


def _groups(stage_of_node: tuple[int, ...], stages: int) -> list[list[int]]:
    return [[node for node, own in enumerate(stage_of_node) if own == stage] for stage in range(stages)]
