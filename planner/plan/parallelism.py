"""The chosen configuration, the rule that places ranks, and the schedule's name."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, WithJsonSchema, model_serializer

from costmodels.configuration import Configuration, PipelineSchedule, Vocabulary
from costmodels.timeline import Placement
from planner.plan.strict import Degree, Index, RecomputeLevel, Strict
from planner.readers.hostlist import expand_hostlist

ScheduleName = Literal[
    "1f1b", "interleaved-1f1b", "zb-h1", "zb-h2", "zb-v", "v-half", "v-min", "best", "vocab-1", "vocab-2", "interlaced"
]


class Degrees(Strict):
    """The fields of ``costmodels.configuration.Configuration``."""

    tp: Degree
    sp: int = Field(ge=0, le=1)
    cp: Degree
    pp: Degree
    vp: Degree
    dp: Degree
    zero: int = Field(ge=0, le=3)
    ep: Degree
    etp: Degree
    mbs: Degree
    recompute: RecomputeLevel
    vocabulary: Vocabulary
    schedule: PipelineSchedule

    def configuration(self) -> Configuration:
        return Configuration(**{name: getattr(self, name) for name in CONFIGURATION_FIELDS})


CONFIGURATION_FIELDS = tuple(Degrees.model_fields)


class Parallelism(Degrees):
    """With what follows: expert replicas, micro-batches of each pipeline in a step, GPUs."""

    edp: Degree
    microbatches: Degree
    gpus: Degree


_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}")


def _host(name: str) -> str:
    if not _HOST.fullmatch(name):
        raise ValueError("no host name: letters, digits, '.', '-', '_' and ':', a letter or digit first")
    return name


def _hostlist(text: str) -> str:
    for name in expand_hostlist(text):
        _host(name)
    return text


Host = Annotated[str, AfterValidator(_host), WithJsonSchema({"type": "string", "pattern": f"^{_HOST.pattern}$"})]
Hostlist = Annotated[str, AfterValidator(_hostlist)]
"""Slurm's short form of many names (``planner.readers.hostlist``)."""

RankOrder = Literal["tp-cp-dp-pp", "tp-cp-pp-dp"]
ExpertOrder = Literal["etp-ep-edp-pp", "etp-ep-pp-edp"]
EXPERT_ORDERS: dict[RankOrder, ExpertOrder] = {"tp-cp-dp-pp": "etp-ep-edp-pp", "tp-cp-pp-dp": "etp-ep-pp-edp"}
"""The expert order that goes with each order: pp stands in the same place."""


class Ranks(Strict):
    """The rule from a rank to its coordinates and GPU: orders fastest first, as Megatron writes them.

    The ranks of a stage, counted tp, cp, dp with tp fastest, hold the experts' coordinates etp, ep, edp with etp
    fastest; ``expert_order`` read like ``order`` says the same wherever etp ep = tp cp or pp comes last.

    Rank r is local rank r % gpus_per_node of host r // gpus_per_node of ``hosts``: names in the order of ranks, as a
    list or a hostlist; absent: the cluster's nodes in their own order. Local rank l of a host runs on its GPU
    ``local_gpus[l]``: one list for all hosts, or one for each host named, the others in their own order; absent: GPU l.
    """

    order: RankOrder
    expert_order: ExpertOrder
    sizes: dict[Literal["tp", "cp", "dp", "pp", "etp", "ep", "edp"], Degree]
    gpus_per_node: Degree
    nodes: Degree
    world_size: Degree
    hosts: Hostlist | tuple[Host, ...] | None = None
    local_gpus: tuple[Index, ...] | dict[Host, tuple[Index, ...]] | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class Schedule(Strict):
    """What the stages run. ``placement`` of chunk c of pp stages: ``linear`` on stage c, ``interleaved`` on
    c mod pp, ``v`` on c for c < pp and on 2 pp - 1 - c for the others. ``operations``: of each stage, in order, as
    ``planner.plan.compact`` writes them; absent where ``name`` has a rule, present for ``best``, which has none."""

    name: ScheduleName
    microbatches: Degree
    chunks_per_stage: Degree
    placement: Placement
    operations: tuple[str, ...] | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}
