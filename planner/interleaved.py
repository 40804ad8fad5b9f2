"""A better cut for a candidate with several chunks a stage, where the rule's is not the best.

A stage's chunks share its memory and its time, so that no chunk alone says much of the step: what bounds
every cut is the coarse bound of the candidate. Where that leaves few cuts, all are priced; else the rule's
cut is improved by moving one layer at a time, the most promising moves by the closed-form bound of their
schedule first.
"""

import numpy as np
from numpy.typing import NDArray

from costmodels.sharding import Column
from costmodels.step import StepModel
from costmodels.step_price import price_cut
from costmodels.timeline import makespan_bound
from solvers.best_split import best_split
from solvers.solution import Solution

PRICED = 64
"""Cuts priced in the descent, and where all are listed."""

ROUNDING = 1e-12


def improve(
    step: StepModel, index: int, boundaries: tuple[int, ...], least_seconds: float
) -> Solution[NDArray[np.intp]]:
    """The best cut found from ``boundaries`` on, which fit; ``least_seconds`` is what no cut is below."""
    length, body = len(step.chain.types), step.chain.decoder_layers + 1
    chunks = len(boundaries) - 1
    order, links = step.order(index), step.link_seconds(index)

    def whole(split: NDArray[np.intp]) -> tuple[int, ...]:
        return (*(int(b) for b in split[:-1]), length)

    def value(split: NDArray[np.intp]) -> float:
        price = price_cut(step, index, whole(split))
        return price.step_seconds if price.peak_bytes <= step.cluster.capacity_bytes else float("inf")

    def screen(splits: NDArray[np.intp]) -> Column:
        host = step.calibration.microbatch_seconds / (2 * int(step.columns.vp[index]))
        recompute, input_grad, weight_grad = step.kept.backward_parts
        first = (step.kept.forward_seconds, recompute + input_grad)
        forward, backward = (_sums(table, step, index, splits) + host for table in first)
        weights = _sums(weight_grad, step, index, splits)
        if order.splits_backward:
            body_seconds = makespan_bound(order, forward, backward, links, weights)
        else:
            body_seconds = makespan_bound(order, forward, backward + weights, links)
        return np.asarray((step.straggler * body_seconds + step.calibration.step_seconds) * (1 - ROUNDING))

    start, end = np.indices((body + 2, body + 2))
    bounds = np.where((end > start) & (end - start <= body + 1 - (chunks - 1)), least_seconds * (1 - ROUNDING), np.inf)
    return best_split(
        np.broadcast_to(bounds, (chunks, *bounds.shape)),
        lambda splits: [value(split) for split in splits],
        start=np.array([*boundaries[:-1], body + 1]),
        screen=screen,
        listed=PRICED,
        evaluated=PRICED,
    )


def _sums(table: Column, step: StepModel, index: int, splits: NDArray[np.intp]) -> Column:
    """[k, chunks]: of the chunks of each split; the last holds all that stands behind the layers."""
    total = np.concatenate([[0.0], np.cumsum(table[step.chain.types, index])])
    ends = splits.copy()
    ends[:, -1] = len(step.chain.types)
    return np.asarray(np.diff(total[ends], axis=1))
