"""Checks a timed schedule of a pipeline against the pipeline's own figures, by counting and comparing.

Nothing of what made the schedule is used. For every micro-batch k the rules are those of the problem:

    F(c) before F(c + 1), I(c + 1) before I(c), p2p seconds between; F of the last chunk before its I; I(c) before W(c)
    IF on all, barrier, F of the first chunk;  I of the first chunk, barrier, IB on all
    F of the last chunk, broadcast, S on all;  S on all, barrier, T on all
    vocab-1: T on all, barrier, I of the last chunk;  vocab-2: S on all, barrier, I of the last chunk

with B in place of I, and no W, where the schedule runs whole backward passes. A chunk's activation is alive from the
start of F; the input gradient's share ends with I (where negative: more begins with I), the rest with W.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeAlias

from planner.plan.certificate import PROVEN_GAP
from planner.plan.compact import OF_A_CHUNK, Step, expand
from planner.plan.schedule_result import ScheduleResult, TimedOperation
from planner.validate.findings import RELATIVE_TOLERANCE, Finding, Report


class VocabularyFigures(Protocol):
    """Seconds and memory of a split vocabulary, [devices]."""

    @property
    def passes(self) -> str: ...
    @property
    def s_seconds(self) -> Sequence[float]: ...
    @property
    def t_seconds(self) -> Sequence[float]: ...
    @property
    def input_forward_seconds(self) -> Sequence[float]: ...
    @property
    def input_backward_seconds(self) -> Sequence[float]: ...
    @property
    def barrier_seconds(self) -> float: ...
    @property
    def broadcast_seconds(self) -> float: ...
    @property
    def lookup_seconds(self) -> float | None: ...
    @property
    def kept(self) -> Sequence[float]: ...


class PipelineFigures(Protocol):
    """What a schedule is checked against: [chunks], p2p [chunks - 1], caps [devices]."""

    @property
    def devices(self) -> int: ...
    @property
    def microbatches(self) -> int: ...
    @property
    def device_of_chunk(self) -> Sequence[int]: ...
    @property
    def forward_seconds(self) -> Sequence[float]: ...
    @property
    def input_grad_seconds(self) -> Sequence[float]: ...
    @property
    def weight_grad_seconds(self) -> Sequence[float]: ...
    @property
    def p2p_seconds(self) -> Sequence[float]: ...
    @property
    def activation(self) -> Sequence[float]: ...
    @property
    def released_by_input_grad(self) -> Sequence[float]: ...
    @property
    def released_by_weight_grad(self) -> Sequence[float]: ...
    @property
    def memory_cap(self) -> Sequence[float]: ...
    @property
    def vocabulary(self) -> VocabularyFigures | None: ...
    @property
    def split_backward(self) -> bool: ...
    @property
    def objective(self) -> str: ...


Key: TypeAlias = tuple[str, int, int]
"""Kind, chunk (device for S, T, IF, IB), micro-batch."""


def check_schedule(problem: PipelineFigures, result: ScheduleResult) -> list[Finding]:
    """Everything wrong with ``result`` as a schedule of ``problem``; nothing where it has none to show."""
    report = Report()
    if result.value is None:
        report.require(result.status in ("infeasible", "unknown"), "schedule.status", "/status", "has no schedule")
        report.require(not result.operations, "schedule.status", "/operations", "but the status says there are none")
        return list(report)
    if len(result.operations) != problem.devices:
        report.same("schedule.devices", "/operations", len(result.operations), problem.devices, "one list per device")
        return list(report)
    if result.split_backward and not problem.split_backward:
        report.add("schedule.split", "/split_backward", "this pipeline's backward passes are whole")
    slack = _slack(result)
    found = _check_operations(problem, result, slack, report)
    _check_overlap(result, slack, report)
    _check_waits(problem, result, found, slack, report)
    _check_memory(problem, result, report)
    _check_times(problem, result, slack, report)
    _check_bound(problem, result, report)
    _check_compact(problem, result, report)
    return list(report)


def _slack(result: ScheduleResult) -> float:
    """Two sums of the same figures differ by rounding, not by more."""
    latest = max((abs(op.end) for row in result.operations for op in row if math.isfinite(op.end)), default=0.0)
    return RELATIVE_TOLERANCE * latest


def expected_operations(problem: PipelineFigures, split_backward: bool) -> dict[Key, tuple[int, float]]:
    """Device and seconds of every operation that the step has."""
    expected: dict[Key, tuple[int, float]] = {}
    for k in range(problem.microbatches):
        for chunk, device in enumerate(problem.device_of_chunk):
            expected["F", chunk, k] = device, problem.forward_seconds[chunk]
            by_input, by_weight = problem.input_grad_seconds[chunk], problem.weight_grad_seconds[chunk]
            if split_backward:
                expected["I", chunk, k] = device, by_input
                expected["W", chunk, k] = device, by_weight
            else:
                expected["B", chunk, k] = device, by_input + by_weight
        passes = problem.vocabulary
        if passes is not None:
            for device in range(problem.devices):
                expected["IF", device, k] = device, passes.input_forward_seconds[device]
                expected["IB", device, k] = device, passes.input_backward_seconds[device]
                expected["S", device, k] = device, passes.s_seconds[device]
                expected["T", device, k] = device, passes.t_seconds[device]
    return expected


def _check_operations(
    problem: PipelineFigures, result: ScheduleResult, slack: float, report: Report
) -> dict[Key, TimedOperation]:
    """Every operation once, on its device, as long as it is; returns those that exist."""
    expected = expected_operations(problem, result.split_backward)
    found: dict[Key, TimedOperation] = {}
    for device, position, operation in _all(result):
        path = f"/operations/{device}/{position}"
        key = _key(operation, device)
        if key is None or key not in expected:
            report.add("operation.known", path, "is no operation of this pipeline", found=_named(operation))
            continue
        if key in found:
            report.add("operation.once", path, "runs a second time", found=_named(operation))
            continue
        found[key] = operation
        home, seconds = expected[key]
        if home != device:
            report.add("operation.device", path, f"{_named(operation)} belongs elsewhere", expected=home, found=device)
        if not operation.start >= -slack:
            report.add("operation.start", path, f"{_named(operation)} starts before 0", found=operation.start)
        if not abs(operation.end - operation.start - seconds) <= slack:
            took = operation.end - operation.start
            report.add("operation.seconds", path, f"{_named(operation)} has its own", expected=seconds, found=took)
    for op, where, k in expected:
        if (op, where, k) not in found:
            place = f"chunk {where}" if op in OF_A_CHUNK else f"device {where}"
            report.add("operation.missing", "/operations", f"{op} of {place}, micro-batch {k}, never runs")
    return found


def _check_overlap(result: ScheduleResult, slack: float, report: Report) -> None:
    for device, row in enumerate(result.operations):
        for position in range(1, len(row)):
            before, after = row[position - 1], row[position]
            if not after.start >= before.end - slack:
                message = f"{_named(after)} starts before {_named(before)} has ended"
                path = f"/operations/{device}/{position}"
                report.add("device.overlap", path, message, expected=before.end, found=after.start)


def _check_waits(
    problem: PipelineFigures, result: ScheduleResult, found: dict[Key, TimedOperation], slack: float, report: Report
) -> None:
    """``after`` starts no sooner than ``lag`` seconds past the end of everything in ``before``."""
    for before, after, lag, rule, why in _waits(problem, result.split_backward):
        ends = [found[key].end for key in before if key in found]
        for key in after:
            if ends and key in found and not found[key].start >= max(ends) + lag - slack:
                late = max(ends) + lag
                message = f"{_named(found[key])} starts before {why}"
                report.add(rule, "/operations", message, expected=late, found=found[key].start)


def _waits(problem: PipelineFigures, split: bool) -> Iterator[tuple[list[Key], list[Key], float, str, str]]:
    chunks = len(problem.device_of_chunk)
    last = chunks - 1
    back = "I" if split else "B"
    passes = problem.vocabulary
    for k in range(problem.microbatches):
        for c in range(last):
            lag = problem.p2p_seconds[c]
            yield [("F", c, k)], [("F", c + 1, k)], lag, "wait.forward", f"chunk {c} has sent its output"
            yield [(back, c + 1, k)], [(back, c, k)], lag, "wait.backward", f"chunk {c + 1} has sent its gradient"
        yield [("F", last, k)], [(back, last, k)], 0.0, "wait.turn", "its forward pass has ended"
        if split:
            for c in range(chunks):
                yield [("I", c, k)], [("W", c, k)], 0.0, "wait.weight", "its input gradient has ended"
        if passes is not None:
            on_all = {op: [(op, device, k) for device in range(problem.devices)] for op in ("S", "T", "IF", "IB")}
            first_forward, last_forward = [("F", 0, k)], [("F", last, k)]
            first_back, last_back = [(back, 0, k)], [(back, last, k)]
            barrier, broadcast = passes.barrier_seconds, passes.broadcast_seconds
            lookup = barrier if passes.lookup_seconds is None else passes.lookup_seconds
            yield on_all["IF"], first_forward, lookup, "wait.lookup", "the lookup is gathered"
            yield first_back, on_all["IB"], lookup, "wait.lookup_gradient", "the gradient of the lookup is there"
            yield last_forward, on_all["S"], broadcast, "wait.broadcast", "the last chunk's output is there"
            yield on_all["S"], on_all["T"], barrier, "wait.statistics", "S has ended on all devices"
            if passes.passes == "vocab-1":
                yield on_all["T"], last_back, barrier, "wait.output_gradient", "T has ended on all devices"
            else:
                yield on_all["S"], last_back, barrier, "wait.output_gradient", "S has ended on all devices"


def peak_activations(problem: PipelineFigures, rows: Sequence[Sequence[TimedOperation]]) -> list[float]:
    """The most alive at any instant, by device: a sweep along what each runs, one operation after another."""
    kept = problem.vocabulary.kept if problem.vocabulary is not None else ()
    peaks = []
    for device, row in enumerate(rows):
        alive = peak = 0.0
        for operation in row:
            begins, ends = _memory(problem, operation, kept[device] if kept else 0.0)
            alive += begins
            peak = max(peak, alive)
            alive -= ends
        peaks.append(peak)
    return peaks


def _memory(problem: PipelineFigures, operation: TimedOperation, kept: float) -> tuple[float, float]:
    """What begins to live with the operation's start, and what ends with its end."""
    if operation.op == "S":
        return kept, 0.0
    if operation.op == "T":
        return 0.0, kept
    chunk = operation.chunk
    if operation.op not in OF_A_CHUNK or chunk is None or not 0 <= chunk < len(problem.activation):
        return 0.0, 0.0
    if operation.op == "F":
        return problem.activation[chunk], 0.0
    if operation.op == "B":
        return 0.0, problem.activation[chunk]
    if operation.op == "W":
        return 0.0, problem.released_by_weight_grad[chunk]
    released = problem.released_by_input_grad[chunk]
    return (0.0, released) if released >= 0 else (-released, 0.0)


def _check_memory(problem: PipelineFigures, result: ScheduleResult, report: Report) -> None:
    peaks = peak_activations(problem, result.operations)
    for device, (peak, cap) in enumerate(zip(peaks, problem.memory_cap, strict=True)):
        if not peak <= cap + RELATIVE_TOLERANCE * abs(cap):
            message = f"device {device} keeps more alive than its cap"
            report.add("memory.cap", f"/peak_activation/{device}", message, expected=cap, found=peak)
    _same_list("memory.peak", "peak_activation", result.peak_activation, peaks, report)


def _check_times(problem: PipelineFigures, result: ScheduleResult, slack: float, report: Report) -> None:
    rows = [row for row in result.operations if row]
    if not rows:
        return
    starts = [min(op.start for op in row) for row in rows]
    ends = [max(op.end for op in row) for row in rows]
    spans = [end - start for start, end in zip(starts, ends, strict=True)]
    makespan = max(ends) - min(starts)
    busy = [sum(op.end - op.start for op in row) for row in rows]
    _near("time.makespan", "/makespan_seconds", result.makespan_seconds, makespan, slack, report)
    _near("time.span", "/span_seconds", result.span_seconds, max(spans), slack, report)
    _same_list("time.span", "device_span_seconds", result.device_span_seconds, spans, report, slack)
    idle = [makespan - work for work in busy]
    _same_list("time.bubble", "bubble_seconds", result.bubble_seconds, idle, report, slack)
    value = makespan if problem.objective == "makespan" else max(spans)
    _near("time.value", "/value", result.value, value, slack, report)


def _check_bound(problem: PipelineFigures, result: ScheduleResult, report: Report) -> None:
    value, bound = result.value, result.lower_bound
    if value is None or bound is None:
        report.add("bound.missing", "/lower_bound", "a schedule comes with a bound")
        return
    slack = RELATIVE_TOLERANCE * abs(value)
    if not bound <= value + slack:
        report.add("bound.above", "/lower_bound", "exceeds the value of this schedule", expected=value, found=bound)
    gap = max(0.0, (value - bound) / value) if value > 0 else 0.0
    _near("bound.gap", "/gap", result.gap, gap, RELATIVE_TOLERANCE, report)
    right = "optimal" if gap <= PROVEN_GAP else "feasible"
    report.same("bound.status", "/status", result.status, right, f"proven is a gap of at most {PROVEN_GAP:g}")


def _check_compact(problem: PipelineFigures, result: ScheduleResult, report: Report) -> None:
    if len(result.compact) != problem.devices:
        report.same("compact.devices", "/compact", len(result.compact), problem.devices, "one text per device")
        return
    for device, (text, row) in enumerate(zip(result.compact, result.operations, strict=True)):
        held = [chunk for chunk, home in enumerate(problem.device_of_chunk) if home == device]
        try:
            steps = expand(text, held)
        except ValueError as error:
            report.add("compact.text", f"/compact/{device}", str(error))
            continue
        if steps != [Step(op.op, op.chunk, op.microbatch) for op in row]:
            report.add("compact.same", f"/compact/{device}", "is not the sequence of the device's operations")


def _all(result: ScheduleResult) -> Iterator[tuple[int, int, TimedOperation]]:
    for device, row in enumerate(result.operations):
        for position, operation in enumerate(row):
            yield device, position, operation


def _key(operation: TimedOperation, device: int) -> Key | None:
    if operation.op in OF_A_CHUNK:
        return None if operation.chunk is None else (operation.op, operation.chunk, operation.microbatch)
    return None if operation.chunk is not None else (operation.op, device, operation.microbatch)


def _named(operation: TimedOperation) -> str:
    where = "" if operation.chunk is None else f" of chunk {operation.chunk}"
    return f"{operation.op}{where}, micro-batch {operation.microbatch},"


def _near(rule: str, path: str, found: float | None, expected: float, slack: float, report: Report) -> None:
    if found is None or not abs(found - expected) <= slack:
        report.add(rule, path, "follows from the operations", expected=expected, found=found)


def _same_list(
    rule: str, key: str, found: Sequence[float], expected: Sequence[float], report: Report, slack: float = 0.0
) -> None:
    if len(found) != len(expected):
        report.same(rule, f"/{key}", len(found), len(expected), "one figure per device")
        return
    for device, (one, other) in enumerate(zip(found, expected, strict=True)):
        _near(rule, f"/{key}/{device}", one, other, slack + RELATIVE_TOLERANCE * abs(other), report)
