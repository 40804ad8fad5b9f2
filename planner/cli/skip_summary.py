"""A skip schedule as a page a person can act on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from planner.cli.endings import ENDED
from planner.cli.output import percent, table

if TYPE_CHECKING:
    from planner.plan.skip_result import SkipBaseline, SkipResult, Survival

MOST_ROWS = 12


def summarize(result: "SkipResult") -> str:
    """Problem, times and proof, others beside it, stages and paths, what a loss costs, and the curve."""
    if result.value is None:
        reasons = "\n            ".join(result.reasons or (ENDED.get(result.stop, result.stop),))
        parts = [_heading(result), f"{result.status}: {reasons}"]
        return "\n\n".join([*parts, *filter(None, [_survival(result.survival), _curve(result)])])
    parts = [_heading(result), _times(result), _beside(result), _stages(result), _paths(result)]
    return "\n\n".join([*parts, *filter(None, [_survival(result.survival), _curve(result)])])


def _heading(result: "SkipResult") -> str:
    return (
        f"{result.name}: {result.micro_batches} micro-batches over {result.stages} stages on {len(result.nodes)} "
        f"nodes, {result.path_length} stages each ({percent(result.skip_ratio)} skipped), profile {result.profile}"
    )


def _times(result: "SkipResult") -> str:
    assert result.gap is not None
    lines = [f"Makespan       {_short(result.makespan_seconds)} s in the planned order"]
    if result.value != result.makespan_seconds:
        lines.append(f"Objective      {_short(result.value)} s with the exchange among the nodes of a stage")
    if result.fifo_makespan_seconds is not None:
        lines.append(f"FIFO           {_short(result.fifo_makespan_seconds)} s for the same paths, first in, first out")
    lines += [
        f"Proof          {result.status}: {_short(result.value)} s, nothing below {_short(result.lower_bound)} s, "
        f"gap {percent(result.gap)}",
        f"Bound over     {result.bound_over}",
        f"Time           {result.seconds:.2f} s, {ENDED.get(result.stop, result.stop)}, seed {result.seed}",
    ]
    return "\n".join(lines)


def _beside(result: "SkipResult") -> str:
    """Other ways to run the micro-batches in our simulator, and what their authors' own says of them."""
    shown = [one for one in result.baselines if one.makespan_seconds is not None]
    published = any(one.published_seconds is not None for one in result.baselines)
    header = ("beside it", "makespan", "slower by", *(("its own figure",) if published else ()))
    rows = [tuple(_baseline(result, one, published)) for one in shown]
    text = [table(header, rows)] if rows else []
    return "\n".join(
        [*text, *(f"not {one.name}: {one.reason}" for one in result.baselines if one.makespan_seconds is None)]
    )


def _baseline(result: "SkipResult", one: "SkipBaseline", published: bool) -> Iterator[str]:
    assert one.makespan_seconds is not None
    assert result.makespan_seconds is not None
    yield one.name
    yield _short(one.makespan_seconds)
    slower = one.makespan_seconds / result.makespan_seconds - 1 if result.makespan_seconds else 0.0
    yield f"{slower * 100:+.2f} %"
    if published:
        yield _short(one.published_seconds)


def _stages(result: "SkipResult") -> str:
    rows = []
    for stage, held in enumerate(result.partitions):
        served = sum(node in held for path in result.paths for node in path)
        busy = max(sum(op.end - op.start for op in result.order[node]) for node in held)
        peak = max(result.peak_in_flight[node] for node in held)
        share = busy / result.makespan_seconds if result.makespan_seconds else 0.0
        rows.append((stage, served, peak, percent(share), ", ".join(_node(result, node) for node in held)))
    rows = rows if len(rows) <= 2 * MOST_ROWS else rows[: 2 * MOST_ROWS]
    return table(("stage", "micro-batches", "in flight", "busiest node", "nodes"), rows, text=(0, 4))


def _node(result: "SkipResult", node: int) -> str:
    return f"{result.nodes[node]} ({node})" if result.nodes[node] != str(node) else str(node)


def _paths(result: "SkipResult") -> str:
    stage_of = {node: stage for stage, held in enumerate(result.partitions) for node in held}
    rows = [
        (k, " ".join(str(stage_of[node]) for node in path), " ".join(map(str, path)))
        for k, path in enumerate(result.paths[:MOST_ROWS])
    ]
    more = len(result.paths) - len(rows)
    text = table(("micro-batch", "stages", "nodes"), rows, text=(0, 1, 2))
    return text + (f"\n(and {more} more; --json shows all)" if more > 0 else "")


def _survival(found: "Survival | None") -> str:
    if found is None:
        return ""
    if found.worst is None or found.worst.makespan_seconds is None:
        lost = [one for one in found.losses if one.makespan_seconds is None]
        lines = [f"the loss of {one.name} ({one.node}): {one.reason}" for one in lost[:MOST_ROWS]]
        return "\n".join(["One failure    is not survived", *(f"               {line}" for line in lines)])
    moved = [one for one in found.losses if one.repair is not None]
    slowed = max((one.repaired_makespan_seconds or 0.0 for one in moved), default=None)
    copies = sum(one.repair == "other copies" for one in moved)
    worst, slowest = found.worst, max(one.replanning_seconds for one in found.losses)
    return "\n".join(
        [
            f"One failure    survived: {_short(worst.makespan_seconds)} s after the worst loss, "
            f"of {worst.name} ({worst.node})",
            f"Local repair   of {len(moved)} of {len(found.losses)} losses, {copies} on other copies and "
            f"{len(moved) - copies} over other paths: {_short(slowed)} s at worst, first in, first out",
            f"Re-planning    {slowest:.2f} s at most, for each of {len(found.losses)} losses",
        ]
    )


def _curve(result: "SkipResult") -> str:
    if not result.curve:
        return ""
    rows = [
        (
            percent(point.skip_ratio),
            point.path_length,
            _short(point.value),
            _short(point.lower_bound),
            _short(point.greedy_makespan_seconds),
            point.status,
        )
        for point in result.curve
    ]
    return table(("skipped", "stages each", "makespan", "nothing below", "greedy", "status"), rows, text=(0, 5))


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
