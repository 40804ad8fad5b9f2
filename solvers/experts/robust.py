"""One placement for several traces: the worst of them as good as can be.

The value of a layer is its largest busiest over mean GPU over the traces, that of a placement the mean over
the layers. A layer improves by single steps (``steps``) from each of the placements that suit one trace or all
pooled (each trace weighing the same), and the best is kept. A bound is the largest of the traces' own.
"""

import time
from collections.abc import Sequence

import numpy as np

from solvers.experts.balance import EFFORT, PROVEN, Balanced, balance
from solvers.experts.problem import Balance, Floats, Integers, Placement, balance_problem
from solvers.experts.steps import Layer, homes, nodes_of
from solvers.solution import Solution

MOST_STEPS = 300


def balance_worst(traces: Sequence[Balance], *, seed: int = 0, effort: int = EFFORT) -> Solution[Balanced]:
    """The placement found with the least worst case over ``traces``, problems alike but for their loads.

    A trace has no say in layers where it has no load. Raises ``ValueError`` for no trace or unlike ones.
    """
    began = time.perf_counter()
    if not traces:
        raise ValueError("traces: at least one is needed")
    first = traces[0]
    for number, trace in enumerate(traces):
        if _size(trace) != _size(first):
            raise ValueError(f"traces: trace {number} has other experts, layers, GPUs, slots or groups than trace 0")
    pooled = balance_problem(
        sum(trace.loads / np.where(trace.mean_load() > 0, trace.mean_load(), 1.0)[:, None] for trace in traces),
        gpus=first.gpus,
        slots_per_gpu=np.array(first.slots_per_gpu),
        gpus_per_node=first.gpus_per_node,
        expert_groups=first.expert_groups,
    )
    own = [found for trace in traces if (found := balance(trace, seed=seed, effort=effort).choice)]
    shared = balance(pooled, seed=seed, effort=effort).choice
    assert shared is not None
    starts = [shared, *own]
    bound = np.max([each.lower_bound for each in own], axis=0)
    rows = shared.placement.physical_to_logical.copy()
    for layer in range(first.layers):
        improved = [_improved(traces, layer, start.placement.on_gpus(layer), float(bound[layer])) for start in starts]
        held = min(improved, key=lambda found: found[0])[1]
        rows[layer, : held.size] = held.ravel()
    placement = Placement(rows, first.gpus, first.slots_per_gpu)
    first.check(placement)
    value = _worst(traces, placement)
    found = Balanced(placement=placement, max_over_mean=value, lower_bound=np.minimum(bound, value))
    proven = bool(found.proven.all())
    return Solution(
        value=float(value.mean()),
        lower_bound=float(value.mean() if proven else found.lower_bound.mean()),
        status="optimal" if proven else "feasible",
        stop="exhausted" if proven else "evaluation_limit",
        choice=found,
        seconds=time.perf_counter() - began,
        seed=seed,
        counts={"traces": len(traces), "layers_proven": int(found.proven.sum())},
    )


def _worst(traces: Sequence[Balance], placement: Placement) -> Floats:
    """[layers]."""
    return np.asarray(np.max([trace.max_over_mean(placement) for trace in traces], axis=0))


def _improved(traces: Sequence[Balance], layer: int, held: Integers, enough: float) -> tuple[float, Integers]:
    first = traces[0]
    means = [trace.mean_load()[layer] for trace in traces]
    loads = [trace.loads[layer] / mean for trace, mean in zip(traces, means, strict=True) if mean > 0]
    if not loads:
        return 1.0, held
    home = homes(held, first.experts, first.gpus_per_node) if first.expert_groups else None
    state = Layer(held.copy(), np.stack(loads), nodes_of(first.gpus, first.gpus_per_node), home)
    best, least = held, state.value()
    for _ in range(MOST_STEPS):
        if least <= enough * (1 + PROVEN) or not state.step():
            break
        if (value := state.value()) < least:
            best, least = state.held.copy(), value
    return least, best


def _size(trace: Balance) -> tuple[object, ...]:
    return trace.loads.shape, trace.gpus, trace.slots_per_gpu, trace.gpus_per_node, trace.expert_groups
