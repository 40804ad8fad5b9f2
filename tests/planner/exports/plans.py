"""Small plans for exports, priced by the cost model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from costmodels.configuration import ALLOWABLE, Configuration, Job
from planner.plan import Plan
from planner.plan.inputs import PlanOptions
from tests.planner.plan import samples

JOB = Job(global_batch=64, sequence_length=4096)


def llama_plan(cut: Sequence[int] = (0, 9, 17, 25, 34), *, job: dict[str, Any] | None = None, **degrees: Any) -> Plan:
    """Llama-3.1-8B on 64 GPUs of 8 nodes; four stages unless ``degrees`` say otherwise."""
    configuration = Configuration(**{"tp": 2, "sp": 1, "pp": 4, "dp": 8, **degrees})
    cluster = samples.h100_cluster(configuration.gpus // 8)
    options = PlanOptions(allow=tuple(name for name in ALLOWABLE if name in degrees))
    return samples.make_plan(
        cluster, samples.LLAMA_8B, replace(JOB, **(job or {})), (configuration, cut), options=options
    )


def experts_plan(*, job: dict[str, Any] | None = None, **degrees: Any) -> Plan:
    """Latent attention and experts, a prediction layer beside the head, two stages."""
    configuration = Configuration(**{"tp": 2, "sp": 1, "pp": 2, "dp": 8, "ep": 8, "etp": 1, **degrees})
    cluster = samples.h100_cluster(configuration.gpus // 8)
    return samples.make_plan(cluster, samples.LATENT_MOE, replace(JOB, **(job or {})), (configuration, (0, 8, 18)))


def split_vocabulary_plan() -> Plan:
    """vocab-1 over four stages."""
    return llama_plan(vocabulary="vocab-1", zero=1)
