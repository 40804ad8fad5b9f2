"""What a search must hold fixed so that its winner's stages can be skipped."""

from collections.abc import Mapping

from planner.specs.errors import Problem, SpecError

NEEDED: dict[str, int | str] = {"vp": 1, "vocabulary": "whole"}
"""One chunk a stage, the vocabulary in the first and the last: those two always run."""


def skip_pins(pins: Mapping[str, int | str]) -> dict[str, int | str]:
    """``pins`` with those that skipping needs. Raises ``SpecError`` where they say otherwise."""
    wrong = [
        f"skipped stages need {name}={value}, but {name}={pins[name]} is pinned"
        for name, value in NEEDED.items()
        if pins.get(name, value) != value
    ]
    if pins.get("pp") == 1:
        wrong.append("pp=1 is pinned: the only stage cannot be skipped; pin pp=2 or more")
    if wrong:
        raise SpecError(error for message in wrong for error in cannot_skip(message).problems)
    return {**NEEDED, **pins}


def cannot_skip(message: str) -> SpecError:
    """The error that says why stages cannot be skipped, and what to ask for."""
    return SpecError([Problem(file="plan", key="skip_ratio", value="", message=message)])
