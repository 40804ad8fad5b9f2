"""The model of a row: by catalogue name with changes, or inline."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from costmodels.architecture import Attention, LayerKind, Mlp, Model
from planner.readers.published.cells import Refusal, details, size, text
from planner.readers.published.megatron import megatron_model
from planner.readers.published.table import Cells
from planner.readers.published.vocabulary import of_the_study
from planner.specs import SpecError, load_model

INLINE = "gpt_inline"
ACTIVATIONS = ("gelu", "swiglu", "relu2")


def model_of(cells: Cells, sequence_length: int, tensor: int, assumptions: list[str]) -> Model:
    """Megatron arguments or an inline GPT in ``extra_json``, else the catalogue's ``model_key``."""
    extra, key = details(cells), text(cells, "model_key")
    if "hidden-size" in extra:
        return megatron_model(text(cells, "model"), extra, tensor, assumptions)
    if key == INLINE or not key:
        return _inline(text(cells, "model") or key, extra, sequence_length, assumptions)
    model = _changed(_with_prediction_layers(_catalogue(key), cells, extra), extra, assumptions)
    if 0 < model.positions < sequence_length:
        assumptions.append(f"{sequence_length} learned positions")
        model = replace(model, positions=sequence_length)
    return model


@lru_cache(maxsize=256)
def _catalogue(key: str) -> Model:
    try:
        return load_model(key)
    except SpecError as error:
        raise Refusal(f"model {key}: {str(error).splitlines()[0]}") from None


def gpt_layer(hidden: int, heads: int, kv_heads: int, ffn: int, activation: str = "gelu") -> LayerKind:
    """A GPT-3 layer: two LayerNorms with bias, biases everywhere, a feed-forward block without gate; with
    ``swiglu`` a Llama layer: two RMSNorms, no bias, a gate; with ``relu2`` a Nemotron-4 layer
    (arXiv 2402.16819): two LayerNorms, no bias, no gate."""
    width, biases, norm = hidden // heads, activation == "gelu", 1 if activation == "swiglu" else 2
    return LayerKind(
        name="dense",
        attention=Attention(
            heads=heads, kv_heads=kv_heads, head_dim=width, value_dim=width, qkv_bias=biases, out_bias=biases
        ),
        block=Mlp(ffn=ffn, gated=activation == "swiglu", bias=biases),
        norm_parameters=2 * norm * hidden,
    )


def _inline(name: str, extra: dict[str, Any], sequence_length: int, assumptions: list[str]) -> Model:
    hidden, heads, layers = size(extra, "hidden"), size(extra, "heads"), size(extra, "layers")
    if hidden % heads:
        raise Refusal(f"hidden {hidden} does not divide by {heads} heads")
    if "n_experts" in extra:
        raise Refusal("inline models with experts")
    if not str(extra.get("vocab", "")).isdigit():
        assumptions.append(f"vocabulary {size(extra, 'vocab', 51200)}")
    activation = str(extra.get("activation", "gelu"))
    if activation not in ACTIVATIONS:
        raise Refusal(f"activation {activation[:40]!r}, not one of {', '.join(ACTIVATIONS)}")
    tied = bool(extra["tied"]) if "tied" in extra else not of_the_study(extra)
    learned = activation == "gelu" and extra.get("position", "learned") == "learned"
    if activation == "gelu":
        positions = "learned positions" if learned else "no learned positions"
        assumptions.append(f"GPT-3 layers: GELU, biases, {positions}, {'' if tied else 'un'}tied embeddings")
    kv_heads = size(extra, "kv_heads", size(extra, "kv", heads))
    layer = gpt_layer(hidden, heads, kv_heads, size(extra, "ffn", 4 * hidden), activation)
    return Model(
        name=name,
        hidden=hidden,
        vocabulary=size(extra, "vocab", 51200),
        kinds=(layer,),
        layers=(0,) * layers,
        tied_embeddings=tied,
        positions=sequence_length if learned else 0,
        final_norm_parameters=layer.norm_parameters // 2,
    )


def _with_prediction_layers(model: Model, cells: Cells, extra: dict[str, Any]) -> Model:
    named = f"{text(cells, 'model')} {text(cells, 'notes')}".lower()
    return replace(model, mtp_layers=()) if "w/o mtp" in named or extra.get("mtp_layers") == 0 else model


def _changed(model: Model, extra: dict[str, Any], assumptions: list[str]) -> Model:
    """``model`` with the shape ``extra_json`` states: proxies of fewer layers, other head counts."""
    layers = size(extra, "layers", len(model.layers))
    if layers != len(model.layers):
        model = _of_depth(model, layers, assumptions)
    if "vocab" in extra:
        model = replace(model, vocabulary=size(extra, "vocab"))
    if size(extra, "hidden", model.hidden) != model.hidden:
        raise Refusal(f"hidden {extra['hidden']} is not the catalogue's {model.hidden}")
    kv_heads, ffn = extra.get("kv"), extra.get("ffn")
    if kv_heads is not None:
        model = _each_kind(model, lambda k: _with_kv_heads(k, size(extra, "kv")))
    if ffn is not None:
        model = _each_kind(model, lambda k: _with_ffn(k, size(extra, "ffn")))
    return model


def _of_depth(model: Model, layers: int, assumptions: list[str]) -> Model:
    """Fewer or more layers of the last kinds; a prefix of another kind shrinks to one layer."""
    body = model.layers[len(model.layers) // 2 :]
    prefixed = len(set(model.layers)) == 2 and model.layers[0] not in body
    order = ((model.layers[0],) if prefixed else ()) + (body if prefixed else model.layers)
    if prefixed:
        assumptions.append("a proxy keeps one layer of the dense prefix")
    if model.mtp_layers:
        assumptions.append("a proxy has no multi-token prediction")
    repeated = order + tuple(body[i % len(body)] for i in range(max(0, layers - len(order))))
    return replace(model, layers=repeated[:layers], mtp_layers=())


def _each_kind(model: Model, change: Callable[[LayerKind], LayerKind]) -> Model:
    return replace(model, kinds=tuple(change(kind) for kind in model.kinds))


def _with_kv_heads(kind: LayerKind, kv_heads: int) -> LayerKind:
    if kind.attention.kind == "mla":
        return kind
    if kind.attention.heads % kv_heads:
        raise Refusal(f"{kind.attention.heads} heads do not divide by {kv_heads} key/value heads")
    return replace(kind, attention=replace(kind.attention, kv_heads=kv_heads))


def _with_ffn(kind: LayerKind, ffn: int) -> LayerKind:
    return replace(kind, block=replace(kind.block, ffn=ffn)) if isinstance(kind.block, Mlp) else kind
