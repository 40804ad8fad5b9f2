"""What the validator reports, and how checks collect it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

RELATIVE_TOLERANCE = 1e-9
"""Two derivations of one figure may differ by the order of their additions, not by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong with a plan: the rule it breaks, where (JSON pointer), and what would be right.

    ``expected`` and ``found`` are JSON text, empty where the rule is not about one value.
    """

    rule: str
    severity: Literal["error", "warning"]
    path: str
    message: str
    expected: str = ""
    found: str = ""


class Report:
    """Collects findings; every method adds one when what it checks does not hold."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def add(self, rule: str, path: str, message: str, *, expected: object = "", found: object = "") -> None:
        self.findings.append(
            Finding(
                rule=rule,
                severity="error",
                path=path,
                message=message,
                expected=_text(expected),
                found=_text(found),
            )
        )

    def require(self, holds: bool, rule: str, path: str, message: str, found: object = "") -> None:
        if not holds:
            self.add(rule, path, message, found=found)

    def same(self, rule: str, path: str, found: object, expected: object, message: str) -> None:
        """Equal exactly; floats within ``RELATIVE_TOLERANCE``."""
        if not close(found, expected):
            self.add(rule, path, message, expected=expected, found=found)

    def same_fields(
        self, rule: str, path: str, found: Mapping[str, Any], expected: Mapping[str, Any], message: str
    ) -> None:
        """``same`` for every key of ``expected``."""
        for key, value in expected.items():
            self.same(rule, f"{path}/{key}", found.get(key), value, message)

    @property
    def clean(self) -> bool:
        return not self.findings

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)


def close(found: object, expected: object) -> bool:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        return found.keys() == expected.keys() and all(close(found[key], expected[key]) for key in found)
    if isinstance(found, float) or isinstance(expected, float):
        numbers = [x for x in (found, expected) if isinstance(x, int | float) and not isinstance(x, bool)]
        return len(numbers) == 2 and math.isclose(*numbers, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-15)
    return found == expected


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
