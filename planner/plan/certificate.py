"""The proof that comes with a plan: how good it is, by what search, and what lost to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from costmodels.configuration import Configuration
from planner.plan.inputs import PlanOptions
from planner.plan.parallelism import Degrees
from planner.plan.strict import Amount, Count, Index, Strict


def scope(options: PlanOptions) -> str:
    """What the bound holds for, in words: which configurations, the gap asked for, on which clock."""
    pinned = "".join(f", {name} = {value}" for name, value in sorted(options.pins.items()))
    without = "".join(f", no {name}" for name in sorted(options.forbid))
    freed = "".join(f", any {name}" for name in sorted(options.allow))
    return (
        f"configurations of the stated space{pinned}{without}{freed}, {options.split} cut, asked gap "
        f"{options.gap!r}; a bound on the stated cost model, not on measured time"
    )


class Searched(Strict):
    """Every candidate is accounted for once.

    ``candidates`` = ``evaluated`` (to a finite time) + ``infeasible`` (found impossible during the
    search) + ``cut_by_bound`` + ``open`` (left when the search stopped early). ``refined`` candidates
    had their bound tightened. ``considered`` = ``candidates`` + everything pruned before the search,
    partial configurations counted once. ``ranked``: the plan and its alternatives.
    """

    considered: Count
    candidates: Count
    refined: Count
    evaluated: Count
    infeasible: Count
    cut_by_bound: Count
    open: Count
    ranked: Count


class Alternative(Degrees):
    """A configuration that lost, cut at ``boundaries`` of the chain: by how much, and why."""

    boundaries: tuple[Index, ...]
    step_seconds: Amount
    peak_memory_bytes: Amount
    slower_by: float
    reason: str

    @classmethod
    def of(
        cls,
        configuration: Configuration,
        boundaries: Iterable[int],
        *,
        step_seconds: float,
        peak_memory_bytes: float,
        best_seconds: float,
        reason: str,
    ) -> "Alternative":
        """``best_seconds``: the step time of the plan it lost to."""
        return cls(
            **asdict(configuration),
            boundaries=tuple(int(b) for b in boundaries),
            step_seconds=float(step_seconds),
            peak_memory_bytes=float(peak_memory_bytes),
            slower_by=float(step_seconds) / best_seconds - 1.0,
            reason=reason,
        )


class Certificate(Strict):
    """``value`` is the plan's objective, ``lower_bound`` holds for every configuration in ``scope``,
    ``gap`` = (value - lower_bound) / value. ``pruned`` counts configurations, partial ones included,
    rejected before the search, by reason. ``alternatives`` are the next best, fastest first."""

    status: Literal["optimal", "feasible"]
    objective: Literal["step_seconds"]
    value: Amount
    lower_bound: Amount
    gap: float
    method: str
    scope: str
    searched: Searched
    pruned: dict[str, Count]
    alternatives: tuple[Alternative, ...]

    @classmethod
    def of(
        cls,
        *,
        value: float,
        lower_bound: float,
        allowed_gap: float,
        method: str,
        candidates: int,
        refined: int,
        evaluated: int,
        infeasible: int,
        cut_by_bound: int,
        pruned: Mapping[str, int],
        alternatives: Sequence[Alternative] = (),
    ) -> "Certificate":
        """Work out gap, status and what is left open: optimal when the gap is within ``allowed_gap``.

        ``build_plan`` writes the scope. ``evaluated`` does not count candidates whose evaluation found them infeasible.
        """
        value, lower_bound = float(value), float(lower_bound)
        gap = relative_gap(value, lower_bound)
        return cls(
            status="optimal" if gap <= allowed_gap else "feasible",
            objective="step_seconds",
            value=value,
            lower_bound=lower_bound,
            gap=gap,
            method=method,
            scope="",
            searched=Searched(
                considered=candidates + sum(pruned.values()),
                candidates=candidates,
                refined=refined,
                evaluated=evaluated,
                infeasible=infeasible,
                cut_by_bound=cut_by_bound,
                open=candidates - evaluated - infeasible - cut_by_bound,
                ranked=1 + len(alternatives),
            ),
            pruned=dict(pruned),
            alternatives=tuple(alternatives),
        )


def relative_gap(value: float, lower_bound: float) -> float:
    """(value - lower_bound) / value."""
    return (value - lower_bound) / value if value > 0 else 0.0
