"""The compiled loops of mapping: all of them kept on disk, and compiled before the clock starts."""

from types import ModuleType

import pytest
from numba.core.caching import NullCache
from numba.core.registry import CPUDispatcher

from solvers.mapping import anneal, kernels, pipette, places, readiness, ring, rows, tables
from solvers.mapping.pipette import pipette_annealing
from solvers.mapping.solve import solve_mapping
from tests.solvers.mapping.random_problems import random_problem

MODULES = (anneal, kernels, pipette, places, ring, rows, tables)


def _loops(module: ModuleType) -> dict[str, CPUDispatcher]:
    return {
        f"{module.__name__}.{name}": value for name, value in vars(module).items() if isinstance(value, CPUDispatcher)
    }


@pytest.mark.parametrize("module", MODULES, ids=[module.__name__ for module in MODULES])
def test_every_loop_is_kept_on_disk(module: ModuleType) -> None:
    loops = _loops(module)
    assert loops
    assert [name for name, loop in loops.items() if isinstance(loop._cache, NullCache)] == []


def test_nothing_is_left_to_compile_inside_the_time_limit() -> None:
    """Rings, rows, shared links, blocks, fixed places, latencies: each entry has the one signature it had before."""
    readiness.ready()
    entries = (anneal.anneal, tables.fill, kernels.value, kernels.terms, places.search, ring.find_ring, pipette.permute)
    entries = (*entries, rows.tails, rows.cover)
    before = [list(loop.signatures) for loop in entries]
    assert [len(signatures) for signatures in before] == [1] * len(entries)
    for seed in range(30):
        problem = random_problem(seed)
        solve_mapping(problem, time_limit_seconds=0.1)
        pipette_annealing(problem, seed=0, steps=10)
    assert [list(loop.signatures) for loop in entries] == before
