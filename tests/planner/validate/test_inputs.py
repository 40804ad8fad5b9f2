"""Inputs that are no cluster, model or job are named before anything divides by them."""

from typing import Any

import pytest

from planner.plan import Plan
from tests.planner.plan import samples
from tests.planner.validate.corruption import rules

dense, latent = samples.interleaved_dense, samples.experts_and_prediction_layer


@pytest.mark.parametrize(
    ("plan", "path", "value", "rule", "where"),
    [
        (dense, "inputs__cluster__nodes", 0, "inputs.positive", "/inputs/cluster/nodes"),
        (dense, "inputs__cluster__gpu__memory_bytes", -1.0, "inputs.positive", "/inputs/cluster/gpu/memory_bytes"),
        (dense, "inputs__cluster__reserve_bytes", 1e12, "inputs.cluster", "/inputs/cluster/reserve_bytes"),
        (dense, "inputs__cluster__domain_gpus", 12, "inputs.cluster", "/inputs/cluster/domain_gpus"),
        (dense, "inputs__cluster__gpu__peak_flops", {"fp8": 1e15}, "inputs.precision", "/inputs/cluster/gpu/peak_flops"),
        (dense, "inputs__cluster__gpu__peak_flops__int3", 1e15, "inputs.precision", "/inputs/cluster/gpu/peak_flops"),
        (dense, "inputs__job__sequence_length", 0, "inputs.positive", "/inputs/job/sequence_length"),
        (dense, "inputs__job__global_batch", 10**16, "inputs.positive", "/inputs/job/global_batch"),
        (dense, "inputs__job__expert_imbalance", 0.5, "inputs.job", "/inputs/job/expert_imbalance"),
        (dense, "inputs__model__layers", [], "inputs.model", "/inputs/model/layers"),
        (dense, "inputs__model__layers", [[1, 32]], "inputs.model", "/inputs/model/layers"),
        (dense, "inputs__model__layers", [[0, 16], [0, 16]], "inputs.model", "/inputs/model/layers"),
        (dense, "inputs__model__kinds__0__attention__kv_heads", 5, "inputs.model", "/inputs/model/kinds/0/attention/kv_heads"),
        (dense, "inputs__model__kinds__0__attention__rope_dim", 8, "inputs.model", "/inputs/model/kinds/0/attention/kind"),
        (latent, "inputs__model__kinds__0__attention__rope_dim", 192, "inputs.model", "/inputs/model/kinds/0/attention"),
        (latent, "inputs__model__kinds__1__block__top_k", 65, "inputs.model", "/inputs/model/kinds/1/block/top_k"),
        (latent, "inputs__model__kinds__2__extra_parameters", 9, "inputs.model", "/inputs/model/kinds/2/extra_parameters"),
    ],
)  # fmt: skip
def test_an_impossible_input_is_named(plan: Any, path: str, value: Any, rule: str, where: str) -> None:
    assert (rule, where) in rules(plan(), **{path: value})


def test_a_gate_on_shared_experts_that_do_not_exist_is_named() -> None:
    plan: Plan = latent()
    changed = {
        "inputs__model__kinds__1__block__shared_ffn": 0,
        "inputs__model__kinds__1__block__shared_gate": True,
    }
    assert ("inputs.model", "/inputs/model/kinds/1/block/shared_gate") in rules(plan, **changed)
