"""Plans as files: round trips, fixed bytes, all schema problems at once, the published schema."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from planner.plan import Plan, PlanError, plan_schema
from planner.plan.build import build_plan
from planner.validate import validate
from tests.planner.plan import samples

TOP_LEVEL = [
    "schema_version",
    "inputs",
    "parallelism",
    "stages",
    "ranks",
    "schedule",
    "prediction",
    "certificate",
    "provenance",
    "digest",
]


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_a_saved_plan_loads_to_the_same_plan_and_the_same_bytes(sample: Any, tmp_path: Path) -> None:
    plan = sample()
    path = tmp_path / "plan.json"
    plan.save(path)
    assert Plan.load(path) == plan
    assert Plan.load(path).text().encode() == path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_the_top_level_keys_are_the_published_ones() -> None:
    assert list(samples.interleaved_dense().to_json()) == TOP_LEVEL


def test_inputs_rebuild_the_exact_objects() -> None:
    plan = samples.experts_and_prediction_layer()
    assert plan.model() == samples.LATENT_MOE
    assert plan.cluster() == samples.h100_cluster(4)
    assert plan.job() == samples.Job(global_batch=64, sequence_length=4096, expert_imbalance=1.2)
    assert plan.calibration() == samples.load_calibration(samples.H100)
    assert plan.boundaries() == (0, 8, 18)


def test_alternating_layers_survive_run_length_coding() -> None:
    plan = samples.single_stage_windowed()
    assert plan.model() == samples.WINDOWED
    assert plan.to_json()["inputs"]["model"]["layers"][:3] == [[0, 1], [1, 1], [0, 1]]


def test_the_same_arguments_give_the_same_bytes() -> None:
    first = samples.interleaved_dense()
    price = samples.price_step(
        first.model(), first.cluster(), first.job(), first.calibration(), first.configuration(), first.boundaries()
    )
    again = build_plan(
        first.cluster(),
        first.model(),
        first.job(),
        first.calibration(),
        first.configuration(),
        first.boundaries(),
        price,
        first.certificate,
        first.inputs.options,
    )
    assert again.text() == first.text()


def test_sixteen_thousand_gpus_stay_compact() -> None:
    plan = samples.thousands_of_gpus()
    assert plan.ranks.world_size == 16384
    assert len(plan.text()) < 200_000
    assert validate(plan) == []


def test_every_schema_problem_is_reported_with_file_key_and_value() -> None:
    document = samples.interleaved_dense().to_json()
    document["parallelism"]["tp"] = "two"
    document["stages"][1]["memory"]["peak_byte"] = document["stages"][1]["memory"].pop("peak_bytes")
    document["ranks"]["nodes"] = 0
    with pytest.raises(PlanError) as refusal:
        Plan.loads(json.dumps(document), file="plan.json")
    lines = str(refusal.value).splitlines()
    assert lines == [
        "plan.json: parallelism.tp: 'two': Input should be a valid integer",
        "plan.json: stages[1].memory.peak_bytes: missing; every plan has it",
        f"plan.json: stages[1].memory.peak_byte: {document['stages'][1]['memory']['peak_byte']!r}: "
        "unknown key; did you mean 'peak_bytes'?",
        "plan.json: ranks.nodes: 0: Input should be greater than or equal to 1",
    ]


@pytest.mark.parametrize("text", ["null", "[]", "3", '"plan"', "{}", '{"schema_version": 2}'])
def test_json_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(PlanError):
        Plan.loads(text)


def test_every_truncation_of_a_plan_file_is_refused() -> None:
    text = samples.single_stage_windowed().text()
    for length in range(0, len(text) - 2, 97):
        with pytest.raises(PlanError):
            Plan.loads(text[:length])


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_the_json_schema_accepts_plans(sample: Any) -> None:
    jsonschema.Draft202012Validator(plan_schema()).validate(sample().to_json())


def test_the_json_schema_is_valid_and_rejects_unknown_keys() -> None:
    jsonschema.Draft202012Validator.check_schema(plan_schema())
    document = {**samples.interleaved_dense().to_json(), "speed": "fast"}
    with pytest.raises(jsonschema.ValidationError, match="speed"):
        jsonschema.Draft202012Validator(plan_schema()).validate(document)


def test_writing_to_a_device_leaves_the_device_alone() -> None:
    samples.single_stage_windowed().save("/dev/null")
    assert not Path("/dev/null").is_file()
