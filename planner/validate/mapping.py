"""Checks an order of hosts against the problem's own figures, term by term; nothing of what made it is used.

    pipeline(r) = sum over e of W (2 S / bw + 2 lat) + sum over stages of B max over the block's links of 1 / bw
    ring(c)     = max over r of 2 (n - 1) / n D / bw + 2 (n - 1) lat, from pipeline r to the next, and around
    value       = max over r of pipeline(r) + max over counted c of ring(c)

step: W = ceil(m / p), all stages are counted; pipette: W = 1, the first alone. bw and lat are those of the worse
direction; where a shared link lies between, 1 / bw is at least flows / capacity, with the flows of all pipelines (all
counted rings, all blocks) in one direction: one for each edge or pair, half of a closed ring's crossings.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Protocol

from planner.plan.certificate import relative_gap
from planner.plan.mapping_result import MappingResult
from planner.validate.findings import RELATIVE_TOLERANCE, Finding, Report


class SharedFigures(Protocol):
    """A link that ``members`` (positions in gpus) share."""

    @property
    def members(self) -> Sequence[int]: ...
    @property
    def bytes_per_second(self) -> float: ...


class BlockFigures(Protocol):
    """Blocks of ``size`` pipelines; ``bytes`` over each link in every stage."""

    @property
    def size(self) -> int: ...
    @property
    def bytes(self) -> float: ...
    @property
    def kind(self) -> str: ...


class MappingFigures(Protocol):
    """What an order is checked against; tables [gpus, gpus] of bytes per second and seconds."""

    @property
    def gpus(self) -> Sequence[str]: ...
    @property
    def bandwidth(self) -> Any: ...
    @property
    def latency(self) -> Any: ...
    @property
    def pipelines(self) -> int: ...
    @property
    def pipeline_stages(self) -> int: ...
    @property
    def pipeline_bytes(self) -> float: ...
    @property
    def data_parallel_bytes(self) -> float: ...
    @property
    def microbatches(self) -> int: ...
    @property
    def objective(self) -> str: ...
    @property
    def shared(self) -> Sequence[SharedFigures]: ...
    @property
    def fixed(self) -> Mapping[tuple[int, int], int]: ...
    @property
    def excluded(self) -> frozenset[int]: ...
    @property
    def blocks(self) -> BlockFigures | None: ...


Pair = tuple[int, int]


def check_mapping(problem: MappingFigures, result: MappingResult) -> list[Finding]:
    """Everything wrong with ``result`` as an order of ``problem``."""
    report = Report()
    n, p = problem.pipelines, problem.pipeline_stages
    report.same("order.pipelines", "/pipelines", result.pipelines, n, "as the problem has them")
    report.same("order.stages", "/pipeline_stages", result.pipeline_stages, p, "as the problem has them")
    if len(result.order) != n * p:
        report.same("order.places", "/order", len(result.order), n * p, "one host a place")
    elif _check_names(problem, result, report):
        _check_seconds(problem, result, report)
    _check_bound(result, report)
    return list(report)


def _check_names(problem: MappingFigures, result: MappingResult, report: Report) -> bool:
    """Whether every name is known, so that the rest can be priced."""
    position = {name: k for k, name in enumerate(problem.gpus)}
    seen: set[str] = set()
    for place, name in enumerate(result.order):
        path = f"/order/{place}"
        if name not in position:
            report.add("order.known", path, "is none of gpus", found=name)
        elif name in seen:
            report.add("order.once", path, "has another place already", found=name)
        elif position[name] in problem.excluded:
            report.add("order.excluded", path, "is excluded", found=name)
        seen.add(name)
    for (r, c), host in problem.fixed.items():
        place = r * problem.pipeline_stages + c
        report.same("order.fixed", f"/order/{place}", result.order[place], problem.gpus[host], "this place is fixed")
    left = [name for name in problem.gpus if name not in seen]
    report.same("order.spare", "/spare", list(result.spare), left, "hosts without a place")
    return all(name in position for name in result.order)


def _check_seconds(problem: MappingFigures, result: MappingResult, report: Report) -> None:
    p = problem.pipeline_stages
    position = {name: k for k, name in enumerate(problem.gpus)}
    hosts = [position[name] for name in result.order]
    rows = [hosts[k : k + p] for k in range(0, len(hosts), p)]
    pipelines, rings = pipeline_seconds(problem, rows), ring_seconds(problem, rows)
    for name, found, expected in (
        ("pipeline_seconds", result.pipeline_seconds, pipelines),
        ("ring_seconds", result.ring_seconds, rings),
    ):
        report.same(f"time.{name}", f"/{name}", len(found), len(expected), "one figure each")
        for k, (one, right) in enumerate(zip(found, expected, strict=False)):
            report.same(f"time.{name}", f"/{name}/{k}", one, right, "by the problem's figures")
    value = max(pipelines) + max(ring for ring in rings if ring is not None)
    report.same("time.value", "/value", result.value, value, "the largest pipeline and the largest counted ring")


def pipeline_seconds(problem: MappingFigures, rows: Sequence[Sequence[int]]) -> list[float]:
    """Of each pipeline, its blocks included."""
    p = problem.pipeline_stages
    waves = -(-problem.microbatches // p) if problem.objective == "step" else 1
    edges = [[(row[c], row[c + 1]) for c in range(p - 1)] for row in rows]
    flows = _flows(problem, [pair for row in edges for pair in row], 1.0)
    seconds = [
        sum(
            waves * 2.0 * (problem.pipeline_bytes * _inverse(problem, pair, flows) + _latency(problem, pair))
            for pair in row
        )
        for row in edges
    ]
    if problem.blocks is None or problem.blocks.size < 2:
        return seconds
    size, around = problem.blocks.size, problem.blocks.kind == "ring"
    links: dict[Pair, list[Pair]] = {}
    for first in range(0, len(rows), size):
        for c in range(p):
            members = [rows[r][c] for r in range(first, first + size)]
            ring = list(zip(members, members[1:] + members[:1], strict=True))
            links[first, c] = ring if around else list(combinations(members, 2))
    flows = _flows(problem, [pair for block in links.values() for pair in block], 0.5 if around else 1.0)
    for (first, _), block in links.items():
        slowest = max(_inverse(problem, pair, flows) for pair in block)
        for r in range(first, first + size):
            seconds[r] += problem.blocks.bytes * slowest
    return seconds


def ring_seconds(problem: MappingFigures, rows: Sequence[Sequence[int]]) -> list[float | None]:
    """Of each stage; None where the objective does not count it."""
    n, p = problem.pipelines, problem.pipeline_stages
    counted = range(p) if problem.objective == "step" else range(1)
    rings = {c: [(rows[r][c], rows[(r + 1) % n][c]) for r in range(n)] if n > 1 else [] for c in counted}
    flows = _flows(problem, [pair for ring in rings.values() for pair in ring], 0.5)
    carried = 2.0 * (n - 1) / n * problem.data_parallel_bytes
    return [
        max(
            (carried * _inverse(problem, pair, flows) + 2.0 * (n - 1) * _latency(problem, pair) for pair in rings[c]),
            default=0.0,
        )
        if c in rings
        else None
        for c in range(p)
    ]


def _flows(problem: MappingFigures, pairs: Sequence[Pair], weight: float) -> list[float]:
    """In one direction of each shared link."""
    return [weight * sum(_crosses(link, pair) for pair in pairs) for link in problem.shared]


def _crosses(link: SharedFigures, pair: Pair) -> bool:
    return (pair[0] in link.members) != (pair[1] in link.members)


def _inverse(problem: MappingFigures, pair: Pair, flows: Sequence[float]) -> float:
    i, j = pair
    slowest = 1.0 / min(float(problem.bandwidth[i, j]), float(problem.bandwidth[j, i]))
    for link, count in zip(problem.shared, flows, strict=True):
        if _crosses(link, pair):
            slowest = max(slowest, count / link.bytes_per_second)
    return slowest


def _latency(problem: MappingFigures, pair: Pair) -> float:
    i, j = pair
    return 0.0 if problem.latency is None else max(float(problem.latency[i, j]), float(problem.latency[j, i]))


def _check_bound(result: MappingResult, report: Report) -> None:
    slack = RELATIVE_TOLERANCE * abs(result.value)
    if not result.lower_bound <= result.value + slack:
        message = "exceeds the value of this order"
        report.add("bound.above", "/lower_bound", message, expected=result.value, found=result.lower_bound)
    gap = relative_gap(result.value, result.lower_bound)
    report.same("bound.gap", "/gap", result.gap, gap, "(value - lower_bound) / value")
    right = "optimal" if gap <= RELATIVE_TOLERANCE else "feasible"
    report.same("bound.status", "/status", result.status, right, f"proven is a gap of at most {RELATIVE_TOLERANCE:g}")
