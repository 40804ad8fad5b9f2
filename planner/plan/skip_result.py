"""What ``plan skip`` answers: who holds which stage, every micro-batch's path, the order on every node, and a bound."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipOperation:
    """``op`` is F (forward), L (loss, where stage 0 computes it when the micro-batch returns) or B (backward)."""

    op: str
    microbatch: int
    start: float
    end: float


def in_flight(row: Sequence[SkipOperation]) -> Iterator[tuple[float, int]]:
    """(second, micro-batches kept from then on) of a node's operations: each from the start of F to the end of B."""
    alive = 0
    yield 0.0, alive
    for one in row:
        if one.op == "F":
            alive += 1
            yield one.start, alive
        elif one.op == "B":
            alive -= 1
            yield one.end, alive


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipBaseline:
    """Another way to run the same micro-batches, in our simulator; ``published_seconds`` is what its authors' own
    simulator says of it. Where it does not apply ``reason`` says why, and ``makespan_seconds`` is None."""

    name: str
    makespan_seconds: float | None = None
    published_seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierLink:
    """A link that takes far longer than a relay over a third node: ``seconds`` against ``relayed_seconds``."""

    between: tuple[int, int]
    names: tuple[str, str]
    seconds: float
    relayed_seconds: float
    used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLoss:
    """What is left when ``node`` is lost: ``makespan_seconds`` of the re-planned rest, None where none can run.

    ``repair`` says what suffices to keep the planned paths that do not visit the node: its ``moved`` micro-batches on
    other copies of its stage, or over other paths; ``repaired_makespan_seconds`` is that, first in, first out. None:
    no such repair was found, everything must be planned anew.
    """

    node: int
    name: str
    makespan_seconds: float | None
    lower_bound: float | None
    replanning_seconds: float
    repair: Literal["other copies", "other paths"] | None = None
    moved: int = 0
    repaired_makespan_seconds: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """Every node lost alone: ``worst`` is the loss with the longest makespan after it. ``repairable``: every loss is
    repaired without touching a path that does not visit the node."""

    survives: bool
    repairable: bool
    worst: NodeLoss | None
    losses: tuple[NodeLoss, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """What skipping buys: the makespan with ``path_length`` stages a micro-batch, as ``SkipResult`` has it."""

    skip_ratio: float
    path_length: int
    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    value: float | None
    lower_bound: float | None
    gap: float | None
    greedy_makespan_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipResult:
    """``value`` is the makespan (None: no schedule found), ``lower_bound`` what no schedule beats within
    ``bound_over``: the things that it leaves free. ``seconds`` is what finding it took.

    ``partitions`` are the nodes of each stage, ``paths`` per micro-batch the nodes of its forward pass, ``order`` per
    node what it runs. ``fifo_makespan_seconds`` is the same arrangement and paths run first in, first out.
    ``peak_in_flight`` is per node the most micro-batches alive at once. ``full_pipeline_makespan_seconds`` runs every
    stage of every micro-batch, ``greedy_makespan_seconds`` skips by a rule: both are among the ``baselines``.
    ``curve`` is the makespan against the skip ratio, where asked for. ``reasons`` say why there is no schedule where
    ``status`` is infeasible.
    """

    name: str
    profile: Literal["skippipe", "forced-ends"]
    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    stop: str
    value: float | None
    lower_bound: float | None
    bound_over: str
    gap: float | None
    seconds: float
    seed: int | None
    nodes: tuple[str, ...]
    stages: int
    micro_batches: int
    path_length: int
    skip_ratio: float
    partitions: tuple[tuple[int, ...], ...] = ()
    paths: tuple[tuple[int, ...], ...] = ()
    order: tuple[tuple[SkipOperation, ...], ...] = ()
    makespan_seconds: float | None = None
    fifo_makespan_seconds: float | None = None
    full_pipeline_makespan_seconds: float | None = None
    greedy_makespan_seconds: float | None = None
    peak_in_flight: tuple[int, ...] = ()
    baselines: tuple[SkipBaseline, ...] = ()
    outlier_links: tuple[OutlierLink, ...] = ()
    survival: Survival | None = None
    curve: tuple[CurvePoint, ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
