"""A training job and one way to spread it over ranks."""

from dataclasses import dataclass
from typing import Literal, get_args

Precision = Literal["fp16", "bf16", "fp8", "fp4"]
Dispatch = Literal["all-to-all", "deduplicated"]
Scaling = Literal["tensor", "block"]
Software = Literal["megatron", "pytorch", "composer"]
GradientPrecision = Literal["fp32", "bf16"]
MomentPrecision = Literal["fp32", "bf16"]
GradientSync = Literal["microbatch", "step"]
Recompute = str
"""``none``, ``selective``, ``full``, of some layers, or modules joined by ``+``: see ``costmodels.recompute``."""
Vocabulary = Literal["whole", "vocab-1", "vocab-2", "interlaced"]
VOCABULARIES: tuple[Vocabulary, ...] = get_args(Vocabulary)
PipelineSchedule = Literal["1f1b", "zb-h1", "zb-h2", "zb-v", "v-half", "v-min", "best"]
PIPELINE_SCHEDULES: tuple[PipelineSchedule, ...] = get_args(PipelineSchedule)
"""``1f1b`` first; it stands for interleaved 1F1B where a stage has several chunks. ``best`` has no rule: its order
is made for the configuration, with one chunk a stage or two placed in a V."""
V_SCHEDULES: tuple[PipelineSchedule, ...] = ("zb-v", "v-half", "v-min")
"""Those with two chunks a stage, placed in a V."""
ALLOWABLE: tuple[str, ...] = ("recompute", "schedule", "vocabulary")
"""Fields of ``Configuration`` with values that few runtimes execute: schedules beside 1F1B, split vocabularies,
recompute that differs from stage to stage. These are searched only where they are pinned or the field is allowed."""
FOLDING = "folding"
"""What can be forbidden beside the fields of ``Configuration``: experts that do not lie along the attention's own
tensor and data-parallel groups (``Configuration.folded``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to train: ``global_batch`` sequences of ``sequence_length`` tokens per optimizer step.

    ``attention='unfused'`` is the attention before FlashAttention: scores are written to memory.
    ``expert_imbalance`` is the tokens of the busiest expert rank over the mean. ``gradient_overlap``: gradients
    are reduced behind the last backward pass and updated weights gathered behind the first forward pass.
    ``tensor_overlap``: tensor-parallel collectives run in pieces beside the GEMMs they feed
    (``tp-comm-overlap``). ``gradients``: what they are kept and reduced in. ``moments``: what Adam's two are
    kept in (bf16: Megatron's precision-aware optimizer). ``gradient_sync``: whether ZeRO 2 and 3 reduce
    gradients after every micro-batch, or once a step, and until then keep them whole (FSDP's ``no_sync``,
    ``set_requires_gradient_sync``). ``fused_loss``: the loss writes its gradient over the logits (Transformer
    Engine's cross-entropy). ``dropout``: hidden states and attention probabilities are dropped at random, and
    masks kept. ``offloaded_layers``: the activations of that many layers wait in host memory for their backward
    pass (``cpu-offloading-num-layers``; no pipeline, no recompute), copied while others compute. ``software``:
    whose kernels run, Megatron-LM's and Transformer Engine's fused ones, PyTorch's own, or Composer's FSDP
    with Triton attention; it picks the calibration. ``dispatch``: how tokens reach experts, a plain all-to-all
    of every copy, or copies to one NVLink domain sent across once (DeepEP, HybridEP). ``scaling``: whether FP8
    operands carry one scale a tensor (delayed, current) or one a block (MXFP8, blockwise). ``expert_overlap``:
    dispatch and combine run beside the computation of another micro-batch (``moe-a2a-overlap``, DualPipe).
    ``cuda_graphs``: layers are replayed, not launched.
    """

    global_batch: int
    sequence_length: int
    precision: Precision = "bf16"
    attention: Literal["flash", "unfused"] = "flash"
    expert_imbalance: float = 1.0
    gradient_overlap: bool = True
    tensor_overlap: bool = True
    gradients: GradientPrecision = "fp32"
    moments: MomentPrecision = "fp32"
    gradient_sync: GradientSync = "microbatch"
    fused_loss: bool = False
    dropout: bool = False
    offloaded_layers: int = 0
    software: Software = "megatron"
    dispatch: Dispatch = "all-to-all"
    scaling: Scaling = "tensor"
    expert_overlap: bool = False
    cuda_graphs: bool = False

    @property
    def tokens(self) -> int:
        return self.global_batch * self.sequence_length


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Configuration:
    """Degrees of parallelism and what goes with them. Fields are the field's own names.

    ``tp`` tensor, ``sp`` sequence parallelism over the tensor group (0 or 1), ``cp`` context,
    ``pp`` pipeline stages, ``vp`` model chunks per stage, ``dp`` data-parallel replicas
    (gpus / (tp cp pp)), ``zero`` stage 0-3 (1 is Megatron's distributed optimizer), ``ep`` expert,
    ``etp`` expert tensor, ``mbs`` sequences per micro-batch, ``recompute`` level
    (``costmodels.recompute``). ``vocabulary``: both embeddings ``whole`` on the first and the last stage,
    or split over all stages and run by one of three methods (``costmodels.timeline.vocabulary_orders``).
    ``schedule`` of the pipeline (``costmodels.timeline.schedules``), or ``best``, an order of its own; all but
    ``1f1b`` and ``best`` need a whole vocabulary.
    """

    tp: int = 1
    sp: int = 0
    cp: int = 1
    pp: int = 1
    vp: int = 1
    dp: int = 1
    zero: int = 1
    ep: int = 1
    etp: int = 1
    mbs: int = 1
    recompute: Recompute = "none"
    vocabulary: Vocabulary = "whole"
    schedule: PipelineSchedule = "1f1b"

    @property
    def gpus(self) -> int:
        return self.tp * self.cp * self.pp * self.dp

    @property
    def edp(self) -> int:
        """Replicas of each expert: ranks of a stage over ep x etp."""
        return self.tp * self.cp * self.dp // (self.ep * self.etp)

    @property
    def folded(self) -> bool:
        """Whether experts are spread otherwise than before parallel folding (arXiv 2504.14960 sec. 3.2): then they were
        cut over the attention's own tensor groups, etp = tp, and each expert group was part of one of its
        data-parallel groups, ep dividing dp, apart from context parallelism (cp = 8 with ep = 8 took 64 GPUs, says
        Megatron-Core's guide to mixtures of experts). Ranks of an expert group stand etp apart and those of a
        data-parallel one tp x cp, so that cp = 1 wherever ep > 1. Means nothing for a dense model."""
        return self.etp != self.tp or self.dp % self.ep != 0 or (self.cp > 1 and self.ep > 1)

    def microbatches(self, global_batch: int) -> int:
        """Micro-batches each pipeline runs in a step."""
        return global_batch // (self.dp * self.mbs)
