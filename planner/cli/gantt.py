"""A small schedule as rows of characters, one a device, time from left to right."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.plan.schedule_result import ScheduleResult, TimedOperation

MOST_DEVICES = 8
MARGIN = 4


def gantt(result: "ScheduleResult", width: int) -> str:
    """Empty where there are more than 8 devices, or an operation would get no column of its own.

    A device's second and later chunks are in lower case; dots are idle time.
    """
    makespan = result.makespan_seconds or 0.0
    shortest = min((op.end - op.start for row in result.operations for op in row if op.end > op.start), default=0.0)
    columns = _columns(makespan, shortest, width - MARGIN)
    if result.devices > MOST_DEVICES or not columns:
        return ""
    begin = min(row[0].start for row in result.operations if row)
    scale = columns / makespan
    lines = []
    for device, row in enumerate(result.operations):
        held = [chunk for chunk, home in enumerate(result.device_of_chunk) if home == device]
        cells = ["."] * columns
        for operation in row:
            first, last = (round((t - begin) * scale) for t in (operation.start, operation.end))
            if last > first:
                cells[first:last] = _label(operation, held, last - first)
        lines.append(f"{device:>2}  " + "".join(cells))
    return "\n".join(lines)


def _columns(makespan: float, shortest: float, most: int) -> int:
    """So many that the shortest operation has 3 of them, or 1; 0: no room."""
    for each in (3, 2, 1):
        if makespan > 0 and shortest > 0 and (columns := round(makespan / shortest * each)) <= most:
            return columns
    return 0


def _label(operation: "TimedOperation", held: list[int], width: int) -> str:
    op = operation.op if operation.chunk is None or operation.chunk == held[0] else operation.op.lower()
    full = f"{op}{operation.microbatch}"
    if len(full) < width or len(full) == width == 2:
        return full.ljust(width, "-")
    return op[:width].ljust(width, "-")
