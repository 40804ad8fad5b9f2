"""The names of the package are what they say, whatever was imported before."""

import subprocess
import sys
from pathlib import Path

import pytest

import planner


@pytest.mark.parametrize(
    "before", ["", "import planner.solve, planner.predict, planner.validate", "import planner.cli.solve"]
)
def test_functions_are_not_hidden_by_the_modules_they_live_in(before: str) -> None:
    script = f"{before}\nfrom planner import SolveOptions, Prediction, Finding, solve, predict, validate\n"
    script += "print(*(type(name).__name__ for name in (solve, predict, validate)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["function"] * 3


def test_every_public_name_can_be_imported() -> None:
    assert all(getattr(planner, name).__name__ == name for name in planner.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        planner.nothing  # noqa: B018
