"""What a plan is compared with, in the same simulator: all stages, random and greedy skipping, given paths.

Each runs first in, first out, as a runtime without a planned order would.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from solvers.skip.arrays import keeps_rules
from solvers.skip.path_program import chosen_paths, node_visits
from solvers.skip.paths import Ints, every_path, times_alone
from solvers.skip.problem import Path, SkipProblem, SwapRules
from solvers.skip.schedule import SkipSchedule
from solvers.skip.simulate import first_in_first_out
from solvers.skip.starts import balanced_paths

MOST_PATHS = 60_000
MOST_FULL = 5_000
"""Paths through all stages up to which their copies are matched by the path programme."""
RANDOM_SETS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """``makespan`` in seconds; inf where the rules or the memory allow none. ``schedule`` may be None then."""

    name: str
    makespan: float
    schedule: SkipSchedule | None = None


def full_pipeline(problem: SkipProblem) -> SkipProblem:
    """The same micro-batches through all stages in order. A cap on the visits of a wave, which is made for skipping,
    is left out: micro-batches in flight are limited as before."""
    in_order = SwapRules(count=0, furthest=0, total_distance=0, forward_jump=None)
    rules = replace(problem.rules, visits_per_wave=False, swaps=in_order)
    return replace(problem, path_length=problem.stages, rules=rules)


def baselines(problem: SkipProblem, stage_of_node: Sequence[int], seed: int = 0) -> tuple[Baseline, ...]:
    """Full pipeline, random balanced skipping (the median of some) and greedy skipping, in this arrangement."""
    rng = np.random.default_rng(seed)
    whole = replace(full_pipeline(problem), stage_of_node=tuple(stage_of_node))
    columns = every_path(whole, stage_of_node, MOST_FULL)
    paths = None
    if columns is not None and len(columns):
        paths = chosen_paths(whole, stage_of_node, columns, trip_weight=0.01, seconds=2.0)
    full = run(
        "full pipeline", whole, stage_of_node, balanced_paths(whole, stage_of_node, rng) if paths is None else paths
    )
    drawn = [
        run("random balanced skipping", problem, stage_of_node, balanced_paths(problem, stage_of_node, rng))
        for _ in range(RANDOM_SETS)
    ]
    drawn.sort(key=lambda one: one.makespan)
    return (
        full,
        drawn[len(drawn) // 2],
        run("greedy skipping", problem, stage_of_node, greedy_paths(problem, stage_of_node, rng)),
    )


def run(name: str, problem: SkipProblem, stage_of_node: Sequence[int], paths: Ints | Sequence[Path] | None) -> Baseline:
    """Given paths first in, first out."""
    rows = None if paths is None else np.asarray(paths, dtype=np.int64).tolist()
    schedule = None if rows is None else first_in_first_out(problem, stage_of_node, rows)
    return Baseline(name=name, makespan=schedule.makespan if schedule else np.inf, schedule=schedule)


def greedy_paths(problem: SkipProblem, stage_of_node: Sequence[int], rng: np.random.Generator) -> Ints | None:
    """Micro-batch after micro-batch takes the path that is quickest alone among those that the loads still allow;
    where the last ones cannot be placed so, random balanced paths take over. None: there are none."""
    columns = every_path(problem, stage_of_node, MOST_PATHS)
    if columns is None or not len(columns):
        return balanced_paths(problem, stage_of_node, rng)
    columns = columns[np.argsort(times_alone(problem, columns).trip, kind="stable")]
    stages = np.array(stage_of_node, dtype=np.int64)
    _, most = node_visits(problem, stage_of_node)
    rows = []
    for _ in range(problem.waves):
        loads = np.array([problem.stage_load(s) for s in range(problem.stages)], dtype=float)
        left, visits = loads[:, 1].copy(), most / problem.waves
        for k in range(problem.wave_size):
            # a stage that needs as many of the micro-batches left as there are must be on every one of their paths
            need = loads[:, 0] - (loads[:, 1] - left)
            due = need >= problem.wave_size - k
            on = np.zeros((len(columns), problem.stages), dtype=bool)
            on[np.arange(len(columns))[:, None], stages[columns]] = True
            fits = ((left[stages[columns]] > 0) & (visits[columns] > 0)).all(axis=1) & on[:, due].all(axis=1)
            if not fits.any():
                return balanced_paths(problem, stage_of_node, rng)
            path = columns[np.argmax(fits)]
            rows.append(path)
            left[stages[path]] -= 1
            visits[path] -= 1
    paths = np.array(rows)
    return paths if keeps_rules(problem, stages, paths) else balanced_paths(problem, stage_of_node, rng)
