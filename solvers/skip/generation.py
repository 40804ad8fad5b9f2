"""The path programme without listing its paths: column generation (Gilmore & Gomory 1961; the bound of Farley 1990 and
Lagrange, the smoothed duals of Wentges 1997).

The programme is that of path_program.py, relaxed. Its rows have duals y (>= 0 where a row has a least, <= 0 where it
has a most, and by T's column -y on work plus -y cap on stays sum to at most 1). For any such y

    L(y) = sum_rows y least or y most + M min_p (trip_weight trip_p - y A_p)

is no more than the relaxed optimum; the minimum is over all legal paths (pricing.py). A programme over the paths found
so far gives an optimum from above and duals; the paths that these make cheap come in, until both values agree.

1. Phase one: the rows of loads may be missed, and what is missed is minimised, without T. Where L stays above 0, no set
   of paths keeps the rules.
2. Phase two: T + trip_weight * sum_p x_p trip_p, from the paths of phase one.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import linprog

from solvers.skip.path_graph import PathGraph, least_times, path_graph
from solvers.skip.path_program import PathRows, node_visits, path_rows
from solvers.skip.paths import Floats, Ints, LeastTimes
from solvers.skip.pricing import Prices, Pricing
from solvers.skip.problem import SkipProblem

CLOSED = 1e-9
"""Relative distance of both values at which a phase ends."""
MOST_COLUMNS = 2_500
"""Of the programme in hand; those of greatest reduced cost leave it."""
MISSED = 1e-6
"""Micro-batches that a row of loads must be short of to count."""
NEGATIVE = 1e-7
"""Reduced cost, relative to the dual of the number of micro-batches, from which on a path comes in."""
SMOOTHING = 0.6
"""Weight of the duals of the best bound so far in those that are priced first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generated:
    """``columns`` [paths, K]; ``bound``: of the relaxed programme over all legal paths (inf: no set of them keeps the
    rules), its optimum where ``closed``; ``least_trip`` of any legal path, seconds; ``rounds`` of pricing."""

    columns: Ints
    bound: float
    closed: bool
    least_trip: float = 0.0
    rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Master:
    """Value of the programme in hand, its duals [rows] and that ``of_path`` of the number of micro-batches, reduced
    costs [columns]."""

    value: float
    duals: Floats
    of_path: float
    reduced: Floats
    rows: PathRows


class PathGenerator:
    """Columns of one arrangement; ``graph`` None: it is too large, nothing can be generated."""

    def __init__(self, problem: SkipProblem, stage_of_node: Sequence[int]) -> None:
        self.stage_of_node = tuple(map(int, stage_of_node))
        self.graph: PathGraph | None = path_graph(problem, stage_of_node)
        self.least: LeastTimes | None = None
        if self.graph is not None and len(self.graph.node):
            self.least = least_times(problem, self.graph)
            self.pricing = Pricing(problem, self.graph)

    def generated(
        self, problem: SkipProblem, columns: Ints | None = None, *, trip_weight: float = 0.0, seconds: float
    ) -> Generated | None:
        """``problem``: the generator's, or one of its waves. ``columns``: legal paths to begin with. At least one
        round is made. None: there is no graph."""
        if self.graph is None:
            return None
        nothing = np.zeros((0, problem.path_length), dtype=np.int64)
        fewest, most = node_visits(problem, self.stage_of_node)
        if self.least is None or not np.isfinite(self.least.stay).any() or (fewest > most).any():
            return Generated(columns=nothing, bound=np.inf, closed=True)
        run = _Run(problem, self, trip_weight, time.perf_counter() + seconds)
        run.add(nothing if columns is None else columns)
        missed, _ = run.phase(0.0)
        bound, closed = (np.inf, True) if missed > MISSED else (0.0, False)
        if run.kept:
            bound, closed = run.phase(1.0)
        first = np.array(self.stage_of_node) == 0
        trip = float(self.least.stay[first].min())
        return Generated(columns=run.columns, bound=bound, closed=closed, least_trip=trip, rounds=run.rounds)


class _Run:
    def __init__(self, problem: SkipProblem, generator: PathGenerator, trip_weight: float, until: float) -> None:
        assert generator.least is not None
        self.problem, self.generator, self.trip_weight, self.until = problem, generator, trip_weight, until
        self.columns = np.zeros((0, problem.path_length), dtype=np.int64)
        self.rounds = 0
        self.kept = False
        """Whether the columns keep all loads."""

    def add(self, columns: Ints) -> int:
        """How many of them are new."""
        known = {tuple(row) for row in self.columns.tolist()}
        fresh = [row for row in dict.fromkeys(map(tuple, columns.tolist())) if row not in known]
        if fresh:
            self.columns = np.concatenate([self.columns, np.array(fresh, dtype=np.int64)])
        return len(fresh)

    def phase(self, on_time: float) -> tuple[float, bool]:
        """The best bound of phase one (``on_time`` 0) or two (1), and whether the programme reached it."""
        best, centre, first = -np.inf, None, True
        while first or time.perf_counter() < self.until:
            rows = path_rows(self.problem, self.generator.stage_of_node, self.columns, self.generator.least)
            master = self._solved(rows, on_time)
            if master is None:
                break
            self.kept |= on_time == 0.0 and master.value <= MISSED
            if self._agree(master.value, best):
                return best, True
            if on_time == 0.0 and (self.kept or best > MISSED):
                return max(best, 0.0), True
            first, fresh = False, 0
            if centre is not None:
                duals = SMOOTHING * centre + (1 - SMOOTHING) * master.duals
                bound, fresh = self._priced(master, duals, on_time)
                if bound > best:
                    best, centre = bound, duals
            if not fresh:
                bound, fresh = self._priced(master, master.duals, on_time)
                if bound > best or centre is None:
                    best, centre = max(best, bound), master.duals
                if not fresh:
                    # what is left between the values is rounding, or hulls that were thinned
                    return best, self._agree(master.value, best, 1e-6)
            self._drop(master.reduced)
        return best, False

    def _agree(self, value: float, bound: float, within: float = CLOSED) -> bool:
        return value - bound <= within * max(1.0, abs(value))

    def _drop(self, reduced: Floats) -> None:
        """``reduced`` is of the first columns; those behind them are new."""
        if len(self.columns) > MOST_COLUMNS:
            keep = np.sort(np.argsort(reduced, kind="stable")[: MOST_COLUMNS // 2])
            self.columns = np.concatenate([self.columns[keep], self.columns[len(reduced) :]])

    def _solved(self, rows: PathRows, on_time: float) -> _Master | None:
        """The programme over the columns in hand; variables x, T and, in phase one, what rows of loads miss."""
        count, height = len(rows.paths), len(rows.least)
        loads = height - 2 * self.problem.nodes
        parts = [rows.coefficients, sparse.csc_matrix(rows.on_makespan[:, None])]
        cost = [on_time * self.trip_weight * rows.times.trip, np.array([on_time])]
        ones = [np.ones(count), np.zeros(1)]
        if on_time == 0.0:
            # short of a load, above it, and micro-batches without a path, dearer than any path's loads
            missed = sparse.identity(height, format="csc")[:, :loads]
            parts += [missed, -missed, sparse.csc_matrix((height, 1))]
            cost += [np.ones(2 * loads), np.array([2.0 * height])]
            ones += [np.zeros(2 * loads), np.ones(1)]
        whole = sparse.hstack(parts).tocsr()
        above, below = np.isfinite(rows.most), np.isfinite(rows.least)
        found = linprog(
            np.concatenate(cost),
            A_ub=sparse.vstack([whole[above], -whole[below]]),
            b_ub=np.concatenate([rows.most[above], -rows.least[below]]),
            A_eq=sparse.csr_matrix(np.concatenate(ones)[None, :]),
            b_eq=[self.problem.microbatches],
            bounds=(0, None),
            method="highs",
        )
        if found.status != 0:
            return None
        duals = np.zeros(height)
        duals[above] += found.ineqlin.marginals[: above.sum()]
        duals[below] -= found.ineqlin.marginals[above.sum() :]
        return _Master(
            value=float(found.fun),
            duals=duals,
            of_path=float(found.eqlin.marginals[0]),
            reduced=np.asarray(found.lower.marginals[:count]),
            rows=rows,
        )

    def _priced(self, master: _Master, duals: Floats, on_time: float) -> tuple[float, int]:
        """L of ``duals``; and how many paths came in, those of negative reduced cost by the programme's own duals."""
        rows, problem = master.rows, self.problem
        nodes, stages = problem.nodes, problem.stages
        duals = _feasible(rows, duals, on_time, loads=stages + nodes)
        stage, visit, work, stay = np.split(duals, [stages, stages + nodes, stages + 2 * nodes])
        stage_of_node = np.array(self.generator.stage_of_node)
        busy = np.add(problem.forward_seconds, problem.backward_seconds)
        if problem.rules.ends == "first":
            busy = busy + np.where(stage_of_node == 0, problem.loss, 0.0)
        base = on_time * self.trip_weight
        prices = Prices(fixed=-stage[stage_of_node] - visit - work * busy, rate=-stay, base=base)
        self.rounds += 1
        priced = self.generator.pricing.cheapest(prices)
        ends = np.where(duals > 0, rows.least, np.where(duals < 0, rows.most, 0.0))
        bound = float(duals @ ends) + problem.microbatches * priced.least
        new = path_rows(problem, self.generator.stage_of_node, priced.paths, self.generator.least)
        reduced = base * new.times.trip - new.coefficients.T @ master.duals - master.of_path
        return bound, self.add(priced.paths[reduced < -NEGATIVE * max(1.0, abs(master.of_path))])


def _feasible(rows: PathRows, duals: Floats, on_time: float, loads: int) -> Floats:
    """``duals`` as L needs them, free of a solver's rounding; the first ``loads`` rows may be missed in phase one."""
    signed = np.where(np.isinf(rows.least), np.minimum(duals, 0.0), duals)
    signed = np.where(np.isinf(rows.most), np.maximum(signed, 0.0), signed)
    if on_time == 0.0:
        return np.concatenate([np.clip(signed[:loads], -1.0, 1.0), np.zeros(len(signed) - loads)])
    on_makespan = float(signed @ rows.on_makespan)
    return np.where(rows.on_makespan < 0, signed / max(1.0, on_makespan), signed)
