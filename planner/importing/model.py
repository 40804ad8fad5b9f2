"""A model as the model spec writes it: the way back from ``planner.specs.model_spec``."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from costmodels.architecture import Attention, LayerKind, Mlp, Model
from planner.specs.model_spec import AttentionSpec, MlpSpec, ModelSpec, MoeSpec

LONGEST_PERIOD = 64


def model_spec(model: Model, source: str = "") -> dict[str, Any]:
    """The keys of a model spec that ``load_model`` turns into ``model`` again."""
    layer_kinds = [kind for i, kind in enumerate(model.kinds) if i not in model.mtp_layers]
    names = _unique([kind.name for kind in layer_kinds])
    layernorm = model.final_norm_parameters == 2 * model.hidden
    attention = _attention(layer_kinds[0].attention)
    shared = all(_attention(kind.attention) == attention for kind in layer_kinds)
    spec: dict[str, Any] = {"name": model.name}
    if source:
        spec["source"] = source
    spec |= {"hidden": model.hidden, "vocabulary": model.vocabulary}
    optional = {
        "tied_embeddings": model.tied_embeddings,
        "positions": model.positions,
        "norm": "layernorm" if layernorm else "rmsnorm",
    }
    spec |= {key: value for key, value in optional.items() if value != ModelSpec.model_fields[key].default}
    if shared:
        spec["attention"] = attention
    spec["kinds"] = {name: _kind(kind, shared) for name, kind in zip(names, layer_kinds, strict=True)}
    spec["layers"] = [{"kinds": run, "repeat": count} for run, count in _runs([names[i] for i in model.layers])]
    if model.mtp_layers:
        spec["mtp"] = {"kind": names[_main_kind(model, layer_kinds)], "count": len(model.mtp_layers)}
    return spec


def _main_kind(model: Model, kinds: list[LayerKind]) -> int:
    """The kind that the multi-token-prediction layers repeat."""
    extra = model.kinds[model.mtp_layers[0]]
    same = [i for i, kind in enumerate(kinds) if (kind.attention, kind.block) == (extra.attention, extra.block)]
    return next(i for i in (model.layers[-1], *same) if i in same)


def _unique(names: Sequence[str]) -> list[str]:
    taken: list[str] = []
    for name in names:
        numbered = (f"{name}-{i}" for i in range(2, len(names) + 2))
        taken.append(name if name not in taken else next(n for n in numbered if n not in taken and n not in names))
    return taken


def _attention(attention: Attention) -> dict[str, Any]:
    figures = asdict(attention)
    del figures["window"]
    if figures["kv_heads"] == figures["heads"]:
        del figures["kv_heads"]
    if figures["value_dim"] == figures["head_dim"]:
        del figures["value_dim"]
    return _beyond_defaults(figures, AttentionSpec)


def _kind(kind: LayerKind, shared: bool) -> dict[str, Any]:
    figures: dict[str, Any] = {} if shared else {"attention": _attention(kind.attention)}
    if kind.attention.window is not None:
        figures["window"] = kind.attention.window
    if isinstance(kind.block, Mlp):
        return {**figures, "mlp": _beyond_defaults(asdict(kind.block), MlpSpec)}
    return {**figures, "moe": _beyond_defaults(asdict(kind.block), MoeSpec)}


def _beyond_defaults(
    figures: dict[str, Any], spec: type[AttentionSpec] | type[MlpSpec] | type[MoeSpec]
) -> dict[str, Any]:
    return {key: value for key, value in figures.items() if value != spec.model_fields[key].default}


def _runs(layers: Sequence[str]) -> Iterator[tuple[list[str], int]]:
    """``layers`` as repeated patterns: from each place on the one that covers most, the shortest of equals."""
    at = 0
    while at < len(layers):
        period, count = max(
            ((p, _repeats(layers, at, p)) for p in range(1, min(LONGEST_PERIOD, len(layers) - at) + 1)),
            key=lambda run: (run[0] * run[1] if run[1] > 1 else 1, -run[0]),
        )
        yield list(layers[at : at + period]), count
        at += period * count


def _repeats(layers: Sequence[str], at: int, period: int) -> int:
    pattern, count = layers[at : at + period], 1
    while layers[at + count * period : at + (count + 1) * period] == pattern:
        count += 1
    return count
