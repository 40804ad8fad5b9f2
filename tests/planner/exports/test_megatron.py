"""Arguments of Megatron-LM; layouts are in ``test_megatron_layout`` and in ``tests/consumers``."""

import json
import shlex
from typing import Any

import pytest

from costmodels.timeline import schedule_order
from planner.exports import ExportRefused, export, megatron
from planner.plan import Plan, with_hosts, with_order
from tests.consumers.orders import cells, order_from, zb_h1
from tests.planner.exports import plans
from tests.planner.plan import samples


def exported(plan: Plan) -> dict[str, Any]:
    arguments: dict[str, Any] = json.loads(export(plan, "megatron")["megatron.json"])["arguments"]
    return arguments


def test_the_arguments_of_an_interleaved_plan() -> None:
    """All of them, so that nothing is added unseen. The cut 0 4 8 13 17 21 26 30 34 is uneven."""
    assert exported(samples.interleaved_dense()) == {
        "--num-layers": 32,
        "--seq-length": 4096,
        "--micro-batch-size": 1,
        "--global-batch-size": 128,
        "--tensor-model-parallel-size": 2,
        "--pipeline-model-parallel-size": 4,
        "--context-parallel-size": 1,
        "--sequence-parallel": True,
        "--pipeline-model-parallel-layout": "Ettt|t*4|t*5|t*4|t*4|t*5|t*4|tttL",
        "--use-distributed-optimizer": True,
        "--accumulate-allreduce-grads-in-fp32": True,
        "--overlap-grad-reduce": True,
        "--overlap-param-gather": True,
        "--tp-comm-overlap": True,
        "--bf16": True,
        "--attention-dropout": "0.0",
        "--hidden-dropout": "0.0",
    }


def test_the_line_comes_back_from_a_shell_as_the_same_words() -> None:
    files = export(samples.interleaved_dense(), "megatron")
    words = shlex.split(files["megatron.args"])
    expected: list[str] = []
    for name, value in json.loads(files["megatron.json"])["arguments"].items():
        expected += [name] if value is True else [name, *str(value).split()]
    assert words == expected
    assert "Ettt|t*4|t*5|t*4|t*4|t*5|t*4|tttL" in words


def test_experts_and_a_prediction_layer() -> None:
    found = exported(plans.experts_plan(job={"dispatch": "deduplicated"}))
    assert (found["--expert-model-parallel-size"], found["--expert-tensor-parallel-size"]) == (8, 1)
    assert (found["--moe-token-dispatcher-type"], found["--moe-enable-deepep"]) == ("flex", True)
    assert (found["--num-layers"], found["--mtp-num-layers"]) == (15, 1)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("full", {"--recompute-granularity": "full", "--recompute-method": "uniform", "--recompute-num-layers": 1}),
        ("full:3", {"--recompute-granularity": "full", "--recompute-method": "block", "--recompute-num-layers": 3}),
        ("selective", {"--recompute-granularity": "selective", "--recompute-modules": "core_attn"}),
        ("core_attn+mlp", {"--recompute-granularity": "selective", "--recompute-modules": "core_attn mlp"}),
        ("none", {}),
    ],
)
def test_recompute(level: str, expected: dict[str, Any]) -> None:
    found = exported(plans.llama_plan(recompute=level))
    assert {name: value for name, value in found.items() if "recompute" in name} == expected


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({"precision": "fp16"}, {"--fp16": True}),
        ({"precision": "fp8"}, {"--bf16": True, "--fp8-format": "hybrid", "--fp8-recipe": "delayed"}),
        (
            {"precision": "fp8", "scaling": "block"},
            {"--bf16": True, "--fp8-format": "hybrid", "--fp8-recipe": "blockwise"},
        ),
        ({"gradients": "bf16"}, {"--bf16": True, "--grad-reduce-in-bf16": True}),
        (
            {"moments": "bf16"},
            {
                "--bf16": True,
                "--use-precision-aware-optimizer": True,
                "--exp-avg-dtype": "bf16",
                "--exp-avg-sq-dtype": "bf16",
            },
        ),
    ],
)
def test_precision(job: dict[str, Any], expected: dict[str, Any]) -> None:
    found = exported(plans.llama_plan(job=job))
    words = ("fp8", "fp16", "bf16", "exp-avg", "precision")
    assert {name: value for name, value in found.items() if any(word in name for word in words)} == expected
    assert ("--accumulate-allreduce-grads-in-fp32" in found) == (job.get("gradients") != "bf16")


def test_overlap_is_asked_for_where_the_plan_has_it() -> None:
    without = exported(plans.llama_plan(job={"gradient_overlap": False, "tensor_overlap": False}))
    assert [name for name in without if "overlap" in name] == []
    replicated = exported(plans.llama_plan(zero=0))
    assert [name for name in replicated if "overlap" in name] == ["--overlap-grad-reduce", "--tp-comm-overlap"]
    assert "--use-distributed-optimizer" not in replicated


def test_everything_that_megatron_cannot_run_is_named_at_once() -> None:
    with pytest.raises(ExportRefused) as refused:
        export(plans.llama_plan(zero=3, recompute="full/2"), "megatron")
    reasons = refused.value.reasons
    assert len(reasons) == 2
    assert "recompute=full/2" in reasons[0]
    assert "zero=3" in reasons[1]


def test_stages_that_recompute_differently_are_refused() -> None:
    plan = plans.llama_plan()
    stages = (plan.stages[0].model_copy(update={"recompute": "full"}), *plan.stages[1:])
    with pytest.raises(ExportRefused, match="differs between stages"):
        megatron.files(plan.model_copy(update={"stages": stages}))


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (order_from(zb_h1(4, 8), "zb-h1"), "whole backward passes"),
        (schedule_order("gpipe", 4, 1, 8), "ordered otherwise than in Megatron's 1f1b"),
        (order_from([cells("0F0 3F0 3B0 0B0"), cells("1F0 2F0 2B0 1B0")]), "multiples of the 2 stages"),
        (order_from([cells("0F0 3F0 0F1 3F1 3B0 0B0 3B1 0B1"), cells("1F0 2F0 1F1 2F1 2B0 1B0 2B1 1B1")]), "otherwise"),
    ],
    ids=["zero bubble", "gpipe", "odd micro-batches", "v"],
)
def test_schedules_that_megatron_does_not_run(order: Any, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(megatron, "order_of", lambda plan: order)
    with pytest.raises(ExportRefused, match=reason):
        export(plans.llama_plan(), "megatron")


def test_pipelines_on_consecutive_ranks_are_an_option() -> None:
    plain = exported(plans.llama_plan())
    added = exported(with_order(plans.llama_plan(), "tp-cp-pp-dp"))
    assert added == plain | {"--use-tp-pp-dp-mapping": True}
    long = exported(with_order(plans.llama_plan(cp=2, dp=4), "tp-cp-pp-dp"))
    assert (long["--use-tp-pp-dp-mapping"], long["--expert-tensor-parallel-size"]) == (True, 4)
    single = with_order(plans.llama_plan((0, 34), pp=1, dp=16), "tp-cp-pp-dp")
    assert "--use-tp-pp-dp-mapping" not in exported(single)


def test_experts_need_as_many_replicas_as_pipelines_unless_stages_come_last() -> None:
    """etp x ep = 2 = tp x cp is expressible, 8 is not; with pp last both are."""
    found = exported(samples.folded_experts(ep=2))
    assert found["--use-tp-pp-dp-mapping"] is True
    assert (found["--expert-model-parallel-size"], found["--expert-tensor-parallel-size"]) == (2, 1)
    with pytest.raises(ExportRefused) as refused:
        export(samples.folded_experts(), "megatron")
    assert refused.value.reasons == (
        "order=tp-cp-pp-dp with etp x ep = 8 and tp x cp = 2: unless pp comes last Megatron needs as many replicas of "
        "the experts (edp=1) as pipelines (dp=4); count ranks tp-cp-dp-pp",
    )
    assert "--use-tp-pp-dp-mapping" not in exported(with_order(samples.folded_experts(), "tp-cp-dp-pp"))


def test_the_order_of_hosts_is_left_to_the_launcher() -> None:
    plan = with_hosts(plans.llama_plan(), [f"n{8 - k}" for k in range(8)], list(range(7, -1, -1)))
    notes = "\n".join(json.loads(export(plan, "megatron")["megatron.json"])["left_to_you"])
    assert "launch on n8,n7,n6,n5,n4,n3,n2,n1 in this order" in notes
    assert "local_gpus: local ranks take GPUs in an order of their own" in notes
    assert "hosts" not in export(plans.llama_plan(), "megatron")["megatron.json"]
