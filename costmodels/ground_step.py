"""The step of a configuration whose stages stand on unlike machines, or whose links differ from pipeline to pipeline.

Every row of pipelines runs its own schedule with the seconds of its own machines and edges. A stage's gradients are
reduced once the last of its replicas has them, so that with rows b and stages s

    step = (max_bs(end_bs + gradients_bs) + max_bs optimizer_bs + max_bs gather_bs) x straggler + overhead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground, PipelineRow, edge_between, undominated
from costmodels.hardware import Link
from costmodels.placement import order_of, stage_of_chunk
from costmodels.price import Memory, StepPrice
from costmodels.sharding import Column
from costmodels.step import Cut, StepModel, handover_seconds
from costmodels.step_price import Pieces, assemble, pieces_of
from costmodels.timeline import Order, Timeline, simulate


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPrice:
    """One row of pipelines: its step as though no other were slower, except that gradients wait for all."""

    row: int
    step: StepPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundPrice:
    """``step``: the slowest row's. ``rows``: every row that may be the slowest. ``over_bytes``: the largest of the
    peaks less the capacity of their machines; no more than 0 where all fit."""

    step: StepPrice
    rows: tuple[RowPrice, ...]
    over_bytes: float


class GroundModel:
    """Prices of ``configuration`` on ``ground``; ``calibrations`` are of its machines, one each.

    Raises ``ValueError`` with all problems where the configuration cannot stand there.
    """

    def __init__(
        self,
        model: Model,
        job: Job,
        configuration: Configuration,
        ground: Ground,
        calibrations: Sequence[Calibration],
    ) -> None:
        if problems := ground.problems(configuration, job):
            raise ValueError("; ".join(problems))
        self.model, self.job, self.configuration, self.ground = model, job, configuration, ground
        self.calibrations = tuple(calibrations)
        columns = Columns.of([configuration])
        self._machines = [
            StepModel(model, machine, job, calibration, columns)
            for machine, calibration in zip(ground.machines, self.calibrations, strict=True)
        ]
        self._steps: dict[tuple[int, Link, int, int], StepModel] = {}
        self.stage_of_chunk = stage_of_chunk(configuration)

    @cached_property
    def slow_rows(self) -> list[int]:
        """Rows that may be the slowest."""
        return undominated(self.ground)

    def steps(self, row: int) -> list[StepModel]:
        """[pp]: the prices of each stage of a row, as though all stages stood where that one does."""
        own = self.ground.rows[row]
        return [
            self._step(machine, link, self._domain(stage, machine), own.microbatches)
            for stage, (machine, link) in enumerate(zip(own.machines, self.ground.states, strict=True))
        ]

    def _step(self, machine: int, link: Link, domain: int, microbatches: int) -> StepModel:
        key = (machine, link, domain, microbatches)
        if key not in self._steps:
            alike = self._machines[machine]
            usual = (link, domain) == (alike.cluster.scale_out, alike.cluster.domain_gpus)
            step = alike if usual else alike.reducing_over(link, domain)
            self._steps[key] = step.of_microbatches(microbatches).running(self.order(microbatches))
        return self._steps[key]

    def _domain(self, stage: int, machine: int) -> int:
        """Neighbouring GPUs of a machine that reduce the same gradients over NVLink: no more than hold the stage."""
        most, width = self.ground.machines[machine].domain_gpus, self._width(stage, machine)
        configuration = self.configuration
        elsewhere = width < configuration.tp * configuration.cp * configuration.dp
        return min(most, width) if elsewhere else most

    def _width(self, stage: int, machine: int) -> int:
        """GPUs of a machine that hold a stage, side by side."""
        replicas = sum(row.replicas for row in self.ground.rows if row.machines[stage] == machine)
        return self.configuration.tp * self.configuration.cp * replicas

    def _held(self, row: PipelineRow) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first GPU of each stage and the one after its last, as far as neighbours in an NVLink domain go: one
        stage's after the other's, and a machine's from a domain of its own on."""
        first, end = [0], []
        for stage, machine in enumerate(row.machines):
            end.append(first[-1] + self._width(stage, machine))
            later = row.machines[stage + 1] if stage + 1 < len(row.machines) else machine
            domains = [self.ground.machines[k].domain_gpus for k in (machine, later)]
            apart = math.lcm(*domains) if later != machine else 1
            first.append(-(-end[-1] // apart) * apart)
        return np.array(first[:-1], dtype=np.int64), np.array(end, dtype=np.int64)

    def order(self, microbatches: int) -> Order:
        return order_of(self.configuration, microbatches)

    def links(self, row: int) -> Column:
        """[pp x vp - 1]: seconds to hand one micro-batch from each chunk to the next."""
        own, stage = self.ground.rows[row], self.stage_of_chunk
        found = np.zeros(len(stage) - 1)
        for c, (here, there) in enumerate(zip(stage[:-1].tolist(), stage[1:].tolist(), strict=True)):
            if here != there:
                edge = own.edges[edge_between(here, there, self.configuration.pp)]
                found[c] = self._handed_over(own, own.machines[here], edge)[c]
        return found

    def _handed_over(self, row: PipelineRow, machine: int, edge: Link) -> Column:
        key = (row.machines, machine, edge)
        if key not in self._handovers:
            cluster = replace(self.ground.machines[machine], scale_out=edge)
            self._handovers[key] = handover_seconds(
                self.configuration, self.model, self.job, cluster, self.calibrations[machine], self._held(row)
            )
        return self._handovers[key]

    @cached_property
    def _handovers(self) -> dict[tuple[tuple[int, ...], int, Link], Column]:
        return {}

    def row_step(self, row: int) -> StepModel:
        """The prices of one row as those of a model of its own, for all that looks at a single pipeline."""
        return _RowStep(self, row)

    @cached_property
    def straggler(self) -> float:
        return max(step.straggler for step in self._machines)

    @cached_property
    def overhead(self) -> float:
        """Seconds of a step that nothing shortens, of the slowest machine."""
        return max(calibration.step_seconds for calibration in self.calibrations)

    def pieces(self, row: int, cut: Cut) -> Pieces:
        """What the stages of a row take and hold under ``cut``."""
        found: dict[int, Pieces] = {}
        parts = []
        for step in self.steps(row):
            if id(step) not in found:
                found[id(step)] = pieces_of(step, 0, cut)
            parts.append(found[id(step)])
        return Pieces.by_stage(parts, self.stage_of_chunk)

    def timeline(self, row: int, pieces: Pieces) -> Timeline:
        order, links = self.order(self.ground.rows[row].microbatches), self.links(row)
        input_grad = pieces.recompute + pieces.input_grad
        if order.splits_backward:
            return simulate(order, pieces.forward, input_grad, links, None, pieces.weight_grad)
        return simulate(order, pieces.forward, input_grad + pieces.weight_grad, links)

    def price(self, cut: Cut) -> GroundPrice:
        """The step with the chain cut at ``cut``, as ``costmodels.step_price.price_step`` has it."""
        pieces = {row: self.pieces(row, cut) for row in self.slow_rows}
        timelines = {row: self.timeline(row, own) for row, own in pieces.items()}
        optimizer = max(float(own.optimizer.max()) for own in pieces.values())
        gather = max(float(own.gather.max()) for own in pieces.values())
        rows, over = [], []
        for row, own in pieces.items():
            price = assemble(
                own,
                timelines[row],
                stage_of_chunk=self.stage_of_chunk,
                links=self.links(row),
                microbatches=self.ground.rows[row].microbatches,
                synchronised_seconds=float((timelines[row].device_end_seconds + own.gradient).max()),
                optimizer_seconds=optimizer,
                parameter_seconds=gather,
                straggler=self.straggler,
                step_seconds=self.overhead,
            )
            rows.append(RowPrice(row=row, step=price))
            over += [
                memory.peak_bytes - self.ground.machines[machine].capacity_bytes
                for memory, machine in zip(own.memory, self.ground.rows[row].machines, strict=True)
            ]
        slowest = max(rows, key=lambda one: one.step.step_seconds)
        return GroundPrice(step=slowest.step, rows=tuple(rows), over_bytes=max(over))


class _RowStep(StepModel):
    """A row's first stage's prices, with the seconds and bytes of each stage where it stands."""

    def __init__(self, ground: GroundModel, row: int) -> None:
        self.__dict__.update(ground.steps(row)[0].__dict__)
        self.ground, self.row = ground, row

    def running(self, order: Order | None, vocabulary_rows: Sequence[int] | Column | None = None) -> StepModel:
        """Itself: its order is the schedule's."""
        return self

    def link_seconds(self, index: int) -> Column:
        return self.ground.links(self.row)

    def chunk_seconds(self, index: int, cut: Cut) -> tuple[Column, Column, Column, Column]:
        found = self.ground.pieces(self.row, cut)
        return found.forward, found.recompute, found.input_grad, found.weight_grad

    def state_seconds(self, index: int, cut: Cut) -> tuple[Column, Column, Column]:
        found = self.ground.pieces(self.row, cut)
        return found.gradient, found.optimizer, found.gather

    def memory(self, index: int, cut: Cut) -> tuple[Memory, ...]:
        return self.ground.pieces(self.row, cut).memory

    @property
    def straggler(self) -> float:
        return self.ground.straggler
