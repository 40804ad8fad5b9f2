"""``plan predict``: one configuration, and tables of runs."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.planner.cli.conftest import Run

ROW = {
    "row_id": "r1",
    "source_id": "narayanan21",
    "source_date": "2021-08",
    "model": "GPT 18.4B",
    "model_key": "gpt_inline",
    "gpu": "A100",
    "gpu_mem_gb": "80",
    "gpus_per_node": "8",
    "n_gpus": "256",
    "precision": "FP16",
    "seq_len": "2048",
    "gbs": "1024",
    "tp": "8.0",
    "pp": "1.0",
    "sp": "0",
    "zero_stage": "0",
    "recompute": "full",
    "step_time_s": "3.0",
    "extra_json": '{"layers": 40, "hidden": 6144, "heads": 48, "ffn": 24576, "vocab": 51200}',
}


def write(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_one_configuration_is_priced_without_a_search(run: Run, job: list[str]) -> None:
    result = run("predict", *job, "--config", "tp=2,pp=2,mbs=1", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["configuration"]["dp"] == 2  # 8 GPUs / (2 x 2)
    assert found["feasible"]
    assert found["step_seconds"] > 0
    assert len(found["price"]["stages"]) == 2
    text = run("predict", *job, "--config", "tp=2,pp=2,mbs=1").stdout
    assert f"{found['step_seconds']:.4g} s" in text


def test_what_does_not_fit_exits_with_4_and_says_how_much_is_short(run: Run) -> None:
    job = ["dgx-a100-40gb-1", "--model", "llama-3.1-70b", "--global-batch", "8", "--seq-len", "2048"]
    result = run("predict", *job, "--config", "tp=8")
    assert result.exit_code == 4
    assert "GB short" in result.stdout


def test_a_configuration_that_does_not_divide_is_refused_with_every_reason(run: Run, job: list[str]) -> None:
    result = run("predict", *job, "--config", "tp=3")
    assert result.exit_code == 1
    assert "does not exist here: tp=3,sp=1" in result.stderr
    assert result.stderr.count("tp=3") == 1
    assert "tp" in result.stderr


def test_missing_arguments_are_wrong_usage(run: Run, job: list[str]) -> None:
    assert run("predict", *job).exit_code == 2
    assert run("predict").exit_code == 2
    assert run("predict", *job, "--rows", "x.csv").exit_code == 2


def test_a_table_keeps_its_columns_and_gains_predictions(run: Run, tmp_path: Path) -> None:
    refused = ROW | {"row_id": "r2", "task": "lora"}
    source = write(tmp_path / "runs.csv", ROW | {"task": "pretrain"}, refused)
    target = tmp_path / "predicted.csv"
    result = run("predict", "--rows", source, "-o", target)
    assert result.exit_code == 0, result.stderr
    first, second = csv.DictReader(io.StringIO(target.read_text()))
    assert [first[column] for column in ROW] == list(ROW.values())
    assert float(first["predicted_step_time_s"]) > 0
    assert float(first["predicted_peak_mem_gb"]) > 0
    assert first["predicted_status"] == "ok"
    assert "micro-batch not printed" in first["predicted_assumptions"]
    assert second["predicted_status"].startswith("unsupported: LoRA")
    assert second["predicted_step_time_s"] == ""
    error = abs(float(first["predicted_step_time_s"]) / 3.0 - 1)
    assert f"{error:.1%}" in result.stderr  # by hand from the row itself
    assert "narayanan21: 1 refused: LoRA" in result.stderr


def test_a_predicted_table_can_be_predicted_again(run: Run, tmp_path: Path) -> None:
    once = run("predict", "--rows", write(tmp_path / "runs.csv", ROW)).stdout
    (tmp_path / "once.csv").write_text(once)
    assert run("predict", "--rows", tmp_path / "once.csv").stdout == once


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1\n", "1 cells under 2 columns"),
        (b"\x00\x01", "NUL"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "empty"),
    ],
)
def test_what_is_no_table_exits_with_1(run: Run, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    result = run("predict", "--rows", tmp_path / "bad.csv")
    assert result.exit_code == 1
    assert said in result.stderr
    assert run("predict", "--rows", tmp_path / "none.csv").exit_code == 1
