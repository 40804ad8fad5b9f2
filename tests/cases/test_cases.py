"""The bundled cases hang together."""

from typing import Any

import pytest

import cases
from planner import solve, validate
from planner.specs import check_job, load_cluster, load_model, make_job


@pytest.mark.parametrize("case", cases.list_cases(), ids=lambda case: str(case["name"]))
def test_each_case_is_a_whole_problem(case: dict[str, object]) -> None:
    cluster, model = load_cluster(str(case["cluster"])), load_model(str(case["model"]))
    job = case["job"]
    assert isinstance(job, dict)
    check_job(make_job(**job), cluster, model)
    assert cluster.gpus == case["gpus"]
    assert case["expect"] in ("feasible", "infeasible")
    assert case["about"]


def test_cases_cover_the_range_they_are_meant_to() -> None:
    found = cases.list_cases()
    assert len({case["name"] for case in found}) == len(found) >= 10
    assert {8, 16_384} <= {case["gpus"] for case in found}
    assert {load_model(case["model"]).is_moe for case in found} == {True, False}
    families = {load_cluster(case["cluster"]).gpu.name.split("-")[0] for case in found}
    assert {"h100", "a100", "b200", "gb200"} <= families
    assert "infeasible" in {case["expect"] for case in found}


@pytest.mark.parametrize("case", cases.list_cases(), ids=lambda case: str(case["name"]))
def test_each_case_is_solved_as_expected_and_its_plan_is_clean(case: dict[str, Any]) -> None:
    """The validator is the second method; degrees and layers are counted by hand from the case."""
    cluster, model, job = load_cluster(case["cluster"]), load_model(case["model"]), make_job(**case["job"])
    outcome = solve(cluster, model, job)
    if case["expect"] == "infeasible":
        assert (outcome.status, outcome.plan) == ("infeasible", None)
        assert outcome.infeasibility is not None
        assert outcome.infeasibility.remedies
        return
    plan = outcome.plan
    assert outcome.status == "optimal"
    assert plan is not None
    assert plan.certificate.gap == 0.0
    degrees = plan.parallelism
    assert degrees.tp * degrees.cp * degrees.pp * degrees.dp == case["gpus"]
    spans = sorted(chunk.layers for stage in plan.stages for chunk in stage.chunks if chunk.layers)
    assert [layer for first, end in spans for layer in range(first, end)] == list(range(len(model.layers)))
    assert all(stage.memory.free_bytes >= 0 for stage in plan.stages)
    assert 0 < plan.prediction.mfu < 1
    assert len(plan.text().encode()) < 200_000
    assert validate(plan) == []


def test_paths_point_at_files() -> None:
    assert cases.case_path("cases.yaml").is_file()
    assert cases.models_path().is_dir()
    assert cases.cluster_path("dgx-h100-256").is_file()
    with pytest.raises(KeyError):
        cases.cluster_path("../cases")
    with pytest.raises(KeyError):
        cases.model_path("nothing")
