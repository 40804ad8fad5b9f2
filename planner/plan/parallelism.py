"""The chosen configuration, the rule that places ranks, and the schedule's name."""

from typing import Literal

from pydantic import Field

from costmodels.configuration import Configuration, PipelineSchedule, Vocabulary
from costmodels.timeline import Placement
from planner.plan.strict import Degree, RecomputeLevel, Strict

ScheduleName = Literal[
    "1f1b", "interleaved-1f1b", "zb-h1", "zb-h2", "zb-v", "v-half", "v-min", "vocab-1", "vocab-2", "interlaced"
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


class Ranks(Strict):
    """The rule from a rank to its coordinates and GPU: orders fastest first, as Megatron writes them.

    Rank r stands on node r // gpus_per_node as its GPU r % gpus_per_node.
    """

    order: Literal["tp-cp-dp-pp"]
    expert_order: Literal["etp-ep-edp-pp"]
    sizes: dict[Literal["tp", "cp", "dp", "pp", "etp", "ep", "edp"], Degree]
    gpus_per_node: Degree
    nodes: Degree
    world_size: Degree


class Schedule(Strict):
    """What the stages run. ``placement`` of chunk c of pp stages: ``linear`` on stage c, ``interleaved`` on
    c mod pp, ``v`` on c for c < pp and on 2 pp - 1 - c for the others."""

    name: ScheduleName
    microbatches: Degree
    chunks_per_stage: Degree
    placement: Placement
