"""Who may import whom, and what the command line may cost to start."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}
HEAVY = ("numpy", "pydantic", "yaml", "ortools", "scipy", "costmodels", "solvers", "planner.specs", "planner.solve")


def test_the_import_contracts_hold() -> None:
    """The contracts of pyproject.toml, checked by import-linter in a process of its own."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_the_command_line_starts_without_anything_heavy(arguments: list[str]) -> None:
    code = (
        "import json, sys\n"
        "from planner.cli.main import group\n"
        f"group({arguments!r}, standalone_mode=False)\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=HERE, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "click" in loaded
    assert [name for name in loaded if name.startswith(HEAVY)] == []
