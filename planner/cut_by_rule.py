"""Cuts of a candidate's chain by rule: the least bottleneck of a stage's work that fits its memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from costmodels.configuration import PIPELINE_SCHEDULES
from costmodels.sharding import Column
from costmodels.step import StepModel
from costmodels.timeline import Order, peak_activation, peak_live_counts
from planner.best_schedule import like_order, schedule_problem
from solvers.chunk_memory import ChunkMemory
from solvers.partition import bottleneck_partition


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A cut of the chain: ``boundaries`` None when no cut fits, then ``shortfall_bytes`` says by how much.
    ``rows`` on each rank of every stage of a vocabulary split over them, None where all hold the same.

    ``lower_bound``: seconds that the step of no cut is below, inf where none is below this one's;
    ``priced``: how many cuts were.
    """

    boundaries: tuple[int, ...] | None
    rows: tuple[int, ...] | None = None
    shortfall_bytes: float = 0.0
    lower_bound: float = float("inf")
    priced: int = 1


def cut_by_rule(step: StepModel, i: int) -> Cut:
    """One chunk a stage: the cut that fits with the least bound on its 1F1B makespan. Interleaved:
    the cut with the least largest chunk, if it fits (a stage's chunks share its memory). Where some
    layers are recomputed, as though none were, and where weight gradients run apart: the cut balanced
    without a look at memory, or the one that respects it, if either fits as it is."""
    if step.partly[i] or step.columns.splits_backward[i]:
        return _either_cut(step, i)
    memory = chunk_memory(step, i) if step.columns.vp[i] == 1 else None
    boundaries, shortfall = balanced_cut(step, i, memory)
    if boundaries is None:
        fragments = 1.0 + step.calibration.allocator_fraction
        return Cut(boundaries=None, shortfall_bytes=shortfall * fragments)
    return checked(step, i, boundaries)


def _either_cut(step: StepModel, i: int) -> Cut:
    balanced, _ = balanced_cut(step, i, memory=None)
    assert balanced is not None  # without memory to respect there always is a cut
    found = checked(step, i, balanced)
    if found.boundaries is None and step.columns.vp[i] == 1:
        spared, _ = balanced_cut(step, i, chunk_memory(step.kept, i))
        second = found if spared is None else checked(step, i, spared)
        found = min(found, second, key=lambda cut: cut.shortfall_bytes)
    return found


def checked(step: StepModel, i: int, boundaries: tuple[int, ...]) -> Cut:
    if step.columns.schedule[i] == PIPELINE_SCHEDULES.index("best"):
        over = over_with_one(step, i, boundaries)
    else:
        over = max(stage.peak_bytes for stage in step.memory(i, boundaries)) - step.cluster.capacity_bytes
    if over > 0:
        return Cut(boundaries=None, shortfall_bytes=over)
    rows = None if step.rows is None else tuple(int(own) for own in step.rows)
    return Cut(boundaries=boundaries, rows=rows)


def over_with_one(step: StepModel, i: int, boundaries: tuple[int, ...]) -> float:
    """Bytes that the fullest stage lacks to run one micro-batch after the other."""
    problem = schedule_problem(step, i, boundaries)
    lacking = max(need - cap for need, cap in zip(problem.least_memory(), problem.memory_cap, strict=True))
    return lacking * (1.0 + step.calibration.allocator_fraction)


def balanced_cut(step: StepModel, i: int, memory: ChunkMemory | None) -> tuple[tuple[int, ...] | None, float]:
    stages, chunks = int(step.columns.pp[i]), int(step.columns.pp[i] * step.columns.vp[i])
    forward, load = chain_passes(step, i)
    if chunks == stages and not step.columns.splits_backward[i]:
        load = turn_costs(forward, load, stages, int(step.microbatches[i]) - 1)
    solution = bottleneck_partition(load, chunks, memory=memory)
    if solution.choice is None:
        return None, solution.shortfall
    return (*(int(b) for b in solution.choice[:-1]), len(step.chain.types)), 0.0


def chain_passes(step: StepModel, i: int) -> tuple[Column, Column]:
    """Forward seconds and those of both passes along the chain."""
    forward = _items(step, i, step.kept.forward_seconds)
    return forward, forward + _items(step, i, step.kept.backward_seconds)


def turn_costs(forward: Column, load: Column, stages: int, later: int) -> Column:
    """[stages, items]: what an item on stage j adds to the 1F1B makespan that the stage forces, beside one
    micro-batch's chain (``solvers.partition``); ``later`` micro-batches follow the first."""
    warmup = np.minimum(stages - 1 - np.arange(stages), later)[:, None]
    return later * load - warmup * forward if later else load


def _items(step: StepModel, i: int, table: Column, merge: Callable[[Column], float] = np.sum) -> Column:
    """Values along the chain, prediction layers and head as one item."""
    values = table[step.chain.types, i]
    body = step.chain.decoder_layers + 1
    return np.append(values[:body], merge(values[body:]))


def chunk_memory(step: StepModel, i: int) -> ChunkMemory:
    stages = int(step.columns.pp[i])
    transient = np.minimum(step.transient_bytes, step.kept.transient_bytes)
    transient = np.maximum(transient, step.vocabulary.step_bytes)
    fixed = np.full(stages, step.calibration.workspace_bytes + step.vocabulary_bytes[i])
    fixed[-1] += step.logit_bytes[i]
    in_flight = np.minimum(int(step.microbatches[i]), stages - np.arange(stages))
    activations = _items(step, i, step.saved_bytes)
    if step.columns.vocabulary[i]:
        in_flight = peak_live_counts(_order_by_rule(step, i))
    if step.columns.splits_backward[i]:
        in_flight, activations = _split_activations(step, i)
    return ChunkMemory(
        static_bytes=_items(step, i, step.state.total),
        activation_bytes=activations,
        transient_bytes=_items(step, i, transient, np.max),
        in_flight=in_flight.astype(np.float64),
        fixed_bytes=fixed,
        cap_bytes=step.allocatable_bytes,
    )


def _split_activations(step: StepModel, i: int) -> tuple[Column, Column]:
    """Micro-batches in flight on each stage, one that waits for its weight gradient alone counted by the
    largest share that any layer keeps for it; bytes of each item, the head's as its own stage keeps them."""
    saved, waiting = (_items(step, i, table) for table in (step.saved_bytes, step.weight_grad_bytes))
    order, ones = _order_by_rule(step, i), np.ones(int(step.columns.pp[i]))
    share = (waiting[1:-1] / np.maximum(saved[1:-1], 1.0)).max(initial=0.0)
    in_flight = peak_activation(order, ones, share * ones)
    saved[-1] = peak_activation(order, saved[-1] * ones, waiting[-1] * ones)[-1] / in_flight[-1]
    return in_flight, saved


def _order_by_rule(step: StepModel, i: int) -> Order:
    """The candidate's order, or one with the same chunks where it has yet to be made."""
    row = step.columns.row(i)
    return like_order(row, int(step.microbatches[i])) if row.schedule == "best" else step.order(i)
