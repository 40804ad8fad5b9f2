"""Placements for more than the traces they were fitted to.

**Several traces, the worst counts.** With s_k(x) the objective of placement x on trace k, over its tokens,

    min over x of max over k of s_k(x)  >=  max over weights w of min over x of sum_k w_k s_k(x),   sum w_k = 1.

Each inner problem is one of ``place_along_layers`` on the weighted counts. The weights follow the traces that
come out worst (multiplicative weights); the best x met is returned, with the best right side as bound. The two
sides need not meet: the bound is that of mixtures of placements.

**Shrinking.** (1 - a) t + a r c / n mixes the counts with what independent layers of the same loads would give
(r, c: sums of rows and columns). On Mixtral's two data sets no shrinking, low-rank smoothing or averaging over
resamples did better than plain fitting in all of four trials (two directions, 4 and 8 GPUs): the loss on unseen
data is a difference of data sets more than noise. ``tests/benchmarks/transitions.py`` prints the figures.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from solvers.experts.transitions import Floats, Transitions
from solvers.experts.transitions_solve import AlongLayers, place_along_layers
from solvers.solution import Solution, Stop
from solvers.stop import MaxEvaluations, StoppingRule

ROUNDS = 30
OPTIMAL = 1e-9


def toward_independence(counts: Floats, weight: float) -> Floats:
    """Counts [layers - 1, experts, experts] with the share ``weight`` of 0 ... 1 replaced by independence."""
    if not 0 <= weight <= 1:
        raise ValueError(f"weight: {weight} is no share between 0 and 1")
    total = np.maximum(counts.sum(axis=(1, 2), keepdims=True), 1.0)
    independent = counts.sum(axis=2)[:, :, None] * counts.sum(axis=1)[:, None, :] / total
    return np.asarray((1 - weight) * counts + weight * independent)


def place_for_the_worst(
    traces: Sequence[Transitions], *, stop: StoppingRule | None = None, seed: int = 0
) -> Solution[AlongLayers]:
    """The placement whose objective per token on its worst trace is least, of those met.

    ``stop`` is asked with the inner problems solved; by default 30. The traces must agree in all but counts and
    loads; load limits hold for every trace's loads only where they are given by the first.
    Raises ``ValueError`` for no trace, an empty trace, or traces that differ.
    """
    began = time.perf_counter()
    _check(traces)
    ends = stop or MaxEvaluations(ROUNDS)
    tokens = np.array([trace.counts.sum() for trace in traces])
    weights = np.full(len(traces), 1 / len(traces))
    best, bound, rounds = None, 0.0, 0
    value = np.inf
    why: Stop | None = None
    while why is None:
        mixed = sum(w * trace.counts / n for w, trace, n in zip(weights, traces, tokens, strict=True))
        found = place_along_layers(replace(traces[0], counts=np.asarray(mixed)), seed=seed)
        rounds += 1
        bound = max(bound, found.lower_bound)
        if found.choice is None:
            return replace(found, seconds=time.perf_counter() - began)
        reached = np.array(
            [trace.value(found.choice.gpu_of_expert) / n for trace, n in zip(traces, tokens, strict=True)]
        )
        if reached.max() < value:
            value, best = float(reached.max()), found.choice
        if value <= bound * (1 + OPTIMAL):
            why = "exhausted"
            break
        spread = float(np.ptp(reached)) or 1.0
        weights = weights * np.exp((reached - reached.max()) / spread / np.sqrt(rounds))
        weights /= weights.sum()
        why = ends(rounds)
    return Solution(
        value=value,
        lower_bound=min(bound, value),
        status="optimal" if value <= bound * (1 + OPTIMAL) else "feasible",
        stop=why,
        choice=best,
        seconds=time.perf_counter() - began,
        seed=seed,
        counts={"inner_problems": rounds},
    )


def _check(traces: Sequence[Transitions]) -> None:
    if not traces:
        raise ValueError("traces: none given")
    first = traces[0]
    for k, trace in enumerate(traces):
        same = trace.counts.shape == first.counts.shape and trace.gpus == first.gpus
        if not same or trace.objective != first.objective or not np.array_equal(trace.cost, first.cost):
            raise ValueError(f"traces: trace {k} differs from the first in its shape, GPUs, cost or objective")
        if first.objective == "tail" and len(traces) > 1:
            raise ValueError("traces: the tail is no sum over tokens and does not mix; pool the traces instead")
        if not trace.counts.sum() > 0:
            raise ValueError(f"traces: trace {k} has no transition")
