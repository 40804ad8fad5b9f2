"""``plan schedule``: summary, JSON, exit codes."""

import json
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from costmodels.timeline import SCHEDULES
from planner.cli.progress import Line
from planner.cli.schedule import NAMES
from planner.specs.pipeline import BEST
from tests.planner.cli.conftest import Run

SCHEDULING = import_module("planner.schedule")

EXAMPLE = """
devices: 4
microbatches: 8
forward_seconds: 10
input_grad_seconds: 10
weight_grad_seconds: 10
memory_cap: 4
"""


HARD = """
devices: 8
microbatches: 16
forward_seconds: 10
input_grad_seconds: 10
weight_grad_seconds: 10
memory_cap: 4
"""
"""Open: nobody has closed its gap; the published zero-bubble heuristic takes 1670."""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "four.yaml"
    path.write_text(EXAMPLE)
    return path


def test_a_proven_schedule_exits_with_0_and_shows_what_to_act_on(
    run: Run, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """270 is the optimum of this pipeline; 1f1b takes 330, 22.22 % more."""
    monkeypatch.setenv("COLUMNS", "120")  # room for the chart
    result = run("schedule", example)
    assert result.exit_code == 0, result.stderr
    assert "four: 4 chunks on 4 devices, 8 micro-batches, memory cap 4; best schedule" in result.stdout
    assert "Makespan       270" in result.stdout
    assert "optimal: makespan 270, no schedule below 270, gap 0.00 %" in result.stdout
    assert "1f1b                 330   330     4  +22.22 %" in result.stdout
    assert "does not fit: keeps 8 alive on device 0" in result.stdout
    assert "not zb-v, v-half, v-min: has 2 chunks on each device, not 4 on 4" in result.stdout
    assert " 3  .........F0-I0-F1-" in result.stdout


def test_json_carries_the_contract_and_is_the_written_file(run: Run, example: Path, tmp_path: Path) -> None:
    result = run("schedule", example, "--schedule", "zb-h1", "--json", "-o", tmp_path / "out.json")
    assert result.exit_code == 0
    assert result.stdout == (tmp_path / "out.json").read_text()
    assert f"Schedule written to {tmp_path / 'out.json'}" in result.stderr
    found = json.loads(result.stdout)
    for key in ("status", "value", "lower_bound", "gap", "seconds", "seed"):
        assert key in found
    assert (found["makespan_seconds"], found["span_seconds"], len(found["peak_activation"])) == (270, 270, 4)
    assert found["operations"][1][0] == {"op": "F", "chunk": 1, "microbatch": 0, "start": 10.0, "end": 20.0}
    assert [one["name"] for one in found["baselines"]] == list(SCHEDULES)


def test_the_trace_has_every_operation_where_it_runs(run: Run, example: Path, tmp_path: Path) -> None:
    run("schedule", example, "--schedule", "1f1b", "--trace", tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    found = [(e["pid"], e["name"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert len(found) == 4 * 8 * 2
    assert (1, "F0", 10e6, 10e6) in found
    assert (3, "B0", 40e6, 20e6) in found  # behind four forwards


def test_the_file_names_the_schedule_and_the_option_stands_before_it(run: Run, example: Path) -> None:
    example.write_text(EXAMPLE + "schedule: 1f1b\n")
    assert json.loads(run("schedule", example, "--json").stdout)["value"] == 330
    assert json.loads(run("schedule", example, "--json", "--schedule", "zb-h1").stdout)["value"] == 270


def test_a_named_schedule_that_does_not_fit_exits_with_4(run: Run, example: Path) -> None:
    result = run("schedule", example, "--schedule", "gpipe")
    assert result.exit_code == 4
    assert "infeasible: gpipe keeps 8 alive on device 0, its memory_cap is 4: 4 short" in result.stdout
    found = json.loads(run("schedule", example, "--schedule", "gpipe", "--json").stdout)
    assert (found["status"], found["value"], found["shortfall"]) == ("infeasible", None, 4)


def test_a_cap_below_one_micro_batch_exits_with_4(run: Run, example: Path) -> None:
    example.write_text(EXAMPLE.replace("memory_cap: 4", "memory_cap: 0.75"))
    result = run("schedule", example)
    assert result.exit_code == 4
    assert "device 0 keeps 1 alive for one micro-batch alone, its memory_cap is 0.75: 0.25 short" in result.stdout


def test_a_schedule_that_does_not_suit_names_file_key_and_value(run: Run, example: Path) -> None:
    result = run("schedule", example, "--schedule", "v-half")
    assert result.exit_code == 1
    assert f"error: {example}: schedule: 'v-half': v-half has 2 chunks on each device, not 4 on 4" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--schedule", "2f2b"], 2, "'2f2b' is not one of"),
        (["--time-limit", "0"], 2, "--time-limit"),
        (["--seed", "-1"], 2, "--seed"),
        (["-o", "/no/such/folder/out.json"], 1, "/no/such/folder/out.json: No such file"),
    ],
)
def test_wrong_usage(run: Run, example: Path, arguments: list[str], code: int, said: str) -> None:
    result = run("schedule", example, *arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""


def test_a_wrong_file_is_named_with_all_that_is_wrong(run: Run, example: Path) -> None:
    example.write_text("devices: 4\nmicrobatch: 8\nforward_seconds: -1\n")
    result = run("schedule", example)
    assert result.exit_code == 1
    assert f"{example}:2: microbatch: unknown key; did you mean 'microbatches'?" in result.stderr
    assert f"{example}:3: forward_seconds: -1: must be" in result.stderr
    assert "input_grad_seconds: missing" in result.stderr
    assert run("schedule", example.with_name("none.yaml")).exit_code == 1


def test_an_unproven_schedule_exits_with_3(run: Run, example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    solve = SCHEDULING.solve_schedule

    def unproven(*arguments: Any, **keywords: Any) -> Any:
        found = solve(*arguments, **keywords)
        return replace(found, lower_bound=found.value / 2, status="feasible", stop="time_limit")

    monkeypatch.setattr(SCHEDULING, "solve_schedule", unproven)
    result = run("schedule", example)
    assert result.exit_code == 3
    assert "feasible: makespan 270, no schedule below 135, gap 50.00 %" in result.stdout
    assert "ended by the time limit" in result.stdout


def test_an_interrupt_before_the_search_ends_at_once(run: Run, example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SCHEDULING, "named_schedule", lambda *arguments: signal.raise_signal(signal.SIGINT))
    result = run("schedule", example)
    assert (result.exit_code, result.stdout) == (130, "")


def test_an_interrupt_during_the_search_shows_the_best_so_far(
    run: Run, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C arrives while the search tells its progress."""
    told: list[str] = []

    def interrupted(self: Line, text: str) -> None:
        told.append(text)
        if len(told) == 2:  # the first is from before the search
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Line, "show", interrupted)
    example.write_text(HARD)
    result = run("schedule", example, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"], found["stop"]) == (3, "feasible", "interrupted")
    assert found["lower_bound"] <= found["value"] <= 1670


def test_an_interrupt_after_the_search_does_not_lose_the_schedule(
    run: Run, example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = SCHEDULING.check_schedule

    def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return check(*arguments)

    monkeypatch.setattr(SCHEDULING, "check_schedule", interrupted)
    result = run("schedule", example, "--schedule", "1f1b", "-o", tmp_path / "out.json")
    assert result.exit_code == 0
    assert "finishing the schedule" in result.stderr
    assert json.loads((tmp_path / "out.json").read_text())["value"] == 330


def test_the_options_names_are_all_there_are() -> None:
    """Written twice so that help needs no import; the two must agree."""
    assert list(NAMES) == [BEST, *SCHEDULES]
