"""The compiled loops of mapping, made ready."""

from collections.abc import Callable
from functools import cache

import numpy as np

from solvers.mapping.grid import grid_of
from solvers.mapping.kernels import terms
from solvers.mapping.pipette import pipette_annealing
from solvers.mapping.places import PlaceSearch
from solvers.mapping.problem import training_grid
from solvers.mapping.ring import best_ring
from solvers.mapping.rows import RowSearch
from solvers.mapping.search import LocalSearch
from solvers.readiness import told
from solvers.stop import MaxEvaluations


def ready(tell: Callable[[], None] | None = None) -> None:
    """Compiles what is not compiled yet, or loads it; ``tell`` is called (from another thread) if that is not quick."""
    told(_once, tell)


@cache
def _once() -> None:
    ring, grid = (
        training_grid(
            "step",
            bandwidth=np.ones((4, 4)),
            stages=stages,
            rows=4 // stages,
            pipeline_bytes=1.0,
            data_parallel_bytes=1.0,
            microbatches=2,
        )
        for stages in (1, 2)
    )
    best_ring(ring)
    LocalSearch(grid, seed=0).run(MaxEvaluations(1), lambda value: None)
    order = grid.default_order()
    terms(grid_of(grid), order, np.empty(grid.rows), np.empty(grid.columns))
    for search in (RowSearch, PlaceSearch):
        search(grid, order, 1.0, (0.0, 0.0)).run(1)
    pipette_annealing(grid, seed=0, steps=1)
