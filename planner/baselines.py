"""The cuts that frameworks and simple rules would make of a configuration, beside ours, in the same model.

- ``even``: Megatron's default, as many layers in every chunk;
- ``megatron``: the fastest that fits of what Megatron's own settings express: the embedding or the loss
  counted as a layer (``--account-for-embedding-in-pipeline-split``, ``--account-for-loss-in-pipeline-split``),
  or other numbers of layers on the first or the last stage (``--decoder-first-pipeline-num-layers``,
  ``--decoder-last-pipeline-num-layers``), the rest as many each;
- ``redis``: fewer layers on the last stage as its head weighs (``planner.splits``);
- ``min-max``: the least largest chunk, by dynamic programming, whatever its memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from costmodels.configuration import Configuration
from costmodels.sharding import Column
from costmodels.step import StepModel
from costmodels.step_price import price_cut
from costmodels.timeline import makespan_seconds
from planner.splits import redistributed_boundaries
from solvers.partition import bottleneck_partition

TRIED = 64
"""Of Megatron's settings, how many of the fastest are tried for one that fits in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A rule's cut. ``boundaries`` None: it has none, as ``detail`` says; else ``detail`` is how it is asked for."""

    rule: str
    detail: str
    boundaries: tuple[int, ...] | None
    pipeline_seconds: float = float("inf")
    step_seconds: float = float("inf")
    fits: bool = False


def baselines(step: StepModel, index: int) -> tuple[Baseline, ...]:
    """Every rule's cut of candidate ``index``, priced."""
    row, model = step.columns.row(index), step.model
    layers, chunks = len(model.layers), row.pp * row.vp
    even = _cut(step, _even(layers, chunks, False, False)) if layers % chunks == 0 else None
    redis = redistributed_boundaries(model, step.job, row)
    load = _along(step, index, step.kept.forward_seconds + step.kept.backward_seconds)
    least = bottleneck_partition(load, chunks).choice
    assert least is not None  # no memory to respect
    return (
        _priced(step, index, "even", f"{layers} layers do not divide by {chunks} chunks" * (even is None), even),
        _corrected(step, index, row),
        _priced(step, index, "redis", "for one chunk a stage of plain dense layers alone" * (redis is None), redis),
        _priced(step, index, "min-max", "", (*(int(b) for b in least[:-1]), len(step.chain.types))),
    )


def corrected_splits(layers: int, configuration: Configuration) -> Iterator[tuple[str, list[int]]]:
    """Layers of each chunk under every setting of Megatron's, with the setting."""
    stages, turns = configuration.pp, configuration.vp
    chunks = stages * turns
    for embedding, loss in product((False, True), repeat=2):
        if (layers + embedding + loss) % chunks == 0 and (layers + embedding + loss) // chunks > embedding + loss:
            named = " and ".join(["embedding"] * embedding + ["loss"] * loss)
            yield f"{named or 'nothing'} counted as a layer", _even(layers, chunks, embedding, loss)
    if stages < 2:
        return
    for each in range(turns, layers + 1, turns) if stages > 2 else (0,):
        for first in range(turns, layers + 1, turns):
            last = layers - first - each * (stages - 2)
            if last >= turns and last % turns == 0 and not first == each == last:
                own = [first, *[each] * (stages - 2), last]
                yield f"first {first}, last {last}", [own[c % stages] // turns for c in range(chunks)]


def _even(layers: int, chunks: int, embedding: bool, loss: bool) -> list[int]:
    counts = [(layers + embedding + loss) // chunks] * chunks
    counts[0] -= embedding
    counts[-1] -= loss
    return counts


def _corrected(step: StepModel, index: int, row: Configuration) -> Baseline:
    found = {tuple(counts): name for name, counts in corrected_splits(len(step.model.layers), row)}
    if not found:
        return Baseline(rule="megatron", detail="no setting places every layer", boundaries=None)
    cuts = [_cut(step, list(counts)) for counts in found]
    order = np.argsort(_makespans(step, index, np.array(cuts)), kind="stable")
    tried = (_priced(step, index, "megatron", list(found.values())[i], cuts[i]) for i in order[:TRIED])
    best: Baseline | None = None
    for baseline in tried:
        best = best or baseline
        if baseline.fits:
            return baseline
    assert best is not None
    return best


def _makespans(step: StepModel, index: int, cuts: NDArray[np.int64]) -> Column:
    host = step.calibration.microbatch_seconds / (2 * int(step.columns.vp[index]))
    recompute, input_grad, weight_grad = step.kept.backward_parts
    passes = []
    for table, extra in ((step.kept.forward_seconds, host), (recompute + input_grad, host), (weight_grad, 0.0)):
        total = np.concatenate([[0.0], np.cumsum(table[step.chain.types, index])])
        passes.append(np.diff(total[cuts], axis=1) + extra)
    forward, backward, weights = passes
    order, links = step.order(index), step.link_seconds(index)
    if order.splits_vocabulary:
        return np.asarray((forward + backward + weights).max(axis=1))
    if order.splits_backward:
        return makespan_seconds(order, forward, backward, links, weight_grad_seconds=weights)
    return makespan_seconds(order, forward, backward + weights, links)


def _cut(step: StepModel, counts: list[int]) -> tuple[int, ...]:
    return (0, *(1 + int(end) for end in np.cumsum(counts)[:-1]), len(step.chain.types))


def _along(step: StepModel, index: int, table: Column) -> Column:
    """Along the chain, prediction layers and head as one item."""
    values, body = table[step.chain.types, index], step.chain.decoder_layers + 1
    return np.append(values[:body], values[body:].sum())


def _priced(step: StepModel, index: int, rule: str, detail: str, boundaries: tuple[int, ...] | None) -> Baseline:
    if boundaries is None:
        return Baseline(rule=rule, detail=detail, boundaries=None)
    price = price_cut(step, index, boundaries)
    return Baseline(
        rule=rule,
        detail=detail,
        boundaries=boundaries,
        pipeline_seconds=price.pipeline_seconds,
        step_seconds=price.step_seconds,
        fits=price.peak_bytes <= step.cluster.capacity_bytes,
    )
