"""Hosts to places: ours beside Pipette's annealing and plain orders: ``python -m tests.benchmarks.mapping``.

Tables: ``trials`` (the bundled instances, both objectives), ``small`` (every order tried), ``large`` (1,024 hosts on
leaves with one link in twenty slow). Nothing is asserted.
"""

import sys
import time
from dataclasses import replace
from typing import Literal

import numpy as np

from cases import case_path
from planner.mapping import random_order
from planner.mapping_problem import load_mapping
from solvers.mapping.evaluate import evaluate
from solvers.mapping.pipette import pipette_annealing
from solvers.mapping.problem import GridProblem, SharedLink, training_grid
from solvers.mapping.solve import solve_mapping
from solvers.mapping.starts import linked
from tests.oracles.mapping import best
from tests.solvers.mapping.random_problems import leaves, random_problem

OBJECTIVES: tuple[Literal["pipette", "step"], ...] = ("pipette", "step")


def show(name: str, problem: GridProblem, limit: float) -> None:
    solution = solve_mapping(problem, time_limit_seconds=limit)
    default = evaluate(problem, problem.default_order()).value
    at_random = np.mean([evaluate(problem, random_order(problem, seed)).value for seed in range(5)])
    annealed = [pipette_annealing(problem, seed) for seed in range(3 if problem.hosts < 100 else 1)]
    pipette = [evaluate(problem, order).value for order in annealed if order is not None]
    print(
        f"{name:34} {default * 1e3:>9.3f} {at_random * 1e3:>9.3f} "
        f"{min(pipette) * 1e3:>9.3f} {max(pipette) * 1e3:>9.3f} "
        f"{solution.value * 1e3:>9.4f} {solution.lower_bound * 1e3:>9.4f} {solution.gap:>7.2%} "
        f"{default / solution.value - 1:>9.1%} {at_random / solution.value - 1:>8.1%} {solution.seconds:>8.2f}  "
        f"{solution.status}, {solution.stop}",
        flush=True,
    )


def header() -> None:
    print(
        f"{'ms':34} {'default':>9} {'random':>9} {'Pipette':>9} {'to':>9} {'ours':>9} {'bound':>9} {'gap':>7} "
        f"{'default':>9} {'random':>8} {'seconds':>8}"
    )


def trials() -> None:
    header()
    for name in ("hosts_8_pp4", "hosts_16_pp8", "hosts_16_pp4"):
        given = load_mapping(case_path("mapping", f"{name}.json"))
        for objective in OBJECTIVES:
            show(f"{name} {objective}", replace(given, objective=objective).grid(), 30)


def small(count: int = 200) -> None:
    right, began = 0, time.perf_counter()
    for seed in range(count):
        problem = random_problem(seed)
        solution = solve_mapping(problem, seed=seed)
        right += solution.status == "optimal" and bool(np.isclose(solution.value, best(problem), rtol=1e-9))
    print(f"{right} of {count} equal to the best of all orders, proven, in {time.perf_counter() - began:.0f} s")


def large() -> None:
    header()
    for leaf, stages in ((32, 16), (16, 16), (32, 64)):
        for objective in OBJECTIVES:
            problem = training_grid(
                objective,
                bandwidth=leaves(1024, leaf, oversubscription=4.0, degraded=0.05, seed=1),
                stages=stages,
                rows=1024 // stages,
                pipeline_bytes=50331648.0,
                data_parallel_bytes=642577152.0,
                microbatches=64,
            )
            show(f"leaf {leaf}, {stages} stages, {objective}", problem, 50)
            if objective == "step" and (leaf, stages) == (32, 16):
                show("the same, uplinks of 400 GB/s", with_uplinks(problem, leaf, 400e9), 50)
                slower = np.random.default_rng(5).uniform(0.9, 1.0, problem.bandwidth.shape)
                show("the same, no two links alike", replace(problem, bandwidth=problem.bandwidth * slower), 50)


def with_uplinks(problem: GridProblem, leaf: int, bytes_per_second: float) -> GridProblem:
    """All that leaves a leaf shares its uplink."""
    from solvers.mapping.grid import grid_of

    groups = linked(problem, grid_of(problem)).line.reshape(-1, leaf).tolist()
    uplinks = tuple(SharedLink(members=tuple(members), bytes_per_second=bytes_per_second) for members in groups)
    return replace(problem, shared=uplinks)


def main() -> None:
    for table in sys.argv[1:] or ("trials", "small", "large"):
        print(f"\n{table}", flush=True)
        {"trials": trials, "small": small, "large": large}[table]()


if __name__ == "__main__":
    main()
