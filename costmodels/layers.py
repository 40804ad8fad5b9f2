"""A layer kind, the embedding and the loss head as lists of operators.

Shapes follow Megatron-LM: column- then row-parallel GEMMs inside attention and feed-forward, norms
and residuals outside the tensor-parallel regions (cut over the tensor group under sequence
parallelism). Saved bytes are what autograd keeps in bf16, operator by operator; with dropout they add
up to Korthikanti et al. (arXiv 2205.05198) sec. 4.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe
from costmodels.configuration import Job
from costmodels.expert_load import LoadedMoe
from costmodels.groups import group_shape
from costmodels.operators import (
    BF16_BYTES,
    FP32_BYTES,
    Collective,
    Communication,
    CoreAttention,
    Exchange,
    Gemm,
    GroupedGemm,
    MemoryBound,
    Modules,
    Operator,
    System,
)
from costmodels.sharding import Column, Shards, vocabulary_rows

SCORE_BYTES = 2
DROPPED_SCORE_BYTES = 3
"""Kept per score without FlashAttention: the softmax's output, which the product with the values reads;
with dropout also its mask (1) and output (2)."""

EXPERT_BIAS_FORWARD_BYTES = 28.0
"""Per element: bias times weight written in fp32 (4), added (2 + 4 read, 4 written), the experts' parts
joined (4 + 4), cast back (4 + 2)."""
EXPERT_BIAS_BACKWARD_BYTES = 40.0
"""Per element: cast up (2 + 4), cast down for the GEMM (4 + 2) and joined (2 + 2), and twice a product with
the gradient (4 + 4) and its sum (4), over tokens for the bias and over columns for the weights."""

Calls = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedExperts:
    """What a placement of experts makes of a layer: routed tokens of the ``busiest`` rank over the mean, ``experts``
    that a rank holds (replicas counted), and the ``exchange`` of tokens over its busiest links."""

    busiest: Column
    experts: Column
    exchange: Exchange


def attended_keys(sequence_length: int, window: int | None) -> float:
    """Keys a query attends to on average under a causal mask, itself included."""
    if window is None or window >= sequence_length:
        return (sequence_length + 1) / 2
    return window - window * (window - 1) / (2 * sequence_length)


class LayerBuilder:
    """Writes operators for one model width, job and machine over columns of shards."""

    def __init__(self, hidden: int, job: Job, shards: Shards, system: System) -> None:
        domain = system.cluster.domain_gpus
        ones = np.ones_like(shards.tp)
        self.hidden = float(hidden)
        self.job = job
        self.shards = shards
        self.system = system
        self.operand_bytes = system.operand_bytes
        # flash attention keeps its bf16 output; a narrow projection keeps a cast copy beside it
        self.cast_bytes = self.operand_bytes if self.operand_bytes < BF16_BYTES else 0
        self.tp = shards.tp.astype(np.float64)
        self.tokens = shards.tokens(job)
        self.local_tokens = shards.sequence_tokens(job)
        self.tensor_group = group_shape(shards.tp, ones, domain)
        self.context_group = group_shape(shards.cp, shards.tp, domain)
        self.expert_group = group_shape(shards.ep, shards.etp, domain)
        self.expert_tensor_group = group_shape(shards.etp, ones, domain)
        # a vocabulary split over the stages is no part of the first and the last (costmodels.vocabulary)
        self.whole = ones * (shards.vocabulary_stages == 1).astype(np.float64)

    def layer(self, kind: LayerKind) -> list[Operator]:
        """One transformer layer."""
        block = self.mlp(kind.block) if isinstance(kind.block, Mlp) else self.moe(kind.block)
        return [*self.attention(kind.attention), *block, *self._weights_only(kind.norm_parameters)]

    def prediction_layer(self, model: Model, kind: LayerKind) -> list[Operator]:
        """One multi-token-prediction layer (DeepSeek-V3, arXiv 2412.19437 sec. 2.2): two norms and a
        projection of the hidden state joined with the next token's embedding, a transformer layer,
        and the shared output head once more."""
        joined = Gemm(
            m=self.local_tokens,
            n=self.hidden,
            k=2 * self.hidden,
            saved_bytes=self.operand_bytes * self.local_tokens * 2 * self.hidden,
        )
        rest = kind.extra_parameters - 2 * self.hidden**2
        head = self.head(model, owned=False)
        return [self.norm(), self.norm(), joined, *self.layer(kind), *self._weights_only(rest), *head]

    def embedding(self, model: Model) -> list[Operator]:
        """Masked lookup of each rank's rows, then the sum over the tensor group; nothing but positions
        where the vocabulary is split over stages."""
        rows = self.whole * vocabulary_rows(model.vocabulary, self.shards.tp)
        size = self.whole * BF16_BYTES * self.tokens * self.hidden
        lookup = MemoryBound(
            forward_bytes=2 * size,
            backward_bytes=(1 + 2 * FP32_BYTES / BF16_BYTES) * size,
            parameters=(rows + model.positions) * self.hidden,
            saved_bytes=self.dropout_mask(),
        )
        return [lookup, *self.leave_tensor_region(self.whole)]

    def head(self, model: Model, *, owned: bool = True) -> list[Operator]:
        """Final norm, logits over each rank's vocabulary rows, and the parallel cross-entropy; the norm
        alone where the vocabulary is split over stages. ``owned=False``: run again by a prediction
        layer, with the head's own weights."""
        rows = self.whole * vocabulary_rows(model.vocabulary, self.shards.tp)
        logits = self.tokens * rows
        loss_bytes = self.system.calibration.loss_bytes_per_logit * logits
        return [
            self.norm(),
            *self._weights_only(owned * model.final_norm_parameters),
            *self.enter_tensor_region(self.whole),
            Gemm(
                m=self.tokens,
                n=rows,
                k=self.hidden,
                owned=owned,
                wide=True,
                saved_bytes=self.whole * BF16_BYTES * self.local_tokens * self.hidden,
            ),
            MemoryBound(forward_bytes=loss_bytes / 2, backward_bytes=loss_bytes / 2),
        ]

    # -- pieces -----------------------------------------------------------------------------

    def norm(self, width: float | None = None, redone_by: Modules = ()) -> MemoryBound:
        """Forward reads and writes a tensor; backward reads input and gradient and writes one.
        Only a norm inside a block (``width`` given) counts its weights here."""
        size = BF16_BYTES * self.local_tokens * (self.hidden if width is None else width)
        return MemoryBound(
            forward_bytes=2 * size,
            backward_bytes=3 * size,
            saved_bytes=size,
            parameters=width or 0.0,
            redone_by=redone_by,
        )

    def _weights_only(self, count: float) -> list[Operator]:
        """Parameters whose work is priced elsewhere (the weights of norms)."""
        nothing = np.zeros_like(self.tokens)
        return [MemoryBound(forward_bytes=nothing, backward_bytes=nothing, parameters=float(count))]

    def residual(self) -> MemoryBound:
        """The sum with what went round the block; with dropout, also a byte an element for its mask."""
        size = BF16_BYTES * self.local_tokens * self.hidden
        mask = self.dropout_mask()
        return MemoryBound(forward_bytes=3 * size + mask, backward_bytes=2 * size + mask, saved_bytes=mask)

    def dropout_mask(self) -> Column:
        return self.job.dropout * self.local_tokens * self.hidden

    def enter_tensor_region(self, share: Column | float = 1.0) -> list[Operator]:
        """Sequence parallel: all-gather in, its mirror back, and once more for the weight gradient.
        Otherwise a copy forward and an all-reduce of the gradient. ``share`` of the tokens."""
        return self._tensor_collectives(share, gathered=(1, 0, 1), scattered=(0, 1, 0), reduced=(0, 1, 0))

    def leave_tensor_region(self, share: Column | float = 1.0) -> list[Operator]:
        """Sequence parallel: reduce-scatter out and all-gather back. Otherwise an all-reduce."""
        return self._tensor_collectives(share, gathered=(0, 1, 0), scattered=(1, 0, 0), reduced=(1, 0, 0))

    def _tensor_collectives(
        self, share: Column | float, gathered: Calls, scattered: Calls, reduced: Calls
    ) -> list[Operator]:
        size = share * BF16_BYTES * self.tokens * self.hidden
        with_sp = np.where(self.shards.sp == 1, size, 0.0)
        group = self.tensor_group
        # overlapped gathers carry the input as the GEMM takes it: cast, in narrow precisions
        width = self.operand_bytes / BF16_BYTES if self.system.tensor_overlap else 1.0
        plan: tuple[tuple[Collective, Column, Calls], ...] = (
            ("all_gather", width * with_sp, gathered),
            ("reduce_scatter", with_sp, scattered),
            ("all_reduce", size - with_sp, reduced),
        )
        return [
            Communication(collective=collective, group=group, size_bytes=moved, calls=calls, work="tensor")
            for collective, moved, calls in plan
        ]

    # -- attention --------------------------------------------------------------------------

    def attention(self, attention: Attention) -> list[Operator]:
        gqa = attention.kind == "gqa"
        heads = attention.heads / self.tp
        # key and value heads are copied when the tensor group is larger than their number
        kv_heads = np.maximum(attention.kv_heads / self.tp, 1.0) if gqa else heads
        keys_and_values = kv_heads * (attention.head_dim + attention.value_dim)
        queries = heads * attention.head_dim
        output = heads * attention.value_dim
        rotated = BF16_BYTES * self.tokens * (queries + kv_heads * attention.head_dim)
        core = self._core_attention(attention, heads)
        projections = (
            self._joint_projection(attention, queries, keys_and_values)
            if gqa
            else self._latent_projections(attention, heads)
        )
        up_projection: Modules = () if gqa else ("mla_up_proj",)
        return [
            self.norm(redone_by=() if gqa else ("layernorm",)),
            *self.enter_tensor_region(),
            *projections,
            MemoryBound(
                forward_bytes=2 * rotated,
                backward_bytes=2 * rotated,
                saved_bytes=BF16_BYTES * self.tokens * (queries + keys_and_values),
                redone_by=up_projection,
                dropped_by=up_projection,
            ),
            core,
            self._context_exchange(core, keys_and_values),
            Gemm(
                m=self.tokens,
                n=self.hidden,
                k=output,
                bias=attention.out_bias * self.hidden,
                saved_bytes=(BF16_BYTES + self.cast_bytes) * self.tokens * output,
            ),
            *self.leave_tensor_region(),
            self.residual(),
        ]

    def _joint_projection(self, attention: Attention, queries: Column, keys_and_values: Column) -> list[Operator]:
        width = queries + keys_and_values
        norm_weights: dict[str, Column | float] = {
            "none": 0.0,
            "head": 2.0 * attention.head_dim,
            "full": (attention.query_width + attention.key_width) / self.tp,
        }
        small = norm_weights[attention.qk_norm] + attention.sinks * attention.heads / self.tp
        projection = Gemm(
            m=self.tokens,
            n=width,
            k=self.hidden,
            bias=attention.qkv_bias * width + small,
            saved_bytes=self.operand_bytes * self.local_tokens * self.hidden,
        )
        if attention.qk_norm == "none":
            return [projection]
        size = BF16_BYTES * self.tokens * (attention.query_width + attention.key_width) / self.tp
        return [projection, MemoryBound(forward_bytes=2 * size, backward_bytes=3 * size, saved_bytes=size)]

    def _latent_projections(self, attention: Attention, heads: Column) -> list[Operator]:
        """MLA: the down-projections stand whole on every tensor rank and see its share of tokens."""
        query_rank, rank = float(attention.q_lora_rank), float(attention.kv_lora_rank)
        local, tokens = self.local_tokens, self.tokens
        input_bytes = self.operand_bytes * local * self.hidden
        query_width = heads * attention.head_dim
        up: dict[str, Any] = {"redone_by": ("mla_up_proj",), "dropped_by": ("mla_up_proj",)}
        queries: list[Operator] = (
            [
                Gemm(m=local, n=query_rank, k=self.hidden, saved_bytes=input_bytes, dropped_by=("layernorm",)),
                self.norm(query_rank, redone_by=("mla_up_proj",)),
                Gemm(m=tokens, n=query_width, k=query_rank, saved_bytes=self.operand_bytes * local * query_rank, **up),
            ]
            if query_rank
            else [Gemm(m=tokens, n=query_width, k=self.hidden, saved_bytes=input_bytes, dropped_by=("layernorm",))]
        )
        up_width = heads * (attention.head_dim - attention.rope_dim + attention.value_dim)
        return [
            *queries,
            Gemm(
                m=local,
                n=rank + attention.rope_dim,
                k=self.hidden,
                saved_bytes=BF16_BYTES * local * attention.rope_dim,
                saves_input=False,
            ),
            self.norm(rank, redone_by=("mla_up_proj",)),
            Gemm(m=tokens, n=up_width, k=rank, saved_bytes=self.operand_bytes * local * rank, **up),
        ]

    def _core_attention(self, attention: Attention, heads: Column) -> CoreAttention:
        length = self.job.sequence_length
        flash = self.job.attention == "flash"
        batch = self.shards.mbs.astype(np.float64)
        queries = length / self.shards.cp
        kept_per_score = SCORE_BYTES + DROPPED_SCORE_BYTES * self.job.dropout
        return CoreAttention(
            flash=flash,
            batch=batch,
            heads=heads,
            queries=queries,
            keys=attended_keys(length, attention.window) if flash else float(length),
            query_dim=attention.head_dim,
            value_dim=attention.value_dim,
            saved_bytes=0.0 if flash else kept_per_score * batch * heads * queries * length,
        )

    def _context_exchange(self, core: CoreAttention, keys_and_values: Column) -> Communication:
        """Ring attention: keys and values go round the context group behind the attention kernels;
        backward their gradients go round as well."""
        attention = core.passes(self.system)
        return Communication(
            collective="all_gather",
            group=self.context_group,
            size_bytes=BF16_BYTES * self.tokens * self.shards.cp * keys_and_values,
            calls=(1, 2, 0),
            work="context",
            hidden_behind=(attention.forward, attention.input_grad),
        )

    # -- feed-forward -----------------------------------------------------------------------

    def mlp(self, block: Mlp, *, norm: bool = True) -> list[Operator]:
        """A dense block, its norm fused into it; ``norm=False`` for shared experts, which read what the
        router reads."""
        inner = block.ffn / self.tp
        inputs = 2 if block.gated else 1
        size = BF16_BYTES * self.tokens * inner
        body: list[Operator] = [
            *self.enter_tensor_region(),
            Gemm(
                m=self.tokens,
                n=inputs * inner,
                k=self.hidden,
                bias=block.bias * inputs * inner,
                saved_bytes=self.operand_bytes * self.local_tokens * self.hidden if norm else 0.0,
            ),
            MemoryBound(
                forward_bytes=(inputs + 1) * size,
                backward_bytes=(2 * inputs + 1) * size,
                saved_bytes=inputs * size,
            ),
            Gemm(
                m=self.tokens,
                n=self.hidden,
                k=inner,
                bias=block.bias * self.hidden,
                saved_bytes=self.operand_bytes * self.tokens * inner,
            ),
            *self.leave_tensor_region(),
        ]
        if not norm:
            return _recomputed(body, ("moe", "shared_experts"))
        return [self.norm(redone_by=("mlp",)), *_recomputed(body, ("mlp",)), self.residual()]

    def moe(self, block: Moe, placed: PlacedExperts | None = None) -> list[Operator]:
        """Router, dispatch, grouped expert GEMMs on the busiest rank, combine, shared experts.

        Each rank routes its own tokens (sequence-parallel share); the expert group of ep x etp ranks
        spreads ``top_k`` copies of each over its experts, ``expert_imbalance`` times the mean on the
        busiest, or what the layer's own load says. Sizes assume no copy stays at home by luck beyond 1 in
        ep. Routing weights multiply the activation inside the experts (Megatron-Core's memory-efficient
        permutation), so that combining keeps nothing. ``placed`` says instead what the busiest rank computes and
        what the busiest links carry.
        """
        ep, etp = self.shards.ep.astype(np.float64), self.shards.etp.astype(np.float64)
        local = self.local_tokens
        experts = block.experts / ep if placed is None else placed.experts
        busiest = self._busiest(block) if placed is None else placed.busiest
        copies = local * etp * block.top_k * busiest
        inner = block.ffn / etp
        inputs = 2 if block.gated else 1
        token_bytes = BF16_BYTES * self.hidden
        permuted = local * block.top_k * busiest * token_bytes
        scores = FP32_BYTES * local * block.experts
        activation = BF16_BYTES * copies * inner
        shared = Mlp(ffn=block.shared_ffn, gated=block.gated)
        exchange = self._expert_exchange(block, permuted) if placed is None else placed.exchange
        router = Gemm(
            m=local,
            n=float(block.experts),
            k=self.hidden,
            bias=float(block.experts * block.router_bias + block.shared_gate * self.hidden),
            wide=True,
            saved_bytes=BF16_BYTES * local * self.hidden,
            redone_by=("moe",),
            dropped_by=("layernorm",),
        )
        body: list[Operator] = [
            MemoryBound(forward_bytes=4 * scores, backward_bytes=4 * scores, saved_bytes=scores),
            MemoryBound(forward_bytes=4 * permuted, backward_bytes=4 * permuted),
            exchange,
            *self._expert_tensor_collectives(copies * token_bytes),
            GroupedGemm(
                groups=experts,
                m=copies / experts,
                n=inputs * inner,
                k=self.hidden,
                bias=block.bias * inputs * inner,
                saved_bytes=self.operand_bytes * copies * self.hidden,
            ),
            *self._expert_bias(block, copies * inputs * inner),
            MemoryBound(
                forward_bytes=(inputs + 1) * activation,
                backward_bytes=(2 * inputs + 1) * activation,
                saved_bytes=inputs * activation,
                redone_by=("moe_act",),
            ),
            GroupedGemm(
                groups=experts,
                m=copies / experts,
                n=self.hidden,
                k=inner,
                bias=block.bias * self.hidden,
                saved_bytes=self.operand_bytes * copies * inner,
                dropped_by=("moe_act",),
            ),
            *self._expert_bias(block, copies * self.hidden),
            exchange,
            MemoryBound(forward_bytes=4 * permuted, backward_bytes=4 * permuted),
            *(self.mlp(shared, norm=False) if block.shared_ffn else ()),
        ]
        return [
            self.norm(redone_by=("layernorm",)),
            router,
            *_recomputed(body, ("moe",)),
            self.residual(),
        ]

    def _busiest(self, block: Moe) -> Column | float:
        return block.busiest_at(self.shards.ep) if isinstance(block, LoadedMoe) else self.job.expert_imbalance

    def _expert_bias(self, block: Moe, elements: Column) -> list[Operator]:
        """Megatron-Core adds experts' biases outside the grouped GEMM, expert by expert, times the tokens'
        fp32 weights (``TEGroupedMLP._apply_bias``)."""
        if not block.bias or self.job.software != "megatron":
            return []
        return [
            MemoryBound(
                forward_bytes=EXPERT_BIAS_FORWARD_BYTES * elements,
                backward_bytes=EXPERT_BIAS_BACKWARD_BYTES * elements,
            )
        ]

    def _expert_exchange(self, block: Moe, sent_bytes: Column) -> Communication:
        return Communication(
            collective="all_to_all",
            group=self.expert_group,
            size_bytes=sent_bytes,
            calls=(1, 1, 0),
            work="expert",
            merged_copies=block.top_k if self.job.dispatch == "deduplicated" else None,
        )

    def _expert_tensor_collectives(self, gathered_bytes: Column) -> list[Operator]:
        """The ranks that share an expert gather each other's tokens and reduce-scatter the results."""
        moved = np.where(self.shards.etp > 1, gathered_bytes, 0.0)
        collectives: tuple[Collective, ...] = ("all_gather", "reduce_scatter")
        return [
            Communication(
                collective=collective,
                group=self.expert_tensor_group,
                size_bytes=moved,
                calls=(1, 1, 0),
                work="tensor",
            )
            for collective in collectives
        ]


def _recomputed(operators: Iterable[Operator], modules: Modules) -> list[Operator]:
    """``operators`` inside a checkpoint of each of ``modules``."""

    def inside(op: Any) -> Operator:
        within: Operator = replace(op, redone_by=(*op.redone_by, *modules), dropped_by=(*op.dropped_by, *modules))
        return within

    return [inside(op) for op in operators]
