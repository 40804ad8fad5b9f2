"""What no member of a family is below: bounds on many families at once.

Item t of the chain takes at least w_k s_t on a machine of group k, with s_t its share of the chain on some machine of
the job (sum of s_t = 1). Let stage j stand on group k(j) and hold the share x_j: its load is l_j >= w_k(j) x_j. With m
micro-batches, p stages and F_j <= f l_j, any cut under 1F1B obeys (``planner.coarse``)

    (a) T >= sum_{i<j} l_i + m l_j,      (b) T >= S + (m-1) l_j - (p-1-j) F_j,      S = sum of all l.

Weights a_j = 1 / w_k(j), of which A is the sum, r the largest over the least, and L = 1 / A: as sum_j a_j l_j >= 1, the
average of l (a) + (1-l) (b) with l = f r / (1 + f r), for which the terms in F_j are outweighed, leaves

    T >= L (m - (1-l)) + (1-l) S.

With L (1 + d) the largest l_j, T >= m L (1 + d), and S >= p L - d K L, K = sum_j (w_max / w_k(j) - 1): balanced stages
have S = p L, and what faster ones take more of is off the slowest at best. Where both meet,

    T(m) = m L (1 + (1-l) (p-1) / (m + (1-l) K)).

It is least for the fastest groups as full as they may be, whatever the order. Bundles b side by side: the least T with
T_b(m_b) <= T and sum dp_b m_b mbs = the global batch, m_b real.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.columns import Columns
from costmodels.configuration import Job
from costmodels.hardware import Link
from costmodels.sharding import Column
from costmodels.step import StepModel
from planner.coarse import fits_some_cut
from planner.mixed.islands import Islands
from planner.mixed.space import Families, Ints

ROUNDING = 1e-12
BATCH = 1 << 15
BISECTIONS = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """Of every family, [groups, families], as though all its stages stood on that group. ``slowness``: w_k;
    ``forward_share``: f; ``fits``: whether some cut may fit; ``update``: optimizer seconds of an average stage."""

    slowness: Column
    forward_share: Column
    fits: NDArray[np.bool_]
    update: Column
    free: Column
    """Bytes that states and activations of layers may take of a GPU."""
    state: Column
    """Bytes of a layer's states at the least, and ``saved`` of its activations of a micro-batch."""
    saved: Column
    first: Column
    """Bytes that the embedding takes of the first stage, and ``last`` all that stands behind the layers of the last."""
    last: Column
    shares: Column
    """[3, families]: of a layer at the most, of the embedding, of all behind the layers (``chain_bound.Shares``)."""
    reduce: Column
    """Seconds that reducing the gradients of an average stage takes at the least, ``gather`` that its updated weights
    take."""
    gather: Column

    @classmethod
    def of(
        cls, islands: Islands, families: Families, calibrations: Sequence[Calibration], model: Model, job: Job
    ) -> "Figures":
        """Of bundles side by side with states kept equal over the fastest trunk that each group has."""
        beside = (families.pipelines > 0).sum(axis=1) > 1
        found: list[NDArray[Any]] = []
        for apart in (False, True):
            rows = np.flatnonzero(beside == apart)
            if not len(rows):
                continue
            distinct, index = families.columns.take(rows).distinct()
            steps = [
                StepModel(model, group, job, own, distinct)
                for group, own in zip(islands.groups, calibrations, strict=True)
            ]
            if apart:
                steps = [step.reducing_over(_fastest(islands, g)) for g, step in enumerate(steps)]
            for table, values in enumerate(_of_steps(steps)):
                if table == len(found):
                    found.append(np.zeros((len(values), len(families)), dtype=values.dtype))
                found[table][:, rows] = values[:, index]
        none = np.zeros((len(islands.groups), 0))
        return cls(*(found or [none] * len(fields(cls))))


def _fastest(islands: Islands, group: int) -> Link:
    """Of the trunks of a group, its own network holding up what goes over them."""
    own = islands.groups[group].scale_out
    trunks = [islands.trunk(group, other).link for other in range(len(islands.groups)) if other != group]
    return Link(
        bytes_per_second=min(own.bytes_per_second, max(link.bytes_per_second for link in trunks)),
        latency_seconds=max(own.latency_seconds, min(link.latency_seconds for link in trunks)),
    )


def _of_steps(steps: Sequence[StepModel]) -> list[Column]:
    count = len(steps[0].columns)
    parts = [
        _figures([step.take(np.arange(start, min(start + BATCH, count))) for step in steps])
        for start in range(0, count, BATCH)
    ]
    return [np.concatenate(part, axis=1) for part in zip(*parts, strict=True)]


@dataclass(frozen=True, slots=True)
class Scale:
    """Between the seconds of pipelines and of steps: step = slowed x (pipeline + update) + overhead."""

    slowed: Column
    update: Column
    overhead: Column

    @classmethod
    def of(cls, islands: Islands, families: Families, calibrations: Sequence[Calibration], figures: Figures) -> "Scale":
        """At the least, [families]."""
        slowed, update, overhead = (np.zeros(len(families)) for _ in range(3))
        for number, bundling in enumerate(families.bundlings):
            rows, used = np.flatnonzero(families.bundling == number), [g for bundle in bundling for g in bundle]
            most = max(calibrations[g].straggler_fraction_per_doubling for g in used)
            doublings = np.maximum(0.0, np.log2(families.columns.gpus[rows] / islands.gpus_per_node))
            slowed[rows] = 1.0 + most * doublings  # ``StepModel.straggler``
            update[rows] = _part(figures.update, used, rows).min(axis=0)
            overhead[rows] = max(calibrations[g].step_seconds for g in used)
        return cls(slowed, update, overhead)

    def step(self, index: int | slice, pipeline: Column | float) -> Column:
        body = self.slowed[index] * (pipeline + self.update[index]) + self.overhead[index]
        return np.asarray(body * (1 - ROUNDING))

    def pipeline(self, index: int, step: float) -> float:
        return float((step / (1 - ROUNDING) - self.overhead[index]) / self.slowed[index] - self.update[index])


def _figures(steps: Sequence[StepModel]) -> tuple[Column, ...]:
    counts = steps[0].chain.counts.astype(np.float64)
    there = counts > 0
    kinds = np.unique(steps[0].model.layers) + 1
    behind = 1 + len(steps[0].model.kinds)
    load = _load(steps[0])
    share = load / (counts @ load)
    shares = np.stack([share[kinds].max(axis=0), share[0], counts[behind:] @ share[behind:]])
    slowness, forward_share, update, memory, states = [], [], [], [], []
    for step in steps:
        load = _load(step)
        with np.errstate(divide="ignore", invalid="ignore"):
            slowness.append(np.where(share > 0, load / share, np.inf)[there].min(axis=0))
        most = (step.kept.forward_seconds / np.maximum(load, 1e-30))[there].max(axis=0)
        forward_share.append(np.maximum(most, 0.5) if step.calibration.microbatch_seconds else most)
        dense, experts = (counts @ parameters for parameters in step.parameters)
        stages = step.columns.pp
        update.append(step.traffic.optimizer_seconds(dense / stages, experts / stages))
        # seconds grow no faster than bytes: of all stages together they are no less than of their sum
        reduce, gather = step.traffic.gradient_seconds(dense, experts), step.traffic.parameter_seconds(dense, experts)
        states.append((reduce / stages, gather / stages))
        work = step.calibration.workspace_bytes + step.kept.transient_bytes[kinds].min(axis=0)
        state, saved = step.state.total, step.saved_bytes
        memory.append(
            (
                step.allocatable_bytes - work,
                state[kinds].min(axis=0),
                saved[kinds].min(axis=0),
                state[0],
                counts[behind:] @ state[behind:] + step.logit_bytes,
            )
        )
    fits = np.stack([fits_some_cut(step) for step in steps])
    tables = [np.stack(table) for table in zip(*memory, strict=True)]
    between = [np.stack(table) for table in zip(*states, strict=True)]
    return np.stack(slowness), np.stack(forward_share), fits, np.stack(update), *tables, shares, *between


def _load(step: StepModel) -> Column:
    return np.asarray(step.kept.forward_seconds + step.kept.backward_seconds)


def family_bounds(
    islands: Islands,
    families: Families,
    calibrations: Sequence[Calibration],
    figures: Figures,
    scale: Scale,
    job: Job,
) -> Column:
    """[families]: seconds below the step of every member; inf where none fits in memory."""
    found = np.full(len(families), np.inf)
    for number, bundling in enumerate(families.bundlings):
        rows = np.flatnonzero(families.bundling == number)
        used = [g for bundle in bundling for g in bundle]
        # some bundle runs no fewer micro-batches than the mean, and must hold them
        rows = rows[_part(figures.fits, used, rows).any(axis=0)]
        if len(rows):
            found[rows] = _pipeline_bounds(islands, families, calibrations, figures, rows, job)
    return scale.step(slice(None), found)


def _pipeline_bounds(
    islands: Islands,
    families: Families,
    calibrations: Sequence[Calibration],
    figures: Figures,
    rows: Ints,
    job: Job,
) -> Column:
    bundling, columns = families.bundles(int(rows[0])), families.columns.take(rows)
    used = [g for bundle in bundling for g in bundle]
    share = _part(figures.forward_share, used, rows).max(axis=0)
    turns = job.global_batch // columns.mbs
    times = []
    for b, bundle in enumerate(bundling):
        pipelines = families.pipelines[rows, b]
        room = np.stack([rooms(islands.groups[g].gpus, columns, pipelines) for g in bundle])
        slowness = _part(figures.slowness, bundle, rows)
        host = min(calibrations[g].microbatch_seconds for g in bundle)
        times.append((pipelines, Ramp.of(slowness, fullest(slowness, room, columns.pp), columns.pp, share, host)))
    pipeline = times[0][1].seconds(turns / times[0][0]) if len(times) == 1 else _shared(times, turns)
    for fewer, seconds in state_seconds(figures, used, rows):
        own = [
            (families.pipelines[rows, b], _part(figures.slowness, bundle, rows).min(axis=0))
            for b, bundle in enumerate(bundling)
        ]
        rate = sum(pipelines * columns.pp / slowness for pipelines, slowness in own)
        left = np.maximum(turns - fewer * columns.dp, 0)
        pipeline = np.maximum(pipeline, left / rate + seconds)
    return np.asarray(pipeline)


def state_seconds(figures: Figures, used: Sequence[int], rows: Ints) -> list[tuple[int, Column]]:
    """(k, C): pipelines and states together take at least m - k times the load of an average stage, and C.

    A stage's gradients are exposed but for what the last backward pass hides, its weights but for the first forward
    pass: end_j + reduced_j + gathered_j >= (m - k) l_j + C_j with k = 1, or 2 where weights are gathered, and the
    largest is no less than the mean.
    """
    reduce, gather = (_part(table, used, rows).min(axis=0) for table in (figures.reduce, figures.gather))
    return [(1, reduce), (2, reduce + gather)]


def rooms(gpus: int, columns: Columns, pipelines: Ints) -> Ints:
    """[n]: stages of so many pipelines that a group of ``gpus`` holds."""
    return np.asarray(np.minimum(gpus // (columns.tp * columns.cp * pipelines), columns.pp))


def fullest(slowness: Column, room: Ints, stages: Ints) -> Ints:
    """[groups, n]: stages on each group, one at least, the fastest groups first as many as they have room for."""
    held = np.ones_like(room)
    left = stages - len(room)
    order = np.argsort(slowness, axis=0, kind="stable")
    columns = np.arange(room.shape[1])
    for place in range(len(room)):
        group = order[place]
        more = np.minimum(room[group, columns] - 1, left)
        held[group, columns] += more
        left = left - more
    return held


class Ramp:
    """T(m) of many bundles at once."""

    def __init__(self, bottleneck: Column, ramp: Column, slack: Column, host: float) -> None:
        self.bottleneck, self.ramp, self.slack, self.host = bottleneck, ramp, slack, host

    @classmethod
    def of(cls, slowness: Column, held: Ints, stages: Ints, forward_share: Column, host: float) -> "Ramp":
        """``slowness`` [groups, n], ``held`` [groups, n] stages on each."""
        slowest = slowness.max(axis=0)
        unevenness = forward_share * slowest / slowness.min(axis=0)
        rest = 1.0 / (1.0 + unevenness)  # 1 - l
        spread = (held * (slowest / slowness - 1.0)).sum(axis=0)
        return cls(1.0 / (held / slowness).sum(axis=0), rest * (stages - 1), rest * spread, host)

    def seconds(self, microbatches: Column) -> Column:
        m = np.asarray(microbatches, dtype=np.float64)
        return np.asarray(m * (self.bottleneck * (1.0 + self.ramp / (m + self.slack)) + self.host))

    def microbatches(self, seconds: Column) -> Column:
        """The real m with T(m) = ``seconds``."""
        steady = self.bottleneck + self.host
        # steady m^2 + (steady slack + bottleneck ramp - T) m - T slack = 0
        half = (seconds - steady * self.slack - self.bottleneck * self.ramp) / 2
        return np.asarray((half + np.sqrt(half * half + steady * seconds * self.slack)) / steady)


def _shared(times: Sequence[tuple[Ints, Ramp]], turns: Ints) -> Column:
    """[n]: the least T at which the bundles together run ``turns`` micro-batches."""
    high = np.minimum.reduce([ramp.seconds(turns / pipelines) for pipelines, ramp in times])
    low = np.zeros_like(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = sum(pipelines * ramp.microbatches(middle) for pipelines, ramp in times) >= turns
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.asarray(low)


def _part(table: NDArray[Any], groups: Sequence[int], rows: Ints) -> NDArray[Any]:
    """[groups, rows] of a table [groups, families], without copying the rest."""
    return np.asarray(table[np.asarray(groups)[:, None], rows])
