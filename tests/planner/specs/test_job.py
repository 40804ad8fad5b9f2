"""The job, alone and against cluster and model."""

from dataclasses import replace

import pytest

from costmodels.configuration import Job
from planner.specs import JobSpec, check_job, load_cluster, load_model, make_job
from planner.specs.errors import SpecError

CLUSTER, DENSE, EXPERTS = load_cluster("dgx-a100-80gb-8"), load_model("llama-3-8b"), load_model("mixtral-8x7b")


def test_keys_become_a_job_with_defaults() -> None:
    assert make_job(global_batch=64, sequence_length=4096) == Job(global_batch=64, sequence_length=4096)


@pytest.mark.parametrize(
    "fields",
    [
        {"global_batch": 0},
        {"global_batch": -8},
        {"global_batch": 1.5},
        {"sequence_length": "4096"},
        {"precision": "int8"},
        {"expert_imbalance": float("nan")},
        {"expert_imbalance": 0.5},
        {"batch": 8},
    ],
)
def test_each_wrong_key_is_named(fields: dict[str, object]) -> None:
    with pytest.raises(SpecError) as caught:
        make_job(**{"global_batch": 64, "sequence_length": 4096, **fields})
    assert [problem.key for problem in caught.value.problems] == list(fields)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        make_job(precision="bf61")
    assert sorted(p.key for p in caught.value.problems) == ["global_batch", "precision", "sequence_length"]


def test_a_precision_the_gpu_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(SpecError, match="job: precision: 'fp8': a100-sxm-80gb has no fp8 peak; it has fp16, bf16"):
        check_job(make_job(global_batch=64, sequence_length=4096, precision="fp8"), CLUSTER, DENSE)


def test_a_sequence_longer_than_the_learned_positions_is_refused() -> None:
    job = make_job(global_batch=64, sequence_length=4096)
    with pytest.raises(SpecError, match="sequence_length: 4096: GPT-3 175B has 2048 position embeddings"):
        check_job(job, CLUSTER, load_model("gpt3-175b"))
    check_job(job, CLUSTER, DENSE)


def test_no_expert_can_hold_more_than_every_token() -> None:
    """Two of eight experts a token: a rank holds at most 8 / 2 times the mean."""
    job = make_job(global_batch=64, sequence_length=4096, expert_imbalance=4.0)
    check_job(job, CLUSTER, EXPERTS)
    with pytest.raises(SpecError, match="cannot exceed experts / top_k of Mixtral 8x7B, 4"):
        check_job(replace(job, expert_imbalance=4.1), CLUSTER, EXPERTS)


def test_the_schema_has_the_fields_of_a_job() -> None:
    assert set(JobSpec.model_json_schema()["properties"]) == set(Job.__dataclass_fields__)
