"""The development fit: its recipe follows the figures of today, and does what it says."""

from pathlib import Path

import pytest
import yaml

from costmodels.calibration import DATA, FIGURES, Calibration, Figure, bundled_calibration
from planner.calibrate.fit import summary
from planner.readers.published_rows import Row, read_rows
from tests.planner.calibrate.samples import steps_csv, truth
from tools.fit_system import follow, read_tables, report, write
from tools.system_recipe import HELD_OUT_BY, Recipe, RecipeError, load_recipe, meets

FIT = """
exclude:
  - {rows: [bad-*], reason: broken}
fits:
  - name: clocks
    calibrations: [h100]
    rows: [{source_id: [good, bad]}]
    figures: {gemm_sustained_fraction: {start: 0.8}, fp8_gemm_speedup: {start: 1.9}}
    hold_out: {by: model}
"""


def recipe(folder: Path, text: str = FIT) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path)


def rows(folder: Path, source: str, there: Calibration) -> list[Row]:
    return list(read_rows(steps_csv(folder / f"{source}.csv", there, source)))


def test_the_recipe_names_only_figures_and_calibrations_that_exist() -> None:
    """``load_recipe`` refuses others; what it reads is not empty."""
    found = load_recipe()
    assert len(found.fits) >= 5
    assert {p.figure for part in found.fits for p in part.parameters} <= set(FIGURES)
    for part in found.fits:
        base = {name: bundled_calibration(name) for name in part.calibrations}
        for parameter in part.parameters:
            parameter.check(base)
    assert found.exclusion("vtrain-single-0003")
    assert not found.exclusion("vtrain-multi-0003")


def test_a_known_clock_is_found_and_tested_on_models_left_out(tmp_path: Path) -> None:
    """Rows made with a clock of 0.70; excluded ones with the bundled 0.82."""
    good, bad = rows(tmp_path, "good", truth(gemm_sustained_fraction=0.7)), rows(tmp_path, "bad", truth())
    (done,) = follow(recipe(tmp_path), [*good, *bad])
    clock, fp8 = done.found.figures
    assert clock.new == pytest.approx(0.7, rel=0.01)
    assert not fp8.identified
    assert done.rows == 9
    unseen = summary(done.unseen)
    assert unseen.rows == 9
    assert unseen.mean is not None
    assert unseen.mean < 0.01
    text = report(done)
    assert "1 of 2 figures identified, 9 rows" in text
    assert "model=GPT 13B" in text
    assert "published" in done.source  # what tools.fit_kernels leaves alone
    assert "each model left out in turn" in done.source


def test_a_fit_starts_where_the_recipe_says_whatever_is_bundled(tmp_path: Path) -> None:
    """So that the same rows give the same figures again, and rows left out were seen by nothing."""
    made = rows(tmp_path, "good", truth(gemm_sustained_fraction=0.7))
    (done,) = follow(recipe(tmp_path), made)
    assert [f.old for f in done.found.figures] == [0.8, 1.9]
    (per_calibration,) = recipe(tmp_path, FIT.replace("{start: 1.9}", "{start: {h100: 1.7}}")).fits
    assert per_calibration.starts == {"h100": {"gemm_sustained_fraction": 0.8, "fp8_gemm_speedup": 1.7}}


def test_one_condition_can_be_held_out_instead(tmp_path: Path) -> None:
    text = FIT.replace("{by: model}", "{rows: {n_gpus: {from: 16}}}")
    (done,) = follow(recipe(tmp_path, text), rows(tmp_path, "good", truth(gemm_sustained_fraction=0.7)))
    assert summary(done.unseen).rows == 3  # one of each model
    assert "held out" in report(done)


def test_a_figure_may_be_shared_by_some_and_own_to_others(tmp_path: Path) -> None:
    text = FIT.replace("[h100]", "[h100, h200, b200]").replace(
        "gemm_sustained_fraction: {start: 0.8}", "gemm_sustained_fraction: {start: 0.8, shared: [h100, h200], low: 0.3}"
    )
    (part,) = recipe(tmp_path, text).fits
    clock = [p.calibrations for p in part.parameters if p.figure == "gemm_sustained_fraction"]
    assert clock == [("b200",), ("h100", "h200")]
    assert part.parameters[0].low == 0.3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gemm_sustained_fraction", "gemm_clock", "fits\\[0\\] \\(clocks\\): figures: 'gemm_clock': unknown"),
        ("[h100]", "[h1000]", "calibrations: 'h1000': unknown; known are a100"),
        ("by: model", "by: row_id", f"hold_out.by: 'row_id': unknown; known are {HELD_OUT_BY[0]}"),
        ("{by: model}", "{}", "either by: COLUMN or rows"),
        ("hold_out: {by: model}", "", "hold_out is missing"),
        (
            "fp8_gemm_speedup: {start: 1.9}",
            "fp8_gemm_speedup: {start: 1.9, most: 3}",
            "fp8_gemm_speedup: 'most': unknown",
        ),
        ("fp8_gemm_speedup: {start: 1.9}", "fp8_gemm_speedup: {}", "fp8_gemm_speedup: start is missing"),
        ("{start: 1.9}", "{start: {h200: 1.9}}", "fp8_gemm_speedup.start: .*write a number, or one for h100"),
        ("{source_id: [good, bad]}", "good", "rows: 'good': write a mapping"),
        ("{rows: [bad-*], reason: broken}", "{rows: [bad-*]}", "exclude\\[0\\]: reason is missing"),
        ("name: clocks", "name: clocks\n    measure: joules", "measure: 'joules'"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_with_place_and_remedy(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(tmp_path, FIT.replace(old, new))


def test_conditions_compare_numbers_dates_and_patterns(tmp_path: Path) -> None:
    row = rows(tmp_path, "good", truth())[2]
    for condition in (
        {"n_gpus": 16},
        {"n_gpus": [8, 16]},
        {"n_gpus": {"from": 9}},
        {"source_date": {"from": "2024-12", "to": "2025-01"}},
        {"model": {"like": "^gpt"}},
        {"calibration": "h100", "experts": False},
    ):
        assert meets(row, condition), condition
    for condition in (
        {"n_gpus": 8},
        {"n_gpus": {"to": 9}},
        {"source_date": {"from": "2025-02"}},
        {"absent": {"from": 1}},
    ):
        assert not meets(row, condition), condition


def test_no_rows_and_no_tables_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="clocks: no row"):
        follow(recipe(tmp_path), rows(tmp_path, "other", truth()))
    with pytest.raises(RecipeError, match="no tables"):
        read_tables(tmp_path / "empty")


def test_writing_replaces_the_fitted_figures_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "gb300.yaml").write_text((DATA / "gb300.yaml").read_text())
    before = yaml.safe_load((tmp_path / "gb300.yaml").read_text())
    changed = Figure(value=0.66, unit="fraction", kind="fitted", source="published, it says: 'so'")
    write("gb300", {"gemm_sustained_fraction": changed, "memory_fraction": changed}, tmp_path)
    after = yaml.safe_load((tmp_path / "gb300.yaml").read_text())
    assert after["name"] == before["name"]
    assert after["like"] == before["like"]
    for key, entry in before["figures"].items():
        if key != "gemm_sustained_fraction":
            assert after["figures"][key] == entry
    assert Figure(**after["figures"]["gemm_sustained_fraction"]) == changed
    assert Figure(**after["figures"]["memory_fraction"]) == changed
