"""Schedules: ours beside published ones, time and gap by size: ``python -m tests.benchmarks.schedules [table ...]``.

Tables: ``reference``, ``size``, ``vocabulary``, ``different``. Nothing is asserted.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from solvers.schedule.bounds import lower_bound
from solvers.schedule.graph import operation_graph
from solvers.schedule.greedy import rule_orders
from solvers.schedule.problem import ScheduleProblem
from solvers.schedule.schedule import timed
from solvers.schedule.solve import solve_schedule
from tests.solvers.schedule.instances import linear, passes, placed, v_placed

REFERENCE = (
    # name, problem, published heuristic (ZB's automatic scheduler), best known before
    ("4,8,0,cap 4", linear(4, 8, 0, 4), 270, 270),
    ("4,8,0,cap 3", linear(4, 8, 0, 3), 370, 310),
    ("8,16,0,cap 8", linear(8, 16, 0, 8), 550, 550),
    ("8,16,0,cap 6", linear(8, 16, 0, 6), 1070, 610),
    ("8,16,0,cap 4", linear(8, 16, 0, 4), 1670, 790),
    ("8,24,1,cap 8", linear(8, 24, 1, 8), 818, 818),
    ("16,64,1,cap 16", linear(16, 64, 1, 16), 2130, None),
    ("64,512,1,cap 64", linear(64, 512, 1, 64), 16242, None),
    ("V 4,8,0,cap 4", v_placed(4, 8, 0, 4), 295, 295),
    ("V 4,8,0,cap 6", v_placed(4, 8, 0, 6), 265, 265),
    ("V 4,8,0,cap 8", v_placed(4, 8, 0, 8), 255, 255),
)


def reference() -> None:
    print(
        f"{'p,m,link,cap':16} {'published':>9} {'known':>6} {'ours':>8} {'bound':>8} {'gap':>7} {'seconds':>8}  status"
    )
    for name, problem, published, known in REFERENCE:
        solution = solve_schedule(problem, time_limit_seconds=60)
        print(
            f"{name:16} {published:>9} {known or 'open':>6} {solution.value:>8.0f} {solution.lower_bound:>8.1f} "
            f"{solution.gap:>7.2%} {solution.seconds:>8.2f}  {solution.status}",
            flush=True,
        )


def by_size(problems: Iterator[tuple[str, ScheduleProblem]], limit: float = 20.0) -> None:
    print(
        f"{'problem':34} {'operations':>10} {'rule s':>7} {'rule':>9} {'bound s':>7} {'bound':>9} "
        f"{'ours':>9} {'bound':>9} {'gap':>7} {'seconds':>8}  status"
    )
    for name, problem in problems:
        graph = operation_graph(problem)
        first, rule_seconds = _timed(lambda g=graph: timed(g, next(rule_orders(g))))  # type: ignore[misc]
        bound, bound_seconds = _timed(lambda g=graph: lower_bound(g))  # type: ignore[misc]
        solution = solve_schedule(problem, time_limit_seconds=limit)
        print(
            f"{name:34} {solution.counts['operations']:>10,} {rule_seconds:>7.2f} {first.makespan:>9.1f} "
            f"{bound_seconds:>7.2f} {bound.seconds:>9.1f} {solution.value:>9.1f} {solution.lower_bound:>9.1f} "
            f"{solution.gap:>7.2%} {solution.seconds:>8.2f}  {solution.status}",
            flush=True,
        )


def _timed(make: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return make(), time.perf_counter() - began


def size() -> Iterator[tuple[str, ScheduleProblem]]:
    for devices, microbatches in ((4, 8), (4, 64), (8, 32), (8, 128), (16, 64), (32, 128), (64, 512)):
        for cap in (np.inf, devices, devices * 0.6):
            yield f"linear {devices},{microbatches},1,cap {cap:g}", linear(devices, microbatches, 1.0, cap)
    for devices, microbatches, cap in ((4, 8, 4), (8, 32, 16), (8, 32, 10), (16, 64, 32)):
        yield f"V {devices},{microbatches},1,cap {cap}", v_placed(devices, microbatches, 1.0, cap)


def vocabulary() -> Iterator[tuple[str, ScheduleProblem]]:
    for method in ("vocab-1", "vocab-2"):
        for devices, microbatches in ((4, 8), (8, 32), (8, 128)):
            for more in (1, 2):
                problem = placed(
                    range(devices),
                    microbatches,
                    0.2,
                    float(devices + more),
                    whole=True,
                    vocabulary=passes(devices, method, 2.0, 4.0, look_up=0.5, barrier=1.0),
                )
                yield f"{method} {devices},{microbatches},cap {devices + more}", problem


def different() -> Iterator[tuple[str, ScheduleProblem]]:
    """Stages, links and caps all different, in figures without a common unit."""
    for devices, microbatches in ((4, 8), (4, 16), (8, 16), (8, 64), (16, 128)):
        generator = np.random.default_rng(devices * microbatches)

        def about(mean: float, count: int, spread: float, of: np.random.Generator = generator) -> tuple[float, ...]:
            return tuple(of.uniform(mean * (1 - spread), mean * (1 + spread), count).tolist())

        problem = dataclasses.replace(
            linear(devices, microbatches),
            forward_seconds=about(10, devices, 0.2),
            input_grad_seconds=about(11, devices, 0.2),
            weight_grad_seconds=about(9, devices, 0.2),
            p2p_seconds=about(1, devices - 1, 0.8),
            memory_cap=about(devices * 0.8, devices, 0.2),
        )
        yield f"different {devices},{microbatches}", problem


def main() -> None:
    for table in sys.argv[1:] or ("reference", "size", "vocabulary", "different"):
        print(f"\n{table}", flush=True)
        if table == "reference":
            reference()
        else:
            by_size({"size": size, "vocabulary": vocabulary, "different": different}[table]())


if __name__ == "__main__":
    main()
