"""An integer programme as plain rows, for whichever solver is installed.

    minimise c x    subject to    rows with lower <= sum a_i x_i <= upper,    0 <= x <= upper bound, some x integer.

``solve`` gives it to CBC through PuLP (``ilp_pulp``) or to CP-SAT (``ilp_cpsat``); both are imported only then.
"""

from dataclasses import dataclass, field
from typing import Literal

from solvers.solution import Stop

Backend = Literal["cbc", "cp-sat"]


@dataclass(frozen=True, slots=True)
class Row:
    """lower <= sum of coefficient * variable <= upper."""

    terms: tuple[tuple[int, float], ...]
    lower: float
    upper: float


@dataclass(slots=True)
class IntegerProgramme:
    """Variables are numbered in the order of ``variable``; ``cost``, ``upper`` and ``whole`` are one for each."""

    cost: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def variable(self, cost: float = 0.0, *, upper: float = 1.0, whole: bool = True) -> int:
        self.cost.append(cost)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.cost) - 1

    def at_most(self, terms: list[tuple[int, float]], bound: float) -> None:
        self.rows.append(Row(tuple(terms), -float("inf"), bound))

    def equal(self, terms: list[tuple[int, float]], value: float) -> None:
        self.rows.append(Row(tuple(terms), value, value))


@dataclass(frozen=True, slots=True)
class ProgrammeResult:
    """``values`` of the variables, None where no solution was found; ``proven`` says that it is optimal, or,
    without values, that there is none."""

    values: tuple[float, ...] | None
    lower_bound: float
    proven: bool

    @property
    def stop(self) -> Stop:
        return "exhausted" if self.proven else "time_limit"


def solve(programme: IntegerProgramme, backend: Backend, *, seconds: float, seed: int = 0) -> ProgrammeResult:
    """The optimum by CBC or CP-SAT, with one thread.

    CP-SAT needs whole figures: continuous variables become whole ones, so their optimum must be whole where
    the others are. Raises ``ValueError`` for another backend, ``ModuleNotFoundError`` where it is not installed.
    """
    if backend == "cbc":
        from solvers.experts.ilp_pulp import solve_with_cbc

        return solve_with_cbc(programme, seconds, seed)
    if backend == "cp-sat":
        from solvers.experts.ilp_cpsat import solve_with_cpsat

        return solve_with_cpsat(programme, seconds, seed)
    raise ValueError(f"backend: {backend!r}; cbc or cp-sat")
