import pytest

from solvers.stop import FirstOf, MaxEvaluations, MaxSeconds, NoLimit


def test_evaluations_are_counted() -> None:
    rule = MaxEvaluations(3)
    assert [rule(n) for n in (0, 2, 3, 4)] == [None, None, "evaluation_limit", "evaluation_limit"]


def test_seconds_run_from_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 104.9, 105.0])
    rule = MaxSeconds(5)
    monkeypatch.setattr("solvers.stop.time.perf_counter", lambda: next(clock))
    assert [rule(n) for n in range(3)] == [None, None, "time_limit"]


def test_the_first_rule_to_stop_names_the_reason() -> None:
    rule = FirstOf(NoLimit(), MaxEvaluations(2), MaxSeconds(0))
    assert rule(2) == "evaluation_limit"
    assert rule(0) == "time_limit"
    assert FirstOf(NoLimit())(10**9) is None


def test_negative_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        MaxSeconds(-1)
    with pytest.raises(ValueError, match="limit"):
        MaxEvaluations(-1)
