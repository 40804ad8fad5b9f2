"""Hosts to the places of a training step: the best order, its bound, and other orders beside it."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from planner.mapping_problem import MappingProblem
from planner.plan.mapping_result import MappingResult, OtherOrder
from planner.validate.mapping import check_mapping
from solvers.mapping.evaluate import evaluate
from solvers.mapping.pipette import pipette_annealing
from solvers.mapping.problem import GridProblem, Order
from solvers.mapping.readiness import ready
from solvers.mapping.solve import Progress, solve_mapping
from solvers.stop import StoppingRule

DEFAULT, RANDOM, PIPETTE = "default order", "random order", "pipette's annealing"


def plan_mapping(
    problem: MappingProblem,
    *,
    time_limit_seconds: float = 60.0,
    seed: int = 0,
    stop: StoppingRule | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_compiling: Callable[[], None] | None = None,
) -> MappingResult:
    """The best order of hosts found within the limit, checked, beside the default order, a random one and Pipette's.

    ``stop`` is asked as well (a Ctrl-C). ``on_compiling`` is called if the search must be compiled first, once on a
    machine and outside the limit. Raises ``RuntimeError`` if the result fails ``check_mapping``.
    """
    ready(on_compiling)
    began = time.perf_counter()
    grid = problem.grid()
    solution = solve_mapping(grid, stop=stop, time_limit_seconds=time_limit_seconds, seed=seed, on_progress=on_progress)
    assert solution.choice is not None
    cost = evaluate(grid, solution.choice)
    order = solution.choice.reshape(-1).tolist()
    placed = set(order)
    result = MappingResult(
        name=problem.name,
        objective=problem.objective,
        status="optimal" if solution.status == "optimal" else "feasible",
        stop=solution.stop,
        value=solution.value,
        lower_bound=solution.lower_bound,
        gap=solution.gap,
        seconds=time.perf_counter() - began,
        seed=seed,
        pipelines=problem.pipelines,
        pipeline_stages=problem.pipeline_stages,
        order=tuple(problem.gpus[host] for host in order),
        spare=tuple(name for host, name in enumerate(problem.gpus) if host not in placed),
        pipeline_seconds=cost.rows,
        ring_seconds=cost.columns,
        baselines=tuple(_others(grid, seed)),
        notes=problem.notes,
        counts=dict(solution.counts),
    )
    if findings := check_mapping(problem, result):
        first = findings[0]
        raise RuntimeError(f"the order fails its check, {len(findings)} findings: {first.path}: {first.message}")
    return result


def _others(grid: GridProblem, seed: int) -> Iterator[OtherOrder]:
    yield OtherOrder(name=DEFAULT, value=evaluate(grid, grid.default_order()).value)
    yield OtherOrder(name=RANDOM, value=evaluate(grid, random_order(grid, seed)).value)
    annealed = pipette_annealing(grid, seed)
    if annealed is None:
        yield OtherOrder(name=PIPETTE, value=None, reason="it permutes hosts, and knows no fixed places")
    else:
        yield OtherOrder(name=PIPETTE, value=evaluate(grid, annealed).value)


def random_order(grid: GridProblem, seed: int) -> Order:
    """Usable hosts at random; fixed ones in their places."""
    order = np.full((grid.rows, grid.columns), -1, dtype=np.int64)
    for place, host in grid.fixed.items():
        order[place] = host
    rest = np.setdiff1d(grid.usable, order)
    free = order < 0
    order[free] = np.random.default_rng(seed).permutation(rest)[: int(free.sum())]
    return order
