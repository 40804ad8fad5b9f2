"""``plan calibrate``: its report, its file, and what it says of measurements it cannot use."""

import json
from pathlib import Path

import pytest
from click.testing import Result

from tests.planner.calibrate.samples import gemm_csv, nccl_log, steps_csv, truth
from tests.planner.cli.conftest import Run

MACHINE = "dgx-h100-2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A cluster with slower links and clocks than the bundled figures say."""
    folder = tmp_path_factory.mktemp("measured")
    there = truth(scale_up_fraction=0.7, scale_out_fraction=0.6, gemm_sustained_fraction=0.7)
    return {
        "nccl": nccl_log(folder / "all_gather.log", "all_gather", 16, there),
        "gemm": gemm_csv(folder / "gemm.csv", there),
        "steps": steps_csv(folder / "steps.csv", there),
    }


@pytest.fixture(scope="module")
def written(run: Run, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """All the measurements used once: the command's result and the file it wrote."""
    path = tmp_path_factory.mktemp("written") / "ours.yaml"
    arguments = ["--nccl", files["nccl"], "--gemm", files["gemm"], "--steps", files["steps"]]
    return run("calibrate", MACHINE, *arguments, "--json", "-o", path), path


def test_the_file_it_writes_is_taken_by_predict_and_solve(
    run: Run, job: list[str], written: tuple[Result, Path]
) -> None:
    result, path = written
    assert result.exit_code == 0, result.stderr
    assert f"Calibration written to {path}" in result.stderr
    asked = ["predict", *job, "--config", "tp=2,pp=2,mbs=1", "--json"]
    before, after = (json.loads(run(*asked, *extra).stdout) for extra in ([], ["--calibration", path]))
    assert after["step_seconds"] > 1.05 * before["step_seconds"]  # clocks of 0.70, not 0.82
    solved = run("solve", *job, "--pin", "tp=2,pp=2,mbs=1", "--calibration", path, "--json")
    assert solved.exit_code == 0
    figure = json.loads(solved.stdout)["provenance"]["figures"]["gemm_sustained_fraction"]
    assert figure["kind"] == "fitted"
    assert "9 measured steps" in figure["source"]


def test_json_reports_every_stage_figure_and_error(written: tuple[Result, Path]) -> None:
    result, path = written
    found = json.loads(result.stdout)
    assert [stage["name"] for stage in found["stages"]] == ["links", "gemms", "steps"]
    (steps,) = found["stages"][2]["measurements"]
    assert steps["before"]["mean"] > 0.05 > 0.02 > steps["after"]["mean"]
    assert steps["held_out"]["rows"] == 9
    figures = {f["figure"]: f for stage in found["stages"] for f in stage["figures"]}
    assert figures["gemm_sustained_fraction"]["new"] == pytest.approx(0.7, rel=0.03)
    assert figures["fp4_gemm_speedup"]["identified"] is False
    assert found["residuals"]["rows"] == 9
    assert found["file"] == str(path)
    assert "residuals: {seconds_p80:" in path.read_text()


def test_a_dry_run_writes_nothing(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    result = run("calibrate", MACHINE, "--nccl", files["nccl"], "-o", path, "--dry-run")
    assert result.exit_code == 0
    assert "scale_out_fraction" in result.stdout
    assert not path.exists()


def test_the_collective_may_be_told_with_the_log(run: Run, files: dict[str, Path], tmp_path: Path) -> None:
    bare = tmp_path / "job-1234.log"
    lines = [line for line in files["nccl"].read_text().splitlines() if "#" not in line]
    bare.write_text("\n".join(lines))
    said = ["--nccl-gpus", 16, "--nccl-nodes", 2, "--json"]
    assert run("calibrate", MACHINE, "--nccl", bare, *said).exit_code == 1
    result = run("calibrate", MACHINE, "--nccl", f"all_gather={bare}", *said)
    assert json.loads(result.stdout)["stages"][0]["measurements"][0]["name"] == "all_gather on 16 GPUs of 2 nodes"


def test_measurements_that_identify_nothing_end_in_1_without_a_file(run: Run, tmp_path: Path) -> None:
    steps = steps_csv(tmp_path / "steps.csv", truth())
    path = tmp_path / "ours.yaml"
    result = run("calibrate", MACHINE, "--software", "pytorch", "--steps", steps, "-o", path)
    assert result.exit_code == 1
    assert "identify no figure" in result.stderr
    assert "--software megatron" in result.stderr
    assert not path.exists()


def test_everything_wrong_is_said_at_once_with_file_and_line(run: Run, tmp_path: Path) -> None:
    log, table = tmp_path / "a.log", tmp_path / "g.csv"
    log.write_text("nothing here\n")
    table.write_text("m,n,k,dtype,seconds\n1,1,1,bf16,zero\n")
    result = run("calibrate", "no-such-cluster", "--nccl", log, "--gemm", table)
    assert result.exit_code == 1
    assert "no-such-cluster" in result.stderr
    assert f"{log}: " in result.stderr
    assert f"{table}:2: seconds: 'zero'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_precision_that_the_gpu_lacks_is_refused(run: Run, files: dict[str, Path]) -> None:
    result = run("calibrate", "dgx-a100-80gb-8", "--gemm", files["gemm"])
    assert result.exit_code == 1
    assert f"{files['gemm']}:14: dtype: 'fp8'" in result.stderr


def test_without_measurements_it_is_wrong_usage(run: Run) -> None:
    result = run("calibrate", MACHINE)
    assert result.exit_code == 2
    assert "--nccl LOG" in result.stderr
