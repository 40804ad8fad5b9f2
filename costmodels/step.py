"""One optimizer step: its seconds and each stage's bytes, from prices of items to a timeline.

``StepModel`` prices many configurations at once up to the items of the chain; ``price_step`` takes
one configuration and one cut of the chain through the event simulation of its schedule.

A step is the pipeline's makespan, the part of the gradient reduction that outlasts it on any stage,
the slowest stage's optimizer update, and the exposed gather of updated weights:

    step = (max_i(end_i + gradients_i) + max_i optimizer_i + max_i gather_i) x straggler + overhead
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from costmodels import collectives
from costmodels.architecture import Model
from costmodels.calibration import Calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.groups import group_shape
from costmodels.hardware import Cluster, Link
from costmodels.items import Chain, ItemCosts, chain_of, item_costs
from costmodels.operators import BF16_BYTES, System, exposed_seconds
from costmodels.placement import order_of, stage_of_chunk
from costmodels.price import Memory
from costmodels.recompute import FIT, FULL, NONE, of_some_layers, recomputed_layers
from costmodels.sharding import Column, vocabulary_rows
from costmodels.states import StateBytes, StateTraffic, state_bytes, whole_gradients
from costmodels.timeline import Order, Timeline, peak_live_counts, peak_with_softmaxes, simulate
from costmodels.vocabulary import SplitVocabulary, split_vocabulary

TORCH_LOSS_BYTES = 12.0
"""Per logit in the backward pass of ``torch.nn.functional.cross_entropy`` on fp32 logits, by count: the
log-softmax that it saved, the gradient of that, and the gradient of the logits."""

Cut = Sequence[int] | NDArray[np.int64]


class StepModel:
    """Prices of the chain's items for each of many configurations: arrays of shape [types, n]."""

    def __init__(self, model: Model, cluster: Cluster, job: Job, calibration: Calibration, columns: Columns) -> None:
        self.model, self.cluster, self.job, self.calibration = model, cluster, job, calibration
        self.columns = columns
        self.system = System.of(cluster, calibration, job)
        self.chain: Chain = chain_of(model)
        shards, self.shard_index = columns.shards()
        whole, partly = list(columns.levels), [of_some_layers(level) for level in columns.levels]
        if any(partly):
            whole = [FULL if part else level for level, part in zip(whole, partly, strict=True)] + [NONE]
        self.costs: ItemCosts = item_costs(model, job, shards, self.system, whole)
        self.partly = np.array(partly, dtype=np.bool_)[columns.recompute]
        self.level = columns.recompute
        self.traffic = self._state_traffic(columns)
        self.microbatches = columns.microbatches(job.global_batch)
        self.vocabulary: SplitVocabulary = split_vocabulary(model, job, columns, self.system)
        self.given: Order | None = None
        self.rows: Column | None = None

    def take(self, chosen: NDArray[np.int64]) -> "StepModel":
        """The same prices for some of the configurations."""
        part = object.__new__(StepModel)
        derived = {name for name, member in vars(StepModel).items() if isinstance(member, cached_property)}
        part.__dict__.update({name: value for name, value in vars(self).items() if name not in derived})
        part.columns = self.columns.take(chosen)
        part.partly, part.level = self.partly[chosen], self.level[chosen]
        part.shard_index = self.shard_index[chosen]
        part.traffic = self._state_traffic(part.columns)
        part.microbatches = self.microbatches[chosen]
        part.vocabulary = self.vocabulary.take(chosen)
        return part

    @cached_property
    def kept(self) -> "StepModel":
        """The same configurations, the layers that ``recompute`` leaves out: where it is of some layers,
        tables of this model are of a recomputed layer and those of ``kept`` of any other."""
        if not self.partly.any():
            return self
        other = self.take(np.arange(len(self.columns)))
        other.level = np.where(self.partly, len(self.columns.levels), self.level)
        return other

    def recomputed(self, index: int, cut: Cut) -> NDArray[np.bool_]:
        """Which items of the chain have the figures of this model; the others have those of ``kept``."""
        found = np.ones(len(self.chain.types), dtype=np.bool_)
        if not self.partly[index]:
            return found
        row = self.columns.row(index)
        fitted = self.fitted_layers(index, cut) if row.recompute == FIT else ()
        return self._some_layers(index, cut, fitted)

    def _some_layers(self, index: int, cut: Cut, fitted: Sequence[int]) -> NDArray[np.bool_]:
        found = np.ones(len(self.chain.types), dtype=np.bool_)
        first, last = 1, 1 + self.chain.decoder_layers
        layers = np.diff(np.clip(np.asarray(cut), first, last)).tolist()
        row = self.columns.row(index)
        where = stage_of_chunk(row).tolist()
        chunks = recomputed_layers(row.recompute, layers, where, fitted)
        found[first:last] = [flag for chunk in chunks for flag in chunk]
        found[last:-1] = False
        return found

    @cached_property
    def _fitted(self) -> dict[tuple[int, tuple[int, ...]], tuple[int, ...]]:
        return {}

    def fitted_layers(self, index: int, cut: Cut) -> tuple[int, ...]:
        """What ``full:fit`` comes to on each stage: how many first layers of each of its chunks must be
        recomputed for it to fit in memory; where no number does, the one that needs least."""
        key = (index, tuple(int(b) for b in cut))
        if key not in self._fitted:
            self._fitted[key] = self._least_layers(index, cut)
        return self._fitted[key]

    def _least_layers(self, index: int, cut: Cut) -> tuple[int, ...]:
        stages = int(self.columns.pp[index])
        most = int(np.diff(np.clip(np.asarray(cut), 1, 1 + self.chain.decoder_layers)).max())
        peaks = np.full((most + 1, stages), np.inf)
        for layers in range(most + 1):
            redone = self._some_layers(index, cut, [layers] * stages)
            peaks[layers] = [memory.peak_bytes for memory in self._memory(index, cut, redone)]
            fits = peaks <= self.cluster.capacity_bytes
            if fits.any(axis=0).all():
                break
        return tuple(int(n) for n in np.where(fits.any(axis=0), fits.argmax(axis=0), peaks.argmin(axis=0)))

    def along(self, table: Callable[["StepModel"], Column], index: int, cut: Cut) -> Column:
        """A table of [types, n] as values along the chain, [items]."""
        return self._along(table, index, self.recomputed(index, cut))

    def _along(self, table: Callable[["StepModel"], Column], index: int, redone: NDArray[np.bool_]) -> Column:
        types, mine = self.chain.types, table(self)[:, index]
        if not self.partly[index]:
            return np.asarray(mine[types])
        return np.where(redone, mine[types], table(self.kept)[types, index])

    def _state_traffic(self, columns: Columns) -> StateTraffic:
        return StateTraffic.of_job(columns, self.system, self.job)

    @cached_property
    def parameters(self) -> tuple[Column, Column]:
        """Dense and expert parameters of each item on one rank, [types, n].

        A pipeline of several stages keeps a second copy of shared weights: the output embedding when
        tied, the input embedding on the stage that predicts several tokens. Placed in a V, one stage holds
        both ends.
        """
        dense = self.costs.dense_parameters[:, self.shard_index].copy()
        pipelined = (self.columns.pp > 1) & ~self.columns.turns_back
        if self.model.tied_embeddings:
            rows = vocabulary_rows(self.model.vocabulary, self.columns.tp)
            dense[-1] -= np.where(pipelined, 0.0, rows * self.model.hidden)
        if self.chain.mtp_layers:
            dense[-1] += np.where(pipelined, dense[0], 0.0)
        return dense, self.costs.expert_parameters[:, self.shard_index]

    @cached_property
    def _shard_traffic(self) -> tuple[Column, Column]:
        dense, experts = self.parameters
        return self.traffic.microbatch_seconds(dense, experts)

    @cached_property
    def exposed_traffic(self) -> tuple[Column, Column]:
        """What computation does not hide of that traffic, forward and backward."""
        forward = self.costs.forward_seconds[:, self.shard_index]
        grads = self.costs.input_grad_seconds + self.costs.weight_grad_seconds
        backward = self._recompute_seconds + grads[:, self.shard_index]
        return self._beside(self._shard_traffic[0], forward), self._beside(self._shard_traffic[1], backward)

    @cached_property
    def _recompute_seconds(self) -> Column:
        return self.costs.recompute_seconds[self.level, :, self.shard_index].T

    @cached_property
    def forward_seconds(self) -> Column:
        return self.costs.forward_seconds[:, self.shard_index] + self.exposed_traffic[0]

    @cached_property
    def backward_parts(self) -> tuple[Column, Column, Column]:
        """Recompute, input-gradient and weight-gradient seconds; sharded-state traffic that the
        backward pass cannot hide counts with the weight gradients."""
        input_grad = self.costs.input_grad_seconds[:, self.shard_index]
        weight_grad = self.costs.weight_grad_seconds[:, self.shard_index]
        return self._recompute_seconds, input_grad, weight_grad + self.exposed_traffic[1]

    @cached_property
    def backward_seconds(self) -> Column:
        recompute, input_grad, weight_grad = self.backward_parts
        return recompute + input_grad + weight_grad

    def _beside(self, communication: Column, compute: Column) -> Column:
        """Added by gathering and scattering sharded states while computing (FSDP)."""
        share = self.calibration.fsdp_exposed_fraction * communication
        return np.maximum(share, communication - compute)

    @cached_property
    def saved_bytes(self) -> Column:
        """Activations one micro-batch leaves in each item until its backward pass. Of offloaded layers
        they wait elsewhere: their bytes are taken off all layers alike."""
        saved = self.costs.saved_bytes[self.level, :, self.shard_index].T
        kinds = slice(1, 1 + len(self.model.kinds))
        saved[kinds] *= 1 - self.job.offloaded_layers / self.chain.decoder_layers
        return saved

    @property
    def weight_grad_bytes(self) -> Column:
        """Of these, and of what the input gradient leaves, what waits in each item for the weight gradient
        where it runs apart, [types, n]. What recompute rebuilt stays for it too."""
        return self.costs.weight_grad_bytes[:, self.shard_index]

    @cached_property
    def state(self) -> StateBytes:
        return self._state(*self.parameters)

    @cached_property
    def vocabulary_state(self) -> StateBytes:
        """Of each stage's share of a split vocabulary, [n]."""
        parameters = self.vocabulary.parameters
        return self._state(parameters, np.zeros_like(parameters))

    @property
    def even_rows(self) -> Column:
        """Padded rows of each embedding on a rank that shares them, all as many, [n]."""
        columns = self.columns
        return vocabulary_rows(self.model.vocabulary, columns.tp, columns.vocabulary_stages)

    def _state(self, dense: Column, experts: Column, columns: Columns | None = None) -> StateBytes:
        job, columns = self.job, self.columns if columns is None else columns
        whole = whole_gradients(columns, job)
        return state_bytes(dense, experts, columns, job.gradients, job.moments, job.software, whole)

    def shares(self, index: int) -> tuple[SplitVocabulary, StateBytes]:
        """Of a split vocabulary, [stages]: what the passes of each stage take, and its states; of the rows that
        ``running`` was given, or even shares."""
        if index not in self._shares:
            even = np.full(int(self.columns.pp[index]), self.even_rows[index])
            self._shares[index] = self.shares_of(index, even if self.rows is None else self.rows)
        return self._shares[index]

    @cached_property
    def _shares(self) -> dict[int, tuple[SplitVocabulary, StateBytes]]:
        return {}

    def shares_of(self, index: int, rows: Column) -> tuple[SplitVocabulary, StateBytes]:
        """Of shares of ``rows`` on a rank, [shares]."""
        same = np.full(len(rows), index)
        columns, found = self.columns.take(same), self.vocabulary.take(same)
        if self.columns.vocabulary[index] and (rows != self.even_rows[index]).any():
            found = split_vocabulary(self.model, self.job, columns, self.system, rows)
        return found, self._state(found.parameters, np.zeros_like(found.parameters), columns)

    @cached_property
    def vocabulary_bytes(self) -> Column:
        """All that each stage holds of a split vocabulary from step to step and pass to pass, [n]."""
        return np.asarray(self.vocabulary_state.total + self.vocabulary.kept_bytes)

    @cached_property
    def transient_bytes(self) -> Column:
        """Short-lived bytes while one item runs, [types, n]; a stage needs its largest.

        GEMM work space by the widest weight; what recompute rebuilds for the item's backward pass;
        under ZeRO 3 the gathered weights of the item and of the one prefetched.
        """
        calibration, columns = self.calibration, self.columns
        widest = self.costs.widest_weight[:, self.shard_index].copy()
        widest[0] = widest[-1] = 0.0
        dense, experts = self.parameters
        rebuilt = self.costs.rebuilt_bytes[self.level, :, self.shard_index].T
        gathered = np.where(columns.zero == 3, 2 * BF16_BYTES * (dense + experts), 0.0)
        return np.asarray(calibration.weight_workspace_bytes_per_element * widest + rebuilt + gathered)

    @cached_property
    def logit_bytes(self) -> Column:
        """Work space of logits and loss on the stage with the head, where it is whole, [n]: fused, the
        bf16 logits alone; PyTorch's own, three tensors of fp32."""
        columns = self.columns
        rows = np.where(columns.vocabulary == 0, vocabulary_rows(self.model.vocabulary, columns.tp), 0.0)
        tokens = columns.mbs * self.job.sequence_length / columns.cp
        measured = self.calibration.logit_workspace_bytes_per_element
        plain = TORCH_LOSS_BYTES if self.job.software == "pytorch" else measured
        return (min(BF16_BYTES, plain) if self.job.fused_loss else plain) * tokens * rows

    @cached_property
    def lookup_gradient_bytes(self) -> Column:
        """Work space of the first stage at the end of a backward pass, when that micro-batch's activations
        are gone: the dense bf16 gradient of its input embedding, [n]."""
        return np.asarray(self.calibration.workspace_bytes + BF16_BYTES * self.parameters[0][0])

    @property
    def allocatable_bytes(self) -> float:
        """What the framework can hand out on each GPU: memory less reserve, runtime and fragments."""
        free = self.cluster.capacity_bytes - self.calibration.runtime_bytes
        return free / (1.0 + self.calibration.allocator_fraction)

    def link_seconds(self, index: int) -> Column:
        """Seconds to hand one micro-batch from each chunk to the next, [pp x vp - 1]."""
        return handover_seconds(self.columns.row(index), self.model, self.job, self.cluster, self.calibration)

    def of_microbatches(self, microbatches: int) -> "StepModel":
        """The same prices, every pipeline running so many micro-batches a step, whatever its share of the batch."""
        other = self.take(np.arange(len(self.columns)))
        other.microbatches = np.full_like(self.microbatches, microbatches)
        return other

    def reducing_over(self, link: Link, domain_gpus: int | None = None) -> "StepModel":
        """The same prices, states of replicas kept equal over ``link`` between NVLink domains, or between parts of
        ``domain_gpus`` where fewer of a domain hold the same stage."""
        other = self.take(np.arange(len(self.columns)))
        domain = domain_gpus or self.cluster.domain_gpus
        other.system = replace(self.system, cluster=replace(self.cluster, scale_out=link, domain_gpus=domain))
        other.traffic = other._state_traffic(other.columns)
        return other

    def chunk_seconds(self, index: int, cut: Cut) -> tuple[Column, Column, Column, Column]:
        """Forward, recompute, input-gradient and weight-gradient seconds of every chunk, the host's
        cost of a micro-batch shared among the stage's passes."""
        starts = np.asarray(cut[:-1])
        host = self.calibration.microbatch_seconds / (2 * int(self.columns.vp[index]))

        def chunks(table: Callable[[StepModel], Column]) -> Column:
            return np.asarray(np.add.reduceat(self.along(table, index, cut), starts))

        return (
            chunks(lambda step: step.forward_seconds) + host,
            chunks(lambda step: step.backward_parts[0]),
            chunks(lambda step: step.backward_parts[1]) + host,
            chunks(lambda step: step.backward_parts[2]),
        )

    def running(self, order: Order | None, vocabulary_rows: Sequence[int] | Column | None = None) -> "StepModel":
        """The same prices, every configuration (of the same stages and micro-batches) running ``order``, its
        stages holding ``vocabulary_rows`` a rank of a split vocabulary (None: even shares)."""
        other = self.take(np.arange(len(self.columns)))
        other.given = order
        other.rows = None if vocabulary_rows is None else np.asarray(vocabulary_rows, dtype=np.float64)
        return other

    def order(self, index: int) -> Order:
        """The operations of every stage: those given, or by the schedule's rule."""
        return self.given or order_of(self.columns.row(index), int(self.microbatches[index]))

    def timeline(self, index: int, forward: Column, input_grad: Column, weight_grad: Column) -> Timeline:
        """Configuration ``index``'s schedule with these seconds of every chunk; recompute goes with
        ``input_grad``."""
        order = self.order(index)
        passes = self.shares(index)[0].seconds() if order.splits_vocabulary else None
        links = self.link_seconds(index)
        if order.splits_backward:
            return simulate(order, forward, input_grad, links, passes, weight_grad)
        return simulate(order, forward, input_grad + weight_grad, links, passes)

    def stage_positions(self, index: int, cut: Cut) -> list[NDArray[np.int64]]:
        """Where in the chain the items of each stage stand."""
        pieces = [np.arange(a, b) for a, b in pairwise(cut)]
        row = self.columns.row(index)
        stage = stage_of_chunk(row)
        return [np.concatenate([pieces[c] for c in np.flatnonzero(stage == own)]) for own in range(row.pp)]

    def stage_items(self, index: int, cut: Cut) -> list[NDArray[np.int64]]:
        """Item types on each stage."""
        return [self.chain.types[positions] for positions in self.stage_positions(index, cut)]

    def memory(self, index: int, cut: Cut) -> tuple[Memory, ...]:
        """Every stage's bytes at its peak; depends on the schedule's order, not on its times."""
        return self._memory(index, cut, self.recomputed(index, cut))

    def _memory(self, index: int, cut: Cut, redone: NDArray[np.bool_]) -> tuple[Memory, ...]:
        order = self.order(index)
        starts = np.asarray(cut[:-1])
        activations = np.add.reduceat(self._along(lambda step: step.saved_bytes, index, redone), starts)
        transient = self._transient_along(index, cut, redone)
        waiting: Column | float = 0.0
        if order.splits_backward:
            waiting = np.add.reduceat(self._along(lambda step: step.weight_grad_bytes, index, redone), starts)
        state, (vocabulary, share) = self.state, self.shares(index)
        peaks = peak_with_softmaxes(order, activations, waiting, vocabulary.kept_bytes)
        live = peak_live_counts(order)
        found = []
        for stage, positions in enumerate(self.stage_positions(index, cut)):
            items = self.chain.types[positions]
            allocated = {
                "weights_bytes": float(state.weights[items, index].sum() + share.weights[stage]),
                "gradients_bytes": float(state.gradients[items, index].sum() + share.gradients[stage]),
                "optimizer_bytes": float(state.optimizer[items, index].sum() + share.optimizer[stage]),
                "activations_bytes": float(peaks[stage]),
                "workspace_bytes": max(
                    self._workspace_bytes(positions, transient, index, float(vocabulary.step_bytes[stage])),
                    float(self.lookup_gradient_bytes[index] - activations[0]) if stage == 0 else 0.0,
                ),
            }
            fragmented = self.calibration.allocator_fraction * sum(allocated.values())
            outside = self.calibration.runtime_bytes + fragmented
            found.append(Memory(**allocated, runtime_bytes=outside, in_flight=int(live[stage])))
        return tuple(found)

    def _workspace_bytes(
        self, positions: NDArray[np.int64], transient: Column, index: int, vocabulary_step: float
    ) -> float:
        """Of a stage; ``vocabulary_step``: what a step of its share of a split vocabulary needs, beside no layer."""
        holds_head = positions[-1] == len(self.chain.types) - 1
        logits = float(self.logit_bytes[index]) if holds_head else 0.0
        return self.calibration.workspace_bytes + max(float(transient[positions].max()), vocabulary_step) + logits

    def _transient_along(self, index: int, cut: Cut, redone: NDArray[np.bool_]) -> Column:
        """Short-lived bytes of each item of the chain beside its chunk's activations: when a layer is
        rebuilt, those of the kept layers behind it in its chunk are gone."""
        needed = self._along(lambda step: step.transient_bytes, index, redone)
        if not self.partly[index]:
            return needed
        kept = np.where(redone, 0.0, self.kept.saved_bytes[self.chain.types, index])
        behind = np.concatenate([np.cumsum(kept[a:b][::-1])[::-1] - kept[a:b] for a, b in pairwise(cut)])
        return np.where(redone, needed - behind, needed)

    def state_seconds(self, index: int, cut: Cut) -> tuple[Column, Column, Column]:
        """Exposed gradient reduction, optimizer update and exposed weight gather of every stage.

        With overlap the reduction hides behind the backward pass of the last micro-batch (behind its
        weight gradients alone, where they run apart), all but the last layer's share; the gather behind the
        forward pass of the first.
        """
        held = self.stage_positions(index, cut)

        def per_stage(table: Callable[[StepModel], Column]) -> Column:
            values = self.along(table, index, cut)
            return np.array([values[positions].sum() for positions in held])

        apart = bool(self.columns.splits_backward[index])
        return self.state_seconds_of(
            index,
            items=np.array([len(positions) for positions in held]),
            dense=per_stage(lambda step: step.parameters[0]) + self.shares(index)[0].parameters,
            experts=per_stage(lambda step: step.parameters[1]),
            forward=per_stage(lambda step: step.forward_seconds),
            backward=per_stage(lambda step: step.backward_parts[2] if apart else step.backward_seconds),
        )

    def state_seconds_of(
        self, index: int, *, items: Column, dense: Column, experts: Column, forward: Column, backward: Column
    ) -> tuple[Column, Column, Column]:
        """``state_seconds`` of stages, in arrays of any one shape, that hold so many items, with those
        parameters (shares of a split vocabulary among them) and the seconds of one micro-batch's passes."""
        traffic = self._state_traffic(self.columns.take(np.array([index])))
        gradients = traffic.gradient_seconds(dense, experts)
        gathers = traffic.parameter_seconds(dense, experts)
        if self.job.gradient_overlap:
            late, contention = 1.0 / items, self.calibration.overlap_contention
            gradients = _overlapped(gradients, backward, late, contention)
            gathers = _overlapped(gathers, forward, late, contention)
        return gradients, traffic.optimizer_seconds(dense, experts), gathers

    @property
    def straggler(self) -> float:
        """Slow-down of the whole job by its slowest part: grows with each doubling beyond a node."""
        doublings = max(0.0, float(np.log2(self.cluster.gpus / self.cluster.gpus_per_node)))
        return 1.0 + self.calibration.straggler_fraction_per_doubling * doublings


def handover_seconds(
    row: Configuration,
    model: Model,
    job: Job,
    cluster: Cluster,
    calibration: Calibration,
    held: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Column:
    """Seconds to hand one micro-batch from each chunk to the next, [pp x vp - 1].

    A message is cut over the tensor group (Megatron's scatter-gather): s b h / t values. Neighbours on
    one stage send nothing. ``held``: the first GPU of each stage, [pp], and the one after its last; one stage's
    after the other's where it is None.
    """
    if row.pp == 1:
        return np.zeros(row.vp - 1)
    size = BF16_BYTES * row.mbs * job.sequence_length / row.cp * model.hidden
    stride = row.tp * row.cp * row.dp
    stage = stage_of_chunk(row)
    first = np.arange(row.pp) * stride
    first, end = held or (first, first + stride)
    domain = cluster.domain_gpus
    # some rank of the stage sends out of its domain unless both stages lie in the same one
    begins, ends = first // domain, (end - 1) // domain
    inside = (begins[stage[:-1]] == begins[stage[1:]]) & (ends[stage[:-1]] == ends[stage[1:]])
    near = collectives.send_seconds(size / row.tp, False, cluster, calibration)
    far = collectives.send_seconds(size / row.tp, True, cluster, calibration)
    regather = 0.0
    if row.tp > 1 and not row.sp:
        group = group_shape(np.array([row.tp]), np.array([1]), domain)
        regather = float(collectives.all_gather_seconds(np.array([size]), group, cluster, calibration)[0])
    return np.where(np.diff(stage) == 0, 0.0, np.where(inside, near, far) + regather)


def _overlapped(communication: Column, compute: Column, late: Column, contention: float) -> Column:
    """What is exposed of ``communication`` whose share ``late`` starts after the computation ends."""
    return late * communication + exposed_seconds((1 - late) * communication, (1 - late) * compute, contention)
