"""Findings for people, for scripts and for the services that annotate changes."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from planner.validate import STYLES, Finding, render

FINDINGS = [
    Finding(
        rule="memory.fits",
        severity="error",
        path="/stages/0/memory/peak_bytes",
        message="over by 5 %\nof the capacity",
        expected="1.0",
        found="2.0",
    ),
    Finding(rule="schema", severity="error", path="", message="missing <key> & value\x00"),
]


def test_text_has_a_line_a_finding_and_a_count() -> None:
    assert render(FINDINGS[1:], "text", "p.json").splitlines()[-1] == "1 finding"
    text = render(FINDINGS, "text", "p.json")
    assert text.startswith("p.json:/stages/0/memory/peak_bytes: memory.fits: over by 5 %")
    assert "expected 1.0, found 2.0" in text
    assert render([], "text", "p.json") == "p.json: no findings\n"


def test_json_keeps_every_field() -> None:
    document = json.loads(render(FINDINGS, "json", Path("p.json")))
    assert document["file"] == "p.json"
    assert [Finding(**entry) for entry in document["findings"]] == FINDINGS


def test_github_commands_escape_what_the_format_reserves() -> None:
    lines = render(FINDINGS, "github", "a,b:c.json").splitlines()
    assert lines[0] == (
        "::error file=a%2Cb%3Ac.json,title=memory.fits::/stages/0/memory/peak_bytes: "
        "over by 5 %25%0Aof the capacity; expected 1.0, found 2.0"
    )
    assert len(lines) == 2
    assert render([], "github") == ""


def test_sarif_has_the_members_the_standard_requires() -> None:
    """OASIS SARIF 2.1.0: version, runs, tool.driver.name; results refer to rules by index."""
    document = json.loads(render(FINDINGS, "sarif", "p.json"))
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result, finding in zip(run["results"], FINDINGS, strict=True):
        assert rules[result["ruleIndex"]] == result["ruleId"] == finding.rule
        assert result["message"]["text"].startswith(finding.message)
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "p.json"
        assert location["logicalLocations"][0]["fullyQualifiedName"] == (finding.path or "/")
    assert json.loads(render([], "sarif"))["runs"][0]["results"] == []


def test_junit_is_xml_with_a_failure_a_finding() -> None:
    suite = ElementTree.fromstring(render(FINDINGS, "junit", "p.json"))
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    assert [failure.get("type") for failure in suite.iter("failure")] == ["memory.fits", "schema"]
    clean = ElementTree.fromstring(render([], "junit", "p.json"))
    assert (clean.get("tests"), clean.get("failures"), len(list(clean.iter("testcase")))) == ("1", "0", 1)


def test_every_style_renders_and_no_other() -> None:
    assert set(STYLES) == {"text", "json", "github", "sarif", "junit"}
    for style in STYLES:
        assert isinstance(render(FINDINGS, style), str)
    with pytest.raises(ValueError, match="'yaml': one of text"):
        render([], "yaml")
