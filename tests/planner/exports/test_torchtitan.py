"""Fields of torchtitan's job configuration, read back as TOML."""

import tomllib
from typing import Any

import pytest

from planner.exports import ExportRefused, export, torchtitan
from planner.plan import Plan
from tests.consumers.orders import V_SHAPE, cells, order_from
from tests.planner.exports import plans
from tests.planner.plan import samples


def exported(plan: Plan) -> dict[str, Any]:
    return tomllib.loads(export(plan, "torchtitan")["torchtitan.toml"])


def test_the_fields_of_a_pipeline() -> None:
    found = exported(plans.llama_plan(zero=3, recompute="full/2"))
    parts = found["parallelism"].pop("module_fqns_per_model_part")
    assert found == {
        "training": {
            "seq_len": 4096,
            "local_batch_size": 8,
            "global_batch_size": 64,
            "mixed_precision_param": "bfloat16",
            "mixed_precision_reduce": "float32",
        },
        "parallelism": {
            "data_parallel_replicate_degree": 1,
            "data_parallel_shard_degree": 8,
            "fsdp_reshard_after_forward": "always",
            "tensor_parallel_degree": 2,
            "context_parallel_degree": 1,
            "pipeline_parallel_degree": 4,
            "pipeline_parallel_schedule": "1F1B",
            "pipeline_parallel_schedule_csv": "schedule.csv",
            "pipeline_parallel_microbatch_size": 1,
            "enable_async_tensor_parallel": True,
        },
        "activation_checkpoint": {"mode": "selective", "selective_ac_option": "2"},
        "compile": {"enable": True},
    }
    assert parts[0] == ["tok_embeddings", *(f"layers.{i}" for i in range(8))]
    assert parts[3] == [*(f"layers.{i}" for i in range(24, 32)), "norm", "output"]
    layers = [name for part in parts for name in part if name.startswith("layers.")]
    assert layers == [f"layers.{i}" for i in range(32)]


def test_without_a_pipeline_there_is_no_schedule_and_gradients_accumulate() -> None:
    plan = plans.llama_plan((0, 34), pp=1, dp=8, zero=2, recompute="full")
    files = export(plan, "torchtitan")
    assert tuple(files) == ("torchtitan.toml",)
    found = tomllib.loads(files["torchtitan.toml"])
    assert found["training"]["local_batch_size"] == 1
    assert found["parallelism"]["fsdp_reshard_after_forward"] == "never"
    assert found["activation_checkpoint"] == {"mode": "full"}
    assert [name for name in found["parallelism"] if "schedule" in name or "module" in name] == []


def test_replicas_that_hold_everything() -> None:
    """DDP, the only parallelism then."""
    found = exported(plans.llama_plan((0, 34), tp=1, sp=0, pp=1, dp=8, zero=0))["parallelism"]
    assert (found["data_parallel_replicate_degree"], found["data_parallel_shard_degree"]) == (8, 1)
    assert "fsdp_reshard_after_forward" not in found


@pytest.mark.parametrize(
    ("order", "name"),
    [
        (order_from([cells(line) for line in V_SHAPE]), "ZBVZeroBubble"),
        (order_from([cells("0F0 2F0 2B0 0B0"), cells("1F0 3F0 3B0 1B0")]), "Interleaved1F1B"),
        (order_from([cells("0F0 0B0"), cells("1F0 1B0")]), "1F1B"),
    ],
    ids=["v", "loops", "line"],
)
def test_a_schedules_name_stands_for_the_placement(order: Any, name: str) -> None:
    """torchtitan asks the named schedule alone which rank builds which model part."""
    plan = plans.llama_plan(zero=3)
    assert torchtitan.sections(plan, order)["parallelism"]["pipeline_parallel_schedule"] == name


def test_a_placement_it_cannot_name_is_refused() -> None:
    order = order_from([cells("0F0 1F0 1B0 0B0"), cells("2F0 3F0 3B0 2B0")])
    (reason,) = torchtitan.refusals(plans.llama_plan(zero=3), order)
    assert "neither in loops nor as a V" in reason


@pytest.mark.parametrize(
    ("plan", "reasons"),
    [
        (plans.llama_plan(), ["zero=1"]),
        (plans.llama_plan(sp=0, zero=2, recompute="full:3"), ["recompute=full:3", "tp without sp"]),
        (plans.llama_plan(zero=3, job={"precision": "fp8", "moments": "bf16"}), ["precision=fp8", "moments=bf16"]),
        (plans.experts_plan(zero=2), ["multi-token-prediction"]),
        (plans.experts_plan(zero=2, ep=1, dp=8), ["etp=1 with ep=1", "multi-token-prediction"]),
        (plans.llama_plan(zero=0), ["zero=0 with dp=8, cp=1"]),
        (plans.llama_plan(zero=0, cp=2, dp=4), ["zero=0 with dp=4, cp=2"]),
        (plans.llama_plan(zero=3, dp=1), ["zero=3 with dp=1, cp=1"]),
        (samples.single_stage_windowed(), ["recompute=selective", "precision=fp16"]),
    ],
    ids=["zero", "recompute", "precision", "mtp", "experts", "replicas", "cp", "no replicas", "windowed"],
)
def test_what_torchtitan_cannot_express_is_named(plan: Plan, reasons: list[str]) -> None:
    with pytest.raises(ExportRefused) as refused:
        export(plan, "torchtitan")
    assert len(refused.value.reasons) == len(reasons)
    for reason, start in zip(refused.value.reasons, reasons, strict=True):
        assert reason.startswith(start)
