"""Hosts to places alone, as ``plan map`` reads them: the links between hosts, and what travels over them.

Bandwidths are plain numbers in GB/s (1e9 bytes), or quantities (``25 GB/s``, ``200 Gb/s``); sizes are plain numbers of
bytes, or quantities (``48 MiB``); latencies are plain seconds, or quantities (``5 us``).
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from planner.specs.errors import shown
from planner.specs.quantity import BANDWIDTH, LATENCY, MEMORY, Dimension
from planner.specs.strict import Count, Name, Strict

GIGABYTE = 1e9
LARGEST = 1e30
MOST_GPUS = 2**12

Table: TypeAlias = tuple[tuple[object, ...], ...] | str


def figure(value: object, dimension: Dimension, plain: float, *, zero: bool) -> float:
    """``value`` in the base unit; a plain number counts ``plain`` of it. Raises ``ValueError``."""
    if isinstance(value, str):
        return dimension.parse(value, zero=zero)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"must be a number or a quantity such as {dimension.example}")
    if value < 0 or (value == 0 and not zero) or value > LARGEST:
        raise ValueError(f"must be {'at least' if zero else 'above'} zero and at most {LARGEST:g}")
    return float(value) * plain


def _one(dimension: Dimension, plain: float, *, zero: bool) -> Callable[[object], float]:
    return lambda value: figure(value, dimension, plain, zero=zero)


def _table(value: object) -> Table:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(row, list | tuple) for row in value):
        return tuple(tuple(row) for row in value)
    raise ValueError("must be rows of figures, one for each of gpus, or a CSV file of such rows")


def _latency(value: object) -> float | Table:
    if isinstance(value, list | tuple):
        return _table(value)
    return figure(value, LATENCY, 1.0, zero=True)


def _places(value: object) -> dict[tuple[int, int], str]:
    if not isinstance(value, dict):
        raise ValueError("must be a mapping from PIPELINE,STAGE to a name of gpus, e.g. '0,3': h5")
    found: dict[tuple[int, int], str] = {}
    for key, host in value.items():
        parts = str(key).split(",")
        if len(parts) != 2 or not all(part.strip().isdecimal() and len(part) < 9 for part in parts):
            raise ValueError(f"{shown(key)} is no place: write PIPELINE,STAGE, counted from 0, e.g. '0,3'")
        if not isinstance(host, str):
            raise ValueError(f"{shown(host)} at {shown(key)} must be a name of gpus")
        place = int(parts[0]), int(parts[1])
        if place in found:
            raise ValueError(f"{shown(key)} is given twice")
        found[place] = host
    return found


_NUMBER: dict[str, Any] = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}
_ROWS: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"type": "array", "items": _NUMBER}}

Bandwidths = Annotated[
    Table, PlainValidator(_table), WithJsonSchema({"anyOf": [_ROWS, {"type": "string", "examples": ["links.csv"]}]})
]
Latencies = Annotated[float | Table, PlainValidator(_latency), WithJsonSchema({"anyOf": [*_NUMBER["anyOf"], _ROWS]})]
Bytes = Annotated[float, PlainValidator(_one(MEMORY, 1.0, zero=True)), WithJsonSchema(_NUMBER)]
Capacity = Annotated[float, PlainValidator(_one(BANDWIDTH, GIGABYTE, zero=False)), WithJsonSchema(_NUMBER)]
Places = Annotated[
    dict[tuple[int, int], str],
    PlainValidator(_places),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]


class SharedSpec(Strict):
    """Hosts behind one link, a NIC or an uplink; their traffic with all others shares it."""

    members: Annotated[list[Name], Field(min_length=1)] = Field(description="names of gpus")
    bandwidth: Capacity = Field(description="GB/s in each direction, or a quantity")


class BlocksSpec(Strict):
    """Groups of consecutive pipelines that exchange data in every stage, such as context or expert groups."""

    size: Count = Field(description="pipelines of a block; divides their number")
    bytes: Bytes = Field(description="that a host sends over each of its links of the block, in a step")
    kind: Literal["all-to-all", "ring"] = Field(default="all-to-all", description="the slowest pair, or link of a ring")


class MappingSpec(Strict):
    """Links between hosts (or GPUs), and the training step whose pipelines and rings are laid over them."""

    name: Name | None = Field(default=None, description="for the report")
    note: str | None = Field(default=None, description="for readers of the file")
    source: str | None = Field(default=None, description="where the figures are from")
    gpus: Annotated[list[Name], Field(min_length=1, max_length=MOST_GPUS)] = Field(
        description="names of hosts, or of GPUs, one a place"
    )
    bandwidth: Bandwidths = Field(
        description="GB/s attained from row to column, in the order of gpus; the diagonal is not read; or a CSV file"
    )
    latency_seconds: Latencies | None = Field(
        default=None, description="of a message: one figure, or from row to column; absent: none"
    )
    pipeline_stages: Count = Field(description="p: places of a pipeline")
    pipelines: Count | None = Field(
        default=None, description="n: as many as gpus make by default, and then none is left over"
    )
    pipeline_bytes: Bytes = Field(description="S: of a micro-batch between two stages, in one direction")
    data_parallel_bytes: Bytes = Field(description="D: that the pipelines reduce in a stage, once a step")
    microbatches: Count = Field(description="m: of a pipeline in a step")
    objective: Literal["step", "pipette"] = Field(
        default="step",
        description="step: edges once per wave of p micro-batches, and the slowest ring of all stages; pipette: edges "
        "once, and the ring of the first stage (Pipette, DATE 2024)",
    )
    shared: list[SharedSpec] = Field(default=[], description="links that several hosts share; absent: none")
    fixed: Places = Field(default={}, description="PIPELINE,STAGE, from 0, to the name that has this place")
    excluded: list[Name] = Field(default=[], description="names of gpus that get no place")
    blocks: BlocksSpec | None = Field(default=None, description="groups of consecutive pipelines; absent: none")
