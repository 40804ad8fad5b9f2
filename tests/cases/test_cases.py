"""The bundled cases hang together."""

import pytest

import cases
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


def test_paths_point_at_files() -> None:
    assert cases.case_path("cases.yaml").is_file()
    assert cases.models_path().is_dir()
    assert cases.cluster_path("dgx-h100-256").is_file()
    with pytest.raises(KeyError):
        cases.cluster_path("../cases")
    with pytest.raises(KeyError):
        cases.model_path("nothing")
