"""Inputs that are no cluster, model or job are named before anything divides by them."""

from typing import Any

import pytest

from planner.plan import Plan
from tests.planner.plan import samples
from tests.planner.validate.corruption import rules

dense, latent = samples.interleaved_dense, samples.experts_and_prediction_layer


KIND = "inputs__model__kinds__"


@pytest.mark.parametrize(
    ("plan", "path", "value", "rule"),
    [
        (dense, "inputs__cluster__nodes", 0, "inputs.positive"),
        (dense, "inputs__cluster__gpu__memory_bytes", -1.0, "inputs.positive"),
        (dense, "inputs__cluster__reserve_bytes", 1e12, "inputs.cluster"),
        (dense, "inputs__cluster__domain_gpus", 12, "inputs.cluster"),
        (dense, "inputs__cluster__gpu__peak_flops", {"fp8": 1e15}, "inputs.precision"),
        (dense, "inputs__job__sequence_length", 0, "inputs.positive"),
        (dense, "inputs__job__global_batch", 10**16, "inputs.positive"),
        (dense, "inputs__job__expert_imbalance", 0.5, "inputs.job"),
        (dense, "inputs__model__layers", [], "inputs.model"),
        (dense, "inputs__model__layers", [[1, 32]], "inputs.model"),
        (dense, "inputs__model__layers", [[0, 16], [0, 16]], "inputs.model"),
        (dense, f"{KIND}0__attention__kv_heads", 5, "inputs.model"),
        (latent, f"{KIND}1__block__top_k", 65, "inputs.model"),
        (latent, f"{KIND}2__extra_parameters", 9, "inputs.model"),
    ],
)
def test_an_impossible_input_is_named(plan: Any, path: str, value: Any, rule: str) -> None:
    where = "/" + path.replace("__", "/")
    assert (rule, where) in rules(plan(), **{path: value})


def test_latent_ranks_and_attention_kinds_go_together() -> None:
    where = "/inputs/model/kinds/0/attention"
    assert ("inputs.model", f"{where}/kind") in rules(dense(), **{f"{KIND}0__attention__rope_dim": 8})
    assert ("inputs.model", where) in rules(latent(), **{f"{KIND}0__attention__rope_dim": 192})
    assert ("inputs.model", where) in rules(latent(), **{f"{KIND}0__attention__sinks": True})


def test_a_precision_nobody_knows_is_named() -> None:
    found = rules(dense(), inputs__cluster__gpu__peak_flops__int3=1e15)
    assert ("inputs.precision", "/inputs/cluster/gpu/peak_flops") in found


def test_a_gate_on_shared_experts_that_do_not_exist_is_named() -> None:
    plan: Plan = latent()
    changed = {
        "inputs__model__kinds__1__block__shared_ffn": 0,
        "inputs__model__kinds__1__block__shared_gate": True,
    }
    assert ("inputs.model", "/inputs/model/kinds/1/block/shared_gate") in rules(plan, **changed)


def test_a_share_of_the_network_that_the_topology_does_not_give_is_named() -> None:
    """Two leaves of 400 GB/s up for four nodes each: 100 GB/s a node, 12.5 GB/s a GPU, where the plan counts on 50."""
    leaves = [
        {"name": f"leaf{i}", "nodes": f"n[{4 * i}-{4 * i + 3}]", "uplink_bytes_per_second": 4e11} for i in range(2)
    ]
    switches = [{**leaf, "latency_seconds": 0.0, "rails": False} for leaf in leaves]
    switches.append({"name": "spine", "switches": "leaf[0-1]", "latency_seconds": 9e-6, "rails": False})
    nodes = {"names": "n[0-7]", "gpus": 8, "cards": 8, "cards_bytes_per_second": 4e11, "card_latency_seconds": 0.0}
    topology = {"nodes": [nodes], "latency_seconds": 5e-6, "switches": switches}
    found = rules(dense(), inputs__cluster__topology=topology)
    assert ("inputs.topology", "/inputs/cluster/scale_out/bytes_per_second") in found
    assert ("inputs.topology", "/inputs/cluster/scale_out/latency_seconds") in found
    wide = [{**switch, "uplink_bytes_per_second": 16e11} if "nodes" in switch else switch for switch in switches]
    wide[-1] |= {"latency_seconds": 0.0}
    found = rules(dense(), inputs__cluster__topology={**topology, "switches": wide})
    assert not any(rule == "inputs.topology" for rule, _ in found)
