"""Are the inputs a cluster, a model and a job at all? Everything else divides by them."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any, get_args

from costmodels.architecture import LayerKind, Mlp
from costmodels.configuration import Precision
from planner.plan import Plan
from planner.validate.findings import Report

MAY_BE_ZERO = frozenset(
    {
        "reserve_bytes",
        "latency_seconds",
        "card_latency_seconds",
        "positions",
        "final_norm_parameters",
        "norm_parameters",
    }
    | {"extra_parameters", "q_lora_rank", "kv_lora_rank", "rope_dim", "shared_ffn", "offloaded_layers"}
)
LARGEST = 10**15


def check_inputs(plan: Plan, report: Report) -> None:
    inputs = plan.inputs.model_dump(mode="json")
    figures = {key: value for key, value in inputs["cluster"].items() if key != "topology"}
    _positive(figures, "/inputs/cluster", report)
    _positive(inputs["job"], "/inputs/job", report)
    sizes = {key: value for key, value in inputs["model"].items() if key not in ("layers", "mtp_layers")}
    _positive(sizes, "/inputs/model", report)
    _check_cluster(plan, report)
    _check_topology(plan, report)
    _check_layers(plan, report)
    for index, kind in enumerate(plan.inputs.model.kinds):
        _check_kind(kind, f"/inputs/model/kinds/{index}", report)
    report.require(
        plan.inputs.job.expert_imbalance >= 1.0,
        "inputs.job",
        "/inputs/job/expert_imbalance",
        "the busiest rank over the mean is at least 1",
        plan.inputs.job.expert_imbalance,
    )


def _positive(value: Any, path: str, report: Report) -> None:
    """Sizes and rates are positive and finite; a few may be zero."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _positive(item, f"{path}/{key}", report)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _positive(item, f"{path}/{index}", report)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        least = 0.0 if path.rsplit("/", 1)[1] in MAY_BE_ZERO else math.ulp(0.0)
        if isinstance(value, int) and least:
            least = 1
        report.require(
            least <= value <= (LARGEST if isinstance(value, int) else 1e30),
            "inputs.positive",
            path,
            "must not be negative" if least == 0 else "must be positive",
            value,
        )


def _check_cluster(plan: Plan, report: Report) -> None:
    cluster, path = plan.inputs.cluster, "/inputs/cluster"
    precision = plan.inputs.job.precision
    report.require(
        precision in cluster.gpu.peak_flops,
        "inputs.precision",
        f"{path}/gpu/peak_flops",
        f"the GPU has no {precision}, which the job trains in",
    )
    unknown = sorted(set(cluster.gpu.peak_flops) - set(get_args(Precision)))
    report.require(not unknown, "inputs.precision", f"{path}/gpu/peak_flops", "unknown precision", unknown)
    report.require(
        cluster.reserve_bytes < cluster.gpu.memory_bytes,
        "inputs.cluster",
        f"{path}/reserve_bytes",
        "more memory is reserved than the GPU has",
        cluster.reserve_bytes,
    )
    domain, node = cluster.domain_gpus, max(cluster.gpus_per_node, 1)
    report.require(
        domain % node == 0 or node % max(domain, 1) == 0,
        "inputs.cluster",
        f"{path}/domain_gpus",
        f"an NVLink domain is whole nodes of {node} GPUs, or an equal part of one",
        domain,
    )


def _check_topology(plan: Plan, report: Report) -> None:
    """No GPU counts on more of the network than the topology gives it when all talk; its table, where links were
    measured, is not in the plan."""
    topology = plan.cluster().topology
    if topology is None:
        return
    out, path = plan.inputs.cluster.scale_out, "/inputs/cluster/scale_out"
    share = topology.slowest_share() / max(kind.gpus for kind in topology.nodes)
    if not math.isfinite(share):
        return
    held = plan.inputs.cluster.topology
    if held is None or held.measured is None:
        report.require(
            out.bytes_per_second <= share * (1 + 1e-9),
            "inputs.topology",
            f"{path}/bytes_per_second",
            f"the topology gives a GPU no more than {share:.6g} bytes/s when all talk",
            out.bytes_per_second,
        )
    report.require(
        out.latency_seconds >= topology.worst_latency() * (1 - 1e-9),
        "inputs.topology",
        f"{path}/latency_seconds",
        f"the topology has nodes {topology.worst_latency():.6g} s apart",
        out.latency_seconds,
    )


def _check_layers(plan: Plan, report: Report) -> None:
    model, path = plan.inputs.model, "/inputs/model"
    used = {kind for kind, _ in (*model.layers, *model.mtp_layers)}
    report.require(bool(model.layers), "inputs.model", f"{path}/layers", "a model has at least one layer")
    report.require(
        used == set(range(len(model.kinds))),
        "inputs.model",
        f"{path}/layers",
        f"layers use kinds 0 to {len(model.kinds) - 1}, each at least once",
        sorted(used),
    )
    projection = 2 * model.hidden**2
    for kind in {kind for kind, _ in model.mtp_layers} & set(range(len(model.kinds))):
        report.require(
            model.kinds[kind].extra_parameters >= projection,
            "inputs.model",
            f"{path}/kinds/{kind}/extra_parameters",
            f"a prediction layer has a projection of {projection} parameters beside its block",
            model.kinds[kind].extra_parameters,
        )
    for name in ("layers", "mtp_layers"):
        kinds = [kind for kind, _ in getattr(model, name)]
        report.require(
            all(a != b for a, b in pairwise(kinds)),
            "inputs.model",
            f"{path}/{name}",
            "neighbouring runs of one kind are written as one",
        )


def _check_kind(kind: LayerKind, path: str, report: Report) -> None:
    attention, block = kind.attention, kind.block
    if attention.kind == "gqa":
        shared = attention.heads % max(attention.kv_heads, 1) == 0
        report.require(
            shared,
            "inputs.model",
            f"{path}/attention/kv_heads",
            f"must divide {attention.heads} heads",
            attention.kv_heads,
        )
        latent = {name: getattr(attention, name) for name in ("q_lora_rank", "kv_lora_rank", "rope_dim")}
        report.require(
            not any(latent.values()), "inputs.model", f"{path}/attention/kind", "latent ranks belong to mla", latent
        )
    else:
        report.require(
            attention.kv_lora_rank > 0
            and attention.rope_dim < attention.head_dim
            and attention.kv_heads == attention.heads
            and (attention.qkv_bias, attention.qk_norm, attention.sinks) == (False, "none", False),
            "inputs.model",
            f"{path}/attention",
            "latent attention has kv_lora_rank, rope_dim within head_dim, kv_heads = heads, and neither "
            "biases nor norms of heads nor sinks",
            asdict(attention),
        )
    if not isinstance(block, Mlp):
        report.require(
            block.top_k <= block.experts,
            "inputs.model",
            f"{path}/block/top_k",
            f"cannot exceed the {block.experts} experts",
            block.top_k,
        )
        report.require(
            block.shared_ffn > 0 or not block.shared_gate,
            "inputs.model",
            f"{path}/block/shared_gate",
            "a gate on shared experts needs shared experts",
        )
