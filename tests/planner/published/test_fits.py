"""Verdicts on memory: an A100 of 80 GB has 85.9e9 bytes (81,920 MiB)."""

from planner.published.fits import verdicts
from tests.planner.published.made import made


def test_a_run_that_ran_must_be_said_to_fit() -> None:
    found = verdicts([made(1, 1), made(1, 1, status="infeasible", row_id="wrong")])
    assert (found.ran, found.ran_right, found.wrong) == (2, 1, ("wrong",))


def test_a_run_published_as_out_of_memory_must_be_said_not_to_fit() -> None:
    said = {"outcome": "out of memory"}
    found = verdicts([made(None, 1, status="infeasible", **said), made(None, 1, row_id="wrong", **said)])
    assert (found.overflowed, found.overflowed_right, found.ran) == (2, 1, 0)
    assert found.wrong == ("wrong",)


def test_a_published_peak_above_the_memory_does_not_fit() -> None:
    found = verdicts([made(memory=(100.0, 99.0), predicted=1, status="infeasible")])
    assert (found.overflowed, found.overflowed_right) == (1, 1)
    within = verdicts([made(memory=(79.0, 78.0), predicted=1)])
    assert (within.ran, within.ran_right) == (1, 1)


def test_analytical_values_tell_only_when_they_are_too_large() -> None:
    kind = {"peak_mem_kind": "ANALYTICAL in paper"}
    found = verdicts([made(memory=(79.0, 78.0), predicted=1, **kind), made(memory=(100.0, 99.0), predicted=1, **kind)])
    assert (found.ran, found.overflowed, found.overflowed_right) == (0, 1, 0)


def test_what_is_not_predicted_is_not_judged() -> None:
    found = verdicts([made(1, None, status="unsupported: LoRA")])
    assert (found.ran, found.unjudged, found.wrong) == (0, 1, ())
