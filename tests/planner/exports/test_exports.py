"""What all targets share: names, files, refusals."""

import pytest

from planner.exports import TARGETS, ExportRefused, UnknownTarget, export
from planner.plan import Plan, with_hosts, with_order
from tests.planner.exports import plans


def expressible(target: str) -> Plan:
    """A plan that ``target`` has nothing against: torchtitan shards by FSDP alone, others do not."""
    return with_hosts(plans.llama_plan((0, 9, 17, 25, 34), zero=3 if target == "torchtitan" else 1), "n[1-8]")


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_writes_the_files_it_names(target: str) -> None:
    assert tuple(export(expressible(target), target)) == TARGETS[target].files


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_plan_gives_the_same_text(target: str) -> None:
    assert export(expressible(target), target) == export(expressible(target), target)


@pytest.mark.parametrize(
    ("name", "hint"), [("torchcsv", "'torch-csv'"), ("megatron-lm", "'megatron'"), ("xyz", "one of torch-csv, ")]
)
def test_an_unknown_target_names_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownTarget, match=hint):
        export(plans.llama_plan(), name)


@pytest.mark.parametrize("target", ["torch-csv", "megatron", "torchtitan", "deepspeed"])
def test_no_runtime_has_a_split_vocabulary(target: str) -> None:
    with pytest.raises(ExportRefused) as refused:
        export(plans.split_vocabulary_plan(), target)
    assert refused.value.target == target
    assert any("vocab-1" in reason for reason in refused.value.reasons)


@pytest.mark.parametrize("target", TARGETS)
def test_a_plan_that_lost_a_layer_is_refused(target: str) -> None:
    """Stage 2 holds layers 16 to 23; without its last the rest would still be a pipeline."""
    plan = plans.llama_plan(zero=0)
    chunk = plan.stages[2].chunks[0]
    assert chunk.layers == (16, 24)
    shorter = plan.stages[2].model_copy(update={"chunks": (chunk.model_copy(update={"layers": (16, 23)}),)})
    lossy = plan.model_copy(update={"stages": (*plan.stages[:2], shorter, plan.stages[3])})
    with pytest.raises(ExportRefused, match="does not add up: /stages"):
        export(lossy, target)


@pytest.mark.parametrize("target", ["hostfile", "slurm", "openmpi-rankfile"])
def test_a_launcher_needs_the_names_of_hosts(target: str) -> None:
    with pytest.raises(ExportRefused, match=r"hosts: the plan names none; name its 8 nodes .* --hosts"):
        export(plans.llama_plan(), target)


@pytest.mark.parametrize("target", ["torchtitan", "deepspeed"])
def test_a_runtime_with_pipelines_slowest_refuses_pipelines_on_consecutive_ranks(target: str) -> None:
    with pytest.raises(ExportRefused, match=r"order=tp-cp-pp-dp: .*tp-cp-dp-pp"):
        export(with_order(expressible(target), "tp-cp-pp-dp"), target)


@pytest.mark.parametrize("target", ["torchtitan", "deepspeed"])
def test_with_one_pipeline_the_orders_are_one(target: str) -> None:
    """dp = 1: the same ranks in both orders."""
    degrees = {"cp": 2, "zero": 3} if target == "torchtitan" else {"zero": 1}
    plan = plans.llama_plan((0, 9, 17, 25, 34), dp=1, **degrees)
    assert export(with_order(plan, "tp-cp-pp-dp"), target) == export(plan, target)
