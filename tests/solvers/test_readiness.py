"""Compiling before the clock starts: a long compilation is told, a short one not."""

import time

import pytest

from solvers import readiness


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 0), (0.5, 1)])
def test_only_what_takes_long_is_told(monkeypatch: pytest.MonkeyPatch, seconds: float, expected: int) -> None:
    told: list[str] = []
    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.1)
    readiness.told(lambda: time.sleep(seconds), lambda: told.append("compiling"))
    assert len(told) == expected


def test_what_fails_is_not_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(ZeroDivisionError):
        readiness.told(lambda: 1 // 0, lambda: told.append("compiling"))  # type: ignore[func-returns-value]
    time.sleep(0.3)
    assert told == []
