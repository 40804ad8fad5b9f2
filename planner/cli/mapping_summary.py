"""An order of hosts as a page a person can act on."""

from typing import TYPE_CHECKING

from planner.cli.endings import ENDED
from planner.cli.output import percent, table

if TYPE_CHECKING:
    from planner.mapping_problem import MappingProblem
    from planner.plan.mapping_result import MappingResult

MOST_ROWS, MOST_STAGES = 16, 16


def summarize(problem: "MappingProblem", result: "MappingResult") -> str:
    """Problem, seconds and proof, the grid, and the orders beside."""
    parts = [_heading(problem, result), _seconds(result), _grid(result), _beside(result)]
    return "\n\n".join([*parts, *(f"note: {note}" for note in result.notes)])


def _heading(problem: "MappingProblem", result: "MappingResult") -> str:
    options = [
        f"{len(problem.shared)} shared links" if problem.shared else "",
        f"{len(problem.fixed)} fixed places" if problem.fixed else "",
        f"blocks of {problem.blocks.size} pipelines" if problem.blocks is not None else "",
        f"{len(result.spare)} spare hosts" if result.spare else "",
    ]
    grid = f"{len(problem.gpus):,} hosts on {result.pipelines} pipelines of {result.pipeline_stages} stages"
    return ", ".join([f"{result.name}: {grid}", *filter(None, options)]) + f"; objective {result.objective}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.4f}"


def _seconds(result: "MappingResult") -> str:
    rings = [seconds for seconds in result.ring_seconds if seconds is not None]
    return "\n".join(
        [
            f"Value      {_ms(result.value)} ms: slowest pipeline {_ms(max(result.pipeline_seconds))} ms, "
            f"slowest ring {_ms(max(rings, default=0.0))} ms",
            f"Proof      {result.status}: no order below {_ms(result.lower_bound)} ms, gap {percent(result.gap)}",
            f"Time       {result.seconds:.2f} s, {ENDED[result.stop]}, seed {result.seed}",
        ]
    )


def _grid(result: "MappingResult") -> str:
    p = result.pipeline_stages
    stages = min(p, MOST_STAGES)
    rows = [
        (str(r), *result.order[r * p : r * p + stages], *(["..."] if stages < p else []), _ms(seconds))
        for r, seconds in enumerate(result.pipeline_seconds[:MOST_ROWS])
    ]
    rings = ["ring ms", *map(_ms, result.ring_seconds[:stages]), *([""] if stages < p else []), ""]
    header = ("pipeline", *(f"stage {c}" for c in range(stages)), *([""] if stages < p else []), "ms")
    text = table(header, [*rows, rings])
    left = result.pipelines - MOST_ROWS
    spare = f"\nspare: {', '.join(result.spare[:MOST_ROWS])}" if result.spare else ""
    more = f", and {len(result.spare) - MOST_ROWS} more" if len(result.spare) > MOST_ROWS else ""
    return text + (f"\nand {left} more pipelines" if left > 0 else "") + spare + more


def _beside(result: "MappingResult") -> str:
    rows = [
        (other.name, _ms(other.value), other.reason if other.value is None else _slower(other.value, result.value))
        for other in result.baselines
    ]
    return table(("beside", "ms", "slower by"), rows, text=(0, 2))


def _slower(value: float, best: float) -> str:
    return f"{(value / best - 1) * 100:+.2f} %" if best else ""
