"""Configurations to seconds and bytes: the bridge between the space and the cost models.

Prices of growing sharpness, each a lower bound on the next:

1. ``coarse_bounds``: all candidates at once, over every possible cut of the chain;
2. ``refine``: one at a time, the least bottleneck of any cut that fits (``solvers.partition``);
3. ``sharpen``: what each stage's share of the chain alone forces (``planner.partition``);
4. ``evaluate``: the best of every cut, through the event simulation.

Candidates that ``planner.partition`` does not cut exactly have one cut, by rule, instead of every cut:
``refine`` then bounds its schedule in closed form.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import LayerKind, Model
from costmodels.calibration import Calibration, load_calibration
from costmodels.columns import Columns
from costmodels.configuration import PIPELINE_SCHEDULES, Configuration, Job
from costmodels.expert_load import lightened, without_load
from costmodels.hardware import Cluster
from costmodels.placement import stage_of_chunk
from costmodels.price import StepPrice
from costmodels.sharding import Column, Degree
from costmodels.step import StepModel, price_cut
from costmodels.timeline import Order, least_alive, makespan_bound, peak_activation, peak_live_counts
from costmodels.vocabulary import VOCAB_1
from planner.best_schedule import (
    hints,
    like_order,
    makespan_of_any_order,
    order_of_schedule,
    orders_in,
    schedule_problem,
)
from planner.interleaved import improve
from planner.partition import Partition, exactly_cut
from planner.plan.certificate import PROVEN_GAP
from planner.shared_cut import may_be_uneven, shared_cut
from solvers.chunk_memory import ChunkMemory
from solvers.partition import bottleneck_partition, least_bottleneck
from solvers.schedule.solve import solve_schedule
from solvers.search import Evaluated

KEPT_PARTITIONS = 8
"""Partitions kept between ``sharpen`` and ``evaluate``: a few megabytes each."""

WORTH = 1e-3
"""Of a step: what uneven shares of a vocabulary must save, else stages hold the same."""

BATCH = 1 << 15
"""Candidates bounded together: keeps the arrays of a million of them in tens of megabytes."""

COARSE_LOADS = 4
"""Loads of experts that the coarse bounds tell apart: with 58 layers of their own they would take ten times as long."""

_NOTHING = (np.zeros(0), np.zeros(0, dtype=np.bool_))


def calibration_for(cluster: Cluster, job: Job, given: Calibration | Path | None) -> Calibration:
    """``given`` itself, or the bundled figures of the GPU and the job's software with those of a file
    in their place."""
    return given if isinstance(given, Calibration) else load_calibration(cluster.gpu, given, job.software)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOrder:
    """An order made for a candidate and its cut; no order of it within memory ends before ``lower_bound``."""

    order: Order
    makespan_seconds: float
    lower_bound: float


class Pricing:
    """Prices of every candidate in ``columns``; cuts are computed once and kept."""

    def __init__(self, cluster: Cluster, model: Model, job: Job, calibration: Calibration, columns: Columns) -> None:
        self.cluster, self.model, self.columns = cluster, model, columns
        self.step = StepModel(model, cluster, job, calibration, columns)
        light = lightened(model, COARSE_LOADS)
        self.light = self.step if light is model else StepModel(light, cluster, job, calibration, columns)
        """Prices that are nowhere above those of ``step``, of fewer kinds of layers."""
        self.exact = exactly_cut(self.step)
        self.uneven = may_be_uneven(self.step)
        self.least_seconds = np.zeros(0)
        """What no cut of each candidate is below, whether it fits or not: once ``coarse_bounds`` were."""
        self.cuts: dict[int, Cut] = {}
        self.made: dict[int, MadeOrder] = {}
        """Orders of candidates whose schedule is ``best``, once they were evaluated."""
        self._least: dict[int, float] = {}
        """What each evaluated candidate whose value is not proven is at least."""
        self._partitions: dict[int, Partition] = {}

    # -- 1: every candidate, every cut ------------------------------------------------------

    def coarse_bounds(self) -> Column:
        """A lower bound on the step of each candidate whatever its cut; inf where no cut fits."""
        parts = [
            self._coarse(self.light.take(np.arange(start, min(start + BATCH, len(self.columns)))))
            for start in range(0, len(self.columns), BATCH)
        ]
        self.least_seconds, fits = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else _NOTHING
        return np.where(fits, self.least_seconds, np.inf)

    def _coarse(self, step: StepModel) -> tuple[Column, NDArray[np.bool_]]:
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
        kinds = np.unique(step.model.layers) + 1
        lightest = load[kinds].min(axis=0)

        def ramp(embedding: Column, layer: Column) -> Column:
            return np.asarray(((p - 1) * embedding + (p - 1) * np.maximum(p - 2, 0) / 2 * layer) / p)

        interleaved = total / p * m + ramp(load[0], lightest + host / step.columns.vp)
        first = forward[kinds].min(axis=0) + host / 2 / step.columns.vp
        split_backward = total / p * m + ramp(forward[0] + host / 2 / step.columns.vp, first)
        some_stage = np.ceil(step.chain.decoder_layers / p) * lightest + host
        ramped = np.where(step.columns.vp == 1, plain, interleaved)
        pipeline = np.maximum(np.where(step.columns.splits_backward, split_backward, ramped), m * some_stage)
        # a split vocabulary's passes are shared evenly on average, where the stage with most layers may have least of
        # them (``split_vocabulary``: even shares take least in all)
        split = step.vocabulary.busy_seconds(m)
        busy = np.maximum(total / p * m + split, m * some_stage + np.where(may_be_uneven(step), 0.0, split))
        busy = np.maximum(busy, _ramped_with_vocabulary(step, plain, counts @ forward, share))
        pipeline = np.where(step.columns.vocabulary == 0, pipeline, busy)
        dense, experts = step.parameters
        update = step.traffic.optimizer_seconds(counts @ dense / p + step.vocabulary.parameters, counts @ experts / p)
        bound = step.straggler * (pipeline + update) + step.calibration.step_seconds
        return bound * (1 - 1e-12), self._fits_some_cut(step)

    def _fits_some_cut(self, step: StepModel) -> NDArray[np.bool_]:
        """False only where no cut can fit: the stages together lack room for the layers of some kind
        alone, or for all layers if each were of the lightest kind. Kinds that differ in the load of their experts
        count as one, as light as the lightest of them.

        Stage i of 1F1B keeps min(m, p-i) micro-batches of its layers. Interleaved, it runs
        (v-1) p + 2 (p-1-i) + 1 forwards before its first backward, p of each chunk in turn: p
        micro-batches of every chunk but the last, and of the last min(p, 2 (p-1-i) + 1). That chunk
        costs at most W / (p v) plus one item (any chain can be cut so, and the largest chunk is least),
        which limits its layers. Where weight gradients run apart, ``least_alive`` says what a stage keeps of
        its first chunk, of its last, and of either for its weight gradient. Where some layers are recomputed,
        here all are as to bytes kept and none as to seconds, which their cut goes by.
        """
        columns = step.columns
        kinds = np.flatnonzero(np.bincount(step.model.layers)) + 1
        alike = _alike(step.model)

        def with_lightest(table: Column) -> Column:
            return np.vstack([*(table[some].min(axis=0) for some in alike), table[kinds].min(axis=0)])

        load = step.kept.forward_seconds + step.kept.backward_seconds
        tables = (step.state.total, step.saved_bytes, step.weight_grad_bytes, load)
        state, saved, kept, cost = (with_lightest(table) for table in tables)
        after = 1 + len(step.model.kinds)  # prediction layers and head: one item of the cut
        largest = np.maximum(load[:after].max(axis=0), step.chain.counts[after:] @ load[after:])
        in_last = np.floor((step.chain.counts @ load / (columns.pp * columns.vp) + largest) * (1 + 1e-9) / cost)
        transient = step.kept.transient_bytes[kinds].min(axis=0)
        even = np.maximum(transient, step.vocabulary.step_bytes) + step.vocabulary_bytes
        fixed = step.calibration.workspace_bytes + np.where(may_be_uneven(step), transient, even)
        last = step.state.total[-1] + step.logit_bytes
        first = step.state.total[0]
        ending = np.where(columns.turns_back, 0, columns.pp - 1)
        room = np.zeros((len(alike) + 1, len(columns)))
        for stage in range(int(columns.pp.max(initial=0))):
            later = columns.pp - 1 - stage
            interleaved = np.minimum(columns.pp, 2 * later + 1)
            last_live = np.minimum(step.microbatches, np.where(columns.vp == 1, later + 1, interleaved))
            live = np.where(columns.vp == 1, last_live, np.minimum(step.microbatches, columns.pp))
            live, last_live, waiting = _alive(columns, step.microbatches, stage, live, last_live)
            much, little = state + saved * live + kept * waiting, state + saved * last_live + kept * waiting
            free = step.allocatable_bytes - fixed - (stage == 0) * first - (stage == ending) * last
            held = np.where(
                in_last * little > free,
                free / little,
                (free + in_last * (much - little)) / much,
            )
            room += np.where(stage < columns.pp, np.maximum(np.floor(held * (1 + 1e-12)), 0), 0)
        needed = np.append([step.chain.counts[some].sum() for some in alike], step.chain.decoder_layers)
        return np.asarray((room >= needed[:, None]).all(axis=0))

    # -- memory alone ------------------------------------------------------------------------

    def memory_bounds(self) -> Column:
        """Bytes a GPU needs at the least: states and one micro-batch's activations, evenly spread."""
        found = []
        for start in range(0, len(self.columns), BATCH):
            step = self.step.take(np.arange(start, min(start + BATCH, len(self.columns))))
            held = step.chain.counts @ (step.state.total + step.saved_bytes) / step.columns.pp + step.vocabulary_bytes
            transient = step.kept.transient_bytes[1:-1].min(axis=0)
            body = step.calibration.workspace_bytes + np.maximum(transient, step.vocabulary.step_bytes)
            allocated = np.maximum(held, step.state.total[-1] + step.logit_bytes) + body
            found.append(allocated)
        return np.concatenate(found) * (1 + self.step.calibration.allocator_fraction) + (
            self.step.calibration.runtime_bytes
        )

    def least_peak_bytes(self, index: int) -> float:
        """Bytes a GPU needs for this candidate: what no cut gets below, or the peak of its own cut."""
        if self.exact[index]:
            return self.cluster.capacity_bytes + self._partition(index).least_over_bytes()
        cut = self.cut(index)
        if cut.boundaries is None:
            return self.cluster.capacity_bytes + cut.shortfall_bytes
        step = self._stepping(index)
        if self.made_to_order[index]:
            return self.cluster.capacity_bytes + self._over_with_one(step, 0, cut.boundaries)
        return max(stage.peak_bytes for stage in step.memory(0, cut.boundaries))

    # -- 2: one candidate at a time ---------------------------------------------------------

    def refine(self, indices: NDArray[np.int64]) -> Column:
        """A lower bound on the evaluated step of each candidate; inf if no cut fits, or its own does not."""
        step = self.step.take(indices)
        coarse, fits = self._coarse(step)
        return np.array([self._refined(step, i, int(index), coarse, fits) for i, index in enumerate(indices)])

    def _refined(self, step: StepModel, i: int, index: int, coarse: Column, fits: NDArray[np.bool_]) -> float:
        if self.exact[index]:
            return self._of_any_cut(step, i)
        if self.uneven[index]:  # cut and shares together take too long for all that are refined
            return float(coarse[i]) if fits[i] else float("inf")
        return self._of_own_cut(step, i, index)

    def _of_any_cut(self, step: StepModel, i: int) -> float:
        """The least bottleneck of ``_turn_costs``. Where some layers are recomputed, here none is as to
        seconds, and all are as to bytes."""
        forward, load = self._passes(step, i)
        stages, later = int(step.columns.pp[i]), int(step.microbatches[i]) - 1
        costs = self._turn_costs(forward, load, stages, later)
        bottleneck = least_bottleneck(costs, stages, memory=self._chunk_memory(step, i))
        if np.isinf(bottleneck):
            return bottleneck
        host = step.calibration.microbatch_seconds / 2
        passes = 2 * later - min(stages - 1, later) if later else 0
        chain = load.sum() + 2 * stages * host + 2 * step.link_seconds(i).sum()
        turn = chain + passes * host + (bottleneck if later else 0.0)
        return float((step.straggler * turn + step.calibration.step_seconds) * (1 - 1e-12))

    def _of_own_cut(self, step: StepModel, i: int, index: int) -> float:
        cut = self.cuts[index] = self._cut(step, i)
        if cut.boundaries is None:
            return float("inf")
        forward, recompute, input_grad, weight_grad = step.chunk_seconds(i, cut.boundaries)
        input_grad = recompute + input_grad
        if self.made_to_order[index]:
            return self._of_any_order(
                step, i, cut.boundaries, float(_busy_bound(step, i, forward, input_grad, weight_grad))
            )
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

    @property
    def made_to_order(self) -> NDArray[np.bool_]:
        """Candidates whose schedule is ``best``: their order is made when they are evaluated."""
        return np.asarray(self.columns.schedule == PIPELINE_SCHEDULES.index("best"))

    def _of_any_order(self, step: StepModel, i: int, boundaries: tuple[int, ...], makespan: float) -> float:
        """The step of a candidate under its cut whose pipeline takes ``makespan`` at the least."""
        gradient, optimizer, gather = step.state_seconds(i, boundaries)
        body = makespan + gradient.min() + optimizer.max() + gather.max()
        return float((step.straggler * body + step.calibration.step_seconds) * (1 - 1e-12))

    def sharpen(self, index: int) -> float:
        """A tighter bound than ``refine``'s; inf if no cut fits."""
        if self.made_to_order[index]:
            if (cut := self.cut(index).boundaries) is None:
                return float("inf")
            step = self._stepping(index)
            problem = schedule_problem(step, 0, cut)
            if any(need > cap for need, cap in zip(problem.least_memory(), problem.memory_cap, strict=True)):
                return float("inf")
            return self._of_any_order(step, 0, cut, makespan_of_any_order(problem))
        return self._partition(index).lower_bound() if self.exact[index] else 0.0

    def make_order(self, index: int, seconds: float | None = None, seed: int = 0) -> None:
        """Make the order of a candidate whose schedule is ``best``: quickly, or within ``seconds``, and then no
        worse than the one it has."""
        problem = schedule_problem(self._stepping(index), 0, self.boundaries(index))
        known, made = hints(problem), self.made.get(index)
        if made is not None and seconds is not None:
            known.append(orders_in(problem, made.order))
        found = solve_schedule(
            problem,
            time_limit_seconds=float("inf") if seconds is None else seconds,
            seed=seed,
            hints=known,
            effort="quick" if seconds is None else "full",
        )
        assert found.choice is not None  # ``sharpen`` has seen that one micro-batch fits
        self.made[index] = MadeOrder(
            order=order_of_schedule(found.choice, problem),
            makespan_seconds=found.value,
            lower_bound=max(found.lower_bound, made.lower_bound if made else 0.0),
        )

    def _partition(self, index: int) -> Partition:
        if index not in self._partitions:
            while len(self._partitions) >= KEPT_PARTITIONS:
                del self._partitions[next(iter(self._partitions))]
            self._partitions[index] = Partition(self.step.take(np.array([index])), 0)
        return self._partitions[index]

    def best_boundaries(self, index: int) -> tuple[int, ...]:
        """The candidate's cut; where none fits in memory, the fastest all the same."""
        found = self.cut(index).boundaries
        if found is None and self.exact[index]:
            free = Partition(self.step.take(np.array([index])), 0, memory=False)
            choice = free.solve().choice
            assert choice is not None  # without memory to respect there always is a cut
            found = free.boundaries(choice)
        return found or self.balanced_boundaries(index)

    def balanced_boundaries(self, index: int) -> tuple[int, ...]:
        """The cut by rule alone, whatever its memory if none fits: of one chunk a stage, the least bottleneck
        of turn costs (``solvers.partition``); interleaved, the least largest chunk."""
        step = self.step.take(np.array([index]))
        found = self._cut(step, 0).boundaries or self._balanced(step, 0, memory=None)[0]
        assert found is not None  # without memory to respect there always is a cut
        return found

    def cut(self, index: int) -> Cut:
        """The candidate's cut, worked out once: the best of all, or its own."""
        if index not in self.cuts:
            found = self._best_cut if self.exact[index] else self._shared if self.uneven[index] else self._by_rule_alone
            self.cuts[index] = found(index)
        return self.cuts[index]

    def _by_rule_alone(self, index: int) -> Cut:
        return self._cut(self.step.take(np.array([index])), 0)

    def _shared(self, index: int) -> Cut:
        """Of a vocabulary split over the stages: the rule's cut with even shares, unless a cut and shares chosen
        together, or shares for the rule's cut, save enough."""
        step = self.step.take(np.array([index]))
        even, among = self._cut(step, 0), self._balanced(step, 0, memory=None)[0]
        best, least = even, self._seconds_of_cut(step, even) * (1 - WORTH)
        for at in (None, even.boundaries or among):
            found = self._with_shares(step, at)
            seconds = self._seconds_of_cut(step, found)
            if seconds < least:
                best, least = found, seconds
        return best

    def _with_shares(self, step: StepModel, among: tuple[int, ...] | None) -> Cut:
        """Memory is first left out where the shares' own rules for it do not apply (``_cut``)."""
        unruled = bool(step.partly[0] or step.columns.splits_backward[0])
        order = like_order(step.columns.row(0), int(step.microbatches[0]))
        found = Cut(boundaries=None, shortfall_bytes=float("inf"))
        for memory in (False, True) if unruled else (True,):
            shared = shared_cut(step, 0, order, among=among, memory=memory)
            if shared is not None and found.boundaries is None:
                found = self._checked(step.running(None, shared.rows), 0, shared.boundaries)
        return found

    def _seconds_of_cut(self, step: StepModel, cut: Cut) -> float:
        """Of a single candidate's step under a cut; where its order is still to be made, while its busiest stage is."""
        if cut.boundaries is None:
            return float("inf")
        step = step.running(None, cut.rows)
        if step.columns.schedule[0] == PIPELINE_SCHEDULES.index("best"):
            forward, recompute, input_grad, weight_grad = step.chunk_seconds(0, cut.boundaries)
            busy = _busy_bound(step, 0, forward, recompute + input_grad, weight_grad)
            return self._of_any_order(step, 0, cut.boundaries, busy)
        return price_cut(step, 0, cut.boundaries).step_seconds

    def _stepping(self, index: int, order: Order | None = None) -> StepModel:
        """The prices of one candidate, its stages holding the shares that go with its cut."""
        return self.step.take(np.array([index])).running(order, self.cut(index).rows)

    def _best_cut(self, index: int) -> Cut:
        partition = self._partition(index)
        found = partition.solve()
        if found.choice is None:
            return Cut(boundaries=None, shortfall_bytes=found.shortfall)
        return Cut(
            boundaries=partition.boundaries(found.choice),
            lower_bound=found.lower_bound if found.status == "feasible" else float("inf"),
            priced=found.counts["evaluated"],
        )

    @property
    def _other_cuts(self) -> NDArray[np.bool_]:
        """Candidates whose cut is a rule's while other cuts exist."""
        items = self.step.chain.decoder_layers + 2
        return np.asarray(~self.exact & (self.columns.pp > 1) & (self.columns.pp * self.columns.vp < items))

    def covers_every_cut(self, seconds: float) -> bool:
        """Whether no cut at all takes less than ``seconds``, if none does of those that the search looks at."""
        return not (self._other_cuts & (self.least_seconds < seconds)).any()

    def improve(self, index: int) -> None:
        """Look for a better cut of a candidate that ``refine`` found its own for, if there are others."""
        if not self._other_cuts[index] or self.columns.vocabulary[index] or self.made_to_order[index]:
            return
        step = self.step.take(np.array([index]))
        found = improve(step, 0, self.boundaries(index), float(self.least_seconds[index]))
        if found.choice is not None:
            boundaries = (*(int(b) for b in found.choice[:-1]), len(step.chain.types))
            least = found.lower_bound if found.status == "feasible" else float("inf")
            self.cuts[index] = Cut(boundaries=boundaries, lower_bound=least, priced=found.counts["evaluated"])

    def cut_bound(self, index: int) -> float:
        """Seconds that no cut of this candidate is below; inf where none is below its own."""
        least = self.cut(index).lower_bound
        return float(self.least_seconds[index]) if np.isinf(least) and self._by_rule(index) else least

    def _by_rule(self, index: int) -> bool:
        return bool(self._other_cuts[index]) and self.cut(index).priced == 1

    def _cut(self, step: StepModel, i: int) -> Cut:
        """One chunk a stage: the cut that fits with the least bound on its 1F1B makespan. Interleaved:
        the cut with the least largest chunk, if it fits (a stage's chunks share its memory). Where some
        layers are recomputed, as though none were, and where weight gradients run apart: the cut balanced
        without a look at memory, or the one that respects it, if either fits as it is."""
        if step.partly[i] or step.columns.splits_backward[i]:
            return self._either_cut(step, i)
        memory = self._chunk_memory(step, i) if step.columns.vp[i] == 1 else None
        boundaries, shortfall = self._balanced(step, i, memory)
        if boundaries is None:
            fragments = 1.0 + step.calibration.allocator_fraction
            return Cut(boundaries=None, shortfall_bytes=shortfall * fragments)
        return self._checked(step, i, boundaries)

    def _either_cut(self, step: StepModel, i: int) -> Cut:
        balanced, _ = self._balanced(step, i, memory=None)
        assert balanced is not None  # without memory to respect there always is a cut
        found = self._checked(step, i, balanced)
        if found.boundaries is None and step.columns.vp[i] == 1:
            spared, _ = self._balanced(step, i, self._chunk_memory(step.kept, i))
            second = found if spared is None else self._checked(step, i, spared)
            found = min(found, second, key=lambda cut: cut.shortfall_bytes)
        return found

    def _checked(self, step: StepModel, i: int, boundaries: tuple[int, ...]) -> Cut:
        if step.columns.schedule[i] == PIPELINE_SCHEDULES.index("best"):
            over = self._over_with_one(step, i, boundaries)
        else:
            over = max(stage.peak_bytes for stage in step.memory(i, boundaries)) - self.cluster.capacity_bytes
        if over > 0:
            return Cut(boundaries=None, shortfall_bytes=over)
        rows = None if step.rows is None else tuple(int(own) for own in step.rows)
        return Cut(boundaries=boundaries, rows=rows)

    def _over_with_one(self, step: StepModel, i: int, boundaries: tuple[int, ...]) -> float:
        """Bytes that the fullest stage lacks to run one micro-batch after the other."""
        problem = schedule_problem(step, i, boundaries)
        lacking = max(need - cap for need, cap in zip(problem.least_memory(), problem.memory_cap, strict=True))
        return lacking * (1.0 + step.calibration.allocator_fraction)

    def _balanced(self, step: StepModel, i: int, memory: ChunkMemory | None) -> tuple[tuple[int, ...] | None, float]:
        stages, chunks = int(step.columns.pp[i]), int(step.columns.pp[i] * step.columns.vp[i])
        forward, load = self._passes(step, i)
        if chunks == stages and not step.columns.splits_backward[i]:
            load = self._turn_costs(forward, load, stages, int(step.microbatches[i]) - 1)
        solution = bottleneck_partition(load, chunks, memory=memory)
        if solution.choice is None:
            return None, solution.shortfall
        return (*(int(b) for b in solution.choice[:-1]), len(step.chain.types)), 0.0

    def _passes(self, step: StepModel, i: int) -> tuple[Column, Column]:
        """Forward seconds and those of both passes along the chain."""
        forward = self._items(step, i, step.kept.forward_seconds)
        return forward, forward + self._items(step, i, step.kept.backward_seconds)

    def _turn_costs(self, forward: Column, load: Column, stages: int, later: int) -> Column:
        """[stages, items]: what an item on stage j adds to the 1F1B makespan that the stage forces, beside one
        micro-batch's chain (``solvers.partition``); ``later`` micro-batches follow the first."""
        warmup = np.minimum(stages - 1 - np.arange(stages), later)[:, None]
        return later * load - warmup * forward if later else load

    def _items(self, step: StepModel, i: int, table: Column, merge: Callable[[Column], float] = np.sum) -> Column:
        """Values along the chain, prediction layers and head as one item."""
        values = table[step.chain.types, i]
        body = step.chain.decoder_layers + 1
        return np.append(values[:body], merge(values[body:]))

    def _chunk_memory(self, step: StepModel, i: int) -> ChunkMemory:
        stages = int(step.columns.pp[i])
        transient = np.minimum(step.transient_bytes, step.kept.transient_bytes)
        transient = np.maximum(transient, step.vocabulary.step_bytes)
        fixed = np.full(stages, step.calibration.workspace_bytes + step.vocabulary_bytes[i])
        fixed[-1] += step.logit_bytes[i]
        in_flight = np.minimum(int(step.microbatches[i]), stages - np.arange(stages))
        activations = self._items(step, i, step.saved_bytes)
        if step.columns.vocabulary[i]:
            in_flight = peak_live_counts(_order_by_rule(step, i))
        if step.columns.splits_backward[i]:
            in_flight, activations = self._split_activations(step, i)
        return ChunkMemory(
            static_bytes=self._items(step, i, step.state.total),
            activation_bytes=activations,
            transient_bytes=self._items(step, i, transient, np.max),
            in_flight=in_flight.astype(np.float64),
            fixed_bytes=fixed,
            cap_bytes=step.allocatable_bytes,
        )

    def _split_activations(self, step: StepModel, i: int) -> tuple[Column, Column]:
        """Micro-batches in flight on each stage, one that waits for its weight gradient alone counted by the
        largest share that any layer keeps for it; bytes of each item, the head's as its own stage keeps them."""
        saved, waiting = (self._items(step, i, table) for table in (step.saved_bytes, step.weight_grad_bytes))
        order, ones = _order_by_rule(step, i), np.ones(int(step.columns.pp[i]))
        share = (waiting[1:-1] / np.maximum(saved[1:-1], 1.0)).max(initial=0.0)
        in_flight = peak_activation(order, ones, share * ones)
        saved[-1] = peak_activation(order, saved[-1] * ones, waiting[-1] * ones)[-1] / in_flight[-1]
        return in_flight, saved

    # -- 3: the whole candidate -------------------------------------------------------------

    def price(self, index: int) -> StepPrice:
        """Full price under the candidate's cut, which it must have, and the order made for it, if one was."""
        made = self.made.get(index)
        return price_cut(self._stepping(index, made.order if made else None), 0, self.boundaries(index))

    def rows(self, index: int) -> tuple[int, ...] | None:
        """What each rank of every stage holds of a split vocabulary; None where all hold the same."""
        return self.cut(index).rows

    def boundaries(self, index: int) -> tuple[int, ...]:
        """Where the candidate's chain is cut; some cut must fit."""
        found = self.cut(index).boundaries
        assert found is not None
        return found

    def evaluate(self, index: int) -> Evaluated:
        """The step under the candidate's cut, and what no cut of it is below; inf where none fits."""
        cut = self.cut(index)
        if cut.boundaries is None:
            return Evaluated(float("inf"), float("inf"))
        if self.made_to_order[index]:
            self.make_order(index)
            return self._with_order(index)
        value = self.price(index).step_seconds
        return self._noted(index, value, cut.lower_bound)

    def _with_order(self, index: int) -> Evaluated:
        value, made = self.price(index).step_seconds, self.made[index]
        if made.makespan_seconds <= made.lower_bound * (1 + PROVEN_GAP):
            return self._noted(index, value, value)
        least = self._of_any_order(self._stepping(index), 0, self.boundaries(index), made.lower_bound)
        return self._noted(index, value, least)

    def _noted(self, index: int, value: float, least: float) -> Evaluated:
        self._least[index] = min(value, least)
        return Evaluated(value, min(value, least))

    @property
    def unproven_seconds(self) -> float:
        """What no candidate that was evaluated is below."""
        return min(self._least.values(), default=float("inf"))

    def polish(self, index: int, seconds: float, seed: int) -> Order | None:
        """Improve the order made for a candidate for ``seconds``; None where its schedule has a rule."""
        if not self.made_to_order[index]:
            return None
        self.make_order(index, seconds, seed)
        self._with_order(index)
        return self.made[index].order

    def configuration(self, index: int) -> Configuration:
        return self.columns.row(index)


def _order_by_rule(step: StepModel, i: int) -> Order:
    """The candidate's order, or one with the same chunks where it has yet to be made."""
    row = step.columns.row(i)
    return like_order(row, int(step.microbatches[i])) if row.schedule == "best" else step.order(i)


def _alike(model: Model) -> list[NDArray[np.int64]]:
    """Item types of the decoder layers, those together that differ in the load of their experts alone."""
    families: dict[LayerKind, list[int]] = {}
    for number in np.unique(model.layers).tolist():
        families.setdefault(without_load(model.kinds[number]), []).append(1 + number)
    return [np.array(types, dtype=np.int64) for types in families.values()]


def _busy_bound(step: StepModel, i: int, forward: Column, input_grad: Column, weight_grad: Column) -> float:
    """Seconds that no order of these chunks is below: a stage's work behind the forward passes that precede it,
    and one micro-batch's chain."""
    stage, m = stage_of_chunk(step.columns.row(i)), int(step.microbatches[i])
    links = step.link_seconds(i)
    before = np.concatenate([[0.0], np.cumsum(forward[:-1] + links)])
    held = [np.flatnonzero(stage == own) for own in range(int(step.columns.pp[i]))]
    work = np.array([m * (forward + input_grad + weight_grad)[own].sum() for own in held])
    if step.columns.vocabulary[i]:
        return float((work + step.shares(i)[0].busy_seconds(m)).max())
    turns = forward.sum() + input_grad.sum() + 2 * links.sum() + weight_grad[0]
    return float(max((work + [before[own].min() for own in held]).max(), turns))


def _ramped_with_vocabulary(step: StepModel, plain: Column, forward: Column, share: Column) -> Column:
    """``Pricing._coarse``'s averaged bound where the vocabulary is split, with that of whole stages, the forward
    seconds of all items and f; 0 of other orders than those of vocab-1 and vocab-2.

    With d = 2 (vocab-1) or 1 barriers a stage's S and T lie between its first F and its last B (all but the last T
    of vocab-2), so that (a) grows by them; before its first B it runs up to d more forwards, in (b), and at most p + d
    of the steps of S and T: their seconds count there once less.
    """
    vocabulary, columns = step.vocabulary, step.columns
    p, m, one = columns.pp, step.microbatches, columns.vocabulary == VOCAB_1
    barriers = np.where(one, 2, 1)
    passes = vocabulary.first_step + (m - 1) * vocabulary.step + np.where(one, vocabulary.last_step, 0.0)
    before = vocabulary.first_step + (p + barriers - 1) * vocabulary.step
    ramped = (
        plain + passes - (barriers * (forward / p + step.calibration.microbatch_seconds / 2) + before) / (1 + share)
    )
    return np.where(may_be_uneven(step) & (columns.schedule == 0), ramped, 0.0)


def _alive(
    columns: Columns, microbatches: Degree, stage: int, live: Column, last_live: Column
) -> tuple[Column, Column, Column]:
    """``live`` and ``last_live`` with those of schedules that split the backward pass in their place, and the
    micro-batches that wait for their weight gradient alone."""
    waiting = np.zeros(len(columns))
    for number in np.unique(columns.schedule[columns.splits_backward]):
        some = columns.schedule == number
        found = least_alive(PIPELINE_SCHEDULES[number], stage, columns.pp[some], microbatches[some])
        live[some], last_live[some], waiting[some] = found
    return live, last_live, waiting
