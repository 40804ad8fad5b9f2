"""The proof that comes with a plan: how good it is, by what search, and what lost to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args

from pydantic import SerializerFunctionWrapHandler, model_serializer

from costmodels.configuration import Configuration
from planner.plan.inputs import PlanOptions
from planner.plan.parallelism import Degrees
from planner.plan.strict import Amount, Count, Index, Strict

Cuts = Literal[
    "every contiguous cut", "every contiguous cut of one chunk a stage, the balanced cut of several", "the cut by rule"
]
EVERY_CUT, SOME_CUTS, RULE_CUT = get_args(Cuts)


def scope(options: PlanOptions, cuts: str, placed: bool = False, ground: str = "") -> str:
    """What the bound holds for, in words: which configurations, cut how, experts ``placed`` how, on which ``ground``
    (``planner.plan.ground.PROOF``), the gap asked for, on which clock."""
    pinned = "".join(f", {name} = {value}" for name, value in sorted(options.pins.items()))
    without = "".join(f", no {name}" for name in sorted(options.forbid))
    freed = "".join(f", any {name}" for name in sorted(options.allow))
    held = "; experts as placed for each ep" if placed else ""
    return (
        f"configurations of the stated space{pinned}{without}{freed}; {cuts}{held}{ground}; asked gap "
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


class PartitionProof(Strict):
    """How good the plan's cut is among all contiguous cuts of its own configuration.

    None of them is below ``lower_bound`` seconds a step; ``gap`` = (the plan's step - ``lower_bound``) / the plan's
    step.
    """

    status: Literal["optimal", "feasible"]
    lower_bound: Amount
    gap: float

    @classmethod
    def of(cls, value: float, lower_bound: float) -> "PartitionProof":
        """``value``: the plan's step; ``lower_bound`` of all cuts, inf where none is below that."""
        lower_bound = min(value, lower_bound)
        gap = relative_gap(value, lower_bound)
        return cls(status="feasible" if gap else "optimal", lower_bound=lower_bound, gap=gap)


PROVEN_GAP = 1e-6
"""Relative gap at which an order of operations counts as proven: figures without a common unit are rounded."""


class ScheduleProof(Strict):
    """How good the plan's order of operations is among all orders of its own configuration and cut, where it was
    made for them: none within the stages' memory ends before ``lower_bound_seconds``. ``gap`` =
    (``pipeline_seconds`` - ``lower_bound_seconds``) / ``pipeline_seconds``."""

    status: Literal["optimal", "feasible"]
    pipeline_seconds: Amount
    lower_bound_seconds: Amount
    gap: float

    @classmethod
    def of(cls, pipeline_seconds: float, lower_bound_seconds: float) -> "ScheduleProof":
        bound = min(pipeline_seconds, lower_bound_seconds)
        gap = relative_gap(pipeline_seconds, bound)
        status: Literal["optimal", "feasible"] = "optimal" if gap <= PROVEN_GAP else "feasible"
        return cls(status=status, pipeline_seconds=pipeline_seconds, lower_bound_seconds=bound, gap=gap)


class Alternative(Degrees):
    """A configuration that lost, cut at ``boundaries`` of the chain: by how much, and why. ``vocabulary_rows`` on
    each rank of every stage of a vocabulary split over them in shares of their own; absent where there are none."""

    boundaries: tuple[Index, ...]
    vocabulary_rows: tuple[Count, ...] | None = None
    step_seconds: Amount
    peak_memory_bytes: Amount
    slower_by: float
    reason: str

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key != "vocabulary_rows" or value is not None}

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
        vocabulary_rows: Iterable[int] | None = None,
    ) -> "Alternative":
        """``best_seconds``: the step time of the plan it lost to."""
        return cls(
            **asdict(configuration),
            boundaries=tuple(int(b) for b in boundaries),
            vocabulary_rows=None if vocabulary_rows is None else tuple(vocabulary_rows),
            step_seconds=float(step_seconds),
            peak_memory_bytes=float(peak_memory_bytes),
            slower_by=float(step_seconds) / best_seconds - 1.0,
            reason=reason,
        )


class Certificate(Strict):
    """``value`` is the plan's objective, ``lower_bound`` holds for every configuration in ``scope``,
    cut as ``cuts`` says; ``gap`` = (value - lower_bound) / value. ``partition``: the cut of the plan's own
    configuration; ``schedule``: its order of operations, where that was made for it. ``pruned`` counts
    configurations, partial ones included, rejected before the search, by reason. ``alternatives`` are the next best,
    fastest first."""

    status: Literal["optimal", "feasible"]
    objective: Literal["step_seconds"]
    value: Amount
    lower_bound: Amount
    gap: float
    method: str
    scope: str
    cuts: Cuts
    partition: PartitionProof
    searched: Searched
    pruned: dict[str, Count]
    alternatives: tuple[Alternative, ...]
    schedule: ScheduleProof | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key != "schedule" or value is not None}

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
        cuts: Cuts = RULE_CUT,
        partition: PartitionProof | None = None,
        schedule: ScheduleProof | None = None,
        alternatives: Sequence[Alternative] = (),
    ) -> "Certificate":
        """Work out gap, status and what is left open: optimal when the gap is within ``allowed_gap``.

        ``build_plan`` writes the scope. Without ``partition`` nothing is known of other cuts than the plan's.
        ``evaluated`` does not count candidates whose evaluation found them infeasible.
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
            cuts=cuts,
            partition=partition or PartitionProof.of(value, 0.0),
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
            schedule=schedule,
        )


def relative_gap(value: float, lower_bound: float) -> float:
    """(value - lower_bound) / value."""
    return (value - lower_bound) / value if value > 0 else 0.0
