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


@pytest.mark.parametrize("what", ["cluster", "model", "job", "plan", "schedule", "experts", "skip", "map"])
def test_schemas_are_valid_json_schema(run: Run, what: str) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(json.loads(run("schema", what).stdout))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_calls_plan(run: Run, shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_PLAN_COMPLETE" in result.stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("plan so", "solve"),
        ("plan solve dgx-h100-25", "dgx-h100-256"),
        ("plan predict x --model llama-3.1-40", "llama-3.1-405b"),
        ("plan cases run deepseek-v3-2", "deepseek-v3-2048-h100"),
    ],
)
def test_names_are_completed(words: str, wanted: str) -> None:
    from click.shell_completion import BashComplete

    from planner.cli.main import group

    *before, last = words.split()[1:]
    found = BashComplete(group, {}, "plan", "_PLAN_COMPLETE").get_completions(before, last)
    assert [item.value for item in found] == [wanted]


def test_cases_are_listed_and_run(run: Run) -> None:
    cases = json.loads(run("cases", "list", "--json").stdout)["cases"]
    assert len(cases) >= 8
    listed = run("cases", "list").stdout
    assert all(case["name"] in listed for case in cases)
    small = min((case for case in cases if case["expect"] == "feasible"), key=lambda case: case["gpus"])
    (found,) = json.loads(run("cases", "run", small["name"], "--json").stdout)
    assert (found["status"], found["as_expected"]) == ("optimal", True)
    assert small["name"] in run("cases", "run", small["name"]).stdout


def test_an_unexpected_case_exits_with_1_and_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import cases

    (case,) = (case for case in cases.list_cases() if case["expect"] == "infeasible")
    assert run("cases", "run", case["name"]).exit_code == 0
    monkeypatch.setattr(cases, "list_cases", lambda: [case | {"expect": "feasible"}])
    result = run("cases", "run", case["name"])
    assert result.exit_code == 1
    assert f"not as expected: {case['name']}" in result.stderr


def test_an_unknown_case_names_the_nearest(run: Run) -> None:
    name = json.loads(run("cases", "list", "--json").stdout)["cases"][0]["name"]
    result = run("cases", "run", name[:-1])
    assert result.exit_code == 2
    assert f"Did you mean '{name}'?" in result.stderr
