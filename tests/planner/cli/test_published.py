"""``plan cases run published``."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.planner.cli.conftest import Run

SOURCE = ("cases", "run", "published", "--source", "simumax-b200")
"""14 rows, all with seconds and bytes."""


def test_the_report_has_scores_parts_verdicts_and_the_worst_rows(run: Run) -> None:
    result = run(*SOURCE, "--worst", 2)
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["simumax-b200", "14", "14", "0", "14"] in [line[:5] for line in lines]
    assert any(line[:3] == ["SimuMax", "B200", "dense"] for line in lines)
    worst = next(i for i, line in enumerate(lines) if line[:1] == ["worst"])
    assert all(line[0].startswith("simumax-b200-") for line in lines[worst + 1 :])
    assert len(lines) - worst - 1 == 2


def test_the_csv_file_has_every_row_with_its_errors(run: Run, tmp_path: Path) -> None:
    assert run(*SOURCE, "-o", tmp_path / "rows.csv").exit_code == 0
    rows = list(csv.DictReader((tmp_path / "rows.csv").open()))
    assert len(rows) == 14
    for row in rows:
        error = float(row["predicted_step_time_s"]) / float(row["step_time_s"]) - 1
        assert float(row["time_error"]) == pytest.approx(error, abs=1e-4)
        assert row["source_ref"].startswith("MooreThreads/SimuMax")


def test_json_has_the_same_figures_as_the_csv_file(run: Run, tmp_path: Path) -> None:
    result = run(*SOURCE, "--json", "-o", tmp_path / "rows.csv")
    found = json.loads(result.stdout)
    errors = [abs(float(row["time_error"])) for row in csv.DictReader((tmp_path / "rows.csv").open())]
    assert found["total"]["scored"]["time"]["mean"] == pytest.approx(sum(errors) / 14, rel=1e-4)
    assert found["worst"][0]["row_id"].startswith("simumax")
    assert {part["name"] for part in found["groups"]} == {f"SimuMax B200 {kind}" for kind in ("dense", "MoE", "CP")}


def test_the_plot_has_a_point_for_each_figure(run: Run, tmp_path: Path) -> None:
    assert run(*SOURCE, "--plot", tmp_path / "plot.svg").exit_code == 0
    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    assert len(list(root.iter("{http://www.w3.org/2000/svg}title"))) == 28


def test_markdown_is_a_table_of_the_parts(run: Run) -> None:
    lines = run(*SOURCE, "--markdown").stdout.splitlines()
    assert lines[0].startswith("| published runs |")
    assert sum(line.startswith("| SimuMax B200") for line in lines) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("published", "--source", "simumax"), "did you mean 'simumax-b200'"),
        (("published", "--plot", "plot.gif"), "FILE.svg"),
        (("published", "--worst", "-1"), "--worst"),
        (("published", "--time-limit", "3"), "--time-limit"),
        (("published", "--json", "--markdown"), "exclude each other"),
        (("published", "llama3-8b-8-h100"), "stands alone"),
        (("llama3-8b-8-h100", "--markdown"), "published"),
        (("llama3-8b-8-h100", "--source", "dgxc"), "published"),
    ],
)
def test_wrong_usage_exits_with_2_before_any_work(run: Run, arguments: tuple[str, ...], said: str) -> None:
    result = run("cases", "run", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_file_that_cannot_be_written_or_read_exits_with_1(run: Run, tmp_path: Path) -> None:
    assert run(*SOURCE, "-o", tmp_path / "none" / "rows.csv").exit_code == 1
    assert run(*SOURCE, "--calibration", tmp_path / "none.yaml").exit_code == 1


def test_a_calibration_changes_the_predictions(run: Run, tmp_path: Path) -> None:
    """Twice the sustained clock is faster: every step time is predicted shorter."""
    figure = "{value: 1.0, unit: fraction, kind: assumed, source: test}"
    (tmp_path / "fast.yaml").write_text(f"name: fast\nfigures:\n  gemm_sustained_fraction: {figure}\n")
    before, after = (
        json.loads(run(*SOURCE, "--json", *more).stdout)["total"]["scored"]["time"]["bias"]
        for more in ((), ("--calibration", str(tmp_path / "fast.yaml")))
    )
    assert after < before
