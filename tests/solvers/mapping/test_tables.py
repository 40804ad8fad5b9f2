"""Prices that are kept up to date change by change: the same as of the whole order, in plain Python."""

import numpy as np
import pytest

from solvers.mapping.anneal import anneal
from solvers.mapping.evaluate import evaluate
from solvers.mapping.grid import grid_of
from solvers.mapping.problem import Blocks, GridProblem, SharedLink, training_grid
from solvers.mapping.tables import empty_tables, fill
from tests.solvers.mapping.random_problems import leaves, random_problem


def crowded(kind: str, seed: int) -> GridProblem:
    """24 hosts in 4 leaves behind uplinks, two of which share another, blocks of 3 rows, two spare hosts."""
    links = leaves(26, 7, oversubscription=4.0, degraded=0.1, seed=seed)
    shared = [tuple(range(k, min(k + 7, 26))) for k in (0, 7, 14, 21)] + [tuple(range(14))]
    return training_grid(
        "step",
        bandwidth=links,
        stages=4,
        rows=6,
        pipeline_bytes=5e7,
        data_parallel_bytes=6e8,
        microbatches=8,
        latency=np.random.default_rng(seed).uniform(1e-6, 1e-3, (26, 26)),
        shared=tuple(SharedLink(members=members, bytes_per_second=60e9) for members in shared),
        blocks=Blocks(size=3, bytes_per_column=(1e7, 2e7, 0.0, 4e7), kind="ring" if kind == "ring" else "all-to-all"),
    )


def check(problem: GridProblem, moves: int, seed: int) -> None:
    grid, order = grid_of(problem), problem.default_order()
    tables, best = empty_tables(grid, problem.rows), np.empty_like(order)
    fixed = np.full(order.shape, -1, dtype=np.int64)
    alike = np.zeros(problem.hosts, dtype=np.int64)
    fill(grid, order, tables)
    filled = evaluate(problem, order)
    assert tables.row == pytest.approx(filled.rows)
    assert tables.column == pytest.approx([column or 0.0 for column in filled.columns])
    hot = 0.1 * filled.value
    found = anneal(
        grid, order, tables, fixed, problem.usable, alike, moves, hot, hot, np.random.default_rng(seed), best
    )
    now = evaluate(problem, order)
    assert tables.row == pytest.approx(now.rows)
    assert tables.column == pytest.approx([column or 0.0 for column in now.columns])
    assert found == pytest.approx(evaluate(problem, best).value)
    before = tables.flows.copy()
    fill(grid, order, tables)
    assert before.tolist() == tables.flows.tolist()


@pytest.mark.parametrize("kind", ["ring", "all-to-all"])
@pytest.mark.parametrize("seed", range(4))
def test_prices_after_many_changes_are_those_of_the_order(kind: str, seed: int) -> None:
    check(crowded(kind, seed), 3_000, seed)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_prices_of_small_problems_with_every_option(first: int) -> None:
    for seed in range(first, first + 20):
        problem = random_problem(seed)
        if problem.places > 1 and evaluate(problem, problem.default_order()).value > 0:
            check(problem, 200, seed)
