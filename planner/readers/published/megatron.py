"""A model from Megatron-LM's command-line arguments (megatron/training/arguments.py), without dashes."""

import re
from typing import Any

from costmodels.architecture import Attention, LayerKind, Mlp, Model, Moe
from planner.readers.published.cells import Refusal, size

GPT2_VOCABULARY = 50257
PATTERN = re.compile(r"\[(\d+)\]\*(\d+)")
UNSUPPORTED = ("moe-latent-size", "img-h", "export-kd-cfg", "flextron", "experimental-attention-variant")
VOCABULARIES = {"mixtral": 32000, "15b_8t": 256000}
"""Tokenizers of release runs: Mixtral's and Nemotron-4's (arXiv 2402.16819)."""

Arguments = dict[str, Any]


def megatron_model(name: str, arguments: Arguments, tensor: int, assumptions: list[str]) -> Model:
    """What ``pretrain_gpt.py`` builds; unstated arguments get Megatron's defaults."""
    for key in UNSUPPORTED:
        if key in arguments:
            raise Refusal(f"argument {key}")
    hidden, layers = size(arguments, "hidden-size"), size(arguments, "num-layers")
    rms = arguments.get("normalization") == "RMSNorm"
    norm = hidden if rms else 2 * hidden
    attention = _attention(arguments, hidden)
    dense = LayerKind(name="dense", attention=attention, block=_mlp(arguments, hidden), norm_parameters=2 * norm)
    kinds, order = _layers(arguments, dense, layers)
    rotary = arguments.get("position-embedding-type") in ("rope", "none", "yarn") or _is_on(
        arguments, "multi-latent-attention"
    )
    predictions = size(arguments, "mtp-num-layers", 1) if "mtp-num-layers" in arguments else 0
    if str(arguments.get("optimizer", "adam")) != "adam":
        assumptions.append(f"Adam's states for the optimizer {arguments['optimizer']}")
    last = order[-1]
    if predictions:
        joined = 2 * hidden * hidden + 3 * norm
        kinds = (*kinds, _named(kinds[last], "mtp", joined))
    return Model(
        name=name,
        hidden=hidden,
        vocabulary=_vocabulary(name, arguments, tensor, assumptions),
        kinds=kinds,
        layers=order,
        mtp_layers=(len(kinds) - 1,) * predictions,
        tied_embeddings=not _is_on(arguments, "untie-embeddings-and-output-weights"),
        positions=0 if rotary else size(arguments, "max-position-embeddings", 1),
        final_norm_parameters=norm,
    )


def _is_on(arguments: Arguments, flag: str) -> bool:
    return arguments.get(flag, False) not in (False, None, "False", "false")


def _attention(arguments: Arguments, hidden: int) -> Attention:
    heads = size(arguments, "num-attention-heads")
    bias = not _is_on(arguments, "disable-bias-linear")
    norm = "head" if _is_on(arguments, "qk-layernorm") else "none"
    if _is_on(arguments, "multi-latent-attention"):
        rope = size(arguments, "qk-pos-emb-head-dim", 64)
        return Attention(
            kind="mla",
            heads=heads,
            kv_heads=heads,
            head_dim=size(arguments, "qk-head-dim", 128) + rope,
            value_dim=size(arguments, "v-head-dim", 128),
            q_lora_rank=size(arguments, "q-lora-rank", 1) if arguments.get("q-lora-rank") else 0,
            kv_lora_rank=size(arguments, "kv-lora-rank", 32),
            rope_dim=rope,
        )
    if "kv-channels" not in arguments and hidden % heads:
        raise Refusal(f"hidden-size {hidden} does not divide by {heads} heads")
    groups = size(arguments, "num-query-groups", 1) if _is_on(arguments, "group-query-attention") else heads
    if heads % groups:
        raise Refusal(f"{heads} heads do not divide by {groups} query groups")
    width = size(arguments, "kv-channels", max(1, hidden // heads))
    return Attention(
        heads=heads,
        kv_heads=groups,
        head_dim=width,
        value_dim=width,
        qkv_bias=bias,
        out_bias=bias,
        qk_norm=norm,  # type: ignore[arg-type]
    )


def _mlp(arguments: Arguments, hidden: int) -> Mlp:
    gated = _is_on(arguments, "swiglu")
    default = 4 * hidden * 2 // 3 // 64 * 64 if gated else 4 * hidden
    return Mlp(
        ffn=size(arguments, "ffn-hidden-size", max(1, default)),
        gated=gated,
        bias=not _is_on(arguments, "disable-bias-linear"),
    )


def _layers(arguments: Arguments, dense: LayerKind, layers: int) -> tuple[tuple[LayerKind, ...], tuple[int, ...]]:
    """Kinds and each layer's kind; ``moe-layer-freq`` is a stride or a pattern such as ([0]*3+[1]*12)."""
    if "num-experts" not in arguments:
        return (dense,), (0,) * layers
    mlp = dense.block
    assert isinstance(mlp, Mlp)
    experts, top_k = size(arguments, "num-experts"), size(arguments, "moe-router-topk", 2)
    if top_k > experts:
        raise Refusal(f"moe-router-topk {top_k} is more than {experts} experts")
    shared = "moe-shared-expert-intermediate-size"
    block = Moe(
        experts=experts,
        top_k=top_k,
        ffn=size(arguments, "moe-ffn-hidden-size", mlp.ffn),
        gated=mlp.gated,
        bias=mlp.bias,
        shared_ffn=size(arguments, shared) if shared in arguments else 0,
        router_bias=_is_on(arguments, "moe-router-enable-expert-bias"),
    )
    moe = LayerKind(name="moe", attention=dense.attention, block=block, norm_parameters=dense.norm_parameters)
    frequency = str(arguments.get("moe-layer-freq", 1))
    runs = PATTERN.findall(frequency)
    if runs:
        pattern = [int(flag) for flag, count in runs for _ in range(min(int(count), 10_000))]
    elif frequency.isdigit() and int(frequency) > 0:
        pattern = [int(i % int(frequency) == 0) for i in range(layers)]
    else:
        raise Refusal(f"moe-layer-freq {frequency[:40]!r}")
    if len(pattern) != layers:
        raise Refusal(f"moe-layer-freq describes {len(pattern)} layers of {layers}")
    return (dense, moe), tuple(min(flag, 1) for flag in pattern)


def _named(kind: LayerKind, name: str, extra: int) -> LayerKind:
    return LayerKind(
        name=name,
        attention=kind.attention,
        block=kind.block,
        norm_parameters=kind.norm_parameters,
        extra_parameters=extra,
    )


def _vocabulary(name: str, arguments: Arguments, tensor: int, assumptions: list[str]) -> int:
    """Padded as Megatron pads: to a multiple of ``make-vocab-size-divisible-by`` x tp."""
    if "vocab-size" in arguments:
        tokens = size(arguments, "vocab-size")
    else:
        tokens = next((v for part, v in VOCABULARIES.items() if part in name), GPT2_VOCABULARY)
        if "deepseek" in name:
            tokens = 129280
        assumptions.append(f"a vocabulary of {tokens} tokens")
    multiple = size(arguments, "make-vocab-size-divisible-by", 128) * tensor
    return -(-tokens // multiple) * multiple
