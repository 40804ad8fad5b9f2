"""A small job that every command can work on: Llama-3.1-8B on one node of eight H100s."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli.main import group

JOB = ["dgx-h100-1", "--model", "llama-3.1-8b", "--global-batch", "64", "--seq-len", "4096"]

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def run() -> Run:
    """``plan ARGUMENTS``: its exit code, stdout and stderr."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(group, [str(a) for a in arguments], prog_name="plan")

    return call


@pytest.fixture(scope="session")
def solved(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """The job solved once: the command's result and the plan file it wrote."""
    path = tmp_path_factory.mktemp("solved") / "plan.json"
    return run("solve", *JOB, "-o", path), path


@pytest.fixture(scope="session")
def job() -> list[str]:
    """CLUSTER --model --global-batch --seq-len."""
    return JOB
