"""What every solver returns: an answer, how good it is, and why the solver stopped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

Status = Literal["optimal", "feasible", "infeasible"]
Stop = Literal["exhausted", "gap", "time_limit", "evaluation_limit", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution(Generic[T]):
    """The best choice found for a minimisation, with a bound on all others.

    ``value`` is the objective of ``choice`` (inf and None where there is none), ``lower_bound`` what
    no choice can beat. ``status`` says what was shown: ``optimal`` that value and bound agree within
    the gap asked for, ``infeasible`` that no choice exists, ``feasible`` neither (a choice may still
    be missing). ``stop`` says what ended the run: ``exhausted`` when nothing was left to try.
    ``shortfall`` is what the constraint nearest to being met lacks, in its unit (0: not infeasible,
    or not known). ``counts`` tells the work done. ``seed`` is None for solvers without chance.
    """

    value: float
    lower_bound: float
    status: Status
    stop: Stop
    choice: T | None
    seconds: float
    seed: int | None = None
    shortfall: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def gap(self) -> float:
        return relative_gap(self.value, self.lower_bound)


def relative_gap(value: float, lower_bound: float) -> float:
    """(value - bound) / |value|; 0 where they meet, inf where there is no value yet."""
    if value <= lower_bound:
        return 0.0
    if value == float("inf") or value == 0:
        return float("inf")
    return (value - lower_bound) / abs(value)
