"""Timing with a split vocabulary: by hand, against an oracle, and properties that bounds rely on."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.timeline import (
    BACKWARD,
    FORWARD,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    VOCABULARY,
    VOCABULARY_METHODS,
    VocabularySeconds,
    makespan_bound,
    makespan_seconds,
    schedule_order,
    simulate,
    vocabulary_order,
)
from tests.oracles.vocabulary import end_seconds

NONE = [0.0]


def even(p: int, first: float, step: float, last: float, lookup: tuple[float, float] = (0.0, 0.0)) -> VocabularySeconds:
    """The same passes on ``p`` devices, collectives at once."""
    return VocabularySeconds(
        first_step=[first] * p,
        step=[step] * p,
        last_step=[last] * p,
        input_forward=[lookup[0]] * p,
        input_backward=[lookup[1]] * p,
        broadcast=NONE,
        reduce=NONE,
        lookup=NONE,
    )


def test_one_micro_batch_by_hand() -> None:
    """p = 2, F 10, B 20, S 2, T 4, IF 1, IB 3, link 0.5, broadcast 7, reduction 5, lookup 9.

    vocab-2: IF 1, +9: F 10 to 20; link; F 20.5 to 30.5; +7: S 37.5 to 39.5; +5: B 44.5 to 64.5; link;
    B 65 to 85; +9: IB 94 to 97; broadcast of the loss's gradient by the last device once its IB is done:
    +7: T 104 to 108.
    vocab-1: dX needs T: S to 39.5, +5 and +7: T 51.5 to 55.5, +5: B 60.5 to 80.5, 81 to 101, +9, IB: 113.
    """
    passes = replace(even(2, 2, 6, 4, (1, 3)), broadcast=[7.0], reduce=[5.0], lookup=[9.0])
    for method, expected in (("vocab-2", 108.0), ("vocab-1", 113.0)):
        order = vocabulary_order(method, 2, 1)  # type: ignore[arg-type]
        assert makespan_seconds(order, [10, 10], [20, 20], [0.5], passes) == pytest.approx(expected)


def test_interlaced_by_hand() -> None:
    """p = 2, F 10, B 20, V 6, IF 1, IB 3, link 0.5, broadcast 7, lookup 9: IF 1, +9: F 10 to 20; 20.5 to
    30.5; +7: V 37.5 to 43.5 on both; B to 63.5; 64 to 84; +9: IB 93 to 96."""
    passes = replace(even(2, 6, 6, 0, (1, 3)), broadcast=[7.0], lookup=[9.0])
    order = vocabulary_order("interlaced", 2, 1)
    assert makespan_seconds(order, [10, 10], [20, 20], [0.5], passes) == pytest.approx(96.0)


seconds = st.integers(0, 9).map(float)


@st.composite
def timings(draw: st.DrawFn) -> tuple[str, int, int, dict[str, Any]]:
    p = draw(st.integers(2, 5))
    rows = st.lists(seconds, min_size=p, max_size=p)
    names = [f.name for f in fields(VocabularySeconds)]
    drawn: dict[str, Any] = {name: draw(rows) for name in ("forward", "backward", *names[:-3])}
    drawn["link"] = draw(st.lists(seconds, min_size=p - 1, max_size=p - 1))
    drawn |= {name: [draw(seconds)] for name in names[-3:]}
    return draw(st.sampled_from(VOCABULARY_METHODS)), p, draw(st.integers(1, 9)), drawn


def passes_of(drawn: dict[str, Any]) -> VocabularySeconds:
    return VocabularySeconds(**{f.name: drawn[f.name] for f in fields(VocabularySeconds)})


@settings(max_examples=80, deadline=None)
@given(timings())
def test_every_operation_ends_when_the_oracle_says(case: tuple[str, int, int, dict[str, Any]]) -> None:
    method, p, m, drawn = case
    order = vocabulary_order(method, p, m)  # type: ignore[arg-type]
    timeline = simulate(order, drawn["forward"], drawn["backward"], drawn["link"], passes_of(drawn))
    kinds = {
        FORWARD: drawn["forward"],
        BACKWARD: drawn["backward"],
        VOCABULARY: drawn["step"],
        INPUT_FORWARD: drawn["input_forward"],
        INPUT_BACKWARD: drawn["input_backward"],
    }
    collectives = {name: drawn[name][0] for name in ("broadcast", "reduce", "lookup")}
    expected = end_seconds(order, kinds, (drawn["first_step"], drawn["last_step"]), drawn["link"], collectives)
    for device in range(p):
        keys = [(int(k), device, int(j)) for k, j in zip(order.kind[device], order.microbatch[device], strict=True)]
        assert timeline.end[device].tolist() == [expected[key] for key in keys]


@settings(max_examples=60, deadline=None)
@given(timings(), st.data())
def test_nothing_ends_sooner_when_something_takes_longer(
    case: tuple[str, int, int, dict[str, Any]], data: st.DataObject
) -> None:
    method, p, m, drawn = case
    order = vocabulary_order(method, p, m)  # type: ignore[arg-type]
    name = data.draw(st.sampled_from(sorted(drawn)))
    longer = drawn | {name: [value + 1 for value in drawn[name]]}
    before, after = (simulate(order, d["forward"], d["backward"], d["link"], passes_of(d)).end for d in (drawn, longer))
    assert (after >= before).all()


@pytest.mark.parametrize("method", VOCABULARY_METHODS)
@pytest.mark.parametrize("p", [2, 4, 8, 16])
@pytest.mark.parametrize("backward", [12, 15, 20, 25, 30])
def test_another_micro_batch_costs_its_work_and_no_bubble(method: str, p: int, backward: int) -> None:
    """The claim of arXiv 2411.05288 sec. 5, with V <= F and collectives at once: devices are busy all the
    time between the ramps, each micro-batch more takes F + B + V + IF + IB."""
    passes = even(p, 3, 6, 3, (1, 2))
    spans = [
        float(makespan_seconds(vocabulary_order(method, p, m), [10] * p, [backward] * p, [0] * (p - 1), passes))  # type: ignore[arg-type]
        for m in (4 * p, 6 * p)
    ]
    assert spans[1] - spans[0] == pytest.approx((10 + backward + 9) * 2 * p)


def test_deferred_methods_hide_collectives_and_interlaced_none() -> None:
    """Interlaced, every micro-batch waits for its broadcast. Deferred, broadcast and reduction together
    cost less than one of them: the steps on other devices start late, and the last device hides both."""

    def span(method: str, broadcast: float) -> float:
        passes = replace(even(4, 3, 6, 3), broadcast=[broadcast], reduce=[broadcast * (method != "interlaced")])
        order = vocabulary_order(method, 4, 32)  # type: ignore[arg-type]
        return float(makespan_seconds(order, [10] * 4, [20] * 4, [0] * 3, passes))

    assert span("vocab-1", 4) - span("vocab-1", 0) < 32 * 4
    assert span("vocab-2", 4) - span("vocab-2", 0) < 32 * 4
    assert span("interlaced", 4) - span("interlaced", 0) >= 32 * 4


def test_costs_that_do_not_fit_are_refused() -> None:
    order, plain = vocabulary_order("vocab-1", 2, 3), schedule_order("1f1b", 2, 1, 3)
    with pytest.raises(ValueError, match="give their seconds"):
        simulate(order, [1, 1], [2, 2], [0])
    with pytest.raises(ValueError, match="leave their seconds out"):
        simulate(plain, [1, 1], [2, 2], [0], even(2, 1, 1, 1))
    with pytest.raises(ValueError, match=r"vocabulary\.step"):
        simulate(order, [1, 1], [2, 2], [0], replace(even(2, 1, 1, 1), step=[1.0]))
    with pytest.raises(ValueError, match=r"vocabulary\.reduce"):
        simulate(order, [1, 1], [2, 2], [0], replace(even(2, 1, 1, 1), reduce=[-1.0]))
    with pytest.raises(ValueError, match="simulate it"):
        makespan_bound(order, [1, 1], [2, 2], [0])


def test_many_cost_vectors_at_once_are_timed_like_one_by_one() -> None:
    order = vocabulary_order("vocab-1", 3, 5)
    steps = np.array([[1.0, 2, 3], [4, 5, 6]])
    both = makespan_seconds(order, [3, 3, 3], [6, 6, 6], [1, 1], replace(even(3, 1, 1, 1), step=steps))
    alone = [
        float(makespan_seconds(order, [3, 3, 3], [6, 6, 6], [1, 1], replace(even(3, 1, 1, 1), step=row)))
        for row in steps
    ]
    assert both.tolist() == alone
