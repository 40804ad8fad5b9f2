"""Job configuration of torchtitan 0.2 (TOML; 0.2.2 is the last release that reads one).

``torchtitan.toml`` holds the sections that a plan decides; merge it into your own. With several stages
``schedule.csv`` is the order of operations (``planner.exports.torch_csv``), which replaces the order of the
named ``pipeline_parallel_schedule``: the name then only says how chunks are placed on ranks. Modules are
called as torchtitan's decoders call them. Ranks are placed as torchtitan's mesh places them
(pp, dp_replicate, dp_shard, cp, tp; the last fastest).
"""

import json
from collections.abc import Mapping

import numpy as np

from costmodels.recompute import FULL, NONE, first_layers, of_some_layers
from costmodels.timeline import Order
from planner.exports import torch_csv
from planner.exports.chunks import chunks_of, shared_recompute
from planner.exports.rank_order import pipelines_first
from planner.exports.targets import ExportRefused
from planner.plan import Plan
from planner.plan.order import order_of
from planner.plan.stages import Chunk

Value = str | int | bool | list[list[str]]
Sections = dict[str, dict[str, Value]]

RESHARD = {2: "never", 3: "always"}
"""FSDP keeps gathered parameters until the backward pass (ZeRO 2) or gathers them again (ZeRO 3)."""


def files(plan: Plan) -> dict[str, str]:
    order = order_of(plan)
    reasons = refusals(plan, order)
    if reasons:
        raise ExportRefused("torchtitan", reasons)
    found = {"torchtitan.toml": toml(sections(plan, order))}
    if order.devices > 1:
        found["schedule.csv"] = torch_csv.schedule_csv(order)
    return found


def sections(plan: Plan, order: Order) -> Sections:
    """The fields by section; the plan must be one that ``refusals`` has nothing against."""
    degrees, job = plan.parallelism, plan.job()
    replicas = {"data_parallel_replicate_degree": degrees.dp, "data_parallel_shard_degree": 1}
    shards = {"data_parallel_replicate_degree": 1, "data_parallel_shard_degree": degrees.dp}
    parallelism: dict[str, Value] = {
        **(shards if degrees.zero else replicas),
        "tensor_parallel_degree": degrees.tp,
        "context_parallel_degree": degrees.cp,
        "pipeline_parallel_degree": degrees.pp,
    }
    if degrees.zero:
        parallelism["fsdp_reshard_after_forward"] = RESHARD[degrees.zero]
    if plan.model().is_moe:
        parallelism["expert_parallel_degree"] = degrees.ep
        parallelism["expert_tensor_parallel_degree"] = degrees.etp
    sequences = degrees.mbs
    if degrees.pp > 1:
        sequences *= plan.schedule.microbatches  # one step of the pipeline, no accumulation around it
        parallelism |= {
            "pipeline_parallel_schedule": _placement(order) or "",
            "pipeline_parallel_schedule_csv": "schedule.csv",
            "pipeline_parallel_microbatch_size": degrees.mbs,
            "module_fqns_per_model_part": [modules(chunk) for chunk in chunks_of(plan)],
        }
    found: Sections = {
        "training": {
            "seq_len": job.sequence_length,
            "local_batch_size": sequences,
            "global_batch_size": job.global_batch,
            "mixed_precision_param": "bfloat16",
            "mixed_precision_reduce": "float32",
        },
        "parallelism": parallelism,
        "activation_checkpoint": _recompute(shared_recompute(plan)[0]),
    }
    if degrees.tp > 1 and job.tensor_overlap:
        parallelism["enable_async_tensor_parallel"] = True
        found["compile"] = {"enable": True}
    return found


def modules(chunk: Chunk) -> list[str]:
    """Fully qualified names of what a chunk holds."""
    first, end = chunk.layers or (0, 0)
    layers = [f"layers.{layer}" for layer in range(first, end)]
    return ["tok_embeddings"] * chunk.embedding + layers + ["norm", "output"] * chunk.head


def _recompute(level: str) -> dict[str, Value]:
    if of_some_layers(level):
        return {"mode": "selective", "selective_ac_option": level.removeprefix(f"{FULL}/")}
    return {"mode": level}


def _placement(order: Order) -> str | None:
    """A schedule of PyTorch's whose placement of chunks is the plan's; None if none is."""
    devices, chunks = order.devices, np.arange(order.chunks)
    if np.array_equal(order.device_of_chunk, chunks % devices):
        return "1F1B" if order.chunks == devices else "Interleaved1F1B"
    if np.array_equal(order.device_of_chunk, np.minimum(chunks, 2 * devices - 1 - chunks)):
        return "ZBVZeroBubble"
    return None


def refusals(plan: Plan, order: Order) -> list[str]:
    """Everything of the plan that torchtitan does not run, each with what would."""
    degrees, job, model = plan.parallelism, plan.job(), plan.model()
    level, found = shared_recompute(plan)
    found += torch_csv.refusals(order)
    if pipelines_first(plan):
        found.append(f"order={plan.ranks.order}: torchtitan's mesh has pp slowest; count ranks tp-cp-dp-pp")
    if _placement(order) is None:
        found.append("chunks are placed neither in loops nor as a V: torchtitan knows no other placement")
    if level not in (NONE, FULL) and not (of_some_layers(level) and first_layers(level) is None):
        found.append(f"recompute={level}: torchtitan recomputes no layer, every K-th (full/K) or all (full)")
    if degrees.zero == 1:
        found.append("zero=1: torchtitan replicates everything (zero=0) or shards by FSDP (zero=2, zero=3)")
    elif degrees.tp * degrees.cp * degrees.pp > 1 and (degrees.zero == 0 or degrees.dp * degrees.cp == 1):
        found.append(
            f"zero={degrees.zero} with dp={degrees.dp}, cp={degrees.cp}: beside other parallelism torchtitan "
            "replicates nothing and computes in bf16 only under FSDP; it needs zero=2 or zero=3 and dp x cp > 1"
        )
    if degrees.tp > 1 and not degrees.sp:
        found.append("tp without sp: torchtitan's tensor parallelism is always sequence parallel as well")
    if model.is_moe and degrees.ep == 1 and degrees.etp != degrees.tp:
        found.append(f"etp={degrees.etp} with ep=1: torchtitan then cuts experts over the tensor group ({degrees.tp})")
    if degrees.ep > 1 and degrees.etp not in (1, degrees.tp):
        found.append(f"etp={degrees.etp}: torchtitan has 1 or the tensor group's {degrees.tp}")
    if model.mtp_layers:
        found.append("multi-token-prediction layers: torchtitan's decoders have none")
    if model.tied_embeddings and degrees.pp > 1:
        found.append("tied embeddings on several stages: torchtitan ties them on one stage alone")
    if job.precision != "bf16":
        found.append(f"precision={job.precision}: of the plan's precisions bf16 alone is a field of torchtitan")
    for name, value in (("gradients", job.gradients), ("moments", job.moments)):
        if value != "fp32":
            found.append(f"{name}={value}: torchtitan reduces gradients and keeps moments in fp32")
    if job.offloaded_layers:
        found.append(f"offloaded_layers={job.offloaded_layers}: torchtitan offloads no activations")
    return found


def toml(found: Mapping[str, Mapping[str, Value]]) -> str:
    """Sections as TOML; strings, integers, booleans and lists of strings are written as JSON writes them."""
    lines = []
    for section, fields in found.items():
        lines.append(f"[{section}]")
        for name, value in fields.items():
            if isinstance(value, list):
                lines += [f"{name} = [", *(f"    {json.dumps(part)}," for part in value), "]"]
            else:
                lines.append(f"{name} = {json.dumps(value)}")
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"
