"""Configurations to seconds and bytes: the bridge between the space and the cost models.

Prices of growing sharpness, each a lower bound on the next:

1. ``coarse_bounds``: all candidates at once, over every possible cut of the chain;
2. ``refine``: one at a time, the least bottleneck of any cut that fits (``solvers.partition``);
3. ``sharpen``: what each stage's share of the chain alone forces (``planner.partition``);
4. ``evaluate``: the best of every cut, through the event simulation.

Candidates that ``planner.partition`` does not cut exactly have one cut, by rule, instead of every cut:
``refine`` then bounds its schedule in closed form.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import Model
from costmodels.calibration import Calibration, load_calibration
from costmodels.columns import Columns
from costmodels.configuration import PIPELINE_SCHEDULES, Configuration, Job
from costmodels.expert_load import lightened
from costmodels.hardware import Cluster
from costmodels.price import StepPrice
from costmodels.sharding import Column
from costmodels.step import StepModel
from costmodels.step_price import price_cut
from costmodels.timeline import Order, makespan_bound
from planner.best_schedule import (
    busy_bound,
    hints,
    like_order,
    makespan_of_any_order,
    order_of_schedule,
    orders_in,
    schedule_problem,
)
from planner.coarse import bounds_of_any_cut
from planner.cut_by_rule import (
    Cut,
    balanced_cut,
    chain_passes,
    checked,
    chunk_memory,
    cut_by_rule,
    over_with_one,
    turn_costs,
)
from planner.interleaved import improve
from planner.partition import Partition, exactly_cut
from planner.plan.certificate import PROVEN_GAP
from planner.plan.ground import PlanGround
from planner.shared_cut import may_be_uneven, shared_cut
from solvers.partition import least_bottleneck
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

AS_MEASURED: dict[str, Any] = {
    "value": 1.0,
    "kind": "measured",
    "source": "the cluster's own table of attained bandwidths, taken as it is",
}
"""The share that a link attains of a figure that was attained."""

_NOTHING = (np.zeros(0), np.zeros(0, dtype=np.bool_))


def calibration_for(cluster: Cluster, job: Job, given: Calibration | Path | None) -> Calibration:
    """``given`` itself, or the bundled figures of the GPU and the job's software with those of a file
    in their place. Where the cluster's links were measured, what they attain is taken as it is."""
    if isinstance(given, Calibration):
        return given
    found = load_calibration(cluster.gpu, given, job.software)
    attained = cluster.topology.attained if cluster.topology is not None else None
    if attained is None:
        return found
    measured = ("scale_out_fraction", "scale_up_fraction") if attained.of_gpus else ("scale_out_fraction",)
    return found.replacing({name: replace(found.figures[name], **AS_MEASURED) for name in measured})


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
            bounds_of_any_cut(
                self.light.take(np.arange(start, min(start + BATCH, len(self.columns)))),
                lightened=self.light is not self.step,
            )
            for start in range(0, len(self.columns), BATCH)
        ]
        self.least_seconds, fits = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else _NOTHING
        return np.where(fits, self.least_seconds, np.inf)

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
            return self.cluster.capacity_bytes + over_with_one(step, 0, cut.boundaries)
        return max(stage.peak_bytes for stage in step.memory(0, cut.boundaries))

    # -- 2: one candidate at a time ---------------------------------------------------------

    def refine(self, indices: NDArray[np.int64]) -> Column:
        """A lower bound on the evaluated step of each candidate; inf if no cut fits, or its own does not."""
        step = self.step.take(indices)
        coarse, fits = bounds_of_any_cut(step) if self.uneven[indices].any() else _NOTHING
        return np.array([self._refined(step, i, int(index), coarse, fits) for i, index in enumerate(indices)])

    def _refined(self, step: StepModel, i: int, index: int, coarse: Column, fits: NDArray[np.bool_]) -> float:
        if self.exact[index]:
            return self._of_any_cut(step, i)
        if self.uneven[index]:  # cut and shares together take too long for all that are refined
            return float(coarse[i]) if fits[i] else float("inf")
        return self._of_own_cut(step, i, index)

    def _of_any_cut(self, step: StepModel, i: int) -> float:
        """The least bottleneck of ``turn_costs``. Where some layers are recomputed, here none is as to
        seconds, and all are as to bytes."""
        forward, load = chain_passes(step, i)
        stages, later = int(step.columns.pp[i]), int(step.microbatches[i]) - 1
        costs = turn_costs(forward, load, stages, later)
        bottleneck = least_bottleneck(costs, stages, memory=chunk_memory(step, i))
        if np.isinf(bottleneck):
            return bottleneck
        host = step.calibration.microbatch_seconds / 2
        passes = 2 * later - min(stages - 1, later) if later else 0
        chain = load.sum() + 2 * stages * host + 2 * step.link_seconds(i).sum()
        turn = chain + passes * host + (bottleneck if later else 0.0)
        return float((step.straggler * turn + step.calibration.step_seconds) * (1 - 1e-12))

    def _of_own_cut(self, step: StepModel, i: int, index: int) -> float:
        cut = self.cuts[index] = cut_by_rule(step, i)
        if cut.boundaries is None:
            return float("inf")
        forward, recompute, input_grad, weight_grad = step.chunk_seconds(i, cut.boundaries)
        input_grad = recompute + input_grad
        if self.made_to_order[index]:
            return self._of_any_order(
                step, i, cut.boundaries, float(busy_bound(step, i, forward, input_grad, weight_grad))
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
            self._partitions[index] = Partition.of(self.step.take(np.array([index])), 0)
        return self._partitions[index]

    def best_boundaries(self, index: int) -> tuple[int, ...]:
        """The candidate's cut; where none fits in memory, the fastest all the same."""
        found = self.cut(index).boundaries
        if found is None and self.exact[index]:
            free = Partition.of(self.step.take(np.array([index])), 0, memory=False)
            choice = free.solve().choice
            assert choice is not None  # without memory to respect there always is a cut
            found = free.boundaries(choice)
        return found or self.balanced_boundaries(index)

    def balanced_boundaries(self, index: int) -> tuple[int, ...]:
        """The cut by rule alone, whatever its memory if none fits: of one chunk a stage, the least bottleneck
        of turn costs (``solvers.partition``); interleaved, the least largest chunk."""
        step = self.step.take(np.array([index]))
        found = cut_by_rule(step, 0).boundaries or balanced_cut(step, 0, memory=None)[0]
        assert found is not None  # without memory to respect there always is a cut
        return found

    def cut(self, index: int) -> Cut:
        """The candidate's cut, worked out once: the best of all, or its own."""
        if index not in self.cuts:
            found = self._best_cut if self.exact[index] else self._shared if self.uneven[index] else self._by_rule_alone
            self.cuts[index] = found(index)
        return self.cuts[index]

    def _by_rule_alone(self, index: int) -> Cut:
        return cut_by_rule(self.step.take(np.array([index])), 0)

    def _shared(self, index: int) -> Cut:
        """Of a vocabulary split over the stages: the rule's cut with even shares, unless a cut and shares chosen
        together, or shares for the rule's cut, save enough."""
        step = self.step.take(np.array([index]))
        even, among = cut_by_rule(step, 0), balanced_cut(step, 0, memory=None)[0]
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
                found = checked(step.running(None, shared.rows), 0, shared.boundaries)
        return found

    def _seconds_of_cut(self, step: StepModel, cut: Cut) -> float:
        """Of a single candidate's step under a cut; where its order is still to be made, while its busiest stage is."""
        if cut.boundaries is None:
            return float("inf")
        step = step.running(None, cut.rows)
        if step.columns.schedule[0] == PIPELINE_SCHEDULES.index("best"):
            forward, recompute, input_grad, weight_grad = step.chunk_seconds(0, cut.boundaries)
            busy = busy_bound(step, 0, forward, recompute + input_grad, weight_grad)
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

    def settle(self, index: int, seconds: float, seed: int) -> None:
        """Nothing to place: all hosts are alike (``planner.hosts.pricing`` where they are not)."""

    def ground(self, index: int) -> PlanGround | None:
        """What a plan says of unlike ground; here there is none."""
        return None

    def hosts(self, index: int) -> tuple[str, ...] | None:
        """Names of the nodes in the order of ranks, where it is not the cluster's own."""
        return None

    def configuration(self, index: int) -> Configuration:
        return self.columns.row(index)
