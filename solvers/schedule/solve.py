"""The best schedule of a pipeline: what is quickly found first, then exactly, as far as size and time allow.

1. A cap below one micro-batch: no schedule exists.
2. A bound (bounds.py); orders handed in, steady cycles (steady.py), rules (greedy.py), and these improved
   (improve.py), until the bound is met. With quick effort that is all, whatever the time limit.
3. Where a vocabulary is split or devices hold several chunks: periodic patterns by CP-SAT, unrolled
   (periodic_orders.py).
4. Few operations: the exact model (cpsat.py), which proves or improves the best so far. More of them: the
   model with the device whose bound is largest alone, for a better bound, then improvement until the time is over.

The best so far and the bound hold at any time: a time limit and Ctrl-C return them.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

import numpy as np

from solvers.schedule.bounds import Bound, lower_bound
from solvers.schedule.graph import OperationGraph, Orders, operation_graph
from solvers.schedule.greedy import chance_orders, rule_orders
from solvers.schedule.improve import improved
from solvers.schedule.periodic_orders import periodic_orders
from solvers.schedule.problem import ScheduleProblem
from solvers.schedule.schedule import TOLERANCE, Schedule, timed
from solvers.schedule.steady import steady_orders
from solvers.search import Progress
from solvers.solution import Solution, Status, Stop, relative_gap

Effort: TypeAlias = Literal["quick", "full"]

MOST_EXACT = 700
"""Operations up to which the exact model is solved whole."""

MOST_ON_DEVICE = 800
"""Operations of one device up to which it is solved alone for a bound."""

MOST_PERIODIC_SECONDS = 20.0

QUICK_ROUNDS = 200
"""Improvements before the exact model."""

QUICK_OPERATIONS = 150_000
"""Operations placed in them, if four rounds do not place more: a second or so."""


def solve_schedule(
    problem: ScheduleProblem,
    *,
    time_limit_seconds: float,
    seed: int = 0,
    hints: Sequence[Orders] = (),
    workers: int = 2,
    gap: float = 1e-6,
    effort: Effort = "full",
    on_progress: Callable[[Progress], None] | None = None,
) -> Solution[Schedule]:
    """The schedule of least makespan or span within the caps, with a bound on all others.

    ``hints`` are device orders of ``operation_graph(problem)`` (named schedules; those that exceed a cap are
    left out). ``optimal`` when value and bound agree within ``gap`` of the value. The first order is made
    whatever the limit. ``effort`` quick ends after the first orders and improvements. The same problem, seed and
    workers give the same result where no time limit ends a step.

    Counts: ``operations``; ``hints`` and ``hints_over_cap``; ``orders`` timed; ``exact`` models begun;
    ``branches`` of these. ``shortfall``, infeasible: the largest memory that a device lacks.
    Raises ``ValueError`` for a hint that is not an order of the problem's operations or never ends.
    """
    run = _Run(problem, time_limit_seconds, seed, workers, gap, effort, on_progress)
    lacking = max(need - cap for need, cap in zip(problem.least_memory(), problem.memory_cap, strict=True))
    if lacking > TOLERANCE * max(problem.least_memory()):
        return run.infeasible(lacking)
    run.take_hints(hints)
    stop: Stop
    try:
        stop = run.search()
    except KeyboardInterrupt:
        stop = "interrupted"
    return run.solution(stop)


class _OutOfTime(Exception):  # noqa: N818 - no error
    pass


class _Exhausted(Exception):  # noqa: N818 - no error
    pass


class _Run:
    """The best schedule and bound so far."""

    def __init__(
        self,
        problem: ScheduleProblem,
        seconds: float,
        seed: int,
        workers: int,
        gap: float,
        effort: Effort,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        if not seconds >= 0:
            raise ValueError(f"time_limit_seconds: {seconds} must not be negative")
        self.began = time.perf_counter()
        self.problem, self.seconds, self.seed, self.workers, self.gap = problem, seconds, seed, workers, gap
        self.effort, self.on_progress = effort, on_progress
        self.graph: OperationGraph = operation_graph(problem)
        self.bound = Bound(0.0, "none")
        self.best: Schedule | None = None
        self.counts = dict.fromkeys(("hints", "hints_over_cap", "orders", "exact", "branches"), 0)
        self.counts["operations"] = int((self.graph.device >= 0).sum())

    @property
    def value(self) -> float:
        return self.best.value(self.problem.objective) if self.best else float("inf")

    @property
    def left(self) -> float:
        return self.seconds - (time.perf_counter() - self.began)

    @property
    def met(self) -> bool:
        return self.value <= self.bound.seconds * (1 + TOLERANCE) or (
            relative_gap(self.value, self.bound.seconds) <= self.gap
        )

    def take_hints(self, hints: Sequence[Orders]) -> None:
        for orders in hints:
            self.counts["hints"] += 1
            schedule = timed(self.graph, orders, self.problem.objective)
            if schedule.over_cap:
                self.counts["hints_over_cap"] += 1
            else:
                self.take(schedule)

    def take(self, schedule: Schedule) -> None:
        self.counts["orders"] += 1
        if not schedule.over_cap and schedule.value(self.problem.objective) < self.value:
            self.best = schedule
            self.tell()

    def tell(self) -> None:
        if self.on_progress:
            bound = min(self.bound.seconds, self.value)
            self.on_progress(Progress(self.value, bound, self.counts["orders"]))

    def search(self) -> Stop:
        self.take(timed(self.graph, next(rule_orders(self.graph)), self.problem.objective))
        try:
            self.bound = lower_bound(self.graph, self.problem.objective)
            self.tell()
            further = (self.periodic, self.exact, self.one_device, self.improve) if self.effort == "full" else ()
            for step in (self.quick, *further):
                if self.met:
                    break
                step()
        except _OutOfTime:
            return "exhausted" if self.met else "time_limit"
        except _Exhausted:
            pass
        return "exhausted"

    def quick(self) -> None:
        self.take_all(steady_orders(self.graph))
        self.take_all(rule_orders(self.graph))
        self.improve(at_most=min(QUICK_ROUNDS, max(4, QUICK_OPERATIONS // len(self.graph))))
        self.take_all(chance_orders(self.graph, self.seed))

    def periodic(self) -> None:
        """A third of the time at most."""
        if self.problem.vocabulary is None and self.problem.chunks == self.problem.devices:
            return
        seconds = min(self.left / 3, MOST_PERIODIC_SECONDS)
        self.take_all(periodic_orders(self.problem, seconds, self.seed))

    def take_all(self, found: Iterable[Orders]) -> None:
        for orders in () if self.met else found:
            self.take(timed(self.graph, orders, self.problem.objective))
            if self.met:
                return
            self.in_time()

    def improve(self, at_most: int | None = None) -> None:
        assert self.best is not None
        if self.met:
            return
        for count, schedule in enumerate(improved(self.graph, self.best, self.problem.objective, self.seed)):
            self.take(schedule)
            if self.met or count + 1 == at_most:
                return
            self.in_time()

    def exact(self) -> None:
        if self.counts["operations"] <= MOST_EXACT:
            self.solve_model(None, self.left)

    def one_device(self) -> None:
        """The device of the largest bound alone, in a third of the time."""
        device = max(self.bound.device, 0)
        if self.counts["operations"] <= MOST_EXACT:
            return
        if self.graph.microbatches * len(self.graph.lanes_of[device]) <= MOST_ON_DEVICE:
            self.solve_model([device], self.left / 3)

    def solve_model(self, devices: Sequence[int] | None, seconds: float) -> None:
        from solvers.schedule.cpsat import solve_model

        self.in_time()
        self.counts["exact"] += 1
        outcome = solve_model(
            self.graph,
            objective=self.problem.objective,
            best=self.value,
            lower_bound=self.bound.seconds,
            seconds=seconds,
            seed=self.seed,
            workers=self.workers,
            devices=devices,
            hint=self.best,
        )
        self.counts["branches"] += outcome.branches
        if outcome.lower_bound > self.bound.seconds:
            self.bound = Bound(outcome.lower_bound, "exact model", devices[0] if devices else -1)
        if outcome.orders is not None:
            self.take(timed(self.graph, outcome.orders, self.problem.objective))
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.solved and devices is None:
            raise _Exhausted  # value and bound may still differ by what rounding takes

    def in_time(self) -> None:
        if self.left <= 0:
            raise _OutOfTime

    def solution(self, stop: Stop) -> Solution[Schedule]:
        status: Status = "optimal" if self.met and self.best else "feasible"
        return Solution(
            value=self.value,
            lower_bound=min(self.bound.seconds, self.value),
            status=status,
            stop=stop,
            choice=self.best,
            seconds=time.perf_counter() - self.began,
            seed=self.seed,
            counts=self.counts,
        )

    def infeasible(self, lacking: float) -> Solution[Schedule]:
        return Solution(
            value=np.inf,
            lower_bound=np.inf,
            status="infeasible",
            stop="exhausted",
            choice=None,
            seconds=time.perf_counter() - self.began,
            seed=self.seed,
            shortfall=lacking,
            counts=self.counts,
        )
