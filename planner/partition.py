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

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.ground_step import GroundModel
from costmodels.recompute import FIT, first_layers, of_some_layers
from costmodels.sharding import Column
from costmodels.step import StepModel
from costmodels.timeline import Order, device_end_seconds, least_sums, peak_live_counts, prefix_bounds, stage_bounds
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

    @classmethod
    def by_stage(cls, parts: Sequence["StageTables"]) -> "StageTables":
        """Stage s as it is in ``parts[s]``."""

        def picked(name: str) -> Any:
            tables = [getattr(part, name) for part in parts]
            return np.stack([table[min(s, len(table) - 1)] for s, table in enumerate(tables)])

        return cls(**{member.name: picked(member.name) for member in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Pipelines that run ``order``, with ``links`` [stages - 1] seconds to hand a micro-batch on, under ``tables``."""

    order: Order
    links: Column
    microbatches: int
    tables: StageTables


class Partition:
    """The cuts of one candidate: its step is that of the slowest of ``rows``, which wait for one another's gradients.

    ``items``: how many the chain has. ``memory`` off: as though every cut fitted.
    """

    def __init__(
        self, rows: Sequence[Row], *, items: int, straggler: float, overhead: float, memory: bool = True
    ) -> None:
        self.rows, self.items, self.straggler, self.overhead = rows, items, straggler, overhead
        shape = np.broadcast_shapes(*(row.tables.over_bytes.shape for row in rows))
        start, end = np.indices(shape[1:])
        fits = np.logical_and.reduce([np.broadcast_to(row.tables.fits, shape) for row in rows])
        self.allowed = np.broadcast_to(end > start, shape) & (fits if memory else True)
        self.bounds = np.maximum.reduce([self._bounds(row) for row in rows])

    @classmethod
    def of(cls, step: StepModel, index: int, *, memory: bool = True) -> "Partition":
        """Candidate ``index`` of ``step``, one of ``exactly_cut``."""
        row = Row(
            order=step.order(index),
            links=step.link_seconds(index),
            microbatches=int(step.microbatches[index]),
            tables=stage_tables(step, index),
        )
        items, overhead = len(step.chain.types), step.calibration.step_seconds
        return cls([row], items=items, straggler=step.straggler, overhead=overhead, memory=memory)

    @classmethod
    def on(cls, ground: GroundModel, *, memory: bool = True) -> "Partition":
        """The configuration of ``ground``, one of ``exactly_cut``."""
        tables: dict[int, StageTables] = {}
        rows = []
        for number in ground.slow_rows:
            steps = ground.steps(number)
            tables.update({id(step): stage_tables(step, 0) for step in steps if id(step) not in tables})
            microbatches = ground.ground.rows[number].microbatches
            rows.append(
                Row(
                    order=ground.order(microbatches),
                    links=ground.links(number),
                    microbatches=microbatches,
                    tables=StageTables.by_stage([tables[id(step)] for step in steps]),
                )
            )
        items = len(ground.steps(0)[0].chain.types)
        return cls(rows, items=items, straggler=ground.straggler, overhead=ground.overhead, memory=memory)

    def _within(self, table: Column) -> Column:
        return np.where(self.allowed, table, np.inf)

    def _bounds(self, row: Row) -> Column:
        tables, within = row.tables, self._within
        makespan = stage_bounds(within(tables.forward), within(tables.backward), row.links, row.microbatches)
        first = within(tables.gradient)[0, 0]
        optimizer, gather = (within(table) for table in (tables.optimizer, tables.gather))
        bound = makespan + first.min()
        bound[0, 0] = makespan[0, 0] + first
        body = bound + np.maximum(optimizer, lower_bound(optimizer)) + np.maximum(gather, lower_bound(gather))
        return np.asarray((self.straggler * body + self.overhead) * (1 - ROUNDING))

    def lower_bound(self) -> float:
        """Seconds that the step of no cut is below; inf where none fits."""
        return lower_bound(self.bounds)

    def step_seconds(self, splits: NDArray[np.intp]) -> Column:
        """[k]: the step of each split [k, stages + 1] of the items."""
        stage = np.arange(len(self.allowed))
        synchronised, optimizer, gather = (np.zeros(len(splits)) for _ in range(3))
        for row in self.rows:

            def chosen(table: Column) -> Column:
                return np.asarray(table[np.minimum(stage, len(table) - 1), splits[:, :-1], splits[:, 1:]])

            tables = row.tables
            ends = device_end_seconds(row.order, chosen(tables.forward), chosen(tables.backward), row.links)
            synchronised = np.maximum(synchronised, (ends + chosen(tables.gradient)).max(axis=1))
            optimizer = np.maximum(optimizer, chosen(tables.optimizer).max(axis=1))
            gather = np.maximum(gather, chosen(tables.gather).max(axis=1))
        return np.asarray(self.straggler * (synchronised + optimizer + gather) + self.overhead)

    def _begun_bounds(self, begun: NDArray[np.intp]) -> Column:
        """[k]: seconds below the step of every cut whose first stages are those of [k, stages + 1]."""
        return np.asarray(np.maximum.reduce([self._begun(row, k, begun) for k, row in enumerate(self.rows)]))

    def _begun(self, row: Row, number: int, begun: NDArray[np.intp]) -> Column:
        stages, tables = begun.shape[1] - 1, row.tables
        stage = np.arange(stages)

        def chosen(table: Column) -> Column:
            return np.asarray(table[np.minimum(stage, len(table) - 1), begun[:, :-1], begun[:, 1:]])

        behind = self._least_behind[number][stages, begun[:, -1]] + 2 * row.links[stages - 1 :].sum()
        makespan = prefix_bounds(row.order, chosen(tables.forward), chosen(tables.backward), behind, row.links)
        body = makespan + chosen(tables.gradient)[:, 0]
        body = body + chosen(tables.optimizer).max(axis=1) + chosen(tables.gather).max(axis=1)
        return np.asarray((self.straggler * body + self.overhead) * (1 - ROUNDING))

    @cached_property
    def _least_behind(self) -> list[Column]:
        """Of each row, [stages + 1, items + 1]: the least load of the stages from j on that hold the items from s
        on."""
        return [least_sums(self._within(row.tables.forward + row.tables.backward))[1] for row in self.rows]

    def solve(self) -> Solution[NDArray[np.intp]]:
        """The best cut; ``shortfall`` the bytes a GPU lacks where none fits."""
        operations = sum(row.order.kind.size for row in self.rows)
        listed = min(LISTED, OPERATIONS // operations)
        partial = self._begun_bounds if operations <= BRANCHED else None
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
        start, end = np.indices(self.allowed.shape[1:])
        over = np.maximum.reduce([row.tables.over_bytes for row in self.rows])
        return lower_bound(np.where(end > start, over, np.inf))

    def boundaries(self, split: NDArray[np.intp]) -> tuple[int, ...]:
        """A split of the items as boundaries of the whole chain."""
        return (*(int(b) for b in split[:-1]), self.items)


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
