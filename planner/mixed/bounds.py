"""What no member of a family is below: bounds on many families at once.

Item t of the chain takes at least w_k s_t on a machine of group k, with s_t its share of the chain (sum of s_t = 1,
``shares_of``). Let stage j stand on group k(j) and hold the share x_j: its load is l_j >= w_k(j) x_j. With m
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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
from planner.mixed.state_bound import fastest_rings, hidden_share

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
    layers: Column
    """[2, families]: dense and expert parameters of all layers on a rank, each as light as the lightest."""
    states: Column
    """Seconds R + G that keeping the states of an average stage equal takes at the least (``state_bound``)."""

    @classmethod
    def of(
        cls, islands: Islands, families: Families, calibrations: Sequence[Calibration], model: Model, job: Job
    ) -> "Figures":
        """Of bundles side by side with states kept equal over the fastest rings there may be. A group's figures of
        families without it are not worked out: inf, or 0."""
        distinct, index = families.columns.distinct()
        steps = [
            StepModel(model, group, job, own, distinct) for group, own in zip(islands.groups, calibrations, strict=True)
        ]
        share = shares_of(steps[0], [_batched(_load, step) for step in steps])
        shape = (len(islands.groups), len(families))
        found: dict[str, NDArray[Any]] = {name: np.zeros(shape) for name in OF_GROUPS}
        found["fits"] = np.zeros(shape, dtype=np.bool_)
        found["slowness"][:] = np.inf
        for g, step in enumerate(steps):
            for rows, link, domain in _by_ring(islands, families, g):
                configurations, which = np.unique(index[rows], return_inverse=True)
                for start in range(0, len(configurations), BATCH):
                    some = slice(start, start + BATCH)
                    own = step.take(configurations[some])
                    if link is not None:
                        own = own.reducing_over(link, domain)
                    here = (which >= start) & (which < start + BATCH)
                    for name, values in _of_group(own, share[:, configurations[some]]).items():
                        found[name][g, rows[here]] = values[which[here] - start]
        return cls(**found, shares=_shares(steps[0], share)[:, index], layers=_layers(steps[0])[:, index])


OF_GROUPS = ("slowness", "forward_share", "update", "free", "state", "saved", "first", "last", "states")


def _by_ring(islands: Islands, families: Families, group: int) -> Iterator[tuple[Ints, Link | None, int]]:
    """Families that use ``group``, by the ring that keeps its states equal at the best, and by how many neighbours in
    an NVLink domain hold the same stage; None where its own network does it all."""
    count, domain = len(families), islands.groups[group].domain_gpus
    rate, latency, near = np.zeros(count), np.zeros(count), np.zeros(count, dtype=np.int64)
    used = np.zeros(count, dtype=np.bool_)
    for number, bundling in enumerate(families.bundlings):
        own = next((b for b, bundle in enumerate(bundling) if group in bundle), None)
        rows = np.flatnonzero(families.bundling == number)
        if own is None or not len(rows):
            continue
        used[rows] = True
        if len(bundling) > 1:
            rate[rows], latency[rows] = fastest_rings(islands, families, rows)
            columns = families.columns.take(rows)
            near[rows] = np.minimum(domain, columns.tp * columns.cp * families.pipelines[rows, own])
    kind = np.zeros(count, dtype=np.int64)
    for column in (rate, latency, near):
        values, code = np.unique(column, return_inverse=True)
        kind = kind * len(values) + code.reshape(-1)
    kind[~used] = -1
    for one in np.unique(kind[used]).tolist():
        rows = np.flatnonzero(kind == one)
        bandwidth, delay, gpus = float(rate[rows[0]]), float(latency[rows[0]]), int(near[rows[0]])
        yield rows, Link(bytes_per_second=bandwidth, latency_seconds=delay) if gpus else None, gpus


def _batched(table: Callable[[StepModel], Column], step: StepModel) -> Column:
    count = len(step.columns)
    starts = range(0, max(count, 1), BATCH)
    parts = [table(step.take(np.arange(start, min(start + BATCH, count)))) for start in starts]
    return np.concatenate(parts, axis=-1)


@dataclass(frozen=True, slots=True)
class Scale:
    """Between the seconds of pipelines and of steps: step = slowed x (pipeline + update) + overhead."""

    slowed: Column
    update: Column
    overhead: Column

    @classmethod
    def of(
        cls,
        islands: Islands,
        families: Families,
        calibrations: Sequence[Calibration],
        figures: Figures | None = None,
    ) -> "Scale":
        """At the least, [families]; without ``figures`` the update takes no time."""
        slowed, update, overhead = (np.zeros(len(families)) for _ in range(3))
        for number, bundling in enumerate(families.bundlings):
            rows, used = np.flatnonzero(families.bundling == number), [g for bundle in bundling for g in bundle]
            most = max(calibrations[g].straggler_fraction_per_doubling for g in used)
            doublings = np.maximum(0.0, np.log2(families.columns.gpus[rows] / islands.gpus_per_node))
            slowed[rows] = 1.0 + most * doublings  # ``StepModel.straggler``
            if figures is not None:
                update[rows] = _part(figures.update, used, rows).min(axis=0)
            overhead[rows] = max(calibrations[g].step_seconds for g in used)
        return cls(slowed, update, overhead)

    def step(self, index: int | slice, pipeline: Column | float) -> Column:
        body = self.slowed[index] * (pipeline + self.update[index]) + self.overhead[index]
        return np.asarray(body * (1 - ROUNDING))

    def pipeline(self, index: int, step: float) -> float:
        return float((step / (1 - ROUNDING) - self.overhead[index]) / self.slowed[index] - self.update[index])


def _of_group(step: StepModel, share: Column) -> dict[str, NDArray[Any]]:
    """The columns of ``OF_GROUPS`` and ``fits``, [configurations]; ``share`` [types, configurations] of the chain."""
    counts = step.chain.counts.astype(np.float64)
    kinds, behind, stages = np.unique(step.model.layers) + 1, 1 + len(step.model.kinds), step.columns.pp
    slowness, forward_share = slowness_of(step, share)
    dense, experts = (counts @ parameters for parameters in step.parameters)
    # seconds grow no faster than bytes: of all stages together they are no less than of their sum
    states = step.traffic.gradient_seconds(dense, experts) + step.traffic.parameter_seconds(dense, experts)
    work = step.calibration.workspace_bytes + step.kept.transient_bytes[kinds].min(axis=0)
    state = step.state.total
    return {
        "slowness": slowness,
        "forward_share": forward_share,
        "fits": fits_some_cut(step),
        "update": step.traffic.optimizer_seconds(dense / stages, experts / stages),
        "free": step.allocatable_bytes - work,
        "state": state[kinds].min(axis=0),
        "saved": step.saved_bytes[kinds].min(axis=0),
        "first": state[0],
        "last": counts[behind:] @ state[behind:] + step.logit_bytes,
        "states": states / stages,
    }


def shares_of(step: StepModel, loads: Sequence[Column]) -> Column:
    """s [types, configurations]: of the type of layer that most are of, and of every other what it takes in comparison
    on the group where that is least, so that layers are what every group's w goes by."""
    counts = step.chain.counts.astype(np.float64)
    kinds = np.unique(step.model.layers) + 1
    most = kinds[np.argmax(counts[kinds])]
    share = np.minimum.reduce([load / load[most] for load in loads])
    return np.asarray(share / (counts @ share))


def slowness_of(step: StepModel, share: Column) -> tuple[Column, Column]:
    """w and f, [configurations]."""
    there, load = step.chain.counts > 0, _load(step)
    with np.errstate(divide="ignore", invalid="ignore"):
        slowness = np.where(share > 0, load / share, np.inf)[there].min(axis=0)
    most = (step.kept.forward_seconds / np.maximum(load, 1e-30))[there].max(axis=0)
    return slowness, np.maximum(most, 0.5) if step.calibration.microbatch_seconds else most


def _shares(step: StepModel, share: Column) -> Column:
    kinds, behind = np.unique(step.model.layers) + 1, 1 + len(step.model.kinds)
    counts = step.chain.counts.astype(np.float64)
    return np.stack([share[kinds].max(axis=0), share[0], counts[behind:] @ share[behind:]])


def _layers(step: StepModel) -> Column:
    kinds = np.unique(step.model.layers) + 1
    return np.stack([step.chain.decoder_layers * table[kinds].min(axis=0) for table in step.parameters])


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
    used, turns = [g for bundle in bundling for g in bundle], job.global_batch // columns.mbs
    pipeline = ramp_bounds(islands, families, calibrations, figures.slowness, figures.forward_share, rows, job)
    own = [
        (families.pipelines[rows, b], _part(figures.slowness, bundle, rows).min(axis=0))
        for b, bundle in enumerate(bundling)
    ]
    # the mean of (m - h) l_j + R_j + G_j over all stages of all pipelines (``state_bound``)
    rate = sum(pipelines * columns.pp / slowness for pipelines, slowness in own)
    left = np.maximum(turns - hidden_share(job, [calibrations[g] for g in used]) * columns.dp, 0)
    states = left / rate + _part(figures.states, used, rows).min(axis=0)
    return np.asarray(np.maximum(pipeline, states))


def ramp_bounds(
    islands: Islands,
    families: Families,
    calibrations: Sequence[Calibration],
    slowness: Column,
    forward_share: Column,
    rows: Ints,
    job: Job,
) -> Column:
    """[rows], families of one bundling: the least T by ``slowness`` and ``forward_share`` [groups, families]."""
    bundling, columns = families.bundles(int(rows[0])), families.columns.take(rows)
    share = _part(forward_share, [g for bundle in bundling for g in bundle], rows).max(axis=0)
    turns, times = job.global_batch // columns.mbs, list[tuple[Ints, Ramp]]()
    for b, bundle in enumerate(bundling):
        pipelines = families.pipelines[rows, b]
        room = np.stack([rooms(islands.groups[g].gpus, columns, pipelines) for g in bundle])
        own = _part(slowness, bundle, rows)
        host = min(calibrations[g].microbatch_seconds for g in bundle)
        times.append((pipelines, Ramp.of(own, fullest(own, room, columns.pp), columns.pp, share, host)))
    return times[0][1].seconds(turns / times[0][0]) if len(times) == 1 else _shared(times, turns)


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
