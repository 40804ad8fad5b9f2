"""What a vocabulary split over all pipeline stages costs: passes, collectives, bytes.

Each of the p stages holds V / (p t) padded rows of both embeddings, or a share of its own of as many in all
(not interlaced: there all run in step). The passes and their order are
``costmodels.timeline.vocabulary_orders``'s; here they get their seconds, from the same kernels as a
whole head (Yeung et al., arXiv 2411.05288, sec. 4; FLOPs of a micro-batch on each device):

| method | S | T |
|---|---|---|
| vocab-1 | logits 2bshV/p, softmax | dX and dW 4bshV/p |
| vocab-2 | logits and dX 4bshV/p, softmax | dW 2bshV/p |
| interlaced | all 6bshV/p with their collectives | - |

X is broadcast in fp32 with the gradient of the loss, statistics are three all-reduces of one fp32
value a token, and dX one in the precision of the gradients.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels import collectives, kernels
from costmodels.architecture import Model
from costmodels.columns import Columns
from costmodels.configuration import VOCABULARIES, Job
from costmodels.groups import group_shape
from costmodels.layers import LayerBuilder
from costmodels.operators import BF16_BYTES, FP32_BYTES, Gemm, Operator, System, exposed_seconds
from costmodels.sharding import Column, Degree, Shards, vocabulary_rows
from costmodels.states import GRADIENT_BYTES
from costmodels.timeline import VocabularySeconds

WHOLE, VOCAB_1, VOCAB_2, INTERLACED = range(len(VOCABULARIES))

RESCALE_BYTES = 2 * FP32_BYTES
"""Per logit: the local fp32 softmax, read and written when the whole sum is known."""
CAST_BYTES = FP32_BYTES + BF16_BYTES
"""Per logit: the softmax cast once more, for dX before the loss is known (vocab-2)."""
LOOKUP_BYTES = 6 * BF16_BYTES
"""Per looked-up element: the rows, the mask and a copy, each read and written."""
KEPT_LOGIT_BYTES = FP32_BYTES
"""Per logit: the softmax, kept from S to T."""
STEP_LOGIT_BYTES = 2 * FP32_BYTES + BF16_BYTES
"""Per logit while a step runs: the softmax of one micro-batch, logits and their cast of the next."""
PASS_HOST_SECONDS = 4.5e-4
"""Of each pass of its own: the host starts some thirty small kernels. Measured: what the stage times of
12 runs on A100 (``cases/vocabulary_stage_times.yaml``) keep as their vocabulary shrinks, 0.25 ms (IB),
0.4 ms (IF) and 0.7 ms (step)."""
STATISTICS = 3
"""All-reduces of one value a token: largest logit, predicted logit, sum of exponentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitVocabulary:
    """Columns, one entry a configuration whose stages are alike, or one a stage; zero where the
    vocabulary is whole.

    Seconds are those of ``VocabularySeconds``. ``parameters`` on one rank. ``kept_bytes``: between the
    passes of a micro-batch; ``step_bytes``: more while a step runs.
    """

    first_step: Column
    step: Column
    last_step: Column
    input_forward: Column
    input_backward: Column
    broadcast: Column
    reduce: Column
    lookup: Column
    parameters: Column
    kept_bytes: Column
    step_bytes: Column

    def seconds(self) -> VocabularySeconds:
        """For ``simulate``, entries being stages. What collectives carry does not depend on a stage's rows."""
        passes = ("first_step", "step", "last_step", "input_forward", "input_backward")
        lags = ("broadcast", "reduce", "lookup")
        return VocabularySeconds(
            **{name: getattr(self, name) for name in passes},
            **{name: getattr(self, name)[:1] for name in lags},
        )

    def busy_seconds(self, microbatches: Column | Degree | int) -> Column:
        """What one stage computes in a step."""
        steps = self.first_step + (microbatches - 1) * self.step + self.last_step
        return np.asarray(steps + microbatches * (self.input_forward + self.input_backward))

    def take(self, chosen: NDArray[np.int64]) -> "SplitVocabulary":
        return SplitVocabulary(**{name: getattr(self, name)[chosen] for name in self.__slots__})


def split_vocabulary(
    model: Model, job: Job, columns: Columns, system: System, rows: Column | None = None
) -> SplitVocabulary:
    """Price the passes of every configuration in ``columns``, with ``rows`` of each embedding on a rank, [n], or the
    even share. Of a GEMM and of memory traffic the seconds are convex in the rows, from one row on: the mean over
    stages is at least that of even shares."""
    if not columns.vocabulary.any():
        return SplitVocabulary(**dict.fromkeys(SplitVocabulary.__slots__, np.zeros(len(columns))))
    method, calibration, gpu = columns.vocabulary, system.calibration, system.cluster.gpu
    shards = Shards(**{name: getattr(columns, name) for name in Shards.__slots__})
    build = LayerBuilder(model.hidden, job, shards, system)
    if rows is None:
        rows = vocabulary_rows(model.vocabulary, columns.tp, columns.pp)
    logits, states = build.tokens * rows, build.local_tokens * model.hidden
    width = GRADIENT_BYTES[job.gradients]

    def moved(size: Column) -> Column:
        return kernels.memory_seconds(size, gpu, calibration)

    product = Gemm(m=build.tokens, n=rows, k=build.hidden, wide=True)
    operators: list[Operator] = [*build.enter_tensor_region(), product]
    parts = [op.passes(system) for op in operators]
    output, dx, dw = (sum(getattr(p, name) for p in parts) for name in ("forward", "input_grad", "weight_grad"))
    softmax = moved(calibration.loss_bytes_per_logit / 2 * logits)
    rescale, cast = moved(RESCALE_BYTES * logits), moved(CAST_BYTES * logits)

    group = group_shape(columns.pp, columns.tp * columns.cp * columns.dp, system.cluster.domain_gpus)

    def summed(size: Column) -> Column:
        return collectives.all_reduce_seconds(size, group, system.cluster, calibration)

    def sent(size: Column) -> Column:
        return collectives.broadcast_seconds(size, group, system.cluster, calibration)

    output = output + PASS_HOST_SECONDS
    statistics = STATISTICS * summed(FP32_BYTES * build.local_tokens)
    gradient = summed(width * states)
    hidden_behind_dw = exposed_seconds(gradient, dw, calibration.overlap_contention)
    together = output + 2 * softmax + dx + dw + statistics + hidden_behind_dw

    whole_state = sent(FP32_BYTES * (states + build.local_tokens))
    lookup = summed(BF16_BYTES * states)
    beside = calibration.overlap_contention * (whole_state + statistics + gradient + 2 * lookup)

    def by_method(vocab_1: Column, vocab_2: Column, interlaced: Column) -> Column:
        return np.asarray(np.choose(method, [np.zeros(len(columns)), vocab_1, vocab_2, interlaced]), dtype=np.float64)

    # the collectives of a step run beside F and B and slow them: counted with S
    first_1, last_1 = output + softmax + beside, rescale + softmax + dx + dw
    first_2, last_2 = output + softmax + cast + dx + beside, rescale + softmax + dw
    nothing, split = np.zeros(len(columns)), (method != WHOLE).astype(np.float64)
    deferred = split * (method != INTERLACED)
    # the lookup's dense gradient: cleared, then added to what earlier micro-batches left
    accumulate = (BF16_BYTES + BF16_BYTES + 2 * width) * rows * model.hidden
    return SplitVocabulary(
        first_step=by_method(first_1, first_2, together),
        step=by_method(first_1 + last_1, first_2 + last_2, together),
        last_step=by_method(last_1, last_2, nothing),
        input_forward=split * (PASS_HOST_SECONDS + moved(LOOKUP_BYTES * states)),
        input_backward=split * (PASS_HOST_SECONDS + moved(accumulate + LOOKUP_BYTES * states)),
        broadcast=by_method(whole_state, whole_state, sent(BF16_BYTES * states)),
        reduce=deferred * (statistics + gradient),
        lookup=split * lookup,
        parameters=split * 2 * rows * model.hidden,
        kept_bytes=deferred * (KEPT_LOGIT_BYTES * logits + (FP32_BYTES + BF16_BYTES + width) * states),
        step_bytes=split * STEP_LOGIT_BYTES * logits - deferred * KEPT_LOGIT_BYTES * logits,
    )
