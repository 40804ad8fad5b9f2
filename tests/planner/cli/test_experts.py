"""``plan experts``: summary, JSON, exports, exit codes."""

import json
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from planner.cli.interrupt import Asked
from planner.exports.experts import EXPERT_TARGETS, read_experts_file
from tests.planner.cli.conftest import Run
from tests.planner.expert_problems import DEEPSEEK, balance, transitions


def problem(folder: Path, **keys: Any) -> Path:
    (folder / "p.yaml").write_text(yaml.safe_dump(keys))
    return folder / "p.yaml"


def test_a_proven_placement_exits_with_0_and_shows_what_to_act_on(run: Run, tmp_path: Path) -> None:
    """By hand: 2 of 30 tokens leave, contiguous 18 of 30."""
    result = run("experts", problem(tmp_path, **transitions()))
    assert result.exit_code == 0, result.stderr
    assert "p: 3 layers of 2 experts on 2 GPUs, 1 slots each; objective transitions" in result.stdout
    assert "Verdict        88.9 % better than contiguous" in result.stdout
    assert "optimal: 0.0666667 (per transition), nothing below 0.0666667, gap 0.00 %" in result.stdout
    assert "6.67 %" in result.stdout
    assert "60.00 %" in result.stdout
    assert "note: loads counted from the transitions" in result.stderr


def test_a_busier_gpu_is_said(run: Run, tmp_path: Path) -> None:
    """By hand: all tokens go from 0 or 2 to 0 or 2, evenly. None leaves with both on one GPU, which then has it all."""
    table = [[[4 if {e, f} <= {0, 2} else 0 for f in range(4)] for e in range(4)] for _ in range(2)]
    result = run("experts", problem(tmp_path, transitions=table, gpus=2, objective="transitions"))
    assert "Balance        worse: the busiest GPU has 2.00 of the mean, contiguous 1.00; load_limit" in result.stdout


def test_json_carries_the_contract_and_is_the_written_file(run: Run, tmp_path: Path) -> None:
    result = run("experts", problem(tmp_path, **balance()), "--json", "-o", tmp_path / "out.json", "--seed", 4)
    assert result.exit_code in (0, 3)
    assert result.stdout == (tmp_path / "out.json").read_text()
    found = json.loads(result.stdout)
    assert {"status", "value", "lower_bound", "gap", "seconds", "seed", "physical_to_logical"} <= found.keys()
    assert [len(row) for row in found["physical_to_logical"]] == [6, 6]
    assert found["seed"] == 4
    assert {"layer", "max_over_mean", "lower_bound"} <= found["per_layer"][0].keys()
    assert [one["name"] for one in found["baselines"]] == ["contiguous", "eplb"]


def test_what_it_writes_is_a_current_placement(run: Run, tmp_path: Path) -> None:
    run("experts", problem(tmp_path, **balance()), "-o", tmp_path / "out.json")
    keys = balance(current="out.json", expert_bytes="10 MB")
    found = run("experts", problem(tmp_path, **keys))
    assert "Moves          0 of 12 slots from the current placement, 0.00 GB" in found.stdout


def test_an_unproven_placement_exits_with_3(run: Run, tmp_path: Path) -> None:
    """No packing of 288 replicas of real figures onto 32 GPUs meets the mean exactly, and nothing proves more."""
    result = run("experts", problem(tmp_path, loads=DEEPSEEK, gpus=32, slots_per_gpu=9))
    assert result.exit_code == 3
    assert "Proof          feasible: 1.000" in result.stdout


def test_infeasible_exits_with_4_and_says_why(run: Run, tmp_path: Path) -> None:
    result = run("experts", problem(tmp_path, **transitions(load_limit=1.05)))
    assert result.exit_code == 4
    assert "infeasible: load_limit: no placement keeps every GPU within 1.05 of the mean" in result.stdout


def test_errors_exit_with_1_and_are_all_told(run: Run, tmp_path: Path) -> None:
    result = run("experts", problem(tmp_path, loads="none.npy", gpus=4, gpus_per_node=3))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "gpus_per_node: 3: does not divide the 4 GPUs" in result.stderr
    assert "none.npy: cannot be read" in result.stderr


@pytest.mark.parametrize("target", list(EXPERT_TARGETS))
def test_every_export_is_written_and_read(run: Run, tmp_path: Path, target: str) -> None:
    out = tmp_path / f"out{EXPERT_TARGETS[target].suffix}"
    result = run("experts", problem(tmp_path, **transitions(dense_layers=1)), "--export", target, "-o", out)
    assert result.exit_code == 0, result.stderr
    assert f"{target} file written to {out}" in result.stderr
    rows = read_experts_file(out).rows
    assert len(rows) == (4 if target == "sglang" else 3)


def test_a_refused_export_names_the_reason_and_exits_with_1(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = run("experts", problem(tmp_path, **balance()), "--export", "megatron", "-o", out)
    assert result.exit_code == 1
    assert "Megatron holds every expert once" in result.stderr
    assert not out.exists()


def test_an_export_needs_a_file(run: Run, tmp_path: Path) -> None:
    result = run("experts", problem(tmp_path, **balance()), "--export", "sglang")
    assert result.exit_code == 2
    assert "--export needs -o FILE" in result.stderr


def test_the_schema_takes_what_the_command_takes(run: Run) -> None:
    schema = json.loads(run("schema", "experts").stdout)
    for keys in (balance(slots_per_gpu=[3, 3], dense_layers=[0]), transitions(holdout={"loads": "a.npy"})):
        jsonschema.validate(keys, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(balance(slots_per_gpu=0), schema)


def test_the_first_ctrl_c_ends_the_search_and_the_second_interrupts() -> None:
    with Asked() as asked:
        assert asked(0) is None
        signal.raise_signal(signal.SIGINT)
        assert asked(1) == "interrupted"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
