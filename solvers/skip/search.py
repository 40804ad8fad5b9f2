"""Restarts of simulated annealing over paths, order and, where it is free, arrangement, on several threads."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from solvers.skip.arrays import limits_of, machine_of
from solvers.skip.decoder import STUCK, Floats, Ints
from solvers.skip.kernels import (
    EXCHANGE_COPY,
    EXCHANGE_STAGE,
    MOVES,
    OTHER_COPY,
    OTHER_STAGE,
    SHIFT,
    SHIFT_ONE,
    SWAP_NODES,
    SWAP_OFFSETS,
    TRANSPOSE,
    WEIGHTS,
    anneal,
)
from solvers.skip.problem import SkipProblem
from solvers.skip.simulate import FIRST_IN_FIRST_OUT

OPERATIONS_PER_RESTART = 40_000_000
"""Operations placed in one restart."""
STEPS = (4_000, 100_000)
"""Fewest and most steps of one restart."""
CHUNK_OPERATIONS = 2_000_000
"""Operations placed between two looks at the clock."""

SETTINGS = ((0.005, 0.5), (0.015, 0.5), (0.04, 0.2))
"""(hottest temperature as a share of the makespan, weight of the mean end): by trial on the bundled instances, of
which no one is best everywhere."""

COLDEST = 0.0007
"""Last temperature, as a share of the makespan."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """Paths [micro-batches, K], arrangement [nodes], starts [micro-batches, operations] (None: not placed yet)."""

    value: float
    paths: Ints
    stage_of_node: Ints
    start: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    hot: float
    evenness: float
    steps: int
    quick: bool = False


def setting_of(problem: SkipProblem, restart: int) -> Setting:
    operations = problem.microbatches * problem.operations_per_microbatch
    steps = int(np.clip(OPERATIONS_PER_RESTART // operations, *STEPS))
    hot, evenness = SETTINGS[restart % len(SETTINGS)]
    return Setting(hot=hot, evenness=evenness, steps=steps)


def chances_of(problem: SkipProblem, *, arrangement: bool, order: bool = True) -> Floats:
    """Cumulated chances of the moves that the problem leaves any use for."""
    chances = np.zeros(MOVES)
    copies = max(problem.group_sizes) > 1
    slack = any(low < high for low, high in (problem.stage_load(s) for s in range(problem.stages)))
    chances[EXCHANGE_COPY] = 3.0 * copies
    chances[OTHER_COPY] = 1.5 * copies * (not problem.rules.visits_per_wave)
    if problem.path_length < problem.stages:
        chances[EXCHANGE_STAGE] = 4.0
        chances[OTHER_STAGE] = 1.0 * slack
    chances[TRANSPOSE] = 2.0 * (problem.rules.swaps.count > 0)
    if arrangement:
        chances[SWAP_NODES] = 1.5
    if order:
        chances[[SHIFT, SHIFT_ONE, SWAP_OFFSETS, WEIGHTS]] = 2.0, 2.0, 2.0, 0.2
    if not chances.any():
        chances[SHIFT] = 1.0
    cumulated: Floats = np.cumsum(chances) / chances.sum()
    return cumulated


def annealed(
    problem: SkipProblem,
    state: State,
    setting: Setting,
    chances: Floats,
    seed: int,
    over: Callable[[], bool],
    count: Callable[[int], None],
) -> State:
    """The best state of one restart from ``state``; ends early when ``over()``."""
    machine, limits = machine_of(problem), limits_of(problem)
    random = np.array([seed * 7919 % 2147483000 + 12345], dtype=np.int64)
    shape = (problem.microbatches, problem.operations_per_microbatch)
    paths, stage = state.paths.copy(), state.stage_of_node.copy()
    offset, detail, weights = np.zeros(shape[0]), np.zeros(shape), FIRST_IN_FIRST_OUT.copy()
    best_paths, best_stage, best_start = paths.copy(), stage.copy(), np.zeros(shape)
    values = np.array([STUCK, STUCK])
    scale = state.value if state.value < STUCK else 1.0
    chunk = max(1, CHUNK_OPERATIONS // (shape[0] * shape[1]))
    first = 0
    while first < setting.steps and not (first and over()):
        last = min(first + (chunk if first else 1), setting.steps)
        count(
            anneal(
                *machine,
                *limits,
                chances,
                random,
                setting.hot * scale,
                min(COLDEST, setting.hot) * scale,
                first,
                last,
                setting.steps,
                0.07 * scale,
                setting.evenness,
                int(setting.quick),
                paths,
                stage,
                offset,
                detail,
                weights,
                best_paths,
                best_stage,
                best_start,
                values,
            )
        )
        if not first and values[1] < STUCK:
            scale = float(values[1])
        first = last
    start = None if setting.quick else best_start
    return State(value=float(values[1]), paths=best_paths, stage_of_node=best_stage, start=start)


class Restarts:
    """Rounds of one restart per thread; ``stop`` ends them early."""

    def __init__(self, problem: SkipProblem, *, seed: int, workers: int) -> None:
        self.problem, self.seed, self.workers = problem, seed, max(1, workers)
        self.decoded = 0
        self.restarts = 0
        self.seconds = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def count(self, decoded: int) -> None:
        with self._lock:
            self.decoded += decoded

    def round(
        self, starts: Sequence[State], *, arrangement: bool, order: bool, deadline: float, good: float = 0.0
    ) -> list[State]:
        """The best states of a restart from each of ``starts``; without ``order`` by the quick estimate. All end at
        ``deadline`` (of ``time.perf_counter``) and when one of them is no worse than ``good``. Ctrl-C ends them too
        and is passed on."""
        began = time.perf_counter()
        self._stop.clear()
        chances = chances_of(self.problem, arrangement=arrangement, order=order)

        def over() -> bool:
            return self._stop.is_set() or time.perf_counter() >= deadline

        def one(number: int, state: State) -> State:
            setting = setting_of(self.problem, number)
            if not order:
                setting = Setting(hot=0.1, evenness=1.0, steps=setting.steps * 2, quick=True)
            seed = self.seed * 1009 + number
            found = annealed(self.problem, state, setting, chances, seed, over, self.count if order else _ignore)
            if found.value <= good:
                self._stop.set()
            return found

        with ThreadPoolExecutor(self.workers) as pool:
            futures: list[Future[State]] = []
            for state in starts:
                futures.append(pool.submit(one, self.restarts, state))
                self.restarts += 1
            try:
                wait(futures)
            except KeyboardInterrupt:
                self._stop.set()
                raise
        if order:
            self.seconds += time.perf_counter() - began
        return [future.result() for future in futures]


def _ignore(decoded: int) -> None:
    pass
