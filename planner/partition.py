"""The best cut of one candidate with one chunk a stage, over every contiguous cut that fits.

Every stage's share of the chain is an interval a..b of items, embedding first, prediction layers and head
as one item last. What a stage takes and holds depends on the stage and its interval alone: seconds of both
passes, bytes at its peak under 1F1B's min(m, p - j) micro-batches in flight, exposed gradient reduction
g, optimizer o and weight gather w. Where recompute is of the first layers only as memory needs
(``full:fit``), the least number that fits belongs to the interval as well: time only grows with it. The
step of a cut is

    (max_j(end_j + g_j) + max_j o_j + max_j w_j) x straggler + overhead,

with end_j from the event simulation, and a stage's interval alone forces

    stage_bounds + g_0 + max(o, o*) + max(w, w*)

in place of the bracket, o* and w* the least largest o and w of any cut, g_0 that of the first stage.
``solvers.best_split`` takes it from there.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from costmodels.recompute import FIT, first_layers, of_some_layers
from costmodels.sharding import Column
from costmodels.step import StepModel
from costmodels.timeline import device_end_seconds, least_sums, peak_live_counts, prefix_bounds, stage_bounds
from solvers.best_split import LISTED, best_split, lower_bound
from solvers.solution import Solution

ROUNDING = 1e-12
BRANCHED = 2048
"""Operations of a schedule up to which beginnings of cuts are timed: a second or two; beyond, many seconds."""
OPERATIONS = 1 << 28
"""Of all listed splits together: beyond, a gap is left rather than minutes spent."""


def exactly_cut(step: StepModel) -> NDArray[np.bool_]:
    """[n]: which candidates have several stages of one chunk each under 1F1B, a whole vocabulary, and recompute that
    depends on a stage's own items from their first on (not every K-th of them)."""
    columns = step.columns
    alone = np.array([not of_some_layers(level) or level == FIT or first_layers(level) for level in columns.levels])
    several = (columns.pp > 1) & (columns.vp == 1) & (columns.schedule == 0)
    return np.asarray(several & (columns.vocabulary == 0) & alone.astype(np.bool_)[columns.recompute])


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTables:
    """Per stage and interval, [stages, items + 1, items + 1] (first axis 1 where stages are alike);
    entries that are no interval have no meaning. ``over_bytes`` is the peak less the capacity, ``fits`` whether
    that is none."""

    forward: Column
    backward: Column
    gradient: Column
    optimizer: Column
    gather: Column
    fits: NDArray[np.bool_]
    over_bytes: Column


class Partition:
    """Candidate ``index`` of ``step``, one of ``exactly_cut``; ``memory`` off: as though every cut fitted."""

    def __init__(self, step: StepModel, index: int, *, memory: bool = True) -> None:
        self.step, self.index = step, index
        self.order, self.links = step.order(index), step.link_seconds(index)
        self.tables = stage_tables(step, index)
        stages, ends = self.tables.over_bytes.shape[:2]
        start, end = np.indices((ends, ends))
        self.allowed = np.broadcast_to(end > start, (stages, ends, ends)) & (self.tables.fits if memory else True)
        self.bounds = self._bounds()

    def _bounds(self) -> Column:
        step, tables = self.step, self.tables

        def within(table: Column) -> Column:
            return np.where(self.allowed, table, np.inf)

        makespan = stage_bounds(
            within(tables.forward), within(tables.backward), self.links, int(step.microbatches[self.index])
        )
        first = within(tables.gradient)[0, 0]
        optimizer, gather = (within(table) for table in (tables.optimizer, tables.gather))
        bound = makespan + first.min()
        bound[0, 0] = makespan[0, 0] + first
        body = bound + np.maximum(optimizer, lower_bound(optimizer)) + np.maximum(gather, lower_bound(gather))
        return np.asarray((step.straggler * body + step.calibration.step_seconds) * (1 - ROUNDING))

    def lower_bound(self) -> float:
        """Seconds that the step of no cut is below; inf where none fits."""
        return lower_bound(self.bounds)

    def step_seconds(self, splits: NDArray[np.intp]) -> Column:
        """[k]: the step of each split [k, stages + 1] of the items."""
        stage = np.arange(len(self.allowed))

        def chosen(table: Column) -> Column:
            return np.asarray(table[np.minimum(stage, len(table) - 1), splits[:, :-1], splits[:, 1:]])

        tables, step = self.tables, self.step
        ends = device_end_seconds(self.order, chosen(tables.forward), chosen(tables.backward), self.links)
        body = (ends + chosen(tables.gradient)).max(axis=1)
        body = body + chosen(tables.optimizer).max(axis=1) + chosen(tables.gather).max(axis=1)
        return np.asarray(step.straggler * body + step.calibration.step_seconds)

    def _begun_bounds(self, begun: NDArray[np.intp]) -> Column:
        """[k]: seconds below the step of every cut whose first stages are those of [k, stages + 1]."""
        stages, step, tables = begun.shape[1] - 1, self.step, self.tables
        stage = np.arange(stages)

        def chosen(table: Column) -> Column:
            return np.asarray(table[np.minimum(stage, len(table) - 1), begun[:, :-1], begun[:, 1:]])

        behind = self._least_behind[stages, begun[:, -1]] + 2 * self.links[stages - 1 :].sum()
        makespan = prefix_bounds(self.order, chosen(tables.forward), chosen(tables.backward), behind, self.links)
        body = makespan + chosen(tables.gradient)[:, 0]
        body = body + chosen(tables.optimizer).max(axis=1) + chosen(tables.gather).max(axis=1)
        return np.asarray((step.straggler * body + step.calibration.step_seconds) * (1 - ROUNDING))

    @cached_property
    def _least_behind(self) -> Column:
        """[stages + 1, items + 1]: the least load of the stages from j on that hold the items from s on."""
        load = np.where(self.allowed, self.tables.forward + self.tables.backward, np.inf)
        return least_sums(load)[1]

    def solve(self) -> Solution[NDArray[np.intp]]:
        """The best cut; ``shortfall`` the bytes a GPU lacks where none fits."""
        listed = min(LISTED, OPERATIONS // self.order.kind.size)
        partial = self._begun_bounds if self.order.kind.size <= BRANCHED else None
        solution = best_split(self.bounds, self.step_seconds, partial=partial, listed=listed)
        if solution.choice is not None:
            return solution
        return Solution(
            value=np.inf,
            lower_bound=np.inf,
            status="infeasible",
            stop="exhausted",
            choice=None,
            seconds=solution.seconds,
            shortfall=self.least_over_bytes(),
        )

    def least_over_bytes(self) -> float:
        """The least peak of any cut less the capacity: negative where one fits with room to spare."""
        start, end = np.indices(self.tables.over_bytes.shape[1:])
        return lower_bound(np.where(end > start, self.tables.over_bytes, np.inf))

    def boundaries(self, split: NDArray[np.intp]) -> tuple[int, ...]:
        """A split of the items as boundaries of the whole chain."""
        return (*(int(b) for b in split[:-1]), len(self.step.chain.types))


def stage_tables(step: StepModel, index: int) -> StageTables:
    """The tables of candidate ``index``."""
    memory = _Memory(step, index)
    level = step.columns.row(index).recompute
    stated = np.full((1, memory.ends, memory.ends), first_layers(level) or 0)
    layers = memory.least_layers() if level == FIT else stated
    over = memory.peak_bytes(layers) - step.cluster.capacity_bytes
    host = step.calibration.microbatch_seconds / 2
    chain = memory.chain
    forward = chain.sums(step.kept.forward_seconds)[None]
    backward = chain.sums(step.kept.backward_seconds)[None] + chain.first(
        step.backward_seconds - step.kept.backward_seconds, layers
    )
    dense, experts = step.parameters
    gradient, optimizer, gather = step.state_seconds_of(
        index,
        items=np.maximum(chain.sums(np.ones_like(step.forward_seconds)), 1)[None],
        dense=chain.sums(dense)[None],
        experts=chain.sums(experts)[None],
        forward=forward,
        backward=backward,
    )
    return StageTables(
        forward=forward + host,
        backward=backward + host,
        gradient=gradient,
        optimizer=optimizer,
        gather=gather,
        fits=over <= 0,
        over_bytes=over,
    )


class _Items:
    """The chain of one candidate with prediction layers and head as one item; n items, n + 1 ends."""

    def __init__(self, step: StepModel, index: int) -> None:
        self.types, self.index = step.chain.types, index
        self.body = step.chain.decoder_layers + 1
        self.ends = self.body + 2
        start, end = np.indices((self.ends, self.ends))
        self.start, self.end = start, np.maximum(end, start)
        self.first_layer = np.clip(start, 1, self.body)

    def along(self, table: Column) -> Column:
        """[items]: sums, the last of all that stands behind the layers."""
        values = table[self.types, self.index]
        return np.append(values[: self.body], values[self.body :].sum())

    def sums(self, table: Column) -> Column:
        """[start, end]: of the items from start to end."""
        total = np.concatenate([[0.0], np.cumsum(self.along(table))])
        return np.asarray(total[self.end] - total[self.start])

    def first(self, table: Column, layers: NDArray[np.int64]) -> Column:
        """[stages, start, end]: of the first ``layers`` decoder layers among them."""
        total = np.concatenate([[0.0], np.cumsum(table[self.types[1 : self.body], self.index])])
        stop = self.stop(layers)
        return np.asarray(total[stop - 1] - total[self.first_layer - 1])

    def stop(self, layers: NDArray[np.int64]) -> NDArray[np.int64]:
        """[stages, start, end]: the item after the last of the first ``layers`` decoder layers."""
        most = np.maximum(np.minimum(self.end, self.body), self.first_layer)
        return np.asarray(np.minimum(self.first_layer + layers, most))


class _Memory:
    """Bytes of one chunk a stage at its peak, as ``StepModel.memory`` counts them, for every interval."""

    def __init__(self, step: StepModel, index: int) -> None:
        self.step, self.chain = step, _Items(step, index)
        self.ends, self.partly = self.chain.ends, bool(step.partly[index])
        self.state = self.chain.sums(step.state.total)
        self.saved = self.chain.sums(step.kept.saved_bytes)
        self.live = peak_live_counts(step.order(index)).astype(np.float64)[:, None, None]
        types, body = self.chain.types, self.chain.body
        redone, kept = step.transient_bytes[types, index], step.kept.transient_bytes[types, index]
        merged = np.append(kept[:body], max(kept[body:-1].max(initial=0.0), redone[-1]))
        self.most_kept, self.most_redone = range_maxima(merged), range_maxima(np.append(redone[:body], -np.inf))
        behind = step.kept.saved_bytes[types, index].copy()
        behind[0] = behind[-1] = 0.0  # of layers alone
        self.behind = np.concatenate([[0.0], np.cumsum(np.append(behind[:body], behind[body:].sum()))])

    def peak_bytes(self, layers: NDArray[np.int64]) -> Column:
        """[stages, start, end]: with the first ``layers`` of each interval recomputed."""
        step, chain, index = self.step, self.chain, self.chain.index
        saved = self.saved + chain.first(step.saved_bytes - step.kept.saved_bytes, layers)
        start, end = chain.start, chain.end
        if self.partly:
            stop = np.where(
                chain.start == 0, np.minimum(chain.stop(layers), end), np.maximum(chain.stop(layers), start)
            )
            redone = self.most_redone[np.broadcast_to(start, stop.shape), stop]
            transient = np.maximum(
                redone - (self.behind[end] - self.behind[stop]),
                self.most_kept[stop, np.broadcast_to(end, stop.shape)],
            )
        else:
            transient = np.broadcast_to(self.most_kept, saved.shape)
        head = np.where(end == self.ends - 1, step.logit_bytes[index], 0.0)
        work = step.calibration.workspace_bytes + transient + head
        work = np.broadcast_to(work, (len(self.live), *work.shape[1:])).copy()
        work[0, 0] = np.maximum(work[0, 0], step.lookup_gradient_bytes[index] - saved[0, 0])
        allocated = self.state + self.live * saved + work
        return np.asarray(allocated * (1 + step.calibration.allocator_fraction) + step.calibration.runtime_bytes)

    def least_layers(self) -> NDArray[np.int64]:
        """[stages, start, end]: the fewest first layers whose recompute lets the interval fit; where none
        does, those that need least."""
        capacity = self.step.cluster.capacity_bytes
        shape = (len(self.live), self.ends, self.ends)
        found, least = np.zeros(shape, dtype=np.int64), np.full(shape, np.inf)
        held = self.chain.stop(np.full((1, 1, 1), self.ends)) - self.chain.first_layer
        for layers in range(self.chain.body):
            peak = self.peak_bytes(np.full((1, 1, 1), layers))
            better = (least > capacity) & (peak < least)
            found, least = np.where(better, layers, found), np.where(better, peak, least)
            if ((least <= capacity) | (held <= layers)).all():
                break
        return found


def range_maxima(values: Column) -> Column:
    """[n + 1, n + 1]: the largest of values a..b at [a, b], -inf where there is none."""
    ahead = np.arange(len(values))[None, :] >= np.arange(len(values) + 1)[:, None]
    running = np.maximum.accumulate(np.where(ahead, values[None, :], -np.inf), axis=1)
    return np.concatenate([np.full((len(running), 1), -np.inf), running], axis=1)
