"""Experts to place alone, as ``plan experts`` reads them: what they carry, where they can stand, what is wanted."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from planner.specs.errors import shown
from planner.specs.strict import Count, Memory, Name, Strict

MOST_GPUS = 2**12
MOST_SLOTS = 2**12

Source: TypeAlias = str | list[Any]
"""A file (``FILE:NAME`` picks an array of several), or nested lists of numbers."""


def _sources(value: object) -> tuple[Source, ...]:
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list) and value:
        if all(isinstance(item, str) and item for item in value):
            return tuple(value)
        if all(isinstance(item, list) for item in value):
            return (value,)
        if all(isinstance(item, int | float) and not isinstance(item, bool) for item in value):
            return (value,)
    raise ValueError("must be a file, a list of files, or nested lists of numbers")


def _dense(value: object) -> int | tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**16:
        return value
    if isinstance(value, list) and all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in value):
        if len(set(value)) < len(value):
            raise ValueError("names a layer twice")
        return tuple(value)
    raise ValueError("must be how many first layers have no experts, or a list of layer numbers")


def _slots(value: object) -> int | tuple[int, ...]:
    if isinstance(value, list) and value:
        return tuple(_slot(item) for item in value)
    return _slot(value)


def _slot(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_SLOTS:
        raise ValueError(f"{shown(value)}: must be a whole number from 1 to {MOST_SLOTS}, or one for each layer")
    return value


def _holdout(value: object) -> dict[str, tuple[Source, ...]]:
    kinds = ("loads", "transitions", "coactivation")
    if not isinstance(value, Mapping):
        return {"loads": _sources(value)}
    if not value or not set(value) <= set(kinds):
        raise ValueError(f"must be a file of loads, or a mapping with some of {', '.join(kinds)}")
    return {key: _sources(item) for key, item in value.items()}


def _warmup(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("must be auto or a number of first steps; 0 keeps all")


_SOURCE_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]}
_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}

Sources = Annotated[tuple[Source, ...], PlainValidator(_sources), WithJsonSchema(_SOURCE_SCHEMA)]
Layers = Annotated[
    int | tuple[int, ...],
    PlainValidator(_dense),
    WithJsonSchema({"anyOf": [_WHOLE, {"type": "array", "items": _WHOLE, "uniqueItems": True}]}),
]
Slots = Annotated[
    int | tuple[int, ...],
    PlainValidator(_slots),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_SLOTS},
                {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1, "maximum": MOST_SLOTS}},
            ]
        }
    ),
]
Holdout = Annotated[
    dict[str, tuple[Source, ...]],
    PlainValidator(_holdout),
    WithJsonSchema(
        {
            "anyOf": [
                *_SOURCE_SCHEMA["anyOf"],
                {
                    "type": "object",
                    "properties": dict.fromkeys(("loads", "transitions", "coactivation"), _SOURCE_SCHEMA),
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ]
        }
    ),
]
Warmup = Annotated[
    int | Literal["auto"], PlainValidator(_warmup), WithJsonSchema({"anyOf": [{"const": "auto"}, _WHOLE]})
]
Weight = Annotated[float, Field(ge=0.0, le=1e12)]


class WeightsSpec(Strict):
    """What a token that leaves costs; the default counts GPUs alone."""

    gpu: Weight = Field(default=1.0, description="for each other GPU")
    node: Weight = Field(default=0.0, description="on top for each other node")


class RoutingSpec(Strict):
    """How the router limits a token's choice (DeepSeek's n_group and topk_group)."""

    groups: Annotated[int, Field(ge=1, le=2**10)] = Field(description="groups of consecutive experts")
    limit: Annotated[int, Field(ge=1, le=2**10)] = Field(description="groups that a token's experts come from")


class ExpertsSpec(Strict):
    """Loads, transitions and co-activation are files relative to this one, or numbers; several are pooled."""

    name: Name | None = Field(default=None, description="for the report")
    loads: Sources | None = Field(
        default=None,
        description="tokens of each expert, [layers, experts]: npy, npz (name after ':'), pt, json, csv, or jsonl of "
        "routed tokens; several as a list; may be left out where transitions are given",
    )
    transitions: Sources | None = Field(
        default=None, description="tokens from expert to expert of the next layer, [layers - 1, experts, experts]"
    )
    coactivation: Sources | None = Field(
        default=None, description="tokens that used both experts of a layer, [layers, experts, experts]; or a jsonl"
    )
    top_k: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="experts per token, to read co-activation counts; a jsonl tells it"
    )
    experts: Annotated[int, Field(ge=1, le=2**16)] | None = Field(
        default=None, description="experts of a layer, where a jsonl may not have seen all"
    )
    dense_layers: Layers | None = Field(
        default=None,
        description="layers of the model without experts: how many first ones, or their numbers; "
        "those of model, where it is given",
    )
    drop_warmup: Warmup | None = Field(
        default=None, description="steps of a recording to leave out: auto, a number of first steps, or 0 for none"
    )
    gpus: Annotated[int, Field(ge=1, le=MOST_GPUS)] = Field(description="GPUs that share the experts")
    gpus_per_node: Annotated[int, Field(ge=1, le=MOST_GPUS)] | None = Field(
        default=None, description="GPUs of a node; absent: all on one"
    )
    slots_per_gpu: Slots | None = Field(
        default=None,
        description="experts that a GPU holds, replicas included: one figure, or one for each layer; "
        "absent: as few as hold every expert",
    )
    total_slots_per_gpu: Count | None = Field(
        default=None,
        description="balance: slots of a GPU over all layers, to be shared out among them as is best; "
        "in place of slots_per_gpu",
    )
    expert_groups: Count | None = Field(
        default=None, description="groups of consecutive experts, each with all its replicas on one node"
    )
    replicas_apart: bool = Field(
        default=False, description="balance: no GPU holds an expert twice, as vLLM-Ascend and Omni-infer need it"
    )
    objective: Literal["balance", "transitions", "traffic", "time"] = Field(
        default="balance",
        description="mean over the layers of busiest over mean GPU; share of transitions that leave the GPU; copies "
        "of a token to other GPUs; seconds",
    )
    weights: WeightsSpec = Field(default=WeightsSpec(), description="cost of leaving GPU and node")
    bandwidth: Name | list[list[float]] | None = Field(
        default=None, description="GB/s from GPU to GPU, a CSV file or a table: transitions cost 1 / bandwidth"
    )
    tail: bool = Field(
        default=False, description="transitions: the busiest pair of GPUs counts (MoETuner), not the sum of all"
    )
    load_limit: Annotated[float, Field(ge=1.0, le=1e6)] | None = Field(
        default=None, description="transitions: most load of a GPU over the mean of its layer"
    )
    cluster: Name | None = Field(default=None, description="for objective time: a bundled name or a file")
    model: Name | None = Field(
        default=None, description="for objective time, for the bytes of an expert and its dense layers"
    )
    tokens_per_gpu: Count | None = Field(default=None, description="for objective time")
    dispatch: Literal["all-to-all", "deduplicated"] = Field(
        default="all-to-all",
        description="time: every copy of a token is sent, or one to each node and GPU that needs it (DeepEP)",
    )
    precision: Literal["fp16", "bf16", "fp8", "fp4"] = Field(default="bf16", description="time: of the experts' GEMMs")
    routing: RoutingSpec | None = Field(
        default=None, description="time: groups that the router limits a token to; absent: none"
    )
    passes: Count | None = Field(
        default=None, description="time: forward passes until the next placement, to weigh moving weights against"
    )
    holdout: Holdout | None = Field(
        default=None, description="other loads (or loads, transitions, coactivation) to report the result on"
    )
    robust: Literal["pooled", "worst"] = Field(
        default="pooled", description="several traces: summed, or the worst of them counts"
    )
    current: Name | None = Field(
        default=None, description="the placement now, in any exported format: moves are counted from it"
    )
    move_limit: Annotated[int, Field(ge=0, le=2**31)] | None = Field(
        default=None, description="most slots that may change from the current placement"
    )
    expert_bytes: Memory | None = Field(default=None, description="weights of one expert, e.g. 42 MiB; or give model")
    time_limit: Annotated[float, Field(gt=0.0, le=1e7)] | None = Field(
        default=None, description="seconds, where the command line gives none"
    )
