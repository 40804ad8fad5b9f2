"""When to stop a search: rules with one method, which compose.

A rule is called with the number of evaluations so far and returns why to stop, or None to go on.
"""

import time
from typing import Protocol

from solvers.solution import Stop


class StoppingRule(Protocol):
    def __call__(self, evaluations: int) -> Stop | None: ...


class NoLimit:
    """Goes on until the search is exhausted."""

    def __call__(self, evaluations: int) -> Stop | None:
        return None


class MaxEvaluations:
    """Stops once ``limit`` candidates have been evaluated."""

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise ValueError(f"limit: {limit} evaluations must not be negative")
        self.limit = limit

    def __call__(self, evaluations: int) -> Stop | None:
        return "evaluation_limit" if evaluations >= self.limit else None


class MaxSeconds:
    """Stops ``limit`` seconds after it is first asked."""

    def __init__(self, limit: float) -> None:
        if not limit >= 0:
            raise ValueError(f"limit: {limit} seconds must not be negative")
        self.limit = limit
        self._deadline: float | None = None

    def __call__(self, evaluations: int) -> Stop | None:
        now = time.perf_counter()
        if self._deadline is None:
            self._deadline = now + self.limit
        return "time_limit" if now >= self._deadline else None


class FirstOf:
    """Stops as soon as one of its rules does."""

    def __init__(self, *rules: StoppingRule) -> None:
        self.rules = rules

    def __call__(self, evaluations: int) -> Stop | None:
        return next((why for rule in self.rules if (why := rule(evaluations))), None)
