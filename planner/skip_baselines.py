"""Other ways to run a skip problem's micro-batches, in our own simulator: what a schedule is held against."""

from planner.plan.skip_result import SkipBaseline
from planner.skip_problem import SkipRequest
from solvers.skip.schedule import SkipSchedule

FULL, GREEDY = "full pipeline", "greedy skipping"


def baselines(request: SkipRequest, best: SkipSchedule) -> tuple[SkipBaseline, ...]:
    return ()
