"""DeepSpeed's own rule of cutting, and its configuration."""

import json
from itertools import product

import pytest

from planner.exports import ExportRefused, export
from planner.exports.deepspeed_partition import balanced_cut, uniform_cut
from planner.plan import Plan, groups
from tests.planner.exports import plans


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [(34, 4, (0, 9, 18, 26, 34)), (8, 4, (0, 2, 4, 6, 8)), (3, 4, (0, 1, 2, 3, 3))],
)
def test_uniform_puts_the_rest_on_the_first_stages(layers: int, stages: int, expected: tuple[int, ...]) -> None:
    """The values are those of ``partition_uniform`` of DeepSpeed 0.19.8."""
    assert uniform_cut(layers, stages) == expected


@pytest.mark.parametrize(
    ("weights", "stages", "expected"),
    [
        ([0, *[1] * 32, 0], 4, (0, 9, 17, 25, 34)),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], 3, (0, 5, 7, 9)),
        ([5, 1, 1, 1, 5, 1], 3, (0, 1, 4, 6)),
        ([0, 1, 1, 1, 1, 0], 3, (0, 3, 4, 6)),
        ([4, 4], 3, (0, 1, 2, 2)),
    ],
)
def test_a_balanced_cut_is_deepspeeds(weights: list[int], stages: int, expected: tuple[int, ...]) -> None:
    """The values are those of ``partition_balanced`` of DeepSpeed 0.19.8."""
    assert balanced_cut(weights, stages) == expected


@pytest.mark.parametrize(("cut", "method"), [((0, 9, 18, 26, 34), "uniform"), ((0, 9, 17, 25, 34), "type:transformer")])
def test_the_method_that_cuts_as_planned(cut: tuple[int, ...], method: str) -> None:
    files = export(plans.llama_plan(cut, recompute="full"), "deepspeed")
    assert json.loads(files["pipeline_module.json"]) == {
        "num_stages": 4,
        "topology": {
            "PipeModelDataParallelTopology": {"num_pp": 4, "num_mp": 2, "num_dp": 8},
            "ProcessTopology": {"axes": ["pipe", "data", "model"], "dims": [4, 8, 2]},
        },
        "partition_method": method,
        "activation_checkpoint_interval": 1,
        "boundaries": list(cut),
    }


def test_the_topology_gives_the_groups_of_the_plan() -> None:
    """Second method: DeepSpeed counts ranks over the product of its axes, the last fastest."""
    plan = plans.llama_plan((0, 9, 18, 26, 34), recompute="full")
    topology = json.loads(export(plan, "deepspeed")["pipeline_module.json"])["topology"]["ProcessTopology"]
    places = list(product(*map(range, topology["dims"])))
    for rank in (0, 5, 42, 63):
        for axis, kind in (("pipe", "pp"), ("data", "dp"), ("model", "tp")):
            along = topology["axes"].index(axis)
            group = [r for r, p in enumerate(places) if all(p[i] == places[rank][i] for i in range(3) if i != along)]
            assert groups(plan, kind, rank) == tuple(group)  # type: ignore[arg-type]


def test_parameters_are_counted_where_a_rank_holds_whole_layers() -> None:
    """An embedding weighs 2.4 layers of Llama-3.1-8B, so that the outer stages hold fewer."""
    cut = balanced_cut([525336576, *[218112000] * 32, 525336576 + 4096], 4)
    plan = plans.llama_plan(cut, tp=1, sp=0, dp=8, recompute="full")
    assert cut not in ((0, 9, 18, 26, 34), (0, 9, 17, 25, 34))
    module = json.loads(export(plan, "deepspeed")["pipeline_module.json"])
    assert module["partition_method"] == "parameters"


def test_another_cut_is_refused_with_what_each_method_would_do() -> None:
    with pytest.raises(ExportRefused) as refused:
        export(plans.llama_plan((0, 8, 17, 26, 34)), "deepspeed")
    assert refused.value.reasons == (
        "partition_method uniform: puts 9 of the chain (embedding, layers, head) on stage 0, the plan 8",
        "partition_method type:transformer: puts 9 of the chain (embedding, layers, head) on stage 0, the plan 8",
    )


def test_the_configuration_file() -> None:
    plan = plans.llama_plan((0, 34), pp=1, dp=16, zero=3, job={"gradients": "bf16"})
    files = export(plan, "deepspeed")
    assert tuple(files) == ("deepspeed.json",)
    assert json.loads(files["deepspeed.json"]) == {
        "train_batch_size": 64,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 4,
        "bf16": {"enabled": True},
        "data_types": {"grad_accum_dtype": "bf16"},
        "zero_optimization": {"stage": 3, "overlap_comm": True},
    }


@pytest.mark.parametrize(
    ("plan", "reasons"),
    [
        (plans.llama_plan((0, 9, 18, 26, 34), zero=2), ["zero=2"]),
        (plans.llama_plan((0, 9, 18, 26, 34), recompute="selective", cp=2, dp=4), ["recompute=selective", "cp=2"]),
        (plans.llama_plan((0, 5, 9, 13, 17, 21, 25, 29, 34), vp=2), ["schedule interleaved-1f1b, 2 chunks a stage"]),
        (plans.experts_plan(), ["ep=8", "multi-token-prediction"]),
        (plans.llama_plan((0, 34), pp=1, recompute="full"), ["recompute=full on a single stage"]),
        (plans.llama_plan((0, 34), pp=1, job={"precision": "fp8", "moments": "bf16"}), ["precision=fp8", "moments"]),
    ],
    ids=["zero", "recompute", "interleaved", "experts", "single", "precision"],
)
def test_what_deepspeed_cannot_express_is_named(plan: Plan, reasons: list[str]) -> None:
    with pytest.raises(ExportRefused) as refused:
        export(plan, "deepspeed")
    assert len(refused.value.reasons) == len(reasons)
    for reason, start in zip(refused.value.reasons, reasons, strict=True):
        assert reason.startswith(start)
