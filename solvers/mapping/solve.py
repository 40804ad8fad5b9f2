"""The best order of hosts over a grid: local search, then, where it can be finished, an exact search with the rest."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from solvers.mapping import ring, rows
from solvers.mapping.bounds import Bounds, lower_bounds
from solvers.mapping.evaluate import evaluate
from solvers.mapping.places import PlaceSearch
from solvers.mapping.problem import GridProblem, Order
from solvers.mapping.readiness import ready
from solvers.mapping.rows import RowSearch
from solvers.mapping.search import LocalSearch
from solvers.solution import Solution, Stop, relative_gap
from solvers.stop import FirstOf, MaxSeconds, NoLimit, StoppingRule

MOST_HOSTS_BY_PLACES = 12
NODES = 200_000
"""Of an exact search between two looks at the stopping rule."""

PROVEN = 1e-9
"""Relative gap at which value and bound are the same sum in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Seconds of the best order so far, and what no order is below."""

    value: float
    lower_bound: float


def solve_mapping(
    problem: GridProblem,
    *,
    stop: StoppingRule | None = None,
    time_limit_seconds: float = 60.0,
    seed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Solution[Order]:
    """The best order [rows, columns] found, with a bound on every other.

    Proven where an exact search suits and ends in time: up to 18 hosts and 6 rows without shared links, blocks and
    fixed places, a single column of up to 18 hosts, and up to 12 hosts with every option; elsewhere where value and
    bound meet. The same problem and seed give the same order unless a limit ends the search. ``KeyboardInterrupt``
    ends it with the best so far. The first call on a machine compiles the search for some seconds, outside the limit
    (``solvers.mapping.readiness`` does it before, and tells).
    """
    ready()
    began = time.perf_counter()
    run = _Run(problem, FirstOf(stop or NoLimit(), MaxSeconds(time_limit_seconds)), seed, on_progress)
    why = run.whole()
    value = evaluate(problem, run.best).value
    bound = value if run.proven else min(value, run.bounds.value)
    gap = relative_gap(value, bound)
    return Solution(
        value=value,
        lower_bound=bound,
        status="optimal" if gap <= PROVEN else "feasible",
        stop="gap" if gap <= PROVEN and not run.proven else why,
        choice=run.best,
        seconds=time.perf_counter() - began,
        seed=seed,
        counts=run.counts,
    )


class _Run:
    def __init__(
        self,
        problem: GridProblem,
        stop: StoppingRule,
        seed: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.problem, self.stop, self.seed = problem, stop, seed
        self.on_progress = on_progress
        self.best: Order = problem.default_order()
        self.bounds = Bounds(row=0.0, column=0.0, value=0.0)
        self.proven = False
        self.counts: dict[str, int] = {"moves": 0, "nodes": 0}

    def whole(self) -> Stop:
        try:
            self.stop(0)  # a limit counts from here
            self.bounds = lower_bounds(self.problem)
            if ring.suits(self.problem):
                self.best, self.proven = ring.best_ring(self.problem), True
                return "exhausted"
            return self._search()
        except KeyboardInterrupt:
            return "interrupted"

    def _search(self) -> Stop:
        local = LocalSearch(self.problem, self.seed)
        self.best = local.best
        try:
            why = local.run(self.stop, self._tell, self.bounds.value * (1 + PROVEN))
        finally:
            self.best, self.counts["moves"] = local.best, local.moves
        if why != "exhausted":
            return why
        return self._exact(local.best_value)

    def _exact(self, value: float) -> Stop:
        least = (self.bounds.row, self.bounds.column)
        exact: RowSearch | PlaceSearch
        if rows.suits(self.problem):
            exact = RowSearch(self.problem, self.best, value, least)
        elif len(self.problem.usable) <= MOST_HOSTS_BY_PLACES:
            exact = PlaceSearch(self.problem, self.best, value, least)
        else:
            return "exhausted"
        try:
            while not exact.finished:
                exact.run(NODES)
                self.counts["nodes"] += NODES
                self._tell(exact.best_value)
                if (why := self.stop(self.counts["nodes"])) is not None and not exact.finished:
                    return why
        finally:
            self.best = exact.best
        self.proven = True
        return "exhausted"

    def _tell(self, value: float) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(value=value, lower_bound=self.bounds.value))
