"""Findings as text, JSON, GitHub annotations, SARIF and JUnit XML."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args
from xml.etree import ElementTree

from planner.validate.findings import Finding

Style = Literal["text", "json", "github", "sarif", "junit"]
STYLES: tuple[str, ...] = get_args(Style)


def render(findings: Sequence[Finding], style: str, file: str | Path = "plan.json") -> str:
    """``findings`` of the plan in ``file``, in one of ``STYLES``; ``ValueError`` for another style."""
    if style not in _RENDERERS:
        raise ValueError(f"format {style!r}: one of {', '.join(STYLES)}")
    return _RENDERERS[style](findings, str(file))


def _describe(finding: Finding) -> str:
    parts = [finding.message]
    if finding.expected:
        parts.append(f"expected {finding.expected}, found {finding.found}")
    elif finding.found:
        parts.append(f"found {finding.found}")
    return "; ".join(parts)


def _as_text(findings: Sequence[Finding], file: str) -> str:
    if not findings:
        return f"{file}: no findings\n"
    lines = [f"{file}:{finding.path or '/'}: {finding.rule}: {_describe(finding)}" for finding in findings]
    return "\n".join([*lines, f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"]) + "\n"


def _as_json(findings: Sequence[Finding], file: str) -> str:
    document = {"file": file, "findings": [asdict(finding) for finding in findings]}
    return json.dumps(document, indent=2) + "\n"


def _as_github(findings: Sequence[Finding], file: str) -> str:
    """Workflow commands: https://docs.github.com/actions, "Workflow commands", with its escapes."""

    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def value(text: str) -> str:
        return data(text).replace(":", "%3A").replace(",", "%2C")

    return "".join(
        f"::{finding.severity} file={value(file)},title={value(finding.rule)}::"
        f"{data(finding.path or '/')}: {data(_describe(finding))}\n"
        for finding in findings
    )


def _as_sarif(findings: Sequence[Finding], file: str) -> str:
    """SARIF 2.1.0 (OASIS): a run with one result a finding, its place as a logical location."""
    rules = sorted({finding.rule for finding in findings})
    results = [
        {
            "ruleId": finding.rule,
            "ruleIndex": rules.index(finding.rule),
            "level": finding.severity,
            "message": {"text": _describe(finding)},
            "locations": [
                {
                    "physicalLocation": {"artifactLocation": {"uri": Path(file).as_posix()}},
                    "logicalLocations": [{"fullyQualifiedName": finding.path or "/"}],
                }
            ],
        }
        for finding in findings
    ]
    driver = {"name": "meshwright", "rules": [{"id": rule} for rule in rules]}
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(document, indent=2) + "\n"


def _as_junit(findings: Sequence[Finding], file: str) -> str:
    """One failed test case a finding; one passed case when there is none."""
    suite = ElementTree.Element(
        "testsuite", name="plan validate", tests=str(max(1, len(findings))), failures=str(len(findings)), errors="0"
    )
    for finding in findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=_xml(file), name=_xml(f"{finding.rule} {finding.path}")
        )
        failure = ElementTree.SubElement(case, "failure", type=finding.rule, message=_xml(finding.message))
        failure.text = _xml(_describe(finding))
    if not findings:
        ElementTree.SubElement(suite, "testcase", classname=_xml(file), name="plan")
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """Without the control characters that XML 1.0 cannot hold."""
    return "".join(c for c in text if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff"))


_RENDERERS: dict[str, Callable[[Sequence[Finding], str], str]] = {
    "text": _as_text,
    "json": _as_json,
    "github": _as_github,
    "sarif": _as_sarif,
    "junit": _as_junit,
}
