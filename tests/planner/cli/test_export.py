"""``plan export``: where files go, and what a refusal looks like."""

import json
from pathlib import Path

import pytest

from planner.exports import TARGETS, export
from planner.plan import Plan, with_hosts
from tests.planner.cli.conftest import Run
from tests.planner.exports import plans


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plans.llama_plan()


@pytest.fixture
def path(plan: Plan, tmp_path: Path) -> Path:
    file = tmp_path / "plan.json"
    plan.save(file)
    return file


def test_the_first_file_goes_to_stdout_and_the_others_are_named(run: Run, path: Path, plan: Plan) -> None:
    result = run("export", path, "--to", "megatron")
    assert (result.exit_code, result.stdout) == (0, export(plan, "megatron")["megatron.args"])
    assert "megatron.json" in result.stderr


def test_several_files_go_to_a_folder(run: Run, path: Path, plan: Plan, tmp_path: Path) -> None:
    result = run("export", path, "--to", "megatron", "-o", tmp_path / "new" / "folder")
    assert (result.exit_code, result.stdout) == (0, "")
    written = {file.name: file.read_text() for file in (tmp_path / "new" / "folder").iterdir()}
    assert written == export(plan, "megatron")


def test_a_single_file_goes_where_it_is_told(run: Run, path: Path, plan: Plan, tmp_path: Path) -> None:
    assert run("export", path, "--to", "torch-csv", "-o", tmp_path / "order.csv").exit_code == 0
    assert (tmp_path / "order.csv").read_text() == export(plan, "torch-csv")["schedule.csv"]
    assert run("export", path, "--to", "torch-csv", "-o", tmp_path).exit_code == 0
    assert (tmp_path / "schedule.csv").read_text() == export(plan, "torch-csv")["schedule.csv"]


def test_a_refusal_names_every_reason_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    plans.llama_plan(zero=3, recompute="full/2").save(tmp_path / "plan.json")
    result = run("export", tmp_path / "plan.json", "--to", "megatron", "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "zero=3" in result.stderr
    assert "recompute=full/2" in result.stderr
    assert not (tmp_path / "out").exists()


def test_json_holds_files_or_reasons(run: Run, path: Path, plan: Plan) -> None:
    found = run("export", path, "--to", "torch-csv", "--json")
    assert json.loads(found.stdout) == {"target": "torch-csv", "files": export(plan, "torch-csv"), "refused": []}
    refused = run("export", path, "--to", "torchtitan", "--json")
    assert refused.exit_code == 1
    document = json.loads(refused.stdout)
    assert (document["files"], len(document["refused"])) == ({}, 1)


def test_an_unknown_target_names_the_nearest(run: Run, path: Path) -> None:
    result = run("export", path, "--to", "torchtitn")
    assert result.exit_code == 2
    assert "did you mean 'torchtitan'?" in result.stderr


def test_help_lists_every_target(run: Run) -> None:
    text = run("export", "--help").stdout
    assert all(name in text for name in TARGETS)


def test_a_missing_plan_is_an_error_without_a_traceback(run: Run, tmp_path: Path) -> None:
    result = run("export", tmp_path / "none.json", "--to", "megatron")
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_names_of_hosts_are_given_where_the_plan_has_none(run: Run, path: Path, plan: Plan, tmp_path: Path) -> None:
    named = with_hosts(plan, "n[1-8]")
    assert run("export", path, "--to", "hostfile", "--hosts", "n[1-8]").stdout == export(named, "hostfile")["hostfile"]
    few = run("export", path, "--to", "hostfile", "--hosts", "n[1-7]")
    assert (few.exit_code, "names each of the 8 nodes once; here: 7 names" in few.stderr) == (2, True)
    wrong = run("export", path, "--to", "hostfile", "--hosts", "n[1-")
    assert (wrong.exit_code, "--hosts" in wrong.stderr) == (2, True)
    named.save(tmp_path / "named.json")
    again = run("export", tmp_path / "named.json", "--to", "hostfile", "--hosts", "n[1-8]")
    assert (again.exit_code, "the plan names its hosts" in again.stderr) == (2, True)
    assert run("export", tmp_path / "named.json", "--to", "hostfile").exit_code == 0
