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
