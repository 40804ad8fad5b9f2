"""Plans of every setting of a job are clean: the validator's own formulas know them all."""

from dataclasses import fields, replace

import pytest

from costmodels.configuration import Job
from planner.solve import SolveOptions, solve
from planner.validate import validate
from tests.machines import cluster, dense_model, moe_model

BASE = Job(global_batch=16, sequence_length=2048)
SETTINGS = {
    "precision": "fp8",
    "attention": "unfused",
    "expert_imbalance": 1.5,
    "gradient_overlap": False,
    "tensor_overlap": False,
    "gradients": "bf16",
    "moments": "bf16",
    "gradient_sync": "step",
    "fused_loss": True,
    "dropout": True,
    "offloaded_layers": 3,
    "software": "pytorch",
    "dispatch": "deduplicated",
    "scaling": "block",
    "expert_overlap": True,
    "cuda_graphs": True,
}


def test_every_setting_of_a_job_is_tried() -> None:
    assert {f.name for f in fields(Job)} - {"global_batch", "sequence_length"} == set(SETTINGS)
    assert all(getattr(BASE, name) != value for name, value in SETTINGS.items())


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("model", [dense_model(layers=6), moe_model(layers=6, mtp=1)], ids=lambda m: m.name)
def test_a_plan_of_it_has_no_findings(name: str, model) -> None:  # type: ignore[no-untyped-def]
    plan = solve(cluster(2, 4), model, replace(BASE, **{name: SETTINGS[name]})).plan
    assert plan is not None
    assert validate(plan) == []


@pytest.mark.parametrize("changes", [{"software": "pytorch"}, {"gradient_sync": "step"}], ids=lambda c: next(iter(c)))
def test_a_fully_sharded_plan_of_it_has_no_findings(changes: dict[str, str]) -> None:
    options = SolveOptions(pins={"zero": 3, "mbs": 1, "dp": 4})
    plan = solve(cluster(2, 4), dense_model(layers=6), replace(BASE, **changes), options=options).plan  # type: ignore[arg-type]
    assert plan is not None
    assert (plan.parallelism.zero, plan.parallelism.microbatches) == (3, 4)
    assert validate(plan) == []
