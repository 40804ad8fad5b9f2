"""DeepSpeed (0.19): its configuration file and the arguments of ``PipelineModule``.

``PipelineModule`` cuts its list of layers by a rule, never where it is told to: a plan is exported where
one of its rules gives exactly the plan's cut. The list is taken to be one entry for the embedding, one for
each decoder layer and one for the final norm with the head; ``parameters`` counts trainable parameters of
each entry, ``type:transformer`` matches the classes of the decoder layers alone. With a single stage
there is no ``PipelineModule``, and ZeRO 2 and 3 are open.
"""

import json
from typing import Any

from costmodels.architecture import Model
from costmodels.recompute import FULL, NONE
from costmodels.timeline import schedule_order
from planner.exports.chunks import shared_recompute
from planner.exports.deepspeed_partition import Cut, balanced_cut, uniform_cut
from planner.exports.orders import same_operations
from planner.exports.rank_order import pipelines_first
from planner.exports.targets import ExportRefused
from planner.plan import Plan
from planner.plan.order import order_of

DECODER_CLASS = "transformer"


def files(plan: Plan) -> dict[str, str]:
    reasons = refusals(plan)
    if reasons:
        raise ExportRefused("deepspeed", reasons)
    documents = {"deepspeed.json": configuration(plan)}
    if plan.parallelism.pp > 1:
        documents["pipeline_module.json"] = pipeline_module(plan)
    return {name: json.dumps(document, indent=2) + "\n" for name, document in documents.items()}


def configuration(plan: Plan) -> dict[str, Any]:
    """What ``deepspeed.initialize(config=...)`` takes."""
    degrees, job = plan.parallelism, plan.job()
    return {
        "train_batch_size": job.global_batch,
        "train_micro_batch_size_per_gpu": degrees.mbs,
        "gradient_accumulation_steps": plan.schedule.microbatches,
        job.precision: {"enabled": True},
        "data_types": {"grad_accum_dtype": job.gradients},
        "zero_optimization": {"stage": degrees.zero, "overlap_comm": job.gradient_overlap},
    }


def pipeline_module(plan: Plan) -> dict[str, Any]:
    """Arguments of ``PipelineModule``, its topology's sizes and what it is as a ``ProcessTopology`` (ranks row by
    row, the last axis fastest), and the cut it will make."""
    degrees = plan.parallelism
    method = next(method for method, cut in partitions(plan).items() if cut == plan.boundaries())
    topology = {"num_pp": degrees.pp, "num_mp": degrees.tp, "num_dp": degrees.dp}
    ranks = {"axes": ["pipe", "data", "model"], "dims": [degrees.pp, degrees.dp, degrees.tp]}
    return {
        "num_stages": degrees.pp,
        "topology": {"PipeModelDataParallelTopology": topology, "ProcessTopology": ranks},
        "partition_method": method,
        "activation_checkpoint_interval": int(shared_recompute(plan)[0] == FULL),
        "boundaries": list(plan.boundaries()),
    }


def partitions(plan: Plan) -> dict[str, Cut]:
    """The cut of each method. With tensor parallelism ``parameters`` counts what a rank holds of a layer,
    which depends on how its classes shard: it is left out."""
    model, stages = plan.model(), plan.parallelism.pp
    decoder = [0, *[1] * len(model.layers), 0]
    found = {"uniform": uniform_cut(len(decoder), stages)}
    if plan.parallelism.tp == 1:
        found["parameters"] = balanced_cut(_parameters(model), stages)
    return found | {f"type:{DECODER_CLASS}": balanced_cut(decoder, stages)}


def _parameters(model: Model) -> list[int]:
    layers = [model.kinds[kind].parameters(model.hidden) for kind in model.layers]
    return [model.embedding_parameters, *layers, model.head_parameters + model.final_norm_parameters]


def refusals(plan: Plan) -> list[str]:
    """Everything of the plan that DeepSpeed does not run as planned."""
    degrees, job, model = plan.parallelism, plan.job(), plan.model()
    level, found = shared_recompute(plan)
    if level not in (NONE, FULL):
        found.append(f"recompute={level}: a PipelineModule checkpoints every layer (full) or none")
    if level == FULL and degrees.pp == 1:
        found.append("recompute=full on a single stage: without a PipelineModule it is the model's own code")
    for name, value in (("cp", degrees.cp), ("ep", degrees.ep), ("etp", degrees.etp)):
        if value > 1:
            found.append(f"{name}={value}: no part of DeepSpeed's configuration or PipelineModule; plan with {name}=1")
    if job.precision not in ("bf16", "fp16"):
        found.append(f"precision={job.precision}: DeepSpeed's configuration has bf16 and fp16")
    if job.moments != "fp32":
        found.append(f"moments={job.moments}: DeepSpeed keeps them in fp32")
    if degrees.pp == 1:
        return found
    if pipelines_first(plan):
        found.append(f"order={plan.ranks.order}: DeepSpeed's topology counts model, data, pipe; plan with tp-cp-dp-pp")
    if degrees.zero > 1:
        found.append(f"zero={degrees.zero}: ZeRO 2 and 3 are incompatible with DeepSpeed's pipeline; plan with zero=1")
    order = order_of(plan)
    if not same_operations(order, schedule_order("1f1b", order.devices, 1, order.microbatches)):
        found.append(f"schedule {plan.schedule.name}, {degrees.vp} chunks a stage: DeepSpeed runs 1F1B with one chunk")
    elif model.mtp_layers:
        found.append("multi-token-prediction layers: where they stand in the list of layers is the model's own code")
    else:
        found += _cut_refusals(plan)
    return found


def _cut_refusals(plan: Plan) -> list[str]:
    planned, cuts = plan.boundaries(), partitions(plan)
    if planned in cuts.values():
        return []
    return [f"partition_method {method}: {_difference(planned, cut)}" for method, cut in cuts.items()]


def _difference(planned: Cut, cut: Cut) -> str:
    stage = next(stage for stage in range(len(cut) - 1) if cut[stage + 1] != planned[stage + 1])
    return (
        f"puts {cut[stage + 1] - cut[stage]} of the chain (embedding, layers, head) on stage {stage}, "
        f"the plan {planned[stage + 1] - planned[stage]}"
    )
