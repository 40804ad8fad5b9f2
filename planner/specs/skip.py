"""A skip schedule to find alone, as ``plan skip`` reads it: SkipPipe's instances, chains, region tables, clusters.

The keys of SkipPipe's instance files (``link_time_s``, ``fwd_time_s``, ``group_sizes``, ...) keep their names; what the
instance was measured with or found before (``msg_bytes``, ``published_schedule``, ``results``) may stand beside.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from planner.specs.errors import shown
from planner.specs.pipeline import Second, Seconds
from planner.specs.quantity import MEMORY
from planner.specs.strict import Bandwidth, Latency, Name, Strict

MOST_NODES = 1024
MOST_MICRO_BATCHES = 4096

Matrix: TypeAlias = tuple[tuple[float, ...], ...]


def _matrix(value: object) -> Matrix:
    """Rows of numbers; null: no link. What is negative or not square is told in resolution, with its place."""
    if not isinstance(value, list) or not value or not all(isinstance(row, list) for row in value):
        raise ValueError("must be a square table of seconds, a list of rows; null where there is no link")
    wrong = []
    rows: list[tuple[float, ...]] = []
    for i, row in enumerate(value):
        cells: list[float] = []
        for j, cell in enumerate(row):
            if cell is None:
                cells.append(math.inf)
            elif isinstance(cell, bool) or not isinstance(cell, int | float) or math.isnan(cell):
                wrong.append(f"row {i}, column {j}, {shown(cell)}: must be a number of seconds, or null")
            else:
                cells.append(float(cell))
        rows.append(tuple(cells))
    if wrong:
        raise ValueError("; ".join(wrong[:4]) + (f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""))
    return tuple(rows)


def _whole(value: object) -> int | tuple[int, ...]:
    if isinstance(value, list) and value:
        return tuple(_one(item) for item in value)
    return _one(value)


def _one(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{shown(value)}: must be a whole number of at least 1, or one for each node")
    return value


def _bytes(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number of bytes or a quantity such as 32 MiB")
    found = MEMORY.parse(value) if isinstance(value, str) else float(value)
    if not 0 < found < math.inf:
        raise ValueError("must be a finite number of bytes above zero")
    return found


def _network(value: object) -> str | dict[str, str]:
    if isinstance(value, str) and value:
        return value
    files = value if isinstance(value, Mapping) else {}
    if set(files) == {"latency_csv", "bandwidth_csv"} and all(isinstance(i, str) and i for i in files.values()):
        return {str(key): str(item) for key, item in files.items()}
    raise ValueError(
        "must be a bundled table (gcp12, dtfm_aws), a CSV file of pairs, or {latency_csv: FILE, bandwidth_csv: FILE}"
    )


_FIGURE: dict[str, Any] = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}

LinkTimes = Annotated[
    Matrix,
    PlainValidator(_matrix),
    WithJsonSchema({"type": "array", "items": {"type": "array", "items": {"type": ["number", "null"]}}}),
]
Slots = Annotated[
    int | tuple[int, ...],
    PlainValidator(_whole),
    WithJsonSchema({"anyOf": [_COUNT, {"type": "array", "items": _COUNT, "minItems": 1}]}),
]
Bytes = Annotated[float, PlainValidator(_bytes), WithJsonSchema(_FIGURE)]
Networks = Annotated[
    str | dict[str, str],
    PlainValidator(_network),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"latency_csv": {"type": "string"}, "bandwidth_csv": {"type": "string"}},
                    "required": ["latency_csv", "bandwidth_csv"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
Node = Annotated[int, Field(ge=0, lt=MOST_NODES)]
Ratio = Annotated[float, Field(ge=0.0, le=1e3)]


class SwapRulesSpec(Strict):
    """How far a path may leave the order of the stages; the defaults are SkipPipe's."""

    sum_swap_distance_max: Annotated[int, Field(ge=0)] = Field(
        default=2, description="sum over the path of stages stepped back behind the furthest"
    )
    furthest_swap_max: Annotated[int, Field(ge=0)] = Field(default=1, description="stages of one step back")
    count_swaps_max: Annotated[int, Field(ge=0)] = Field(default=2, description="steps back of a path")
    max_forward_jump_from_frontier: Annotated[int, Field(ge=1)] | None = Field(
        default=4, description="stages from the furthest so far; null: any"
    )


class SameRegionSpec(Strict):
    """The link between two nodes of one region, where a table of regions is read."""

    latency: Latency = Field(default=1e-3, description="SkipPipe's code has 1 ms")
    bandwidth: Bandwidth = Field(default=2.0 * 2**30, description="SkipPipe's code has 2 GiB/s")


class SkipSpec(Strict):
    """Figures of a node: one for all, or a list with one per node."""

    name: Name | None = Field(default=None, description="for the report")
    note: str | None = Field(default=None, description="for readers of the file")
    source: str | None = Field(default=None, description="where the figures are from")
    profile: Literal["skippipe", "forced-ends"] | None = Field(
        default=None,
        description="skippipe (the default): stage 0 emits and computes the loss, swaps allowed; "
        "forced-ends: first and last stage always run, stages in increasing order",
    )
    nodes: list[Name] | None = Field(default=None, description="what each node is called: its region, for a table")
    group_sizes: list[Annotated[int, Field(ge=0)]] | None = Field(
        default=None, description="nodes of each stage; one per stage by default"
    )
    stages: Annotated[int, Field(ge=2)] | None = Field(default=None, description="as many as group_sizes")
    link_time_s: LinkTimes | None = Field(
        default=None, description="seconds of a message from row to column; or give network, or cluster"
    )
    network: Networks | None = Field(
        default=None,
        description="gcp12 or dtfm_aws, a CSV of pairs (region_a,region_b,latency_ms,bandwidth_Gbps), or "
        "{latency_csv, bandwidth_csv}: square tables in ms and GB/s",
    )
    cluster: str | None = Field(
        default=None, description="a cluster spec: its nodes, their links, and with activation_bytes their memory"
    )
    same_region: SameRegionSpec = Field(default=SameRegionSpec(), description="the link inside a region of a table")
    msg_bytes: Bytes | None = Field(default=None, description="of a message; needed with network or cluster")
    fixed_overhead_s: Second = Field(default=0.0, description="of every message, with network or cluster")
    fwd_time_s: Seconds = Field(description="forward pass of a stage, per node")
    bwd_time_s: Seconds | None = Field(default=None, description="backward pass; else bwd_over_fwd times forward")
    bwd_over_fwd: Ratio = Field(default=1.5, description="backward over forward, where bwd_time_s is not given")
    loss_over_fwd: Ratio | None = Field(
        default=None, description="loss over forward, on the node of stage 0; 0.25 by default, 0 with forced-ends"
    )
    memory_per_node: Slots | None = Field(default=None, description="micro-batches in flight on a node, at most")
    activation_bytes: Bytes | None = Field(
        default=None, description="of a micro-batch on a node: with cluster, its memory holds so many"
    )
    memory_rule: Literal["in-flight", "visits-per-wave"] | None = Field(
        default=None,
        description="memory_per_node limits what is in flight at any instant; and, as SkipPipe has it (its default), "
        "what visits a node in a wave",
    )
    path_length: Annotated[int, Field(ge=1)] | None = Field(default=None, description="stages a micro-batch runs, K")
    path_length_incl_stage0: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="the same, as SkipPipe's instances call it"
    )
    skip_ratio: Annotated[float, Field(ge=0.0, lt=1.0)] | None = Field(
        default=None, description="of the stages, instead of path_length: K is the nearest count left"
    )
    micro_batches: Annotated[int, Field(ge=1, le=MOST_MICRO_BATCHES)] | None = Field(
        default=None, description="in all; or per node of stage 0 and wave, with waves"
    )
    micro_batches_per_stage0_node_per_wave: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="SkipPipe's count"
    )
    waves: Annotated[int, Field(ge=1)] = Field(default=1, description="of micro_batches_per_stage0_node_per_wave")
    waves_alike: bool = Field(
        default=False, description="every wave takes the paths of the first, first in, first out: SkipPipe's executor"
    )
    stage_cap_per_wave: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="visits of a stage (but 0) in a wave, at most; the balance already says so"
    )
    swap_rules: SwapRulesSpec | None = Field(
        default=None, description="SkipPipe's by default, none allowed with forced-ends"
    )
    serial_links: bool = Field(default=False, description="a node sends one message at a time")
    balanced: bool = Field(default=True, description="every stage that may be skipped serves as many micro-batches")
    copy_link_factor: Ratio = Field(
        default=0.0, description="times the slowest link among the nodes of one stage, added to the makespan"
    )
    copy_link_limit_s: Second | None = Field(
        default=None, description="of a message between two nodes of one stage, at most; absent: any"
    )
    arrangement: Literal["free", "keep"] | None = Field(
        default=None,
        description="which node holds which stage: searched, or that of partitions; by default searched, but kept "
        "where one node a stage stands in the stages' order under forced ends",
    )
    partitions: list[list[Node]] | None = Field(default=None, description="nodes of each stage, to keep or start from")
    partitions_shipped: list[list[Node]] | None = Field(default=None, description="SkipPipe's own, beside its schedule")
    published_schedule: dict[str, Any] | None = Field(default=None, description="SkipPipe's own result, to compare")
    results: list[Any] | None = Field(default=None, description="known results: read past")
