"""What no cut of the chain is below: bounds on many candidates at once, in which the cut drops out."""

import numpy as np
from numpy.typing import NDArray

from costmodels.architecture import LayerKind, Model
from costmodels.columns import Columns
from costmodels.configuration import PIPELINE_SCHEDULES
from costmodels.expert_load import without_load
from costmodels.operators import exposed_seconds
from costmodels.sharding import Column, Degree
from costmodels.step import StepModel
from costmodels.timeline import least_alive
from costmodels.vocabulary import VOCAB_1
from planner.shared_cut import may_be_uneven


def bounds_of_any_cut(step: StepModel, *, lightened: bool = False) -> tuple[Column, NDArray[np.bool_]]:
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

    Behind that come the optimizer and ``_exposed_states``; the reduction of a stage's gradients ends later than (a)
    without the drain. ``lightened``: passes of ``step`` may take less than those that are bounded.
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
    reduced, gathered = _exposed_states(step, lightened)
    pipeline = np.maximum(pipeline, np.where(step.columns.vocabulary == 0, split_backward + reduced, 0.0))
    bound = step.straggler * (pipeline + update + gathered) + step.calibration.step_seconds
    return bound * (1 - 1e-12), fits_some_cut(step)


def _exposed_states(step: StepModel, lightened: bool) -> tuple[Column, Column]:
    """Exposed gradient reduction and weight gather of the mean stage of any cut, at the least, [n] each.

    A stage's is e(c, k) = c - (1 - contention) min(c, k) and no less with a share that starts late
    (``StepModel.state_seconds``), c its communication beside k seconds of one pass. e is convex and of degree one: its
    mean is at least e of the means, that of k a p-th of the chain's. Of c it is at least a p-th of the communication of
    all parameters at once, which takes less than that of parts. k is that of all layers recomputed, and unknown, so
    that it hides all it can, where passes are ``lightened``.
    """
    columns, counts = step.columns, step.chain.counts.astype(np.float64)
    p = columns.pp.astype(np.float64)
    dense, experts = (counts @ parameters for parameters in step.parameters)
    dense = dense + p * step.vocabulary.parameters
    late = 1.0 / (counts.sum() - p + 1)

    def exposed(communication: Column, beside: Column) -> Column:
        if not step.job.gradient_overlap:
            return communication / p
        compute = np.full_like(communication, np.inf) if lightened else counts @ beside
        behind = exposed_seconds(communication, compute, step.calibration.overlap_contention)
        return np.asarray((late * communication + (1 - late) * behind) / p)

    gradients = exposed(step.traffic.gradient_seconds(dense, experts), step.backward_seconds)
    return gradients, exposed(step.traffic.parameter_seconds(dense, experts), step.forward_seconds)


def _ramped_with_vocabulary(step: StepModel, plain: Column, forward: Column, share: Column) -> Column:
    """The averaged bound of ``bounds_of_any_cut`` where the vocabulary is split, with that of whole stages, the forward
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


def fits_some_cut(step: StepModel) -> NDArray[np.bool_]:
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


def _alike(model: Model) -> list[NDArray[np.int64]]:
    """Item types of the decoder layers, those together that differ in the load of their experts alone."""
    families: dict[LayerKind, list[int]] = {}
    for number in np.unique(model.layers).tolist():
        families.setdefault(without_load(model.kinds[number]), []).append(1 + number)
    return [np.array(types, dtype=np.int64) for types in families.values()]
