"""The compiled loops: all of them kept on disk, and compiled before the clock starts."""

import dataclasses
from types import ModuleType

import pytest
from numba.core.caching import NullCache
from numba.core.registry import CPUDispatcher

from solvers.skip import decoder, kernels, pricing, readiness
from solvers.skip.solve import solve_skip
from tests.solvers.skip.instances import chain, twenty_nodes


def _loops(module: ModuleType) -> dict[str, CPUDispatcher]:
    return {name: value for name, value in vars(module).items() if isinstance(value, CPUDispatcher)}


@pytest.mark.parametrize("module", [decoder, kernels, pricing], ids=["decoder", "kernels", "pricing"])
def test_every_loop_is_kept_on_disk(module: ModuleType) -> None:
    loops = _loops(module)
    assert len(loops) >= 4
    assert [name for name, loop in loops.items() if isinstance(loop._cache, NullCache)] == []


def test_nothing_is_left_to_compile_inside_the_time_limit() -> None:
    """A search with listed paths, one with generated paths: each of the loops that they call has the one signature it
    had before."""
    readiness.ready()
    entries = (kernels.anneal, decoder.decode, kernels.allowed, pricing.suffixes, pricing.through)
    before = [list(loop.signatures) for loop in entries]
    assert all(len(signatures) == 1 for signatures in before)
    solve_skip(chain("chain_8", 8, 4), time_limit_seconds=0.2)
    solve_skip(dataclasses.replace(chain("chain_20", 20, 10), stage_of_node=None), time_limit_seconds=0.5)
    solve_skip(chain("chain_20", 20, 12), time_limit_seconds=0.5)
    solve_skip(twenty_nodes(fixed=False), time_limit_seconds=0.5)
    assert [list(loop.signatures) for loop in entries] == before
