"""Change some values of a plan, seal it again, and see which rules notice."""

from copy import deepcopy
from typing import Any

from planner.plan import Plan
from planner.plan.writing import seal
from planner.validate import Finding, validate_json


def corrupt(plan: Plan, **changes: Any) -> dict[str, Any]:
    """The sealed document with values replaced; keys are paths such as ``stages__0__memory``."""
    document = deepcopy(plan.to_json())
    for path, value in changes.items():
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("__"))
        holder: Any = document
        for step in steps:
            holder = holder[step]
        holder[last] = value
    return seal(document)


def findings(plan: Plan, **changes: Any) -> list[Finding]:
    return validate_json(corrupt(plan, **changes))


def rules(plan: Plan, **changes: Any) -> set[tuple[str, str]]:
    """(rule, path) of every finding after the changes."""
    return {(finding.rule, finding.path) for finding in findings(plan, **changes)}
