"""The layers of each supported Hugging Face model type, as its modelling code builds them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from costmodels.architecture import Attention, Mlp, Moe
from planner.specs.config_fields import Fields

UNSUPPORTED: Mapping[str, tuple[str, ...]] = {
    "state-space (Mamba) layers": (
        "hybrid_override_pattern", "mamba_num_heads", "ssm_state_size", "mamba_d_state", "mamba_n_heads", "state_size",
    ),
    "linear attention": ("linear_num_key_heads", "linear_attn_config", "linear_key_head_dim"),
    "sparse attention with a learned indexer": ("index_topk", "index_n_heads"),
    "compressed attention": ("compress_ratios",),
    "hyper-connections": ("hc_mult",),
    "hash-routed layers": ("num_hash_layers",),
    "low-rank output projection": ("o_lora_rank",),
    "dense and expert blocks side by side": ("enable_moe_block",),
    "keys that serve as values": ("attention_k_eq_v",),
    "attention layers of two head sizes": ("global_head_dim",),
    "keys and values shared between layers": ("num_kv_shared_layers",),
    "per-layer embeddings": ("hidden_size_per_layer_input",),
    "an encoder": ("is_encoder_decoder",),
}  # fmt: skip
"""Part that cannot be described: keys whose presence (not null, zero or false) gives it away."""

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
TOP_K = ("num_experts_per_tok", "experts_per_token", "moe_topk", "top_k_experts")
Block = Mlp | Moe


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Equal layers are of one kind."""

    attention: Attention
    block: Block

    @property
    def name(self) -> str:
        return ("moe" if isinstance(self.block, Moe) else "dense") + ("-window" if self.attention.window else "")


Windows = list[int | None]


def _heads(
    fields: Fields,
    *,
    bias: Literal["none", "qkv", "both"] = "none",
    qk_norm: Literal["none", "head", "full"] = "none",
    sinks: bool = False,
) -> Attention:
    """Grouped-query attention; a head is hidden / heads wide unless ``head_dim`` says otherwise."""
    heads = fields.count("num_attention_heads")
    kv_heads = fields.count("num_key_value_heads", default=heads)
    if heads % kv_heads:
        fields.wrong("num_key_value_heads", f"must divide num_attention_heads, {heads}")
    head_dim = fields.count("head_dim", default=0)
    if not head_dim:
        hidden = fields.count("hidden_size")
        if hidden % heads:
            fields.wrong("num_attention_heads", f"must divide hidden_size, {hidden}, when there is no head_dim")
        head_dim = max(1, hidden // heads)
    return Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=head_dim,
        qkv_bias=bias != "none",
        out_bias=bias == "both",
        qk_norm=qk_norm,
        sinks=sinks,
    )


def _latent(fields: Fields) -> Attention:
    """Multi-head latent attention of DeepSeek-V2 and V3 (arXiv 2405.04434, section 2.1)."""
    heads = fields.count("num_attention_heads")
    if fields.flag("attention_bias", default=False):
        fields.wrong("attention_bias", "unsupported part: biases in latent attention")
    rope = fields.count("qk_rope_head_dim")
    return Attention(
        kind="mla",
        heads=heads,
        kv_heads=heads,
        head_dim=fields.count("qk_nope_head_dim") + rope,
        value_dim=fields.count("v_head_dim"),
        q_lora_rank=fields.count("q_lora_rank", default=0),
        kv_lora_rank=fields.count("kv_lora_rank"),
        rope_dim=rope,
    )


def _experts(
    fields: Fields,
    width: str,
    *,
    shared: int = 0,
    shared_gate: bool = False,
    bias: bool = False,
    router_bias: bool = False,
) -> Moe:
    experts, top_k = fields.count(*EXPERTS), fields.count(*TOP_K)
    if top_k > experts:
        fields.wrong(next(key for key in TOP_K if fields.given(key)), f"is more than the {experts} experts")
    return Moe(
        experts=experts,
        top_k=top_k,
        ffn=fields.count(width),
        bias=bias,
        shared_ffn=shared,
        shared_gate=shared_gate and shared > 0,
        router_bias=router_bias,
    )


def _windows(fields: Fields, layers: int, otherwise: Callable[[], Windows]) -> Windows:
    """One window a layer (None: full), by ``layer_types`` where given."""
    kinds = ("full_attention", "sliding_attention", "chunked_attention")
    types = fields.per_layer("layer_types", layers, kinds)
    if types is None:
        return otherwise()
    keys = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
    return [fields.count(keys[t], most=2**31) if t in keys else None for t in types]


def _everywhere(fields: Fields, layers: int) -> Windows:
    return [fields.count("sliding_window", most=2**31) if fields.given("sliding_window") else None] * layers


def _above(fields: Fields, layers: int) -> Windows:
    """Qwen: the layers from ``max_window_layers`` on, when ``use_sliding_window``."""
    if not fields.flag("use_sliding_window", default=False):
        return [None] * layers
    first = fields.count("max_window_layers", least=0)
    window = fields.count("sliding_window", most=2**31)
    return [window if i >= first else None for i in range(layers)]


def _join(attention: Attention, windows: Windows, blocks: list[Block]) -> list[Layer]:
    return [Layer(attention=_with(attention, w), block=b) for w, b in zip(windows, blocks, strict=True)]


def _with(attention: Attention, window: int | None) -> Attention:
    return attention if window is None else replace(attention, window=window)


def _no_experts(fields: Fields) -> None:
    for key in EXPERTS:
        if fields.data.get(key):
            fields.wrong(key, "experts are unsupported in this model type")


def _dense_family(fields: Fields, layers: int, attention: Attention, windows: Windows) -> list[Layer]:
    _no_experts(fields)
    block = Mlp(ffn=fields.count("intermediate_size"), bias=fields.flag("mlp_bias", default=False))
    return _join(attention, windows, [block] * layers)


def _bias(fields: Fields, *, default: bool = False) -> Literal["none", "both"]:
    return "both" if fields.flag("attention_bias", default=default) else "none"


def llama(fields: Fields, layers: int) -> list[Layer]:
    return _dense_family(fields, layers, _heads(fields, bias=_bias(fields)), [None] * layers)


def mistral(fields: Fields, layers: int) -> list[Layer]:
    windows = _windows(fields, layers, lambda: _everywhere(fields, layers))
    return _dense_family(fields, layers, _heads(fields), windows)


def qwen2(fields: Fields, layers: int) -> list[Layer]:
    windows = _windows(fields, layers, lambda: _above(fields, layers))
    return _dense_family(fields, layers, _heads(fields, bias="qkv"), windows)


def qwen3(fields: Fields, layers: int) -> list[Layer]:
    windows = _windows(fields, layers, lambda: _above(fields, layers))
    return _dense_family(fields, layers, _heads(fields, bias=_bias(fields), qk_norm="head"), windows)


def mixtral(fields: Fields, layers: int) -> list[Layer]:
    windows = _windows(fields, layers, lambda: _everywhere(fields, layers))
    return _join(_heads(fields), windows, [_experts(fields, "intermediate_size")] * layers)


def _qwen_moe(fields: Fields, layers: int, attention: Attention) -> list[Layer]:
    """Every ``decoder_sparse_step``-th layer has experts, but for ``mlp_only_layers``."""
    step = fields.count("decoder_sparse_step", default=1)
    dense = fields.positions("mlp_only_layers", layers) | {i for i in range(layers) if (i + 1) % step}
    shared = fields.count("shared_expert_intermediate_size", default=0, least=0)
    moe = _experts(fields, "moe_intermediate_size", shared=shared, shared_gate=True)
    blocks: list[Block] = [moe] * layers
    if dense:
        mlp = Mlp(ffn=fields.count("intermediate_size"))
        blocks = [mlp if i in dense else moe for i in range(layers)]
    windows = _windows(fields, layers, lambda: _above(fields, layers))
    return _join(attention, windows, blocks)


def qwen2_moe(fields: Fields, layers: int) -> list[Layer]:
    return _qwen_moe(fields, layers, _heads(fields, bias="qkv" if fields.flag("qkv_bias", default=True) else "none"))


def qwen3_moe(fields: Fields, layers: int) -> list[Layer]:
    return _qwen_moe(fields, layers, _heads(fields, bias=_bias(fields), qk_norm="head"))


def _prefixed(fields: Fields, layers: int, attention: Attention, *, router_bias: bool) -> list[Layer]:
    """DeepSeek and GLM: ``first_k_dense_replace`` dense layers, then experts beside shared ones."""
    first = fields.count("first_k_dense_replace", least=0, most=10_000)
    every = fields.count("moe_layer_freq", default=1)
    width = fields.count("moe_intermediate_size")
    shared = fields.count("n_shared_experts", default=0, least=0, most=10_000) * width
    moe = _experts(fields, "moe_intermediate_size", shared=shared, router_bias=router_bias)
    has_experts = [i >= first and i % every == 0 for i in range(layers)]
    blocks: list[Block] = [moe] * layers
    if not all(has_experts):
        mlp = Mlp(ffn=fields.count("intermediate_size"))
        blocks = [moe if has else mlp for has in has_experts]
    return _join(attention, [None] * layers, blocks)


def deepseek(fields: Fields, layers: int) -> list[Layer]:
    return _prefixed(fields, layers, _latent(fields), router_bias=fields.data.get("topk_method") == "noaux_tc")


def glm4_moe(fields: Fields, layers: int) -> list[Layer]:
    """``attention_bias`` is on queries, keys and values, never on the output."""
    bias: Literal["none", "qkv"] = "qkv" if fields.flag("attention_bias", default=False) else "none"
    qk_norm: Literal["none", "head"] = "head" if fields.flag("use_qk_norm", default=False) else "none"
    return _prefixed(fields, layers, _heads(fields, bias=bias, qk_norm=qk_norm), router_bias=True)


def gpt_oss(fields: Fields, layers: int) -> list[Layer]:
    """Biases everywhere, a learned sink per head, every other layer windowed, from the first on."""

    def alternate() -> Windows:
        window = fields.count("sliding_window", default=128)
        return [None if i % 2 else window for i in range(layers)]

    attention = _heads(fields, bias=_bias(fields, default=True), sinks=True)
    moe = _experts(fields, "intermediate_size", bias=True, router_bias=True)
    return _join(attention, _windows(fields, layers, alternate), [moe] * layers)


def llama4(fields: Fields, layers: int) -> list[Layer]:
    """Experts in every ``interleave_moe_layer_step``-th layer beside a shared one of equal width.

    Layers with rotary positions (three in four) attend within chunks of ``attention_chunk_size``,
    which is taken for a window of that size: an upper bound, as a chunk holds half as many tokens
    on average. Query and key norms have no weights.
    """

    def chunks() -> Windows:
        if not fields.given("attention_chunk_size"):
            return [None] * layers
        size = fields.count("attention_chunk_size", most=2**31)
        every = fields.count("no_rope_layer_interval", default=4)
        rope = fields.per_layer("no_rope_layers", layers, (0, 1)) if fields.data.get("no_rope_layers") else None
        rope = rope or [int((i + 1) % every != 0) for i in range(layers)]
        return [size if rotary else None for rotary in rope]

    step = fields.count("interleave_moe_layer_step", default=1)
    with_experts = fields.positions("moe_layers", layers) or {i for i in range(layers) if (i + 1) % step == 0}
    moe = _experts(fields, "intermediate_size", shared=fields.count("intermediate_size"))
    blocks: list[Block] = [moe] * layers
    if len(with_experts) < layers:
        mlp = Mlp(ffn=fields.count("intermediate_size_mlp"))
        blocks = [moe if i in with_experts else mlp for i in range(layers)]
    attention = _heads(fields, bias=_bias(fields))
    return _join(attention, _windows(fields, layers, chunks), blocks)


def minimax_m2(fields: Fields, layers: int) -> list[Layer]:
    """Query and key norms over the whole projection, not per head."""
    qk_norm: Literal["none", "full"] = "full" if fields.flag("use_qk_norm", default=True) else "none"
    moe = _experts(
        fields,
        "intermediate_size",
        shared=fields.count("shared_intermediate_size", default=0, least=0),
        router_bias=fields.flag("use_routing_bias", default=True),
    )
    return _join(_heads(fields, qk_norm=qk_norm), [None] * layers, [moe] * layers)


FAMILIES: Mapping[str, Callable[[Fields, int], list[Layer]]] = {
    "llama": llama,
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "mixtral": mixtral,
    "qwen2_moe": qwen2_moe,
    "qwen3_moe": qwen3_moe,
    "deepseek_v2": deepseek,
    "deepseek_v3": deepseek,
    "kimi_k2": deepseek,
    "glm4_moe": glm4_moe,
    "gpt_oss": gpt_oss,
    "llama4_text": llama4,
    "minimax_m2": minimax_m2,
}
