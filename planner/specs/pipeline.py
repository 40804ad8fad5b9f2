"""A pipeline alone, as ``plan schedule`` reads it: what runs where, how long, and what it keeps alive.

Seconds are plain numbers, in any unit as long as it is one, or quantities (``12 ms``), which are seconds.
Memory is plain numbers in any one unit, or quantities (``2 GiB``), which are bytes; the two do not mix.
"""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from costmodels.timeline import SCHEDULES
from planner.specs.errors import shown
from planner.specs.names import meant
from planner.specs.quantity import LATENCY, MEMORY, Dimension
from planner.specs.strict import Strict

BEST = "best"
LARGEST = 1e30
MOST_DEVICES = 4096

Figures: TypeAlias = float | tuple[float, ...]
Placement: TypeAlias = Literal["linear", "v"] | int | tuple[int, ...]
"""``int``: interleaved with so many chunks per device; a tuple: the device of each chunk."""


def _figure(value: object, dimension: Dimension, least: float) -> float:
    if isinstance(value, str):
        return dimension.parse(value, zero=True)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number or a quantity such as {dimension.example}")
    if math.isnan(value) or not least <= value <= LARGEST:
        raise ValueError("must be a finite number" if least < 0 else "must be a finite number of at least zero")
    return float(value)


def _figures(dimension: Dimension, *, least: float = 0.0, absent: bool = False) -> Callable[[object], Figures]:
    """A parser of one figure or a list of them; ``absent``: null stands for no limit."""

    def one(value: object) -> float:
        return math.inf if absent and value is None else _figure(value, dimension, least)

    def parse(value: object) -> Figures:
        if not isinstance(value, list | tuple):
            return one(value)
        found, wrong = [], []
        for position, item in enumerate(value):
            try:
                found.append(one(item))
            except ValueError as error:
                wrong.append(f"item {position}, {shown(item)}: {error}")
        if wrong:
            raise ValueError("; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""))
        return tuple(found)

    return parse


def _schema(example: str, least: float | None = 0.0, absent: bool = False) -> WithJsonSchema:
    number = {"type": "number"} if least is None else {"type": "number", "minimum": least}
    one: list[dict[str, Any]] = [number, {"type": "string", "examples": [example]}]
    items = [*one, {"type": "null"}] if absent else one
    return WithJsonSchema({"anyOf": [*items, {"type": "array", "items": {"anyOf": items}}]})


Seconds = Annotated[Figures, PlainValidator(_figures(LATENCY)), _schema("12 ms")]
Memory = Annotated[Figures, PlainValidator(_figures(MEMORY)), _schema("2 GiB")]
SignedMemory = Annotated[Figures, PlainValidator(_figures(MEMORY, least=-LARGEST)), _schema("2 GiB", None)]
Caps = Annotated[Figures, PlainValidator(_figures(MEMORY, absent=True)), _schema("80 GiB", absent=True)]
Second = Annotated[float, PlainValidator(lambda value: _figure(value, LATENCY, 0.0)), _schema("12 ms")]


def _placement(value: object) -> Placement:
    if value in ("linear", "v"):
        return "linear" if value == "linear" else "v"
    if isinstance(value, Mapping) and set(value) == {"interleaved"}:
        inner = value["interleaved"]
        count = inner.get("chunks") if isinstance(inner, Mapping) and set(inner) == {"chunks"} else None
        if isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= MOST_DEVICES:
            return count
    elif isinstance(value, list | tuple) and value:
        if all(isinstance(item, int) and not isinstance(item, bool) for item in value):
            return tuple(value)
        raise ValueError("must hold the device of each chunk, counted from 0")
    elif isinstance(value, str):
        raise ValueError(f"is no placement{meant(value, ('linear', 'v'))}; or interleaved: {{chunks: 2}}, or a list")
    raise ValueError("must be linear, v, interleaved: {chunks: 2}, or a list with the device of each chunk")


def _schedule(value: object) -> str:
    known = (BEST, *SCHEDULES)
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"is no schedule{meant(str(value), known)}")
    return value


_CHUNKS = {"type": "integer", "minimum": 1, "maximum": MOST_DEVICES}
_PLACEMENT_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"enum": ["linear", "v"]},
            {
                "type": "object",
                "properties": {
                    "interleaved": {
                        "type": "object",
                        "properties": {"chunks": _CHUNKS},
                        "required": ["chunks"],
                        "additionalProperties": False,
                    }
                },
                "required": ["interleaved"],
                "additionalProperties": False,
            },
            {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
        ]
    }
)


class ActivationSpec(Strict):
    """What one micro-batch keeps alive in a chunk; one figure, or one per chunk."""

    forward: Memory = Field(description="alive from the start of the forward pass")
    released_by_input_grad: SignedMemory | None = Field(
        default=None, description="share that ends with the input gradient; half by default; negative: it keeps more"
    )
    released_by_weight_grad: Memory | None = Field(
        default=None, description="share that ends with the weight gradient; what the input gradient leaves by default"
    )


class VocabularySpec(Strict):
    """The passes of a vocabulary split over all devices (arXiv 2411.05288); one figure, or one per device."""

    passes: Literal["none", "vocab-1", "vocab-2"] = Field(default="none", description="with none, the rest is unused")
    s_seconds: Seconds | None = Field(default=None, description="first half of the output layer")
    t_seconds: Seconds | None = Field(default=None, description="its second half")
    input_forward_seconds: Seconds = Field(default=0.0, description="lookup of the input rows")
    input_backward_seconds: Seconds = Field(default=0.0, description="gradient of the lookup")
    barrier_seconds: Second = Field(default=0.0, description="of a barrier over all devices")
    broadcast_seconds: Second = Field(default=0.0, description="of the last chunk's output to all devices")
    kept: Memory = Field(default=0.0, description="alive from the start of S to the end of T; unit of activation")


class PipelineSpec(Strict):
    """Per chunk: one figure for all, or a list with one per chunk; per device likewise."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(default=None, description="for the report")
    devices: Annotated[int, Field(ge=1, le=MOST_DEVICES)] = Field(description="pipeline devices")
    microbatches: Annotated[int, Field(ge=1, le=2**17)] = Field(description="micro-batches per step")
    placement: Annotated[Placement, PlainValidator(_placement), _PLACEMENT_SCHEMA] = Field(
        default="linear", description="chunk to device: linear, v, interleaved: {chunks: k}, or a list"
    )
    forward_seconds: Seconds = Field(description="F of a micro-batch, per chunk")
    input_grad_seconds: Seconds = Field(description="I of a micro-batch, per chunk")
    weight_grad_seconds: Seconds = Field(description="W of a micro-batch, per chunk")
    split_backward: bool = Field(default=True, description="false: I and W are one operation, B")
    p2p_seconds: Seconds = Field(
        default=0.0,
        description="transfer between neighbouring chunks; one figure holds between different devices, a list as given",
    )
    activation: ActivationSpec = Field(
        default=ActivationSpec(forward=1.0), description="absent: a micro-batch counts 1 in every chunk"
    )
    memory_cap: Caps | None = Field(default=None, description="per device, in the unit of activation; null: none")
    vocabulary: VocabularySpec = Field(default=VocabularySpec(), description="passes of a split vocabulary")
    objective: Literal["makespan", "span"] = Field(
        default="makespan",
        description="first start to last end over all devices, or the longest such stretch of one device",
    )
    schedule: Annotated[str, PlainValidator(_schedule), WithJsonSchema({"enum": [BEST, *SCHEDULES]})] = Field(
        default=BEST, description="best, or a named one"
    )
