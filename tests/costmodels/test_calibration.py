"""Calibration files: bundled ones load, users' ones override, faulty ones are refused by name."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels.calibration import (
    FIGURES,
    Calibration,
    CalibrationError,
    Figure,
    Residuals,
    bundled_calibration,
    bundled_calibrations,
    bundled_name,
    calibration_text,
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


WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1)


@given(
    name=WORDS,
    source=WORDS,
    values=st.dictionaries(st.sampled_from(FIGURES), st.floats(1e-9, 1e12), max_size=5),
    residuals=st.none() | st.builds(Residuals, seconds_p80=st.floats(0, 1e3), rows=st.integers(1, 10**6)),
)
def test_a_written_file_reloads_to_the_same_figures_and_residuals(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    source: str,
    values: dict[str, float],
    residuals: Residuals | None,
) -> None:
    base = load_calibration(gpu())
    changed = {k: Figure(value=v, unit=base.figures[k].unit, kind="fitted", source=source) for k, v in values.items()}
    path = tmp_path_factory.mktemp("written") / "ours.yaml"
    path.write_text(calibration_text(name, changed, residuals), encoding="utf-8")
    found = load_calibration(gpu(), path)
    assert (found.name, found.residuals) == (name, residuals)
    assert found.figures == {**base.figures, **changed}
    assert Calibration.from_mapping(json.loads(json.dumps(found.to_mapping()))) == found


def test_an_unknown_figure_is_not_written() -> None:
    figure = Figure(value=1.0, unit="factor", kind="fitted", source="s")
    with pytest.raises(CalibrationError, match="gemm_clock: unknown figure"):
        calibration_text("ours", {"gemm_clock": figure})


@pytest.mark.parametrize(
    ("residuals", "message"),
    [
        ("3", "residuals: 3: write"),
        ("{rows: 3}", "residuals.seconds_p80: None"),
        ("{seconds_p80: -0.1, rows: 3}", "residuals.seconds_p80: -0.1"),
        ("{seconds_p80: 0.1, rows: 0}", "residuals.rows: 0"),
        ("{seconds_p80: 0.1, rows: 2.5}", "residuals.rows: 2.5"),
        ("{seconds_p80: 0.1, rows: 2, p99: 1}", "residuals: p99: unknown key"),
    ],
)
def test_faulty_residuals_are_refused_with_file_key_and_value(tmp_path: Path, residuals: str, message: str) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(f"name: ours\nfigures: {{}}\nresiduals: {residuals}\n")
    with pytest.raises(CalibrationError, match=f"ours.yaml.*{message}"):
        load_calibration(gpu(), path)


def test_residuals_are_those_of_the_figures_as_they_were_fitted(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text("name: ours\nfigures: {}\nresiduals: {seconds_p80: 0.03, rows: 12}\n")
    found = load_calibration(gpu(), path)
    assert found.residuals == Residuals(seconds_p80=0.03, rows=12)
    assert found.adjusted(kind="assumed", source="what if", step_seconds=1.0).residuals is None


def test_the_bundled_figures_of_a_gpu_depend_on_its_software() -> None:
    assert bundled_name(gpu(), "megatron") == "h100"
    assert bundled_name(gpu(), "pytorch") == "h100-pytorch"
    assert bundled_name(gpu("h20", "hopper")) == "hopper"
    assert bundled_name(gpu("tpu-v5", "tensorcore")) is None
    assert bundled_calibration("h100") == load_calibration(gpu())
    with pytest.raises(CalibrationError, match=r"h20: no bundled calibration; known are a100"):
        bundled_calibration("h20")
