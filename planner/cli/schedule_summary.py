"""A schedule as a page a person can act on."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from planner.cli.endings import ENDED
from planner.cli.gantt import gantt
from planner.cli.output import percent, table

if TYPE_CHECKING:
    from planner.pipeline import Pipeline
    from planner.plan.schedule_result import Baseline, ScheduleResult

MOST_REASONS = 4
NARROWEST, WIDEST = 60, 160


def summarize(pipeline: "Pipeline", result: "ScheduleResult") -> str:
    """Problem, times and proof, devices, a chart where it fits, and the named schedules beside."""
    width = min(max(shutil.get_terminal_size((120, 24)).columns, NARROWEST), WIDEST)
    if result.value is None:
        return "\n\n".join([_heading(pipeline, result), _without(result), _named(result)]).rstrip()
    parts = [_heading(pipeline, result), _times(result), _devices(pipeline, result, width)]
    return "\n\n".join([*parts, *filter(None, [gantt(result, width)]), _named(result)]).rstrip()


def _heading(pipeline: "Pipeline", result: "ScheduleResult") -> str:
    problem = pipeline.problem
    caps = sorted(set(problem.memory_cap))
    passes = f", {problem.vocabulary.passes}" if problem.vocabulary is not None else ""
    whole = "" if result.split_backward else ", whole backward passes"
    cap = "no memory cap" if caps == [float("inf")] else f"memory cap {' to '.join(_short(c) for c in _ends(caps))}"
    chunks = f"{problem.chunks} chunk{'s' if problem.chunks > 1 else ''} on {_counted(problem.devices, 'device')}"
    return (
        f"{pipeline.name}: {chunks}, {_counted(problem.microbatches, 'micro-batch', 'es')}"
        f"{passes}{whole}, {cap}; {result.schedule} schedule"
    )


def _ends(values: list[float]) -> list[float]:
    return values if len(values) == 1 else [values[0], values[-1]]


def _counted(count: int, noun: str, plural: str = "s") -> str:
    return f"{count:,} {noun}{'' if count == 1 else plural}"


def _short(value: float | None) -> str:
    return "-" if value is None else "none" if value == float("inf") else f"{value:.6g}"


def _times(result: "ScheduleResult") -> str:
    assert result.makespan_seconds is not None
    assert result.gap is not None
    idle = sum(result.bubble_seconds) / (result.devices * result.makespan_seconds) if result.makespan_seconds else 0.0
    return "\n".join(
        [
            f"Makespan       {_short(result.makespan_seconds)}",
            f"Span           {_short(result.span_seconds)} (of the device with the longest)",
            f"Bubble         {percent(idle)} of the devices' time",
            f"Proof          {result.status}: {result.objective} {_short(result.value)}, "
            f"no schedule below {_short(result.lower_bound)}, gap {percent(result.gap)}",
            f"Time           {result.seconds:.2f} s, {ENDED[result.stop]}, seed {result.seed}",
        ]
    )


def _without(result: "ScheduleResult") -> str:
    if result.status != "infeasible":
        return f"{result.status}: the search was stopped ({ENDED[result.stop]}) before its first schedule"
    more = len(result.reasons) - MOST_REASONS
    lines = [*result.reasons[:MOST_REASONS], *([f"and {more} more devices"] if more > 0 else [])]
    return "infeasible: " + "\n            ".join(lines or ["no schedule exists"])


def _devices(pipeline: "Pipeline", result: "ScheduleResult", width: int) -> str:
    caps = pipeline.problem.memory_cap
    rows = [
        (
            device,
            "+".join(str(chunk) for chunk, home in enumerate(result.device_of_chunk) if home == device),
            _short(result.device_span_seconds[device]),
            _short(result.bubble_seconds[device]),
            _short(result.peak_activation[device]),
            _short(caps[device]),
            result.compact[device],
        )
        for device in range(result.devices)
    ]
    text = table(("device", "chunks", "span", "bubble", "peak", "cap", "sequence"), rows, text=(0, 1, 6))
    return "\n".join(line if len(line) <= width else line[: width - 4] + " ..." for line in text.splitlines())


def _named(result: "ScheduleResult") -> str:
    """Those by rule that run on this pipeline, and of the others why not."""
    rows = list(_rows(result))
    parts = [table(("named schedule", "makespan", "span", "peak", "slower by"), rows, text=(0, 4))] if rows else []
    reasons: dict[str, list[str]] = {}
    for other in result.baselines:
        if other.makespan_seconds is None:
            reasons.setdefault(other.reason.removeprefix(f"{other.name} "), []).append(other.name)
    return "\n".join([*parts, *(f"not {', '.join(names)}: {reason}" for reason, names in reasons.items())])


def _rows(result: "ScheduleResult") -> Iterator[tuple[str, ...]]:
    for other in result.baselines:
        if other.makespan_seconds is not None:
            figures = (_short(other.makespan_seconds), _short(other.span_seconds), _short(max(other.peak_activation)))
            yield other.name, *figures, _beside(result, other)


def _beside(result: "ScheduleResult", other: "Baseline") -> str:
    if not other.fits:
        return f"does not fit: {other.reason}"
    if result.schedule == other.name or not result.value:
        return ""
    value = other.makespan_seconds if result.objective == "makespan" else other.span_seconds
    assert value is not None
    return f"{(value / result.value - 1) * 100:+.2f} %"
