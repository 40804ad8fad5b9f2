"""Places experts along the layers by the method that suits the size."""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from solvers.experts.transitions import Integers, Transitions
from solvers.experts.transitions_bounds import load_shortfall, lower_bound
from solvers.experts.transitions_exact import (
    WORK_LIMIT,
    enumerate_layers,
    enumeration_work,
    match_layers,
    matchable,
)
from solvers.experts.transitions_search import LayerSearch
from solvers.solution import Solution, Status, Stop
from solvers.stop import MaxEvaluations, NoLimit, StoppingRule

Method = Literal["best", "enumeration", "matching", "descent"]
Bound = Literal["exact", "staying", "rearrangement", "both", "load"]

SWEEPS_BY_DEFAULT = 60
OPTIMAL = 1e-9


@dataclass(frozen=True, slots=True)
class AlongLayers:
    """``gpu_of_expert`` [layers, experts], by which ``method`` it was found and which ``bound`` holds for it."""

    gpu_of_expert: Integers
    method: Method
    bound: Bound


def place_along_layers(
    problem: Transitions, *, method: Method = "best", stop: StoppingRule | None = None, seed: int = 0
) -> Solution[AlongLayers]:
    """The assignment with the least total or tail that was found, and a bound on all.

    ``best`` takes the first of ``matching`` (one expert per GPU, GPUs alike), ``enumeration`` (dynamic programme
    over all assignments, up to ``WORK_LIMIT`` multiplications) and ``descent`` that applies. The first two are
    exact. ``stop`` is asked with the layer problems solved (descent; by default 60 for each layer) or with the
    blocks done (enumeration; by default never ends early). ``infeasible``: proven that no assignment keeps the
    load limit; ``feasible`` without a choice: none was found.
    Raises ``ValueError`` for an unknown method, or matching where it is not exact.
    """
    began = time.perf_counter()
    if method not in ("best", "enumeration", "matching", "descent"):
        raise ValueError(f"method: {method!r}; best, enumeration, matching or descent")
    if method == "matching" and not matchable(problem):
        raise ValueError(
            "method: matching is exact only for the total, with one expert on each GPU and the same cost between all "
            "GPUs; use enumeration or descent"
        )
    short = load_shortfall(problem)
    if short > 0:
        return Solution(
            value=np.inf,
            lower_bound=np.inf,
            status="infeasible",
            stop="exhausted",
            choice=None,
            seconds=time.perf_counter() - began,
            shortfall=short,
        )
    if method == "best":
        method = "descent"
        if matchable(problem):
            method = "matching"
        elif enumeration_work(problem) <= WORK_LIMIT:
            method = "enumeration"
    found: Integers | None
    why: Stop = "exhausted"
    counts: dict[str, int] = {}
    if method == "matching":
        found = match_layers(problem)
    elif method == "enumeration":
        found, why = enumerate_layers(problem, stop or NoLimit())
    else:
        search = LayerSearch(problem, stop or MaxEvaluations(SWEEPS_BY_DEFAULT * problem.layers), seed)
        why = search.run()
        found, counts = search.best, {"layer_problems": search.solved}
    exact = method != "descent" and why == "exhausted"
    bound: float
    name: Bound
    if found is None:
        bound, name = (np.inf, "load") if exact else lower_bound(problem)
        value = np.inf
    else:
        value = problem.value(found)
        bound, name = (value, "exact") if exact else lower_bound(problem)
    status: Status = "feasible"
    if exact and found is None:
        status = "infeasible"
    elif found is not None and value <= bound + OPTIMAL * abs(bound):
        status, bound = "optimal", min(bound, value)
    return Solution(
        value=value,
        lower_bound=bound,
        status=status,
        stop=why,
        choice=None if found is None else AlongLayers(found, method, name),
        seconds=time.perf_counter() - began,
        seed=seed if method == "descent" else None,
        counts=counts,
    )
