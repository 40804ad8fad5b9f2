"""The best paths, orders and (where it is free) arrangement: bounds, quick starts, then search until a limit.

0. Few arrangements: each of them as a problem of its own.
1. With the arrangement fixed, every legal path if they are few enough, else those that column generation finds
   useful (generation.py), and the bound over all of them (bounds.py); no set of paths: none exists. Free: the bound
   over arrangements.
   One path only: the pipeline's own solver (solvers.schedule).
2. Starts: schedules handed in, the path programme (path_program.py), balanced random paths (starts.py). A free
   arrangement is first searched by a quick estimate, then given paths by the programme. Each is run first in,
   first out under several numberings of its micro-batches.
3. Small problems: paths and orders together by CP-SAT (exact.py).
4. Restarts of annealing (search.py) until the bound or the time limit is met.
5. With the paths of the best: CP-SAT on the orders alone, for the bound over these.

The best so far and the bound hold at any time: the time limit and Ctrl-C return them.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np

from solvers.search import Progress
from solvers.skip.bounds import Bound, bound_over_arrangements, bound_over_paths
from solvers.skip.generation import PathGenerator
from solvers.skip.path_program import chosen_paths, useful_paths
from solvers.skip.paths import Ints, every_path, stage_sequences
from solvers.skip.problem import Path, SkipProblem
from solvers.skip.readiness import ready
from solvers.skip.schedule import SkipSchedule, timed
from solvers.skip.search import Restarts, State
from solvers.skip.simulate import first_in_first_out, schedule_of_starts
from solvers.skip.starts import balanced_paths, random_arrangement
from solvers.solution import Solution, Status, Stop, relative_gap

MOST_PATHS = 60_000
"""Listed; of more, the useful ones are generated."""
GENERATION_SECONDS = 15.0
MOST_GENERATED = 500
"""Of generated paths, those that the integer programme chooses from: with 1,200 for 40 stages it found none in 4 s."""
MOST_EXACT = 2_000
"""Columns times micro-batches up to which paths and orders are solved together."""
MOST_EXACT_SECONDS = 3.0
"""What is not proven by then is searched."""
MOST_ARRANGEMENTS = 24
NUMBERINGS = 40
TRIP_WEIGHT = 0.01
PATIENCE = 400
"""Restarts without a better schedule after which a search ends, whatever the time limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipResult:
    """``solution`` with the schedule and the bound over what the problem leaves free; ``bounds``: this and further
    ones, each with what it is over; ``first_in_first_out``: the same paths without a planned order (None: there is
    no schedule, or its nodes wait for ever). ``evaluations_per_second`` of the search, over all threads."""

    solution: Solution[SkipSchedule]
    bounds: tuple[Bound, ...] = field(default_factory=tuple)
    first_in_first_out: SkipSchedule | None = None
    evaluations_per_second: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """An arrangement [nodes] with paths [micro-batches] that keep the rules in it."""

    stage_of_node: tuple[int, ...]
    paths: tuple[Path, ...]


def solve_skip(
    problem: SkipProblem,
    *,
    time_limit_seconds: float,
    seed: int = 0,
    workers: int = 2,
    gap: float = 1e-6,
    hints: Sequence[Hint] = (),
    certificate: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> SkipResult:
    """The schedule of least value (makespan and exchange among copies) with a bound on all others.

    ``certificate`` spends a fifth of the time on a bound over the orders of the best paths. Hints that break a rule
    are left out and counted. The first call on a machine compiles the search for some seconds, outside the limit
    (``solvers.skip.readiness`` does it before, and tells).
    The same problem, seed and workers give the same result where no limit ends a step.
    Counts: ``paths`` enumerated (0: too many, or the arrangement is free), ``generated`` of too many, ``evaluations``,
    ``restarts``, ``hints``, ``hints_left_out``.
    """
    if not time_limit_seconds >= 0:
        raise ValueError(f"time_limit_seconds: {time_limit_seconds} must not be negative")
    return _Run(problem, time_limit_seconds, seed, workers, gap, certificate, on_progress).solved(hints)


def _arrangements(problem: SkipProblem) -> int:
    return math.factorial(problem.nodes) // math.prod(math.factorial(size) for size in problem.group_sizes)


class _Run:
    def __init__(
        self,
        problem: SkipProblem,
        seconds: float,
        seed: int,
        workers: int,
        gap: float,
        certificate: bool,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        ready()
        self.began = time.perf_counter()
        self.problem, self.seconds, self.seed, self.workers, self.gap = problem, seconds, seed, workers, gap
        self.certificate, self.on_progress = certificate, on_progress
        self.rng = np.random.default_rng(seed)
        self.search = Restarts(problem, seed=seed, workers=workers)
        self.free = problem.stage_of_node is None
        self.best: SkipSchedule | None = None
        self.starts: list[State] = []
        self.bounds: list[Bound] = []
        self.exhausted = False
        self.every = False
        """Whether the columns are all legal paths."""
        names = ("paths", "generated", "evaluations", "restarts", "hints", "hints_left_out")
        self.counts = dict.fromkeys(names, 0)

    @property
    def value(self) -> float:
        return self.best.value if self.best else np.inf

    @property
    def bound(self) -> float:
        return max((b.seconds for b in self.bounds if self._counts(b)), default=0.0)

    def _counts(self, bound: Bound) -> bool:
        return bound.over == ("arrangements, paths and orders" if self.free else "paths and orders")

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.began)

    @property
    def met(self) -> bool:
        return relative_gap(self.value, self.bound) <= self.gap

    def solved(self, hints: Sequence[Hint]) -> SkipResult:
        stop: Stop
        try:
            stop = self.run(hints)
        except KeyboardInterrupt:
            stop = "interrupted"
        return self.result(stop)

    def run(self, hints: Sequence[Hint]) -> Stop:
        columns = self.columns()
        if self.bound == np.inf:
            return "exhausted"
        if self.free and _arrangements(self.problem) <= MOST_ARRANGEMENTS:
            return self.each_arrangement()
        self.take_hints(hints)
        if columns is not None and self.every and len(columns) == 1:
            self.as_pipeline(columns[0].tolist())
            if self.met:
                return "exhausted"
        if self.free:
            self.arrange()
        else:
            self.begin(np.array(self.problem.stage_of_node, dtype=np.int64), columns)
        few = columns is not None and self.every and len(columns) * self.problem.microbatches <= MOST_EXACT
        if columns is not None and few and not self.met:
            self.exactly([columns] * self.problem.microbatches, min(self.left / 3, MOST_EXACT_SECONDS))
        if self.exhausted:
            return "exhausted"
        reserve = self.seconds / 5 if self.certificate else 0.0
        self.improve(reserve)
        if self.certificate and not self.met and self.best is not None and self.left > 0:
            self.certify()
        return "exhausted" if self.met else "time_limit"

    def columns(self) -> Ints | None:
        problem = self.problem
        if problem.stage_of_node is None:
            bound = bound_over_arrangements(problem)
            if next(stage_sequences(problem), None) is None:
                bound = Bound(seconds=np.inf, over=bound.over, reason="no legal sequence of stages")
            self.bounds.append(bound)
            return None
        columns = every_path(problem, problem.stage_of_node, MOST_PATHS)
        self.every = columns is not None
        self.counts["paths"] = 0 if columns is None else len(columns)
        generated = None
        if columns is None:
            generator = PathGenerator(problem, problem.stage_of_node)
            generated = generator.generated(problem, seconds=min(self.left / 4, GENERATION_SECONDS))
            if generated is not None and generated.bound < np.inf:
                columns = self.useful(generator, generated.columns, min(self.left / 4, GENERATION_SECONDS))
        self.bounds.append(bound_over_paths(problem, problem.stage_of_node, columns if self.every else None, generated))
        return columns

    def useful(self, generator: PathGenerator, columns: Ints | None, seconds: float) -> Ints | None:
        """What the choice of paths (chosen_paths) is made from: generated for its objective too; None: nothing was."""
        wave = replace(self.problem, microbatches=self.problem.wave_size, waves=1)
        found = generator.generated(wave, columns, trip_weight=TRIP_WEIGHT, seconds=seconds)
        if found is None or not len(found.columns):
            return columns
        self.counts["generated"] += len(found.columns)
        stages, most = generator.stage_of_node, MOST_GENERATED
        return useful_paths(wave, stages, found.columns, found.columns[:0], trip_weight=TRIP_WEIGHT, most=most)

    def each_arrangement(self) -> Stop:
        every = sorted(set(permutations(s for s, size in enumerate(self.problem.group_sizes) for _ in range(size))))
        bounds, stops = [], []
        for number, stages in enumerate(every):
            part = solve_skip(
                replace(self.problem, stage_of_node=stages),
                time_limit_seconds=max(0.0, self.left / (len(every) - number)),
                seed=self.seed,
                workers=self.workers,
                gap=self.gap,
            )
            bounds.append(part.solution.lower_bound)
            stops.append(part.solution.stop)
            self.search.decoded += part.solution.counts["evaluations"]
            if part.solution.choice is not None:
                self.take(replace(part.solution.choice, problem=self.problem))
            if part.solution.stop == "interrupted":
                return "interrupted"
        over = self.bounds[0].over
        self.bounds.append(Bound(seconds=min(bounds), over=over, reason="every arrangement by itself"))
        return "exhausted" if all(stop == "exhausted" for stop in stops) else "time_limit"

    def take_hints(self, hints: Sequence[Hint]) -> None:
        from solvers.skip.arrays import keeps_rules

        for hint in hints:
            self.counts["hints"] += 1
            stage, paths = np.array(hint.stage_of_node, dtype=np.int64), np.array(hint.paths, dtype=np.int64)
            shape = (self.problem.microbatches, self.problem.path_length)
            fixed = self.problem.stage_of_node
            fits = paths.shape == shape and (fixed is None or fixed == tuple(hint.stage_of_node))
            if not fits or not keeps_rules(self.problem, stage, paths):
                self.counts["hints_left_out"] += 1
                continue
            self.number(stage, paths)

    def as_pipeline(self, path: list[int]) -> None:
        """One path only: an ordinary pipeline, which has its own solver, unless its links differ by direction."""
        from solvers.schedule.solve import solve_schedule
        from solvers.skip.pipeline import orders_of, pipeline_of

        pipeline = pipeline_of(self.problem, path)
        if pipeline is None:
            return
        seconds = max(0.0, self.left * 0.9)
        found = solve_schedule(pipeline, time_limit_seconds=seconds, seed=self.seed, workers=self.workers, gap=self.gap)
        stage = self.problem.stage_of_node
        assert stage is not None
        copies = self.problem.copy_seconds(stage)
        if found.choice is not None:
            paths = [tuple(path)] * self.problem.microbatches
            self.take(timed(self.problem, stage, paths, orders_of(self.problem, path, found.choice)))
        reason = "pipeline scheduler"
        self.bounds.append(Bound(seconds=found.lower_bound + copies, over="paths and orders", reason=reason))
        if found.stop == "interrupted":
            raise KeyboardInterrupt

    def begin(self, stage: Ints, columns: Ints | None) -> None:
        """Schedules of a few sets of paths in one arrangement."""
        stages = stage.tolist()
        sets = [balanced_paths(self.problem, stages, self.rng)]
        if columns is not None and self.left > 0:
            seconds = min(self.left / 4, 10.0)
            chosen = chosen_paths(self.problem, stages, columns, trip_weight=TRIP_WEIGHT, seconds=seconds)
            sets.insert(0, chosen)
        for paths in sets:
            if paths is not None:
                self.number(stage, paths)

    def number(self, stage: Ints, paths: Ints) -> None:
        """The best of several numberings, each run first in, first out, becomes a start of the search."""
        best: tuple[float, Ints] | None = None
        size = self.problem.wave_size
        for number in range(NUMBERINGS):
            if number and self.left <= 0:
                break
            waves = [paths[w * size : (w + 1) * size] for w in range(self.problem.waves)]
            tried = np.concatenate([self.rng.permutation(wave) for wave in waves]) if number else paths
            schedule = first_in_first_out(self.problem, stage.tolist(), tried.tolist())
            if schedule is None:
                continue
            self.take(schedule)
            if best is None or schedule.value < best[0]:
                best = (schedule.value, tried)
        value, tried = best or (np.inf, paths)
        self.starts.append(State(value=value, paths=tried, stage_of_node=stage))

    def arrange(self) -> None:
        """Arrangements by the quick estimate, each then given its best paths."""
        begun = []
        for _ in range(2 * self.workers):
            stage = random_arrangement(self.problem, self.rng)
            paths = balanced_paths(self.problem, stage.tolist(), self.rng)
            if paths is not None:
                begun.append(State(value=np.inf, paths=paths, stage_of_node=stage))
        for state in list(self.starts):
            begun.append(State(value=np.inf, paths=state.paths, stage_of_node=state.stage_of_node))
        if not begun:
            return
        deadline = self.began + self.seconds / 6
        found = self.search.round(begun, arrangement=True, order=False, deadline=deadline)
        for state in sorted((s for s in found if np.isfinite(s.value)), key=lambda s: s.value)[:3]:
            columns = every_path(self.problem, state.stage_of_node.tolist(), MOST_PATHS // 6)
            if columns is None and self.left > 0:
                generator = PathGenerator(self.problem, state.stage_of_node.tolist())
                columns = self.useful(generator, None, min(self.left / 12, GENERATION_SECONDS / 5))
            self.number(state.stage_of_node, state.paths)
            if self.left > 0:
                self.begin(state.stage_of_node, columns)

    def improve(self, reserve: float) -> None:
        if not self.starts:
            return
        self.starts.sort(key=lambda state: state.value)
        idle, turn = 0, 0
        pool = list(self.starts)
        while not self.met and self.left > reserve and idle < PATIENCE:
            chosen = []
            for _ in range(self.search.workers):
                fresh = turn % 2 == 1 and turn // 2 < len(self.starts)
                chosen.append(self.starts[turn // 2] if fresh else pool[turn // 2 % min(len(pool), 3)])
                turn += 1
            good = self.bound * (1 + 1e-12)
            deadline = self.began + self.seconds - reserve
            before = self.value
            for state in self.search.round(chosen, arrangement=self.free, order=True, deadline=deadline, good=good):
                if state.start is not None and state.value < 1e299:
                    self.take(schedule_of_starts(self.problem, state.stage_of_node, state.paths, state.start))
                    pool.append(state)
            pool.sort(key=lambda state: state.value)
            del pool[6:]
            idle = 0 if self.value < before else idle + self.search.workers

    def exactly(self, columns: Sequence[Ints], seconds: float) -> None:
        from solvers.skip.exact import solve_exactly

        stage = self.problem.stage_of_node
        assert stage is not None
        copies = self.problem.copy_seconds(stage)
        found = solve_exactly(
            self.problem,
            stage,
            columns,
            best=self.value - copies,
            lower_bound=max(0.0, self.bound - copies),
            seconds=seconds,
            seed=self.seed,
            workers=self.workers,
        )
        if found.paths is not None and found.start is not None:
            schedule = schedule_of_starts(self.problem, stage, found.paths, found.start)
            self.take(schedule)
            self.starts.append(
                State(value=schedule.value, paths=found.paths, stage_of_node=np.array(stage, dtype=np.int64))
            )
        if found.infeasible and self.best is None:
            self.bounds.append(Bound(seconds=np.inf, over="paths and orders", reason="exact model"))
            self.exhausted = True
        elif found.closed or found.lower_bound + copies > self.bound:
            seconds_ = found.lower_bound + copies
            self.bounds.append(Bound(seconds=seconds_, over="paths and orders", reason="exact model"))
        if found.interrupted:
            raise KeyboardInterrupt

    def certify(self) -> None:
        from solvers.skip.exact import solve_exactly

        assert self.best is not None
        paths = np.array(self.best.paths, dtype=np.int64)
        copies = self.best.copy_seconds
        found = solve_exactly(
            self.problem,
            self.best.stage_of_node,
            [paths[k : k + 1] for k in range(len(paths))],
            best=self.best.makespan,
            lower_bound=0.0,
            seconds=self.left,
            seed=self.seed,
            workers=self.workers,
        )
        if found.paths is not None and found.start is not None:
            self.take(schedule_of_starts(self.problem, self.best.stage_of_node, paths, found.start))
        self.bounds.append(Bound(seconds=found.lower_bound + copies, over="orders", reason="exact model"))
        if found.interrupted:
            raise KeyboardInterrupt

    def take(self, schedule: SkipSchedule) -> None:
        if schedule.value < self.value and not schedule.over_cap:
            self.best = schedule
            if self.on_progress:
                bound = min(self.bound, self.value)
                self.on_progress(Progress(self.value, bound, self.search.decoded))

    def result(self, stop: Stop) -> SkipResult:
        self.counts["evaluations"], self.counts["restarts"] = self.search.decoded, self.search.restarts
        status: Status = "optimal" if self.met and self.best else "feasible"
        if self.best is None and self.bound == np.inf:
            status = "infeasible"
        solution = Solution(
            value=float(self.value),
            lower_bound=float(min(self.bound, self.value)),
            status=status,
            stop=stop,
            choice=self.best,
            seconds=time.perf_counter() - self.began,
            seed=self.seed,
            counts=self.counts,
        )
        best = self.best
        return SkipResult(
            solution=solution,
            bounds=tuple(self.bounds),
            first_in_first_out=first_in_first_out(self.problem, best.stage_of_node, best.paths) if best else None,
            evaluations_per_second=self.search.decoded / self.search.seconds if self.search.seconds else 0.0,
        )
