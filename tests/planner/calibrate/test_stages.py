"""Calibration in stages: each finds the figures its measurements were made with."""

from dataclasses import replace
from pathlib import Path

import pytest

from costmodels.calibration import FIGURES, calibration_text, load_calibration
from planner.calibrate.machine import load_machine
from planner.calibrate.stages import GEMMS, LINKS, MEMORY, STEPS, Calibrated, calibrate
from planner.readers.gemm_timings import read_gemm_csv
from planner.readers.nccl_tests import read_nccl_log
from planner.readers.published_rows import read_rows
from planner.specs import SpecError
from tests.planner.calibrate.samples import CLUSTER, gemm_csv, nccl_log, steps_csv, truth

SOURCES = {"scale_up_fraction": 0.7, "scale_out_fraction": 0.6, "collective_launch_seconds": 3e-5}


def new(found: Calibrated) -> dict[str, float]:
    return {name: figure.value for name, figure in found.changed.items()}


def test_every_figure_of_every_stage_exists() -> None:
    assert not {*LINKS, *GEMMS, *STEPS, *MEMORY} - set(FIGURES)


def test_links_are_recovered_from_logs_of_one_and_two_nodes(tmp_path: Path) -> None:
    there = truth(**SOURCES)
    logs = [
        nccl_log(tmp_path / f"{name}{gpus}.log", name, gpus, there)
        for name, gpus in (("all_gather", 8), ("all_gather", 16), ("alltoall", 8), ("alltoall", 16))
    ]
    found = calibrate(CLUSTER, runs=[run for log in logs for run in read_nccl_log(log)])
    for name, value in SOURCES.items():
        assert new(found)[name] == pytest.approx(value, rel=0.03), name
    (stage,) = found.stages
    assert [e.name for e in stage.sets][:2] == ["all_gather on 8 GPUs of 1 node", "all_gather on 16 GPUs of 2 nodes"]
    assert all(e.after.mean < 0.02 < e.before.mean for e in stage.sets if e.after.mean and e.before.mean)
    assert all(e.held_out.rows == 10 for e in stage.sets)  # 8 MiB to 4 GiB
    assert found.warnings == ()
    assert found.residuals is None


def test_a_link_at_half_its_speed_is_pointed_out(tmp_path: Path) -> None:
    slow = truth(scale_out_fraction=0.45)
    found = calibrate(CLUSTER, runs=read_nccl_log(nccl_log(tmp_path / "slow.log", "all_gather", 16, slow)))
    assert new(found)["scale_out_fraction"] == pytest.approx(0.45, rel=0.1)
    assert any("scale_out_fraction" in warning and "part of its speed" in warning for warning in found.warnings)


def test_a_log_that_contradicts_the_others_is_pointed_out(tmp_path: Path) -> None:
    logs = [nccl_log(tmp_path / f"good{i}.log", "all_gather", 16, truth()) for i in range(3)]
    logs.append(nccl_log(tmp_path / "bad.log", "all_gather", 16, truth(), slower=2.0))
    found = calibrate(CLUSTER, runs=[run for log in logs for run in read_nccl_log(log)])
    (warning,) = [w for w in found.warnings if "slower than the other measurements" in w]
    assert "bad.log" in warning
    assert new(found).get("scale_out_fraction", 0.9) == pytest.approx(0.9, rel=0.05)


def test_gemm_figures_are_recovered_in_both_precisions(tmp_path: Path) -> None:
    there = truth(gemm_peak_fraction=0.7, fp8_gemm_speedup=1.4)
    found = calibrate(CLUSTER, gemms=read_gemm_csv(gemm_csv(tmp_path / "gemm.csv", there)))
    assert new(found)["gemm_peak_fraction"] == pytest.approx(0.7, rel=0.02)
    assert new(found)["fp8_gemm_speedup"] == pytest.approx(1.4, rel=0.03)
    assert "gemm_sustained_fraction" not in new(found)
    assert not next(f for f in found.stages[0].figures if f.parameter.figure == "fp4_gemm_speedup").identified


@pytest.fixture(scope="module")
def all_stages(tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """Links, GEMMs and steps of one machine with other figures than the bundled ones, fitted once."""
    folder = tmp_path_factory.mktemp("measured")
    there = truth(gemm_peak_fraction=0.75, gemm_sustained_fraction=0.7, **SOURCES)
    return calibrate(
        CLUSTER,
        runs=read_nccl_log(nccl_log(folder / "a.log", "all_gather", 8, there)),
        gemms=read_gemm_csv(gemm_csv(folder / "gemm.csv", there)),
        rows=list(read_rows(steps_csv(folder / "steps.csv", there), CLUSTER)),
    )


def test_what_the_timings_settled_the_steps_leave_alone(all_stages: Calibrated) -> None:
    assert [stage.name for stage in all_stages.stages] == ["links", "gemms", "steps"]
    assert new(all_stages)["gemm_peak_fraction"] == pytest.approx(0.75, rel=0.02)
    assert new(all_stages)["gemm_sustained_fraction"] == pytest.approx(0.7, rel=0.03)
    steps = all_stages.stages[2]
    assert "fp8_gemm_speedup" in STEPS
    assert "fp8_gemm_speedup" not in {f.parameter.figure for f in steps.figures}
    assert steps.sets[0].after.mean is not None
    assert steps.sets[0].after.mean < 0.01
    assert steps.sets[0].held_out.rows == 9
    assert all_stages.residuals is not None
    assert all_stages.residuals.rows == 9
    assert all_stages.residuals.seconds_p80 < 0.02


def test_what_is_written_loads_to_the_same_calibration(all_stages: Calibrated, tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(calibration_text("ours", all_stages.changed, all_stages.residuals))
    loaded = load_calibration(CLUSTER.gpu, path)
    assert loaded == replace(all_stages.calibration, name="ours")
    assert loaded.residuals == all_stages.residuals
    assert len(all_stages.changed) >= 3


def test_rows_of_other_gpus_and_software_are_left_out_by_name(tmp_path: Path) -> None:
    path = steps_csv(tmp_path / "steps.csv", truth())
    text = path.read_text().replace(",H100,", ",A100,", 1)
    path.write_text(text)
    found = calibrate(CLUSTER, rows=list(read_rows(path, CLUSTER)))
    assert found.unused == ("made-up-0: GPU A100, where the cluster has h100-sxm-80gb",)
    other = calibrate(CLUSTER, software="pytorch", rows=list(read_rows(path, CLUSTER)))
    assert len(other.unused) == 9
    assert "--software megatron" in other.unused[1]
    assert not other.changed


def test_a_log_of_other_gpus_or_larger_nodes_is_noticed(tmp_path: Path) -> None:
    log = nccl_log(tmp_path / "a.log", "all_gather", 8, truth())
    log.write_text(log.read_text().replace("NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"))
    found = calibrate(CLUSTER, runs=read_nccl_log(log))
    assert any("ran on NVIDIA A100-SXM4-40GB" in warning for warning in found.warnings)
    with pytest.raises(SpecError, match=r"16 ranks on 1 nodes.*--nccl-nodes"):
        calibrate(CLUSTER, runs=read_nccl_log(nccl_log(tmp_path / "b.log", "all_gather", 16, truth()), nodes=1))


def test_a_machine_is_a_cluster_or_a_gpu_with_usual_links() -> None:
    node = load_machine("H100-SXM-80GB")
    assert (node.gpus, node.domain_gpus, node.scale_up.bytes_per_second) == (8, 8, 450e9)
    assert load_machine("dgx-h100-2") == CLUSTER
    with pytest.raises(SpecError, match=r"l40s-48gb.*cluster file"):
        load_machine("l40s-48gb")
    with pytest.raises(SpecError, match="no-such-machine"):
        load_machine("no-such-machine")
