"""``plan skip``: summary, JSON, exit codes, exports, the curve."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from planner.cli.exit_codes import EXIT_CODES
from planner.cli.skip_summary import ENDED
from tests.planner.cli.conftest import Run
from tests.planner.skip_schedules import CHAIN, GROUPS

QUICK = ("--time-limit", "2")
CONTRACT = ("status", "value", "lower_bound", "gap", "seconds", "seed")


def written(folder: Path, given: dict[str, Any], name: str = "small.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(given))
    return path


def test_the_summary_shows_what_to_act_on(run: Run, tmp_path: Path) -> None:
    result = run("skip", written(tmp_path, CHAIN), *QUICK)
    assert result.exit_code in (0, 3), result.stderr
    assert "small: 4 micro-batches over 4 stages on 4 nodes, 3 stages each (25.00 % skipped)" in result.stdout
    assert "profile forced-ends" in result.stdout
    assert "s for the same paths, first in, first out" in result.stdout
    assert "Bound over     this arrangement of the nodes, every set of paths that the rules allow" in result.stdout
    assert "full pipeline" in result.stdout
    assert "greedy" in result.stdout


def test_json_carries_the_contract_and_is_the_written_file(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = run("skip", written(tmp_path, GROUPS), *QUICK, "--json", "-o", out, "--seed", 5)
    assert result.exit_code in (0, 3)
    assert result.stdout == out.read_text()
    assert f"Schedule written to {out}" in result.stderr
    found = json.loads(result.stdout)
    assert set(CONTRACT) <= set(found)
    assert EXIT_CODES[found["status"]] == result.exit_code
    assert (found["seed"], found["micro_batches"], len(found["paths"])) == (5, 4, 4)
    assert [len(held) for held in found["partitions"]] == GROUPS["group_sizes"]
    assert {op["op"] for row in found["order"] for op in row} == {"F", "L", "B"}
    assert found["value"] == found["makespan_seconds"] == max(op["end"] for row in found["order"] for op in row)
    assert found["full_pipeline_makespan_seconds"] > 0
    assert found["greedy_makespan_seconds"] >= found["makespan_seconds"] - 1e-9


def test_a_short_file_needs_its_sizes_from_the_command_line(run: Run, tmp_path: Path) -> None:
    short = {key: value for key, value in CHAIN.items() if key not in ("micro_batches", "path_length")}
    path = written(tmp_path, short)
    result = run("skip", path)
    assert result.exit_code == 1
    assert "missing: stages that a micro-batch runs; --path-length K" in result.stderr
    assert "missing: --micro-batches M" in result.stderr
    result = run("skip", path, "--micro-batches", 2, "--path-length", 2, *QUICK, "--json")
    assert json.loads(result.stdout)["paths"] == [[0, 3], [0, 3]]


def test_outliers_are_warned_about_and_told_apart_by_use(run: Run, tmp_path: Path) -> None:
    given = {
        "profile": "forced-ends",
        "nodes": ["NL", "London", "Belgium"],
        "network": "gcp12",
        "msg_bytes": "32 MiB",
        "fixed_overhead_s": "350 ms",
        "fwd_time_s": 1.76,
        "path_length": 3,
        "micro_batches": 1,
    }
    result = run("skip", written(tmp_path, given), *QUICK, "--json")
    assert "warning: link NL - London (nodes 0 to 1, 1 to 0) takes 132.3 s a message" in result.stderr
    found = json.loads(result.stdout)
    # by hand: 2 x 132.31 s between NL and London, 2 x 0.4824 on to Belgium, 3 x (1.76 + 2.64) of work
    assert found["makespan_seconds"] == pytest.approx(2 * (132.3136 + 0.4824) + 3 * 4.4, abs=1e-3)
    assert [one["used"] for one in found["outlier_links"]] == [True, True]


def test_the_curve_as_table_json_and_picture(run: Run, tmp_path: Path) -> None:
    path, plot = written(tmp_path, CHAIN), tmp_path / "curve.svg"
    result = run("skip", path, *QUICK, "--curve", "--plot", plot)
    assert result.exit_code in (0, 3)
    rows = [line.split() for line in result.stdout.splitlines()[-3:]]
    assert [(row[0], row[2]) for row in rows] == [("0.00", "4"), ("25.00", "3"), ("50.00", "2")]
    picture = plot.read_text()
    assert picture.startswith("<svg")
    assert picture.count("<circle") == 8  # planned and bound at three ratios, greedy where something is skipped
    found = json.loads(run("skip", path, *QUICK, "--curve", "--json").stdout)
    assert [point["path_length"] for point in found["curve"]] == [4, 3, 2]


def test_the_curve_needs_no_path_length_and_a_plot_needs_the_curve(run: Run, tmp_path: Path) -> None:
    short = {key: value for key, value in CHAIN.items() if key != "path_length"}
    path = written(tmp_path, short)
    found = json.loads(run("skip", path, *QUICK, "--curve", "--json").stdout)
    assert (found["path_length"], len(found["curve"])) == (4, 3)
    assert run("skip", path, "--plot", tmp_path / "x.svg").exit_code == 2
    assert run("skip", path, "--curve", "--plot", tmp_path / "x.png").exit_code == 2


def test_survival_is_reported(run: Run, tmp_path: Path) -> None:
    result = run("skip", written(tmp_path, GROUPS), *QUICK, "--survive-one-failure")
    assert "One failure    survived:" in result.stdout
    assert "for each of 6 losses" in result.stdout
    result = run("skip", written(tmp_path, CHAIN), *QUICK, "--survive-one-failure")
    assert result.exit_code == 4
    assert "infeasible: the loss of node 0 (0) is not survived" in result.stdout


def test_exports_are_written_or_refused_by_name(run: Run, tmp_path: Path) -> None:
    path, out = written(tmp_path, GROUPS), tmp_path / "schedule.json"
    result = run("skip", path, *QUICK, "--export", "skippipe", "-o", out)
    assert result.exit_code in (0, 3), result.stderr
    assert json.loads(out.read_text())["ours-sends"] == 2
    trace = tmp_path / "trace.json"
    result = run("skip", path, *QUICK, "--export", "chrome-trace", "-o", trace)
    assert result.exit_code in (0, 3), result.stderr
    # 4 micro-batches, each 3 F, an L and 3 B
    assert sum(event["ph"] == "X" for event in json.loads(trace.read_text())["traceEvents"]) == 4 * 7
    result = run("skip", path, *QUICK, "--export", "megatron", "-o", tmp_path / "args")
    assert result.exit_code == 1
    assert "refused: megatron cannot express this schedule" in result.stderr
    assert "Megatron-LM sends every micro-batch through all 4 stages" in result.stderr
    assert not (tmp_path / "args").exists()
    assert run("skip", path, "--export", "skippipe").exit_code == 2


def test_what_is_wrong_with_a_file_is_said_at_once(run: Run, tmp_path: Path) -> None:
    result = run("skip", written(tmp_path, CHAIN | {"fwd_time_s": [1], "memory_per_node": [1]}))
    assert result.exit_code == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 2
    assert all("small.json: " in line and "for 4 nodes: give one for all, or 4" in line for line in lines)


def test_an_infeasible_memory_exits_with_4(run: Run, tmp_path: Path) -> None:
    result = run("skip", written(tmp_path, GROUPS | {"memory_per_node": 1}), *QUICK, "--keep-arrangement")
    assert result.exit_code == 4
    assert "infeasible:" in result.stdout


def test_every_way_to_end_has_words() -> None:
    from typing import get_args

    from solvers.solution import Stop

    assert set(ENDED) == set(get_args(Stop))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_with_the_best_so_far(tmp_path: Path) -> None:
    from solvers.skip.readiness import ready

    ready()  # compiled and on disk, so that the signal finds a search
    path = written(tmp_path, CHAIN | {"micro_batches": 64, "memory_per_node": 4})
    code = "from planner.cli.main import main; main()"
    arguments = [sys.executable, "-c", code, "skip", str(path), "--time-limit", "120", "--json"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(8)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    found = json.loads(out)
    assert process.returncode == EXIT_CODES[found["status"]], error
    assert found["value"] is not None
    assert found["seconds"] < 60
