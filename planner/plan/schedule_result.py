"""What ``plan schedule`` answers: a timed schedule of one pipeline, with its bound."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOperation:
    """``op`` is F, B, I, W, S, T, IF or IB; ``chunk`` None for the vocabulary's; seconds, of the problem's unit."""

    op: str
    chunk: int | None
    microbatch: int
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A schedule by rule on the same pipeline: its times, and whether its ``peak_activation`` fits the caps.

    Where the rule does not suit the pipeline ``reason`` says why, and the figures are None.
    """

    name: str
    fits: bool
    makespan_seconds: float | None = None
    span_seconds: float | None = None
    peak_activation: tuple[float, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleResult:
    """``value`` is the objective's seconds (None: no schedule found), ``lower_bound`` what no schedule beats.
    ``seconds`` is what finding it took.

    Per device: ``device_span_seconds`` from its first start to its last end, ``bubble_seconds`` the makespan less
    its work, ``peak_activation`` the most alive at once, ``operations`` in the order it runs them and ``compact``
    the same as text (``planner.plan.compact``). ``span_seconds`` is the largest of the spans. ``baselines`` holds
    the schedules by rule; ``split_backward`` tells whether this one runs I and W apart; ``reasons`` say why there
    is none where ``status`` is infeasible.
    """

    name: str
    schedule: str
    objective: Literal["makespan", "span"]
    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    stop: str
    value: float | None
    lower_bound: float | None
    gap: float | None
    seconds: float
    seed: int | None
    devices: int
    microbatches: int
    device_of_chunk: tuple[int, ...]
    split_backward: bool
    makespan_seconds: float | None = None
    span_seconds: float | None = None
    device_span_seconds: tuple[float, ...] = ()
    bubble_seconds: tuple[float, ...] = ()
    peak_activation: tuple[float, ...] = ()
    compact: tuple[str, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    reasons: tuple[str, ...] = ()
    shortfall: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    operations: tuple[tuple[TimedOperation, ...], ...] = ()
