"""Calibration files: bundled ones load, users' ones override, faulty ones are refused by name."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from costmodels.calibration import (
    FIGURES,
    Calibration,
    CalibrationError,
    bundled_calibrations,
    load_calibration,
)
from costmodels.hardware import Gpu


def gpu(name: str = "h100-sxm-80gb", architecture: str = "hopper") -> Gpu:
    return Gpu(
        name=name,
        architecture=architecture,
        memory_bytes=80e9,
        memory_bytes_per_second=3.35e12,
        peak_flops={"bf16": 989e12},
    )


def override(tmp_path: Path, figures: str, name: str = "name: ours\n") -> Path:
    path = tmp_path / "ours.yaml"
    path.write_text(f"{name}figures:\n{figures}")
    return path


@pytest.mark.parametrize("name", bundled_calibrations())
def test_every_bundled_file_gives_every_figure_a_value_and_a_source(name: str) -> None:
    calibration = load_calibration(gpu(name, "none"))
    assert tuple(calibration.figures) == FIGURES
    for key, figure in calibration.figures.items():
        assert getattr(calibration, key) == figure.value
        assert math.isfinite(figure.value)
        assert figure.source


@pytest.mark.parametrize("name", ["a100", "h100", "h200", "b200", "b300", "gb200", "gb300"])
def test_fitted_gpus_carry_their_own_gemm_and_link_figures(name: str) -> None:
    figures = load_calibration(gpu(name, "none")).figures
    for key in ("gemm_peak_fraction", "attention_forward_fraction", "scale_up_fraction"):
        assert figures[key].kind == "fitted"
        assert 0.4 < figures[key].value < 1


def test_a_family_comes_before_its_architecture() -> None:
    assert load_calibration(gpu("h200-sxm-141gb", "hopper")).name == "NVIDIA H200"
    assert load_calibration(gpu("h20", "hopper")).name == "NVIDIA Hopper"


def test_what_an_architecture_borrows_is_labelled_assumed() -> None:
    volta, a100 = load_calibration(gpu("v100-sxm2-32gb", "volta")), load_calibration(gpu("a100"))
    assert volta.memory_fraction == a100.memory_fraction
    assert volta.figures["memory_fraction"].kind == "assumed"
    assert "taken from a100" in volta.figures["memory_fraction"].source


def test_a_gpu_without_figures_is_refused_by_name() -> None:
    with pytest.raises(CalibrationError, match=r"'tpu-v5'.*'tensorcore'"):
        load_calibration(gpu("tpu-v5", "tensorcore"))


def test_a_user_file_replaces_single_figures(tmp_path: Path) -> None:
    path = override(
        tmp_path, "  scale_out_fraction: {value: 0.87, unit: fraction, kind: measured, source: nccl-tests}\n"
    )
    ours, bundled = load_calibration(gpu(), path), load_calibration(gpu())
    assert ours.name == "ours"
    assert ours.scale_out_fraction == 0.87
    assert ours.figures["scale_out_fraction"].kind == "measured"
    assert ours.gemm_peak_fraction == bundled.gemm_peak_fraction


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ("  mem_fraction: {value: 1, unit: fraction, kind: fitted, source: s}\n", "mem_fraction: unknown"),
        ("  step_seconds: {value: 1, kind: fitted, source: s}\n", "step_seconds.unit: None.*'seconds'"),
        ("  step_seconds: {value: 1, unit: ms, kind: fitted, source: s}\n", "unit: 'ms'.*'seconds'"),
        ("  step_seconds: {value: .nan, unit: seconds, kind: fitted, source: s}\n", "value: nan"),
        ("  step_seconds: {value: -1, unit: seconds, kind: fitted, source: s}\n", "value: -1.*positive"),
        ("  memory_fraction: {value: 0, unit: fraction, kind: fitted, source: s}\n", "value: 0.*positive"),
        ("  step_seconds: {value: '1', unit: seconds, kind: fitted, source: s}\n", "value: '1'"),
        ("  step_seconds: {value: true, unit: seconds, kind: fitted, source: s}\n", "value: True"),
        ("  step_seconds: {value: 1, unit: seconds, kind: guess, source: s}\n", "kind: 'guess'.*measured"),
        ("  step_seconds: {value: 1, unit: seconds, kind: fitted}\n", "source: None"),
        ("  step_seconds: {value: 1, unit: seconds, kind: fitted, source: s, x: 1}\n", "x: unknown key"),
        ("  step_seconds: 1\n", "step_seconds: 1"),
        ("  []\n", "figures: \\[\\]"),
        ("  : {\n", "cannot be read as YAML"),
    ],
)
def test_a_faulty_file_is_refused_with_file_key_and_value(tmp_path: Path, figures: str, message: str) -> None:
    path = override(tmp_path, figures)
    with pytest.raises(CalibrationError, match=f"ours.yaml.*{message}"):
        load_calibration(gpu(), path)


def test_a_user_file_needs_a_name_and_cannot_be_like_another(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="name: None"):
        load_calibration(gpu(), override(tmp_path, "  {}\n", name=""))
    with pytest.raises(CalibrationError, match="like"):
        load_calibration(gpu(), override(tmp_path, "  {}\n", name="name: n\nlike: a100\n"))
    with pytest.raises(CalibrationError, match=r"absent\.yaml"):
        load_calibration(gpu(), tmp_path / "absent.yaml")


@pytest.mark.parametrize("name", bundled_calibrations())
def test_a_mapping_restores_the_same_calibration_through_json(name: str) -> None:
    calibration = load_calibration(gpu(name, "none"))
    assert Calibration.from_mapping(json.loads(json.dumps(calibration.to_mapping()))) == calibration


def test_a_mapping_with_a_missing_figure_is_refused() -> None:
    mapping = load_calibration(gpu()).to_mapping()
    figures = dict(mapping["figures"])  # type: ignore[call-overload]
    del figures["step_seconds"]
    with pytest.raises(CalibrationError, match=r"plan\.json: figures: step_seconds missing"):
        Calibration.from_mapping({"name": "x", "figures": figures}, where="plan.json")


def test_a_figure_and_its_provenance_change_together() -> None:
    calibration = load_calibration(gpu())
    adjusted = calibration.adjusted(kind="assumed", source="what if", scale_out_fraction=0.5)
    assert adjusted.scale_out_fraction == adjusted.figures["scale_out_fraction"].value == 0.5
    assert adjusted.figures["scale_out_fraction"].source == "what if"
    assert calibration.scale_out_fraction != 0.5
    with pytest.raises(CalibrationError, match=r"scale_out_fraction: 0\.5.*adjusted"):
        replace(calibration, scale_out_fraction=0.5)
