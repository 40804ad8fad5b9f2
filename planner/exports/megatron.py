"""Arguments of Megatron-LM (megatron-core 0.16).

``megatron.args`` is one line that a shell can splice in (``eval "set -- $(cat megatron.args)"``),
``megatron.json`` the same options as values, with the layout and what the plan assumes but no option here says.
The model's own shape stays with the user's model arguments, apart from the number of layers, which the cut
is made for. Ranks are counted as ``planner.exports.megatron_order`` says; hosts are ordered by the launcher.
"""

import json
import shlex
from collections.abc import Mapping

from costmodels.configuration import Job
from costmodels.recompute import FULL, NONE, first_layers, modules_of, of_some_layers
from costmodels.timeline import INPUT_GRAD, WEIGHT_GRAD, Order, schedule_order
from planner.exports.chunks import chunks_of, shared_recompute
from planner.exports.experts import export_experts
from planner.exports.experts.served import ServedPlacement
from planner.exports.hosts import ORDERED_GPUS
from planner.exports.megatron_layout import Arguments, layout_refusals, layout_string, split_arguments
from planner.exports.megatron_order import megatron_order
from planner.exports.orders import same_operations, vocabulary_passes
from planner.exports.targets import ExportRefused
from planner.plan import Plan
from planner.plan.mapping import host_names
from planner.plan.order import order_of

VERSION = "megatron-core 0.16"


def files(plan: Plan) -> dict[str, str]:
    reasons = refusals(plan)
    if reasons:
        raise ExportRefused("megatron", reasons)
    options = arguments(plan)
    document = {
        "target": VERSION,
        "layout": layout_string(chunks_of(plan)),
        "arguments": {f"--{name}": value for name, value in options.items()},
        "left_to_you": left_to_you(plan.job(), placed=plan.experts is not None) + _hosts(plan),
    }
    texts = {
        "megatron.args": shell_line(options) + "\n",
        "megatron.json": json.dumps(document, indent=2) + "\n",
    }
    return texts | _experts(plan)


def _experts(plan: Plan) -> dict[str, str]:
    """The renumbering of experts placed by load, in a file of its own."""
    placed, model = plan.experts, plan.model()
    if placed is None:
        return {}
    served = ServedPlacement(
        rows=placed.new_to_old,
        gpus=placed.group.size,
        experts=len(placed.new_to_old[0]),
        layer_ids=placed.layers,
        hidden_layers=len(model.layers) + len(model.mtp_layers),
    )
    return {"megatron-experts.json": export_experts(served, "megatron").decode()}


def _hosts(plan: Plan) -> list[str]:
    """What the launcher has to do for ranks to stand where the plan puts them."""
    names, found = host_names(plan), []
    if names is not None:
        order = plan.ranks.hosts if isinstance(plan.ranks.hosts, str) else ",".join(names)
        found.append(f"hosts: Megatron takes ranks as they are launched; launch on {order} in this order (hostfile)")
    if plan.ranks.local_gpus is not None:
        found.append(f"local_gpus: {ORDERED_GPUS}")
    return found


def shell_line(options: Mapping[str, int | str | bool]) -> str:
    """The options as words of a shell command, quoted where the shell would read them."""
    words: list[str] = []
    for name, value in options.items():
        words.append(f"--{name}")
        if value is not True:
            # several values stand as several words; a layout is one word
            words += str(value).split(" ")
    return shlex.join(words)


def arguments(plan: Plan) -> Arguments:
    """Options without their dashes; the plan must be one that ``refusals`` has nothing against."""
    degrees, job, chunks = plan.parallelism, plan.job(), chunks_of(plan)
    model = plan.model()
    options: Arguments = {"num-layers": len(model.layers)}
    if model.mtp_layers:
        options["mtp-num-layers"] = len(model.mtp_layers)
    options |= {
        "seq-length": job.sequence_length,
        "micro-batch-size": degrees.mbs,
        "global-batch-size": job.global_batch,
        "tensor-model-parallel-size": degrees.tp,
        "pipeline-model-parallel-size": degrees.pp,
        "context-parallel-size": degrees.cp,
    }
    if model.is_moe:
        options["expert-model-parallel-size"] = degrees.ep
        options["expert-tensor-parallel-size"] = degrees.etp
        deduplicated = job.dispatch == "deduplicated" and degrees.ep > 1
        options["moe-token-dispatcher-type"] = "flex" if deduplicated else "alltoall"
        if deduplicated:
            options["moe-enable-deepep"] = True
    options |= megatron_order(plan)[0]
    if degrees.sp:
        options["sequence-parallel"] = True
    options |= split_arguments(chunks, len(plan.stages))
    options |= _recompute(shared_recompute(plan)[0])
    options |= _states(degrees.zero, job)
    options |= _overlap(plan, job)
    options |= _precision(job, plan.cluster().gpu.architecture)
    if job.attention == "unfused":
        options["attention-backend"] = "unfused"
    if job.fused_loss:
        options |= {"cross-entropy-loss-fusion": True, "cross-entropy-fusion-impl": "te"}
    if not job.dropout:
        options |= {"attention-dropout": "0.0", "hidden-dropout": "0.0"}
    return options


def _recompute(level: str) -> Arguments:
    if level == NONE:
        return {}
    if level == FULL or (first := first_layers(level)) is not None:
        method, count = ("uniform", 1) if level == FULL else ("block", first or 1)
        return {"recompute-granularity": "full", "recompute-method": method, "recompute-num-layers": count}
    return {"recompute-granularity": "selective", "recompute-modules": " ".join(sorted(modules_of(level)))}


def _states(zero: int, job: Job) -> Arguments:
    options: Arguments = {"use-distributed-optimizer": True} if zero else {}
    if job.moments == "bf16":
        options |= {"use-precision-aware-optimizer": True, "exp-avg-dtype": "bf16", "exp-avg-sq-dtype": "bf16"}
    if job.gradients == "bf16":
        options["grad-reduce-in-bf16"] = True
    else:
        options["accumulate-allreduce-grads-in-fp32"] = True
    return options


def _overlap(plan: Plan, job: Job) -> Arguments:
    options: Arguments = {}
    if job.gradient_overlap:
        options["overlap-grad-reduce"] = True
        if plan.parallelism.zero:
            options["overlap-param-gather"] = True
    if job.tensor_overlap and plan.parallelism.sp:
        options["tp-comm-overlap"] = True
    if job.expert_overlap and plan.parallelism.ep > 1:
        options["overlap-moe-expert-parallel-comm"] = True
    return options


def _precision(job: Job, architecture: str) -> Arguments:
    if job.precision == "fp16":
        return {"fp16": True}
    if job.precision == "bf16":
        return {"bf16": True}
    if job.precision == "fp4":
        return {"bf16": True, "fp4-format": "e2m1", "fp4-recipe": "nvfp4"}
    block = "blockwise" if architecture == "hopper" else "mxfp8"
    recipe = "delayed" if job.scaling == "tensor" else block
    return {"bf16": True, "fp8-format": "hybrid", "fp8-recipe": recipe}


def left_to_you(job: Job, *, placed: bool = False) -> list[str]:
    """What the plan was priced with and these arguments do not say."""
    notes = ["the model's shape, the optimizer, the data"]
    if job.software != "megatron":
        notes.append(f"software: the plan was priced with the kernels of {job.software}, not Megatron's")
    if job.cuda_graphs:
        notes.append("cuda_graphs: layers are replayed from CUDA graphs")
    if job.offloaded_layers:
        notes.append(f"offloaded_layers: the activations of {job.offloaded_layers} layers wait in host memory")
    if job.expert_imbalance != 1.0:
        notes.append(f"expert_imbalance: the busiest expert rank has {job.expert_imbalance:g} times the mean load")
    if placed:
        notes.append("experts: renumbered as megatron-experts.json says, in the checkpoint or where weights are made")
    return notes


def refusals(plan: Plan) -> list[str]:
    """Everything of the plan that Megatron-LM does not run, each with what would."""
    degrees, job = plan.parallelism, plan.job()
    level, found = shared_recompute(plan)
    found += _schedule_refusals(plan.schedule.name, order_of(plan))
    found += layout_refusals(chunks_of(plan), len(plan.stages))
    found += megatron_order(plan)[1]
    if of_some_layers(level) and first_layers(level) is None:
        found.append(f"recompute={level}: Megatron recomputes all layers or the first of each chunk (full, full:N)")
    if degrees.zero > 1:
        found.append(
            f"zero={degrees.zero}: Megatron's distributed optimizer is zero=1; its FSDP shards more, with buckets and "
            "checkpoints of its own, which this export does not state"
        )
    if degrees.zero == 0 and job.moments == "bf16":
        found.append("moments=bf16: Megatron's precision-aware optimizer needs the distributed one; plan with zero=1")
    if job.expert_overlap and degrees.ep > 1:
        if degrees.pp > 1 and degrees.vp == 1:
            found.append("expert_overlap: in a pipeline Megatron overlaps experts' communication where vp > 1 alone")
        if level == FULL or of_some_layers(level):
            found.append(f"expert_overlap: Megatron does not combine it with recompute={level}")
    return found


def _schedule_refusals(name: str, order: Order) -> list[str]:
    """Megatron runs 1F1B and interleaved 1F1B, on chunks laid out in loops."""
    passes = vocabulary_passes(order)
    if passes:
        return [f"schedule {name}: Megatron has no vocabulary split over the stages (passes {', '.join(passes)})"]
    if any(kind in (INPUT_GRAD, WEIGHT_GRAD) for kind in set(order.kind.ravel().tolist())):
        return [
            f"schedule {name} runs gradients of inputs and of weights apart (zero bubble): Megatron runs whole "
            "backward passes; export it to torch-csv"
        ]
    own = "1f1b" if order.chunks_per_device == 1 else "interleaved-1f1b"
    if own != "1f1b" and order.microbatches % order.devices:
        return [f"schedule {name}: Megatron interleaves micro-batches in multiples of the {order.devices} stages"]
    if not same_operations(order, schedule_order(own, order.devices, order.chunks_per_device, order.microbatches)):
        return [f"schedule {name}: operations or chunks are ordered otherwise than in Megatron's {own}"]
    return []
