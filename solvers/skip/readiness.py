"""The compiled loops of skipping, made ready."""

from collections.abc import Callable
from functools import cache

import numpy as np

from solvers.readiness import told
from solvers.skip.arrays import keeps_rules
from solvers.skip.path_graph import path_graph
from solvers.skip.pricing import Prices, Pricing
from solvers.skip.problem import FORCED_ENDS, SkipProblem
from solvers.skip.search import Setting, State, annealed, chances_of
from solvers.skip.simulate import first_in_first_out


def ready(tell: Callable[[], None] | None = None) -> None:
    """Compiles what is not compiled yet, or loads it; ``tell`` is called (from another thread) if that is not quick."""
    told(_once, tell)


@cache
def _once() -> None:
    problem = SkipProblem(
        forward_seconds=(1.0, 1.0),
        backward_seconds=(1.0, 1.0),
        link_seconds=((0.0, 1.0), (1.0, 0.0)),
        memory_cap=(1, 1),
        group_sizes=(1, 1),
        microbatches=1,
        path_length=2,
        rules=FORCED_ENDS,
    )
    state = State(value=1.0, paths=np.array([[0, 1]]), stage_of_node=np.array([0, 1]))
    keeps_rules(problem, state.stage_of_node, state.paths)
    first_in_first_out(problem, (0, 1), [(0, 1)])
    chances = chances_of(problem, arrangement=False)
    annealed(problem, state, Setting(hot=0.1, evenness=0.0, steps=2), chances, 0, lambda: False, lambda decoded: None)
    graph = path_graph(problem, (0, 1))
    assert graph is not None
    Pricing(problem, graph).cheapest(Prices(fixed=np.zeros(2), rate=np.zeros(2), base=0.0))
