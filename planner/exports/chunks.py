"""What each model chunk of a plan holds, in the order of the model."""

from planner.plan import Plan
from planner.plan.stages import Chunk, Span


def chunks_of(plan: Plan) -> list[Chunk]:
    """All chunks, first to last."""
    return sorted((chunk for stage in plan.stages for chunk in stage.chunks), key=lambda chunk: chunk.chunk)


def length(span: Span | None) -> int:
    """How many layers a run holds; None is none."""
    return 0 if span is None else span[1] - span[0]


def shared_recompute(plan: Plan) -> tuple[str, list[str]]:
    """The level of recompute of every stage, and, where stages differ, why there is none."""
    levels = sorted({stage.recompute for stage in plan.stages})
    if len(levels) == 1:
        return levels[0], []
    return levels[0], [f"recompute differs between stages ({', '.join(levels)}); one level for all can be stated"]
