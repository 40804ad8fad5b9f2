"""The model to train: layer kinds with their shapes, and the chain they form."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Self-attention with ``heads`` query and ``kv_heads`` key/value heads.

    ``kind='gqa'`` covers multi-head, grouped-query and multi-query attention. ``kind='mla'`` is
    multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): queries through rank
    ``q_lora_rank`` (0: a direct projection), keys and values through ``kv_lora_rank`` plus
    ``rope_dim`` shared rotary dimensions; ``head_dim`` is then the whole query/key head
    (nope + rope) and ``value_dim`` the value head.
    ``window`` tokens are attended to (None: all before).
    """

    kind: Literal["gqa", "mla"] = "gqa"
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    window: int | None = None
    q_lora_rank: int = 0
    kv_lora_rank: int = 0
    rope_dim: int = 0
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: Literal["none", "head", "full"] = "none"
    sinks: bool = False

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def value_width(self) -> int:
        return self.kv_heads * self.value_dim

    def parameters(self, hidden: int) -> int:
        """Weights and biases of the block, the output projection included."""
        out = self.heads * self.value_dim * hidden + self.out_bias * hidden
        norms = {"none": 0, "head": 2 * self.head_dim, "full": self.query_width + self.key_width}
        extra = norms[self.qk_norm] + self.sinks * self.heads
        if self.kind == "gqa":
            width = self.query_width + self.key_width + self.value_width
            return out + extra + (hidden + self.qkv_bias) * width
        rank = self.q_lora_rank
        queries = (hidden * rank + rank + rank * self.query_width) if rank else hidden * self.query_width
        latent = hidden * (self.kv_lora_rank + self.rope_dim) + self.kv_lora_rank
        up = self.kv_lora_rank * self.heads * (self.head_dim - self.rope_dim + self.value_dim)
        return out + extra + queries + latent + up


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlp:
    """A dense feed-forward block of inner width ``ffn``; ``gated`` has two input projections."""

    ffn: int
    gated: bool = True
    bias: bool = False

    def parameters(self, hidden: int) -> int:
        inputs = 2 if self.gated else 1
        return (inputs + 1) * hidden * self.ffn + self.bias * (inputs * self.ffn + hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moe:
    """``experts`` feed-forward blocks of width ``ffn``, ``top_k`` per token, beside a shared one.

    ``shared_ffn`` is the total inner width of the shared experts (0: none); ``shared_gate`` a
    learned scalar gate on them; ``router_bias`` one learned or balancing bias per expert.
    """

    experts: int
    top_k: int
    ffn: int
    gated: bool = True
    bias: bool = False
    shared_ffn: int = 0
    shared_gate: bool = False
    router_bias: bool = False

    def expert_parameters(self, hidden: int) -> int:
        """Of one routed expert."""
        return Mlp(ffn=self.ffn, gated=self.gated, bias=self.bias).parameters(hidden)

    def shared_parameters(self, hidden: int) -> int:
        """Router and shared experts: what every expert-parallel rank holds."""
        shared = Mlp(ffn=self.shared_ffn, gated=self.gated).parameters(hidden) if self.shared_ffn else 0
        return shared + self.shared_gate * hidden + self.experts * (hidden + self.router_bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKind:
    """One transformer layer: attention, then a dense or an expert block, each behind a norm.

    ``extra_parameters`` counts weights that stand outside both (the projection and norms of a
    multi-token-prediction layer). ``norm_parameters`` is all norm weights of the layer.
    """

    name: str
    attention: Attention
    block: Mlp | Moe
    norm_parameters: int
    extra_parameters: int = 0

    def parameters(self, hidden: int) -> int:
        return self.dense_parameters(hidden) + self.expert_parameters(hidden)

    def expert_parameters(self, hidden: int) -> int:
        """All routed experts of the layer."""
        if isinstance(self.block, Mlp):
            return 0
        return self.block.experts * self.block.expert_parameters(hidden)

    def dense_parameters(self, hidden: int) -> int:
        """Everything but the routed experts."""
        block = self.block
        inner = block.parameters(hidden) if isinstance(block, Mlp) else block.shared_parameters(hidden)
        return self.attention.parameters(hidden) + inner + self.norm_parameters + self.extra_parameters

    def active_parameters(self, hidden: int) -> int:
        """What one token multiplies with."""
        if isinstance(self.block, Mlp):
            return self.parameters(hidden)
        return self.dense_parameters(hidden) + self.block.top_k * self.block.expert_parameters(hidden)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A decoder-only transformer: ``layers`` names each layer's kind, first to last.

    ``mtp_layers`` multi-token-prediction layers follow the decoder; each also multiplies with the
    output embedding once more. ``positions`` learned position embeddings (0: rotary or none).
    """

    name: str
    hidden: int
    vocabulary: int
    kinds: tuple[LayerKind, ...]
    layers: tuple[int, ...]
    mtp_layers: tuple[int, ...] = ()
    tied_embeddings: bool = False
    positions: int = 0
    final_norm_parameters: int = 0

    @cached_property
    def embedding_parameters(self) -> int:
        return (self.vocabulary + self.positions) * self.hidden

    @cached_property
    def head_parameters(self) -> int:
        """Output embedding; a tied one is a second copy of the input's, not a parameter."""
        return self.vocabulary * self.hidden

    @cached_property
    def total_parameters(self) -> int:
        """Of the main model: multi-token-prediction layers apart, as published counts do."""
        head = 0 if self.tied_embeddings else self.head_parameters
        body = sum(self.kinds[k].parameters(self.hidden) for k in self.layers)
        return self.embedding_parameters + head + body + self.final_norm_parameters

    @cached_property
    def active_parameters(self) -> int:
        """What one token reads: all but the experts it is not routed to."""
        head = 0 if self.tied_embeddings else self.head_parameters
        body = sum(self.kinds[k].active_parameters(self.hidden) for k in self.layers)
        return self.embedding_parameters + head + body + self.final_norm_parameters

    @property
    def is_moe(self) -> bool:
        return any(isinstance(kind.block, Moe) for kind in self.kinds)
