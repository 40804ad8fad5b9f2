"""The group itself: help, unknown commands, failures, pipes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.main import COMMANDS, group
from tests.planner.cli.conftest import Run

HERE = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
PLAN = [sys.executable, "-c", "from planner.cli.main import main; main()"]


def test_help_lists_every_command_and_each_command_has_help(run: Run) -> None:
    listed = run("--help").stdout
    for name, about in COMMANDS.items():
        assert name in listed
        result = run(name, "--help")
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Usage: plan {name}")
        assert about.split()[0] in listed


def test_short_help_of_the_group_is_that_of_the_commands() -> None:
    """Written twice so that help needs no import; the two must agree."""
    import click

    for name, about in COMMANDS.items():
        command = group.get_command(click.Context(group), name)
        assert command is not None
        assert command.short_help == about


@pytest.mark.parametrize("command", ["schedule", "experts", "skip", "map", "import_"])
def test_help_of_a_command_loads_no_arrays_models_or_solvers(command: str) -> None:
    """What makes ``--help`` slow is what it imports."""
    code = (
        f"import sys, planner.cli.{command}; "
        "print([name for name in ('numpy', 'pydantic', 'ortools', 'scipy', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=HERE, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_unknown_command_names_the_nearest(run: Run) -> None:
    result = run("sovle")
    assert result.exit_code == 2
    assert "Did you mean 'solve'?" in result.stderr


@pytest.mark.parametrize(("command", "code"), [("explain", 1), ("diff", 1), ("validate", 2)])
def test_a_missing_plan_is_named_without_a_traceback(run: Run, command: str, code: int) -> None:
    files = ["no-such-plan.json"] * (2 if command == "diff" else 1)
    result = run(command, *files)
    assert result.exit_code == code
    assert "no-such-plan.json" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_fault_of_ours_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("planner.cli.doctor.diagnose", broken)
    result = CliRunner().invoke(group, ["doctor"])
    assert result.exit_code == 1
    assert "internal error: ZeroDivisionError: oops" in result.stderr


def test_a_closed_pipe_is_quiet() -> None:
    piped = subprocess.Popen([*PLAN, "schema", "plan"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=HERE)
    assert piped.stdout is not None
    assert piped.stderr is not None
    piped.stdout.close()
    assert piped.stderr.read() == b""
    piped.stderr.close()
    piped.wait()


def test_a_process_of_its_own_exits_with_the_code_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{")
    done = subprocess.run(
        [*PLAN, "validate", "plan.json"], cwd=tmp_path, env=HERE, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "plan.json" in done.stderr
    assert done.stdout == ""
