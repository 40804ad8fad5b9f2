"""The commands that look around: doctor, schema, completion, cases."""

import json

import pytest

from planner.cli import doctor
from tests.planner.cli.conftest import Run


def test_doctor_lists_versions_of_this_environment(run: Run) -> None:
    from importlib.metadata import version

    found = json.loads(run("doctor", "--json").stdout)
    assert {p["name"]: p["version"] for p in found["packages"]}["numpy"] == version("numpy")


def test_doctor_names_the_clash_of_highspy_and_ortools(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda name: "1.0")
    result = run("doctor")
    assert result.exit_code == 1
    assert "pip uninstall highspy" in result.stdout


def test_doctor_names_what_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed", lambda name: None if name == "numpy" else "1.0")
    assert "numpy is missing: pip install numpy" in run("doctor").stdout


@pytest.mark.parametrize("what", ["cluster", "model", "job", "plan"])
def test_schemas_are_valid_json_schema(run: Run, what: str) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(json.loads(run("schema", what).stdout))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_calls_plan(run: Run, shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_PLAN_COMPLETE" in result.stdout


def test_cases_are_listed_and_run(run: Run) -> None:
    cases = json.loads(run("cases", "list", "--json").stdout)["cases"]
    assert len(cases) >= 8
    listed = run("cases", "list").stdout
    assert all(case["name"] in listed for case in cases)
    small = min((case for case in cases if case["expect"] == "feasible"), key=lambda case: case["gpus"])
    (found,) = json.loads(run("cases", "run", small["name"], "--json").stdout)
    assert (found["status"], found["as_expected"]) == ("optimal", True)
    assert small["name"] in run("cases", "run", small["name"]).stdout


def test_an_unknown_case_names_the_nearest(run: Run) -> None:
    name = json.loads(run("cases", "list", "--json").stdout)["cases"][0]["name"]
    result = run("cases", "run", name[:-1])
    assert result.exit_code == 2
    assert f"Did you mean '{name}'?" in result.stderr
