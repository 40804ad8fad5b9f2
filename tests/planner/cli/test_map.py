"""``plan map``: summary, JSON, exit codes."""

import json
from pathlib import Path

import pytest

from tests.planner.cli.conftest import Run
from tests.planner.mapping_problems import two_leaves


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "leaves.json"
    path.write_text(json.dumps(two_leaves()))
    return path


def test_a_proven_order_exits_with_0_and_shows_what_to_act_on(run: Run, example: Path) -> None:
    """130 ms by hand (tests/planner/test_mapping.py); as listed, pipelines already cross the leaves."""
    result = run("map", example)
    assert result.exit_code == 0, result.stderr
    assert "leaves: 4 hosts on 2 pipelines of 2 stages; objective step" in result.stdout
    assert "Value      130.0000 ms: slowest pipeline 80.0000 ms, slowest ring 50.0000 ms" in result.stdout
    assert "optimal: no order below 130.0000 ms, gap 0.00 %" in result.stdout
    assert "default order        130.0000  +0.00 %" in result.stdout


def test_json_carries_the_contract_and_is_the_written_file(run: Run, example: Path, tmp_path: Path) -> None:
    result = run("map", example, "--json", "--seed", "7", "-o", tmp_path / "out.json")
    assert result.exit_code == 0
    assert result.stdout == (tmp_path / "out.json").read_text()
    found = json.loads(result.stdout)
    for key in ("status", "value", "lower_bound", "gap", "seconds", "seed", "order"):
        assert key in found
    assert found["seed"] == 7
    assert sorted(found["order"]) == ["a", "b", "c", "d"]
    assert [other["name"] for other in found["baselines"]] == ["default order", "random order", "pipette's annealing"]


def test_an_unproven_order_exits_with_3(run: Run, example: Path) -> None:
    """24 hosts with links all unlike are beyond the exact searches."""
    links = [[0 if i == j else 5 + (7 * i * j + 3 * (i + j)) % 97 / 10 for j in range(24)] for i in range(24)]
    given = two_leaves(gpus=[f"h{k}" for k in range(24)], bandwidth=links, pipeline_stages=4)
    example.write_text(json.dumps(given))
    result = run("map", example, "--json", "--time-limit", "1")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"]) == (3, "feasible")
    assert 0 < found["lower_bound"] < found["value"]


def test_bad_input_names_file_key_and_value(run: Run, example: Path) -> None:
    example.write_text(json.dumps(two_leaves(pipeline_stages=3)))
    result = run("map", example)
    assert result.exit_code == 1
    assert f"{example}: pipeline_stages: 3: does not divide 4 hosts" in result.stderr
    assert run("map", example.with_name("none.json")).exit_code == 1
