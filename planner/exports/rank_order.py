"""The order of ranks as exports look at it."""

from planner.plan import Plan


def pipelines_first(plan: Plan) -> bool:
    """Whether the ranks of a pipeline stand closer than those of a data-parallel group; the two orders are one
    where either is a single rank."""
    return plan.ranks.order == "tp-cp-pp-dp" and plan.parallelism.pp > 1 and plan.parallelism.dp > 1
