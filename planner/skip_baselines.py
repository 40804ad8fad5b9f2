"""What stands beside a skip schedule: other ways to run its micro-batches, and what was published with the instance.

All run first in, first out in our simulator: full pipeline, random and greedy skipping in the arrangement that was
found, SkipPipe's published paths in their own. SkipPipe's figures are of its own simulator, which differs: a node
rests for 0.09 or 0.13 s after each operation, an operation that finds its node busy or full looks again in steps of
0.1 s, the micro-batches of a wave start apart, and its full pipeline has 27 micro-batches in whole chains of copies.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from planner.plan.skip_result import SkipBaseline
from planner.skip_problem import SkipRequest
from solvers.skip.baselines import baselines, run
from solvers.skip.schedule import SkipSchedule

FULL, GREEDY = "full pipeline", "greedy skipping"
PUBLISHED = {
    "ca-paths": "SkipPipe's paths",
    "non-ca-paths": "SkipPipe's paths without collision avoidance",
    "random-paths": "SkipPipe's random paths",
}
STUCK = "no paths keep its rules, or its nodes wait for each other for ever in this memory"


def beside(
    request: SkipRequest, stage_of_node: Sequence[int], seed: int
) -> tuple[tuple[SkipBaseline, ...], SkipSchedule | None]:
    """The baselines in the arrangement ``stage_of_node`` [nodes] and the published ones; and the schedule of greedy
    skipping, which a short search may not have beaten."""
    problem, published = request.problem, request.published
    made = baselines(problem, stage_of_node, seed)
    greedy = next((one.schedule for one in made if one.name == GREEDY), None)
    found = [_shown(one.name, one.makespan) for one in made]
    if problem.path_length == problem.stages:
        found = found[:1]
    if published is None:
        return tuple(found), greedy
    found[0] = replace(found[0], published_seconds=published.full_seconds)
    for key, paths in published.paths.items():
        name, seconds = PUBLISHED[key], published.seconds.get(key)
        alike = len(paths) * problem.waves == problem.microbatches and len(paths[0]) == problem.path_length
        if published.stage_of_node is None or not alike:
            reason = "its arrangement is not in the file" if alike else "it has other micro-batches or path lengths"
            found.append(SkipBaseline(name=name, published_seconds=seconds, reason=reason))
        else:
            ran = run(name, problem, published.stage_of_node, paths * problem.waves)
            found.append(replace(_shown(name, ran.makespan), published_seconds=seconds))
    return tuple(found), greedy


def _shown(name: str, makespan: float) -> SkipBaseline:
    if math.isfinite(makespan):
        return SkipBaseline(name=name, makespan_seconds=makespan)
    return SkipBaseline(name=name, reason=STUCK)
