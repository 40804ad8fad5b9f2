"""Paths and orders together by CP-SAT, for small problems; and orders alone, for a certificate of given paths.

Micro-batch k takes one of its columns, x_kc; it visits node n if one of the chosen columns does, and passes from n to
n' if the chosen one does. With times in whole units (durations rounded down: a bound stays one):

1. sum_c x_kc = 1; loads of stages, starts and visits of nodes per wave as the problem's rules say;
2. F' >= F + forward + link and B >= B' + backward' + link' along every arc taken; L between the last F and B;
3. the operations of a node do not overlap;
4. from F to the end of B a micro-batch takes one of its node's ``memory_cap`` places;
5. the makespan is no less than any end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from solvers.cpsat import run
from solvers.skip.paths import Floats, Ints
from solvers.skip.problem import SkipProblem

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

UNITS = 10_000_000
"""Of the known makespan, unless all figures are multiples of a coarser decimal unit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exact:
    """``paths`` [micro-batches, K] and ``start`` [micro-batches, operations] in seconds, None where none was found;
    ``lower_bound`` in seconds; ``closed``: value and bound of the model agree."""

    paths: Ints | None
    start: Floats | None
    lower_bound: float
    closed: bool
    infeasible: bool
    interrupted: bool


def solve_exactly(
    problem: SkipProblem,
    stage_of_node: Sequence[int],
    columns: Sequence[Ints],
    *,
    best: float,
    lower_bound: float,
    seconds: float,
    seed: int,
    workers: int,
) -> Exact:
    """Minimises the makespan over ``columns`` [micro-batches][paths, K], one path each for the order alone.

    ``best``: the makespan of a known schedule (inf: none), which the result does not exceed.
    """
    from ortools.sat.python import cp_model

    model = _Model(problem, stage_of_node, columns, best, lower_bound)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed
    solver.parameters.max_time_in_seconds = max(seconds, 0.01)
    status, interrupted = run(solver, model.model)
    if status == cp_model.MODEL_INVALID:
        raise AssertionError(f"the model of the paths is not one: {model.model.validate()}")
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    infeasible = status == cp_model.INFEASIBLE
    bound = lower_bound if infeasible else max(lower_bound, solver.best_objective_bound * model.unit)
    return Exact(
        paths=model.paths(solver) if found else None,
        start=model.starts(solver) if found else None,
        lower_bound=min(bound, best),
        closed=status == cp_model.OPTIMAL or infeasible,
        infeasible=infeasible,
        interrupted=interrupted,
    )


class _Model:
    """The module's constraints, in their order."""

    def __init__(
        self,
        problem: SkipProblem,
        stage_of_node: Sequence[int],
        columns: Sequence[Ints],
        best: float,
        lower_bound: float,
    ) -> None:
        from ortools.sat.python import cp_model

        self.model = cp_model.CpModel()
        self.problem, self.stage, self.columns = problem, stage_of_node, columns
        horizon = best if np.isfinite(best) else self._one_after_another()
        self.unit = _unit(problem, horizon)
        self.most = int(np.ceil(horizon / self.unit * (1 + 1e-9)))
        self.length = [
            [self._whole(x) for x in row] for row in (problem.forward_seconds, problem.loss, problem.backward_seconds)
        ]
        self.link = [[self._whole(x) if np.isfinite(x) else self.most for x in row] for row in problem.link_seconds]
        self.microbatches = range(problem.microbatches)
        self._choices()
        self._along_arcs()
        self._nodes()
        self.value = self.model.new_int_var(max(0, int(lower_bound / self.unit * (1 - 1e-9))), self.most, "makespan")
        for (_, _, kind), end in self.ends.items():
            if kind == 2:
                self.model.add(self.value >= end)
        self.model.minimize(self.value)

    def _one_after_another(self) -> float:
        from solvers.skip.paths import times_alone

        return float(sum(times_alone(self.problem, column).trip.max() for column in self.columns))

    def _whole(self, seconds: float) -> int:
        return int(np.floor(seconds / self.unit + 1e-6))

    def _choices(self) -> None:
        problem, model = self.problem, self.model
        self.chosen = [
            [model.new_bool_var(f"x{k},{c}") for c in range(len(self.columns[k]))] for k in self.microbatches
        ]
        self.visit: dict[tuple[int, int], Any] = {}
        self.arc: dict[tuple[int, int, int], Any] = {}
        self.last: dict[tuple[int, int, int], Any] = {}
        for k in self.microbatches:
            model.add_exactly_one(self.chosen[k])
            visits: dict[int, list[Any]] = {}
            arcs: dict[tuple[int, int], list[Any]] = {}
            ends: dict[tuple[int, int], list[Any]] = {}
            for x, path in zip(self.chosen[k], self.columns[k].tolist(), strict=True):
                for n in path:
                    visits.setdefault(n, []).append(x)
                for a, b in pairwise(path):
                    arcs.setdefault((a, b), []).append(x)
                ends.setdefault((path[0], path[-1]), []).append(x)
            self.visit.update({(k, n): self._any(xs) for n, xs in visits.items()})
            self.arc.update({(k, a, b): self._any(xs) for (a, b), xs in arcs.items()})
            self.last.update({(k, a, b): self._any(xs) for (a, b), xs in ends.items()})
        for wave in range(problem.waves):
            inside = range(wave * problem.wave_size, (wave + 1) * problem.wave_size)
            for stage in range(problem.stages):
                low, high = problem.stage_load(stage)
                served = [v for (k, n), v in self.visit.items() if k in inside and self.stage[n] == stage]
                model.add_linear_constraint(sum(served), low, high)
            for n in range(problem.nodes):
                served = [v for (k, m), v in self.visit.items() if k in inside and m == n]
                if self.stage[n] == 0:
                    model.add_linear_constraint(sum(served), *problem.start_load())
                elif problem.rules.visits_per_wave:
                    model.add(sum(served) <= problem.memory_cap[n])

    def _any(self, literals: list[Any]) -> Any:
        if len(literals) == 1:
            return literals[0]
        one = self.model.new_bool_var("")
        self.model.add(sum(literals) == one)
        return one

    def _along_arcs(self) -> None:
        model = self.model
        self.starts_of: dict[tuple[int, int, int], Any] = {}
        self.ends: dict[tuple[int, int, int], Any] = {}
        first = self.problem.rules.ends == "first"
        for k, n in self.visit:
            kinds = (0, 1, 2) if first and self.stage[n] == 0 else (0, 2)
            for kind in kinds:
                start = model.new_int_var(0, self.most, f"s{k},{n},{kind}")
                self.starts_of[k, n, kind] = start
                self.ends[k, n, kind] = start + self.length[kind][n]
        for (k, a, b), taken in self.arc.items():
            model.add(self.starts_of[k, b, 0] >= self.ends[k, a, 0] + self.link[a][b]).only_enforce_if(taken)
            model.add(self.starts_of[k, a, 2] >= self.ends[k, b, 2] + self.link[b][a]).only_enforce_if(taken)
        for (k, a, b), taken in self.last.items():
            if first:
                model.add(self.starts_of[k, a, 1] >= self.ends[k, b, 0] + self.link[b][a]).only_enforce_if(taken)
                model.add(self.starts_of[k, b, 2] >= self.ends[k, a, 1] + self.link[a][b]).only_enforce_if(taken)
            else:
                model.add(self.starts_of[k, b, 2] >= self.ends[k, b, 0]).only_enforce_if(taken)
        for (k, n), visited in self.visit.items():
            model.add(self.starts_of[k, n, 2] >= self.ends[k, n, 0]).only_enforce_if(visited)

    def _nodes(self) -> None:
        model = self.model
        for n in range(self.problem.nodes):
            runs, stays = [], []
            for k in self.microbatches:
                if (k, n) not in self.visit:
                    continue
                visited = self.visit[k, n]
                for kind in (0, 1, 2):
                    if (k, n, kind) in self.starts_of:
                        start, length = self.starts_of[k, n, kind], self.length[kind][n]
                        runs.append(model.new_optional_fixed_size_interval_var(start, length, visited, ""))
                begin, end = self.starts_of[k, n, 0], self.ends[k, n, 2]
                size = model.new_int_var(0, self.most, "")
                stays.append(model.new_optional_interval_var(begin, size, end, visited, ""))
            model.add_no_overlap(runs)
            if len(stays) > self.problem.memory_cap[n]:
                model.add_cumulative(stays, [1] * len(stays), self.problem.memory_cap[n])

    def paths(self, solver: "cp_model.CpSolver") -> Ints:
        taken = [next(c for c, x in enumerate(xs) if solver.value(x)) for xs in self.chosen]
        return np.array([self.columns[k][c] for k, c in enumerate(taken)], dtype=np.int64)

    def starts(self, solver: "cp_model.CpSolver") -> Floats:
        rows = [
            [solver.value(self.starts_of[k, n, int(kind)]) * self.unit for kind, n in self.problem.sequence(path)]
            for k, path in enumerate(self.paths(solver).tolist())
        ]
        return np.array(rows)


def _unit(problem: SkipProblem, horizon: float) -> float:
    """A power of ten of which all figures are multiples, if the horizon has few enough; else a fine one."""
    figures = np.concatenate(
        [problem.forward_seconds, problem.loss, problem.backward_seconds, np.ravel(problem.link_seconds)]
    )
    figures = figures[np.isfinite(figures)]
    for digits in range(5):
        unit = 10.0**-digits
        if np.abs(np.round(figures / unit) * unit - figures).max() < 1e-9 and horizon / unit <= UNITS:
            return unit
    return max(horizon, 1e-300) / UNITS
