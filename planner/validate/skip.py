"""Checks a skip schedule against the problem's own figures, by counting and comparing.

Nothing of what made the schedule is used. The rules:

    every micro-batch runs K stages, each at most once, along one path of nodes; stage 0 first, and under forced ends
    the last stage last; swaps, their distances and forward jumps within limits; only links that exist
    in every wave each stage that may be skipped serves floor or ceiling of its share, as do the nodes of stage 0
    F along the path; then L on the first node, if stage 0 computes the loss; then B along the path in reverse;
    each waits for the one before and its message (with serial links for the messages sent before it too)
    a node runs one operation at a time, and keeps a micro-batch from the start of F to the end of B, within its cap
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol, TypeAlias

from planner.plan.skip_result import SkipOperation, SkipResult
from planner.validate.findings import RELATIVE_TOLERANCE, Finding, Report


class SwapFigures(Protocol):
    """Limits along a path."""

    @property
    def count(self) -> int: ...
    @property
    def furthest(self) -> int: ...
    @property
    def total_distance(self) -> int: ...
    @property
    def forward_jump(self) -> int | None: ...


class RuleFigures(Protocol):
    """Which rules hold."""

    @property
    def ends(self) -> str: ...
    @property
    def swaps(self) -> SwapFigures: ...
    @property
    def balanced_stages(self) -> bool: ...
    @property
    def balanced_starts(self) -> bool: ...
    @property
    def visits_per_wave(self) -> bool: ...
    @property
    def serial_links(self) -> bool: ...


class SkipFigures(Protocol):
    """What a schedule is checked against: [nodes], links [nodes][nodes], group sizes [stages]."""

    @property
    def forward_seconds(self) -> Sequence[float]: ...
    @property
    def backward_seconds(self) -> Sequence[float]: ...
    @property
    def loss_seconds(self) -> Sequence[float]: ...
    @property
    def link_seconds(self) -> Sequence[Sequence[float]]: ...
    @property
    def memory_cap(self) -> Sequence[int]: ...
    @property
    def group_sizes(self) -> Sequence[int]: ...
    @property
    def microbatches(self) -> int: ...
    @property
    def path_length(self) -> int: ...
    @property
    def waves(self) -> int: ...
    @property
    def stage_of_node(self) -> Sequence[int] | None: ...
    @property
    def copy_link_factor(self) -> float: ...
    @property
    def copy_link_limit_seconds(self) -> float: ...
    @property
    def rules(self) -> RuleFigures: ...


PROVEN_GAP = 1e-6
"""Relative; times are rounded in a proof, by less than this."""

Key: TypeAlias = tuple[str, int, int]
"""Operation, node, micro-batch."""


def check_skip(problem: SkipFigures, result: SkipResult) -> list[Finding]:
    """Everything wrong with ``result`` as a schedule of ``problem``; nothing where it has none to show."""
    report = Report()
    if result.value is None:
        report.require(result.status in ("infeasible", "unknown"), "skip.status", "/status", "has no schedule")
        report.require(
            not result.order and not result.paths, "skip.status", "/order", "but there is none by the status"
        )
        return list(report)
    _check_partitions(problem, result, report)
    _check_path_nodes(problem, result, report)
    if len(result.order) != len(problem.forward_seconds):
        report.same("skip.nodes", "/order", len(result.order), len(problem.forward_seconds), "one list per node")
    if not report.clean:
        return list(report)
    stage_of = {node: stage for stage, held in enumerate(result.partitions) for node in held}
    _check_paths(problem, result, stage_of, report)
    _check_balance(problem, result, stage_of, report)
    slack = _slack(result)
    found = _check_operations(problem, result, slack, report)
    _check_overlap(result, slack, report)
    _check_waits(problem, result, found, slack, report)
    _check_memory(problem, result, slack, report)
    _check_value(problem, result, stage_of, slack, report)
    return list(report)


def _slack(result: SkipResult) -> float:
    """Two sums of the same figures differ by rounding, not by more."""
    latest = max((abs(op.end) for row in result.order for op in row if math.isfinite(op.end)), default=0.0)
    return RELATIVE_TOLERANCE * latest


def _check_partitions(problem: SkipFigures, result: SkipResult, report: Report) -> None:
    nodes = len(problem.forward_seconds)
    held = sorted(node for stage in result.partitions for node in stage)
    report.same("arrangement.nodes", "/partitions", held, list(range(nodes)), "every node holds one stage")
    sizes = [len(stage) for stage in result.partitions]
    report.same("arrangement.sizes", "/partitions", sizes, list(problem.group_sizes), "the nodes of each stage")
    if problem.stage_of_node is not None and report.clean:
        stages = {node: stage for stage, nodes_ in enumerate(result.partitions) for node in nodes_}
        kept = [stages[node] for node in range(nodes)]
        report.same("arrangement.kept", "/partitions", kept, list(problem.stage_of_node), "the arrangement is fixed")


def _check_path_nodes(problem: SkipFigures, result: SkipResult, report: Report) -> None:
    """One path per micro-batch, of as many stages as asked, of nodes that exist."""
    report.same("paths.count", "/paths", len(result.paths), problem.microbatches, "one path per micro-batch")
    nodes = range(len(problem.forward_seconds))
    for k, path in enumerate(result.paths):
        report.same("path.length", f"/paths/{k}", len(path), problem.path_length, "stages of every micro-batch")
        report.require(all(node in nodes for node in path), "path.nodes", f"/paths/{k}", "names nodes there are", path)


def _check_paths(problem: SkipFigures, result: SkipResult, stage_of: dict[int, int], report: Report) -> None:
    last, rules = len(problem.group_sizes) - 1, problem.rules
    for k, path in enumerate(result.paths):
        where, stages = f"/paths/{k}", [stage_of[node] for node in path]
        report.require(len(set(stages)) == len(stages), "path.once", where, "a stage at most once", stages)
        report.same("path.start", where, stages[0], 0, "starts on stage 0")
        if rules.ends == "both":
            report.same("path.end", where, stages[-1], last, "ends on the last stage")
        behind, jumps = [], []
        for position in range(1, len(stages)):
            frontier = max(stages[:position])
            step = stages[position] - frontier
            if step < 0:
                behind.append(-step)
            else:
                jumps.append(step)
        swaps = rules.swaps
        for rule, most, reached, what in (
            ("path.swaps", swaps.count, len(behind), "steps back behind the furthest stage"),
            ("path.furthest", swaps.furthest, max(behind, default=0), "stages of one step back"),
            ("path.distance", swaps.total_distance, sum(behind), "stages of all steps back"),
            ("path.jump", swaps.forward_jump, max(jumps, default=0), "stages of one jump ahead"),
        ):
            if most is not None and reached > most:
                report.add(rule, where, f"{what}, at most {most}", expected=most, found=reached)
        for a, b in _hops(path, rules.ends):
            if not math.isfinite(problem.link_seconds[a][b]):
                report.add("path.link", where, f"there is no link from node {a} to node {b}")


def _hops(path: Sequence[int], ends: str) -> Iterator[tuple[int, int]]:
    """Every message of a micro-batch, from and to."""
    nodes = [node for _, node in _sequence(path, ends)]
    return ((a, b) for a, b in pairwise(nodes) if a != b)


def _sequence(path: Sequence[int], ends: str) -> list[tuple[str, int]]:
    """What a micro-batch runs, one after another."""
    forward, backward = [("F", node) for node in path], [("B", node) for node in reversed(path)]
    return [*forward, *([("L", path[0])] if ends == "first" else []), *backward]


def _check_balance(problem: SkipFigures, result: SkipResult, stage_of: dict[int, int], report: Report) -> None:
    rules, stages = problem.rules, len(problem.group_sizes)
    forced = {0} if rules.ends == "first" else {0, stages - 1}
    size = problem.microbatches // problem.waves
    for wave in range(problem.waves):
        paths = result.paths[wave * size : (wave + 1) * size]
        of_wave = f"wave {wave}: " if problem.waves > 1 else ""
        visits = Counter(node for path in paths for node in path)
        if rules.balanced_stages and stages > len(forced):
            share = size * (problem.path_length - len(forced)) / (stages - len(forced))
            served = Counter(stage_of[node] for path in paths for node in path)
            for stage in set(range(stages)) - forced:
                if not math.floor(share) <= served[stage] <= math.ceil(share):
                    message = f"{of_wave}stage {stage} serves as many micro-batches as every other"
                    report.add("balance.stage", "/paths", message, expected=share, found=served[stage])
        if rules.balanced_starts:
            share = size / problem.group_sizes[0]
            for node in result.partitions[0]:
                if not math.floor(share) <= visits[node] <= math.ceil(share):
                    message = f"{of_wave}node {node} of stage 0 starts as many micro-batches as every other"
                    report.add("balance.start", "/paths", message, expected=share, found=visits[node])
        if rules.visits_per_wave:
            for node, count in visits.items():
                if stage_of[node] != 0 and count > problem.memory_cap[node]:
                    message = f"{of_wave}node {node} is visited by more than its memory_per_node"
                    report.add("memory.visits", "/paths", message, expected=problem.memory_cap[node], found=count)


def _check_operations(
    problem: SkipFigures, result: SkipResult, slack: float, report: Report
) -> dict[Key, SkipOperation]:
    """Every operation once, on its node, as long as it is; returns those that exist."""
    loss = problem.loss_seconds or (0.0,) * len(problem.forward_seconds)
    seconds = {"F": problem.forward_seconds, "L": loss, "B": problem.backward_seconds}
    expected = {
        (op, node, k) for k, path in enumerate(result.paths) for op, node in _sequence(path, problem.rules.ends)
    }
    found: dict[Key, SkipOperation] = {}
    for node, row in enumerate(result.order):
        for position, operation in enumerate(row):
            where, key = f"/order/{node}/{position}", (operation.op, node, operation.microbatch)
            name = f"{operation.op}{operation.microbatch}"
            if key not in expected:
                report.add("operation.known", where, f"{name} does not run on node {node}", found=name)
                continue
            if key in found:
                report.add("operation.once", where, "runs a second time", found=name)
                continue
            found[key] = operation
            if not operation.start >= -slack:
                report.add("operation.start", where, f"{name} starts before 0", found=operation.start)
            took, right = operation.end - operation.start, seconds[operation.op][node]
            if not abs(took - right) <= slack:
                report.add("operation.seconds", where, f"{name} has its own", expected=right, found=took)
    for op, node, k in sorted(expected - found.keys()):
        report.add("operation.missing", f"/order/{node}", f"{op}{k} never runs on node {node}")
    return found


def _check_overlap(result: SkipResult, slack: float, report: Report) -> None:
    for node, row in enumerate(result.order):
        for position in range(1, len(row)):
            before, after = row[position - 1], row[position]
            if not after.start >= before.end - slack:
                message = f"starts before {before.op}{before.microbatch} has ended"
                report.add("node.overlap", f"/order/{node}/{position}", message, expected=before.end, found=after.start)


def _check_waits(
    problem: SkipFigures, result: SkipResult, found: dict[Key, SkipOperation], slack: float, report: Report
) -> None:
    """No operation before its predecessor's message has come."""
    sequences = [_sequence(path, problem.rules.ends) for path in result.paths]
    arrivals = _serial_arrivals(problem, result, sequences) if problem.rules.serial_links else {}
    for k, sequence in enumerate(sequences):
        for (op, node), (following, other) in pairwise(sequence):
            before, after = found.get((op, node, k)), found.get((following, other, k))
            if before is None or after is None:
                continue
            lag = 0.0 if node == other else problem.link_seconds[node][other]
            due = max(before.end + lag, arrivals.get((op, node, k), 0.0))
            if not after.start >= due - slack:
                message = f"{following}{k} on node {other} starts before it has come from {op}{k} on node {node}"
                report.add("wait.message", f"/order/{other}", message, expected=due, found=after.start)


def _serial_arrivals(
    problem: SkipFigures, result: SkipResult, sequences: list[list[tuple[str, int]]]
) -> dict[Key, float]:
    """When the message after an operation has come where a node sends one at a time, in the order it runs."""
    receivers = {
        (op, node, k): other
        for k, sequence in enumerate(sequences)
        for (op, node), (_, other) in pairwise(sequence)
        if other != node
    }
    arrivals: dict[Key, float] = {}
    for node, row in enumerate(result.order):
        free = 0.0
        for operation in row:
            key = (operation.op, node, operation.microbatch)
            if key in receivers:
                free = max(free, operation.end) + problem.link_seconds[node][receivers[key]]
                arrivals[key] = free
    return arrivals


def _check_memory(problem: SkipFigures, result: SkipResult, slack: float, report: Report) -> None:
    peaks = [in_flight_peak(row, slack) for row in result.order]
    for node, (peak, cap) in enumerate(zip(peaks, problem.memory_cap, strict=True)):
        if peak > cap:
            message = f"node {node} keeps more micro-batches in flight than its memory"
            report.add("memory.cap", f"/order/{node}", message, expected=cap, found=peak)
    report.same("memory.peak", "/peak_in_flight", list(result.peak_in_flight), peaks, "the most in flight at once")


def in_flight_peak(row: Sequence[SkipOperation], slack: float = 0.0) -> int:
    """The most micro-batches alive at any instant: from the start of F to the end of B, which frees first."""
    events = [(op.start, 1) for op in row if op.op == "F"] + [(op.end - slack, -1) for op in row if op.op == "B"]
    alive = peak = 0
    for _, change in sorted(events):
        alive += change
        peak = max(peak, alive)
    return peak


def _check_value(
    problem: SkipFigures, result: SkipResult, stage_of: dict[int, int], slack: float, report: Report
) -> None:
    makespan = max((op.end for row in result.order for op in row), default=0.0)
    copies = max(
        (problem.link_seconds[a][b] for held in result.partitions for a in held for b in held if a != b),
        default=0.0,
    )
    if copies > problem.copy_link_limit_seconds + slack:
        message = "the slowest link between nodes of one stage exceeds copy_link_limit_s"
        report.add("copies.link", "/partitions", message, expected=problem.copy_link_limit_seconds, found=copies)
    value, bound = result.value, result.lower_bound
    exchange = problem.copy_link_factor * copies if problem.copy_link_factor else 0.0
    _near("time.makespan", "/makespan_seconds", result.makespan_seconds, makespan, slack, report)
    _near("time.value", "/value", value, makespan + exchange, slack, report)
    if value is None or bound is None:
        report.add("bound.missing", "/lower_bound", "a schedule comes with a bound")
        return
    if not bound <= value + RELATIVE_TOLERANCE * abs(value):
        report.add("bound.above", "/lower_bound", "exceeds the value of this schedule", expected=value, found=bound)
    gap = max(0.0, (value - bound) / value) if value > 0 else 0.0
    _near("bound.gap", "/gap", result.gap, gap, RELATIVE_TOLERANCE, report)
    right = "optimal" if gap <= PROVEN_GAP else "feasible"
    report.same("bound.status", "/status", result.status, right, f"proven is a gap of at most {PROVEN_GAP:g}")


def _near(rule: str, path: str, found: float | None, expected: float, slack: float, report: Report) -> None:
    if found is None or not abs(found - expected) <= slack:
        report.add(rule, path, "does not follow from the operations", expected=expected, found=found)
