"""Configurations to seconds and bytes: the bridge between the space and the cost models.

Three prices of growing sharpness, each a lower bound on the next:

1. ``coarse_bounds``: all candidates at once, over every possible cut of the chain;
2. ``refine``: the candidate's own cut (``solvers.partition``), closed-form bounds on its schedule;
3. ``evaluate``: that cut through the event simulation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Model
from costmodels.calibration import Calibration, load_calibration
from costmodels.columns import Columns
from costmodels.configuration import PIPELINE_SCHEDULES, Configuration, Job
from costmodels.hardware import Cluster
from costmodels.price import StepPrice
from costmodels.sharding import Column, Degree
from costmodels.step import StepModel, price_cut
from costmodels.timeline import makespan_bound, peak_activation, peak_live_counts
from solvers.chunk_memory import ChunkMemory
from solvers.partition import bottleneck_partition

BATCH = 1 << 15
"""Candidates bounded together: keeps the arrays of a million of them in tens of megabytes."""


def calibration_for(cluster: Cluster, job: Job, given: Calibration | Path | None) -> Calibration:
    """``given`` itself, or the bundled figures of the GPU and the job's software with those of a file
    in their place."""
    return given if isinstance(given, Calibration) else load_calibration(cluster.gpu, given, job.software)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A cut of the chain: ``boundaries`` None when no cut fits, then ``shortfall_bytes`` says by how much."""

    boundaries: tuple[int, ...] | None
    shortfall_bytes: float = 0.0


class Pricing:
    """Prices of every candidate in ``columns``; cuts are computed once and kept."""

    def __init__(self, cluster: Cluster, model: Model, job: Job, calibration: Calibration, columns: Columns) -> None:
        self.cluster, self.model, self.columns = cluster, model, columns
        self.step = StepModel(model, cluster, job, calibration, columns)
        self.cuts: dict[int, Cut] = {}

    # -- 1: every candidate, every cut ------------------------------------------------------

    def coarse_bounds(self) -> Column:
        """A lower bound on the step of each candidate whatever its cut; inf where no cut fits."""
        parts = [
            self._coarse(self.step.take(np.arange(start, min(start + BATCH, len(self.columns)))))
            for start in range(0, len(self.columns), BATCH)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _coarse(self, step: StepModel) -> Column:
        """Average two bounds over the stages so that the cut drops out.

        With loads l_i = F_i + B_i, W = sum l_i and 1F1B's p-1-i warm-up forwards, any cut obeys
          (a) T >= sum_{j<i} l_j + m l_i              (reach stage i, run it, drain)
          (b) T >= W + (m-1) l_i - (p-1-i) F_i        (round trip, less forwards done meanwhile).
        Weights L on (a) and 1-L on (b), averaged over i, leave
          T >= W/p (m + (1-L)(p-1)) + sum_j (p-1-j) (L l_j - (1-L) F_j) / p,
        and with F_j <= f l_j the choice L = f / (1+f) makes the last sum non-negative.
        Interleaved schedules keep (a): the chunks before a stage's first hold a layer each. Where weight
        gradients run apart nothing follows the last of them: of (a), forward passes alone precede a stage's
        work. Where some layers are recomputed, which ones depends on the cut: here none is.
        """
        counts = step.chain.counts.astype(np.float64)
        forward, backward = step.kept.forward_seconds, step.kept.backward_seconds
        load = forward + backward
        host = step.calibration.microbatch_seconds
        p, m = step.columns.pp.astype(np.float64), step.microbatches.astype(np.float64)
        total = counts @ load + p * host
        share = np.max(forward / np.maximum(load, 1e-30), axis=0)
        share = np.maximum(share, 0.5) if host else share
        plain = total / p * (m + (p - 1) / (1 + share))
        kinds = np.unique(self.model.layers) + 1
        lightest = load[kinds].min(axis=0)

        def ramp(embedding: Column, layer: Column) -> Column:
            return np.asarray(((p - 1) * embedding + (p - 1) * np.maximum(p - 2, 0) / 2 * layer) / p)

        interleaved = total / p * m + ramp(load[0], lightest + host / step.columns.vp)
        first = forward[kinds].min(axis=0) + host / 2 / step.columns.vp
        split_backward = total / p * m + ramp(forward[0] + host / 2 / step.columns.vp, first)
        some_stage = np.ceil(step.chain.decoder_layers / p) * lightest + host
        ramped = np.where(step.columns.vp == 1, plain, interleaved)
        pipeline = np.maximum(np.where(step.columns.splits_backward, split_backward, ramped), m * some_stage)
        # with a split vocabulary the ramp is not counted: what each stage computes bounds it
        busy = np.maximum(total / p * m, m * some_stage) + step.vocabulary.busy_seconds(m)
        pipeline = np.where(step.columns.vocabulary == 0, pipeline, busy)
        dense, experts = step.parameters
        update = step.traffic.optimizer_seconds(counts @ dense / p + step.vocabulary.parameters, counts @ experts / p)
        bound = step.straggler * (pipeline + update) + step.calibration.step_seconds
        return np.where(self._fits_some_cut(step), bound * (1 - 1e-12), np.inf)

    def _fits_some_cut(self, step: StepModel) -> NDArray[np.bool_]:
        """False only where no cut can fit: the stages together lack room for the layers of some kind
        alone, or for all layers if each were of the lightest kind.

        Stage i of 1F1B keeps min(m, p-i) micro-batches of its layers. Interleaved, it runs
        (v-1) p + 2 (p-1-i) + 1 forwards before its first backward, p of each chunk in turn: p
        micro-batches of every chunk but the last, and of the last min(p, 2 (p-1-i) + 1). That chunk
        costs at most W / (p v) plus one item (any chain can be cut so, and the largest chunk is least),
        which limits its layers. Where weight gradients run apart, each chunk of ``_first_live`` is whole just
        before a stage's first backward pass. Where some layers are recomputed, here all are as to bytes kept and none
        as to seconds, which their cut goes by.
        """
        columns = step.columns
        kinds = np.flatnonzero(np.bincount(self.model.layers)) + 1

        def with_lightest(table: Column) -> Column:
            return np.vstack([table[kinds], table[kinds].min(axis=0)])

        load = step.kept.forward_seconds + step.kept.backward_seconds
        state, saved, cost = (with_lightest(table) for table in (step.state.total, step.saved_bytes, load))
        after = 1 + len(self.model.kinds)  # prediction layers and head: one item of the cut
        largest = np.maximum(load[:after].max(axis=0), step.chain.counts[after:] @ load[after:])
        in_last = np.floor((step.chain.counts @ load / (columns.pp * columns.vp) + largest) * (1 + 1e-9) / cost)
        transient = step.kept.transient_bytes[kinds].min(axis=0)
        fixed = step.calibration.workspace_bytes + transient + step.vocabulary_bytes
        last = step.state.total[-1] + step.logit_bytes
        first = step.state.total[0]
        ending = np.where(columns.turns_back, 0, columns.pp - 1)
        room = np.zeros((len(kinds) + 1, len(columns)))
        for stage in range(int(columns.pp.max(initial=0))):
            later = columns.pp - 1 - stage
            interleaved = np.minimum(columns.pp, 2 * later + 1)
            last_live = np.minimum(step.microbatches, np.where(columns.vp == 1, later + 1, interleaved))
            live = np.where(columns.vp == 1, last_live, np.minimum(step.microbatches, columns.pp))
            live, last_live = _first_live(columns, step.microbatches, stage, live, last_live)
            free = step.allocatable_bytes - fixed - (stage == 0) * first - (stage == ending) * last
            held = np.where(
                in_last * (state + saved * last_live) > free,
                free / (state + saved * last_live),
                (free + in_last * saved * (live - last_live)) / (state + saved * live),
            )
            room += np.where(stage < columns.pp, np.maximum(np.floor(held * (1 + 1e-12)), 0), 0)
        needed = np.append(step.chain.counts[kinds], step.chain.decoder_layers)
        return np.asarray((room >= needed[:, None]).all(axis=0))

    # -- memory alone ------------------------------------------------------------------------

    def memory_bounds(self) -> Column:
        """Bytes a GPU needs at the least: states and one micro-batch's activations, evenly spread."""
        found = []
        for start in range(0, len(self.columns), BATCH):
            step = self.step.take(np.arange(start, min(start + BATCH, len(self.columns))))
            held = step.chain.counts @ (step.state.total + step.saved_bytes) / step.columns.pp + step.vocabulary_bytes
            body = step.calibration.workspace_bytes + step.kept.transient_bytes[1:-1].min(axis=0)
            allocated = np.maximum(held, step.state.total[-1] + step.logit_bytes) + body
            found.append(allocated)
        return np.concatenate(found) * (1 + self.step.calibration.allocator_fraction) + (
            self.step.calibration.runtime_bytes
        )

    def least_peak_bytes(self, index: int) -> float:
        """Bytes a GPU needs for this candidate: the peak of its cut, or what no cut gets below."""
        step = self.step.take(np.array([index]))
        cut = self._cut(step, 0)
        if cut.boundaries is None:
            return self.cluster.capacity_bytes + cut.shortfall_bytes
        return max(stage.peak_bytes for stage in step.memory(0, cut.boundaries))

    # -- 2: the candidate's own cut ---------------------------------------------------------

    def refine(self, indices: NDArray[np.int64]) -> Column:
        """A lower bound on the evaluated step of each candidate under its own cut; inf if none fits."""
        step = self.step.take(indices)
        return np.array([self._refined(step, i, int(index)) for i, index in enumerate(indices)])

    def _refined(self, step: StepModel, i: int, index: int) -> float:
        cut = self.cuts[index] = self._cut(step, i)
        if cut.boundaries is None:
            return float("inf")
        forward, recompute, input_grad, weight_grad = step.chunk_seconds(i, cut.boundaries)
        input_grad = recompute + input_grad
        order = step.order(i)
        if order.splits_vocabulary:
            bound = step.timeline(i, forward, input_grad, weight_grad).makespan_seconds
        elif order.splits_backward:
            bound = makespan_bound(order, forward, input_grad, step.link_seconds(i), weight_grad)
        else:
            bound = makespan_bound(order, forward, input_grad + weight_grad, step.link_seconds(i))
        gradient, optimizer, gather = step.state_seconds(i, cut.boundaries)
        # stage 0 runs the last backward pass of all: it ends when the pipeline does; weight gradients of
        # their own may come last on any stage
        reduced = gradient.min() if order.splits_backward else gradient[0]
        body = float(bound) + reduced + optimizer.max() + gather.max()
        return float((step.straggler * body + step.calibration.step_seconds) * (1 - 1e-12))

    def best_boundaries(self, index: int) -> tuple[int, ...]:
        """The candidate's cut; where none fits in memory, the one with the least bottleneck."""
        step = self.step.take(np.array([index]))
        cut = self._cut(step, 0)
        found = cut.boundaries or self._balanced(step, 0, memory=None)[0]
        assert found is not None  # without memory to respect there always is a cut
        return found

    def _cut(self, step: StepModel, i: int) -> Cut:
        """One chunk a stage: the cut that fits with the least bound on its 1F1B makespan. Interleaved:
        the cut with the least largest chunk, if it fits (a stage's chunks share its memory). Where some
        layers are recomputed, as though none were: the cut balanced without a look at memory, or the one
        that respects it, if either fits as it is."""
        if step.partly[i]:
            return self._cut_of_some_layers(step, i)
        memory = self._chunk_memory(step, i) if step.columns.vp[i] == 1 else None
        boundaries, shortfall = self._balanced(step, i, memory)
        if boundaries is None:
            fragments = 1.0 + step.calibration.allocator_fraction
            return Cut(boundaries=None, shortfall_bytes=shortfall * fragments)
        return self._checked(step, i, boundaries)

    def _cut_of_some_layers(self, step: StepModel, i: int) -> Cut:
        balanced, _ = self._balanced(step, i, memory=None)
        assert balanced is not None  # without memory to respect there always is a cut
        found = self._checked(step, i, balanced)
        if found.boundaries is None and step.columns.vp[i] == 1:
            spared, _ = self._balanced(step, i, self._chunk_memory(step.kept, i))
            second = found if spared is None else self._checked(step, i, spared)
            found = min(found, second, key=lambda cut: cut.shortfall_bytes)
        return found

    def _checked(self, step: StepModel, i: int, boundaries: tuple[int, ...]) -> Cut:
        over = max(stage.peak_bytes for stage in step.memory(i, boundaries)) - self.cluster.capacity_bytes
        return Cut(boundaries=boundaries) if over <= 0 else Cut(boundaries=None, shortfall_bytes=over)

    def _balanced(self, step: StepModel, i: int, memory: ChunkMemory | None) -> tuple[tuple[int, ...] | None, float]:
        stages, chunks = int(step.columns.pp[i]), int(step.columns.pp[i] * step.columns.vp[i])
        forward = self._items(step, i, step.kept.forward_seconds)
        load = forward + self._items(step, i, step.kept.backward_seconds)
        if chunks == stages and not step.columns.splits_backward[i]:
            # the 1F1B makespan that stage j forces, less one micro-batch's chain (solvers.partition)
            later = int(step.microbatches[i]) - 1
            warmup = np.minimum(stages - 1 - np.arange(stages), later)[:, None]
            load = later * load - warmup * forward if later else load
        solution = bottleneck_partition(load, chunks, memory=memory)
        if solution.choice is None:
            return None, solution.shortfall
        return (*(int(b) for b in solution.choice[:-1]), len(step.chain.types)), 0.0

    def _items(self, step: StepModel, i: int, table: Column, merge: Callable[[Column], float] = np.sum) -> Column:
        """Values along the chain, prediction layers and head as one item."""
        values = table[step.chain.types, i]
        body = step.chain.decoder_layers + 1
        return np.append(values[:body], merge(values[body:]))

    def _chunk_memory(self, step: StepModel, i: int) -> ChunkMemory:
        stages = int(step.columns.pp[i])
        fixed = np.full(stages, step.calibration.workspace_bytes + step.vocabulary_bytes[i])
        fixed[-1] += step.logit_bytes[i]
        in_flight = np.minimum(int(step.microbatches[i]), stages - np.arange(stages))
        activations = self._items(step, i, step.saved_bytes)
        if step.columns.vocabulary[i]:
            in_flight = peak_live_counts(step.order(i))
        if step.columns.splits_backward[i]:
            in_flight, activations = self._split_activations(step, i)
        return ChunkMemory(
            static_bytes=self._items(step, i, step.state.total),
            activation_bytes=activations,
            transient_bytes=self._items(step, i, step.transient_bytes, np.max),
            in_flight=in_flight.astype(np.float64),
            fixed_bytes=fixed,
            cap_bytes=step.allocatable_bytes,
        )

    def _split_activations(self, step: StepModel, i: int) -> tuple[Column, Column]:
        """Micro-batches in flight on each stage, one that waits for its weight gradient alone counted by the
        largest share that any layer keeps for it; bytes of each item, the head's as its own stage keeps them."""
        saved, waiting = (self._items(step, i, table) for table in (step.saved_bytes, step.weight_grad_bytes))
        order, ones = step.order(i), np.ones(int(step.columns.pp[i]))
        share = (waiting[1:-1] / np.maximum(saved[1:-1], 1.0)).max(initial=0.0)
        in_flight = peak_activation(order, ones, share * ones)
        saved[-1] = peak_activation(order, saved[-1] * ones, waiting[-1] * ones)[-1] / in_flight[-1]
        return in_flight, saved

    # -- 3: the whole candidate -------------------------------------------------------------

    def price(self, index: int) -> StepPrice:
        """Full price under the candidate's own cut; ``refine`` must have found it one."""
        return price_cut(self.step.take(np.array([index])), 0, self.boundaries(index))

    def boundaries(self, index: int) -> tuple[int, ...]:
        """Where the candidate's chain is cut; ``refine`` must have found it a cut."""
        found = self.cuts[index].boundaries
        assert found is not None
        return found

    def evaluate(self, index: int) -> float:
        return self.price(index).step_seconds

    def configuration(self, index: int) -> Configuration:
        return self.columns.row(index)


def _first_live(
    columns: Columns, microbatches: Degree, stage: int, live: Column, last_live: Column
) -> tuple[Column, Column]:
    """Whole micro-batches on a stage just before its first backward pass: of all its chunks but the last, and
    of the last. Given those of 1F1B and interleaved 1F1B; at least as many in zb-h1, 2 (p - i) - 1 in zb-h2,
    2 p - 1 - i and i + 1 in zb-v, one of each in v-half and v-min (``costmodels.timeline``)."""
    if not columns.splits_backward.any():
        return live, last_live
    later = columns.pp - 1 - stage
    zb_h2, zb_v, v_half, v_min = (
        columns.schedule == PIPELINE_SCHEDULES.index(name) for name in ("zb-h2", "zb-v", "v-half", "v-min")
    )
    squeezed = v_half | v_min
    first = np.where(zb_h2, 2 * later + 1, np.where(zb_v, columns.pp + later, np.where(squeezed, 1, live)))
    last = np.where(zb_h2, 2 * later + 1, np.where(zb_v, stage + 1, np.where(squeezed, 1, last_live)))
    return np.minimum(first, microbatches), np.minimum(last, microbatches)
