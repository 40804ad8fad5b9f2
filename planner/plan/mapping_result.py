"""What ``plan map`` answers: an order of hosts over pipelines and stages, with its bound."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherOrder:
    """An order to compare with, and its objective in seconds; None, and why, where there is none."""

    name: str
    value: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingResult:
    """``value`` is the objective in seconds, ``lower_bound`` what no order is below; ``seconds`` is what finding it
    took.

    ``order`` holds hosts by place, pipeline by pipeline: place r * pipeline_stages + c is stage c of pipeline r.
    ``spare`` have no place. ``pipeline_seconds`` [pipelines]: edges and blocks of each; ``ring_seconds`` [stages]: the
    data-parallel ring of each, None where the objective does not count it. ``value`` is the largest of the former plus
    the largest of the latter. ``notes`` tell how the input was read.
    """

    name: str
    objective: Literal["step", "pipette"]
    status: Literal["optimal", "feasible"]
    stop: str
    value: float
    lower_bound: float
    gap: float
    seconds: float
    seed: int
    pipelines: int
    pipeline_stages: int
    order: tuple[str, ...]
    spare: tuple[str, ...]
    pipeline_seconds: tuple[float, ...]
    ring_seconds: tuple[float | None, ...]
    baselines: tuple[OtherOrder, ...]
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
