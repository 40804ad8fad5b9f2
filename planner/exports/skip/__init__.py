"""Skip schedules as files: SkipPipe's executor runs them, a trace shows them; pipelines that run every stage refuse."""

from planner.exports.skip import chrome_trace, skippipe
from planner.exports.skipping import NO_SKIPPING, SKIP_TARGETS
from planner.exports.targets import ExportRefused
from planner.plan.skip_result import SkipResult

__all__ = ["SKIP_TARGETS", "ExportRefused", "export_skip", "skipping_refusals"]


def export_skip(result: SkipResult, target: str, memory_cap: tuple[int, ...]) -> str:
    """The file that ``target`` reads; ``memory_cap`` [nodes] in micro-batches. A runtime's file has been read back.

    Raises ``ExportRefused`` with everything that the target cannot express; ``KeyError`` for an unknown target.
    """
    if target not in SKIP_TARGETS:
        raise KeyError(target)
    if target in NO_SKIPPING:
        raise ExportRefused(target, skipping_refusals(target, result.stages, result.paths))
    if target == "chrome-trace":
        if not result.paths:
            raise ExportRefused(target, [skippipe.nothing(result)])
        return chrome_trace.write(result)
    if reasons := skippipe.refusals(result, memory_cap):
        raise ExportRefused(target, reasons)
    return skippipe.write(result, memory_cap)


def skipping_refusals(target: str, stages: int, paths: tuple[tuple[int, ...], ...]) -> list[str]:
    """Why ``target`` cannot run these paths: it sends every micro-batch through every stage."""
    short = sum(len(path) < stages for path in paths)
    return [
        f"{NO_SKIPPING[target]} sends every micro-batch through all {stages} stages in one order; {short} of "
        f"{len(paths)} micro-batches here skip stages; no option of it says which stages a micro-batch runs"
    ]
