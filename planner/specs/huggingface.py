"""Models from a Hugging Face ``config.json``.

Only model types whose layers are known are read; everything else is refused by name, never
approximated. Of a config with a ``text_config`` the language model is read; its vision or audio
towers are not part of the model. Quantised checkpoints describe the same model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from costmodels.architecture import LayerKind, Model
from planner.specs.config_families import FAMILIES, UNSUPPORTED, Layer
from planner.specs.config_fields import Fields
from planner.specs.document import Document
from planner.specs.errors import Problem, SpecError
from planner.specs.model_spec import MOST_LAYERS, mtp_layer
from planner.specs.names import meant

MOST_MTP = 64


def is_config(document: Document) -> bool:
    """Whether the mapping is a Hugging Face config rather than a model spec of ours."""
    return any(key in document.data for key in ("model_type", "architectures", "text_config", "num_hidden_layers"))


def parse_config(document: Document) -> Model:
    """The model of a config; raises ``SpecError`` with every problem, or with each unsupported part."""
    data, prefix = _text_part(document)
    _refuse_unsupported(document, data, prefix)
    model_type = data.get("model_type")
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        message = "unsupported model type" + meant(str(model_type)[:60], FAMILIES)
        raise SpecError([_problem(document, f"{prefix}model_type", message, repr(model_type)[:60])])
    fields = Fields(file=document.file, data=data, prefix=prefix)
    hidden = fields.count("hidden_size", most=2**20)
    count = fields.count("num_hidden_layers", most=MOST_LAYERS)
    layers = family(fields, count)
    kinds, chain = _chain(layers, hidden)
    mtp = _mtp_layers(fields)
    if mtp:
        kinds = (*kinds, mtp_layer(kinds[chain[-1]], hidden, hidden))
    model = Model(
        name=_name(document.file),
        hidden=hidden,
        vocabulary=fields.count("vocab_size"),
        kinds=kinds,
        layers=chain,
        mtp_layers=(len(kinds) - 1,) * mtp,
        tied_embeddings=fields.flag("tie_word_embeddings", default=False),
        final_norm_parameters=hidden,
    )
    fields.check()
    return model


def _text_part(document: Document) -> tuple[Mapping[Any, Any], str]:
    text = document.data.get("text_config")
    if text is None:
        return document.data, ""
    if not isinstance(text, dict):
        raise SpecError([_problem(document, "text_config", "must be a mapping")])
    return {"tie_word_embeddings": document.data.get("tie_word_embeddings"), **text}, "text_config."


def _refuse_unsupported(document: Document, data: Mapping[Any, Any], prefix: str) -> None:
    problems = [
        _problem(document, f"{prefix}{key}", f"unsupported part: {part}")
        for part, keys in UNSUPPORTED.items()
        for key in [next((key for key in keys if data.get(key)), None)]
        if key is not None
    ]
    if problems:
        raise SpecError(problems)


def _problem(document: Document, key: str, message: str, value: str = "") -> Problem:
    return Problem(file=document.file, key=key, value=value, message=message)


def _mtp_layers(fields: Fields) -> int:
    """How many multi-token-prediction layers follow; each is of the last layer's kind."""
    if fields.flag("use_mtp", default=False):
        modules = fields.count("num_mtp_modules", default=1, least=0, most=MOST_MTP)
        return modules * fields.count("mtp_transformer_layers", default=1, most=MOST_MTP)
    return fields.count("num_nextn_predict_layers", default=0, least=0, most=MOST_MTP)


def _chain(layers: list[Layer], hidden: int) -> tuple[tuple[LayerKind, ...], tuple[int, ...]]:
    """The distinct kinds, in order of appearance, and each layer's index among them."""
    index = {layer: i for i, layer in enumerate(dict.fromkeys(layers))}
    kinds = tuple(
        LayerKind(name=layer.name, attention=layer.attention, block=layer.block, norm_parameters=2 * hidden)
        for layer in index
    )
    return kinds, tuple(index[layer] for layer in layers)


def _name(file: str) -> str:
    """``Qwen3-8B`` of ``Qwen3-8B/config.json`` and of ``Qwen--Qwen3-8B.json``."""
    path = Path(file)
    name = path.parent.name if path.stem == "config" and path.parent.name else path.stem
    return name.rsplit("--", 1)[-1] or "model"
