import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.search import Evaluated, InadmissibleBoundError, Progress, best_first
from solvers.stop import MaxEvaluations


@st.composite
def spaces(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coarse bounds, refined bounds and values; small integers, so that ties are common."""
    size = draw(st.integers(0, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.integers(1, 30, size).astype(float)
    coarse, refined = values - rng.integers(0, 8, size), values - rng.integers(0, 4, size)
    values[rng.random(size) < 0.2] = np.inf
    refined[np.isinf(values) & (rng.random(size) < 0.5)] = np.inf
    coarse[np.isinf(refined) & (rng.random(size) < 0.5)] = np.inf
    return coarse, refined, values


@settings(max_examples=300, deadline=None)
@given(spaces(), st.integers(1, 5), st.booleans())
def test_finds_the_k_least_values(space: tuple[np.ndarray, ...], keep: int, refining: bool) -> None:
    # Oracle: look at every value.
    coarse, refined, values = space
    result = best_first(coarse, (lambda i: refined[i]) if refining else None, lambda i: values[i], keep=keep)
    finite = np.sort(values[values < np.inf])[:keep]
    assert result.stop == "exhausted"
    if not len(finite):
        assert result.status == "infeasible"
        assert result.choice is None
        return
    assert result.status == "optimal"
    assert [ranked.value for ranked in result.choice] == finite.tolist()
    assert all(values[ranked.candidate] == ranked.value for ranked in result.choice)
    assert result.lower_bound == result.value == finite[0]
    counts = result.counts
    assert counts["proven"] == len(finite)
    assert counts["impossible"] + counts["refined_impossible"] + counts["evaluated"] + counts["cut"] == len(coarse)


@settings(max_examples=100, deadline=None)
@given(spaces(), st.sampled_from([0.05, 0.3]))
def test_a_gap_is_kept(space: tuple[np.ndarray, ...], gap: float) -> None:
    coarse, refined, values = space
    result = best_first(coarse, lambda i: refined[i], lambda i: values[i], gap=gap)
    if result.status == "optimal":
        assert result.gap <= gap + 1e-12
        assert result.value * (1 - gap) <= values.min() + 1e-9
        assert result.lower_bound <= values.min()


def test_only_what_the_bound_cannot_rule_out_is_evaluated() -> None:
    # By hand: 0 has the least bound but value 5; 1 (bound 2, value 3) settles it; 2 and 3 are cut.
    seen: list[int] = []
    values = [5.0, 3.0, 9.0, 9.0]
    result = best_first([1, 2, 4, 8], None, lambda i: seen.append(i) or values[i])
    assert seen == [0, 1]
    assert result.choice[0] == (1, 3.0)
    assert result.counts["cut"] == 2


def test_ties_go_to_the_lowest_index_seen() -> None:
    result = best_first([1, 1, 1, 1], None, lambda i: 1.0 if i else 2.0, keep=1)
    assert result.choice[0].candidate == 1


def test_a_refined_bound_never_loosens() -> None:
    # By hand: the refined bound of 1 is below its coarse one; the coarse 7 still cuts it.
    seen: list[int] = []
    best_first([1, 7], lambda i: np.zeros(len(i)), lambda i: seen.append(i) or 6.0)
    assert seen == [0]


def test_refinement_comes_in_batches_and_stops_early() -> None:
    # By hand: 64 a batch; after the first batch the least value 0 beats every coarse bound of 1 or more.
    sizes: list[int] = []
    coarse = np.concatenate([np.zeros(1), np.arange(1, 1000)])
    best_first(coarse, lambda i: sizes.append(len(i)) or coarse[i], lambda i: coarse[i])
    assert sizes == [64]


def test_a_stop_leaves_a_valid_bound() -> None:
    values = np.arange(10.0, 20.0)
    result = best_first(values - 5, None, lambda i: values[i], stop=MaxEvaluations(2))
    assert (result.status, result.stop) == ("feasible", "evaluation_limit")
    assert result.value == 10
    assert result.lower_bound == 7
    assert result.gap == pytest.approx(0.3)
    assert result.counts["proven"] == 0


@pytest.mark.parametrize("where", ["evaluate", "refine"])
def test_an_interrupt_returns_what_was_found(where: str) -> None:
    values = np.arange(1000.0) + 100

    def evaluate(i: int) -> float:
        if where == "evaluate" and i == 3:
            raise KeyboardInterrupt
        return float(values[i])

    def refine(i: np.ndarray) -> np.ndarray:
        if where == "refine" and 64 in i:
            raise KeyboardInterrupt
        return values[i] - 90

    result = best_first(values - 99.5, refine, evaluate)
    assert (result.status, result.stop) == ("feasible", "interrupted")
    assert result.value == 100
    assert result.lower_bound == {"evaluate": 13, "refine": 64.5}[where]


def test_progress_counts_what_evaluated_candidates_are_at_least() -> None:
    told: list[Progress] = []
    found = [Evaluated(5.0, 3.0), Evaluated(9.0, 9.0)]
    best_first([1, 4], None, lambda i: found[i], on_progress=told.append)
    assert [one.lower_bound for one in told] == [3.0, 3.0]


def test_progress_is_told() -> None:
    told: list[Progress] = []
    values = [5.0, 3.0]
    best_first([1, 2], None, lambda i: values[i], on_progress=told.append)
    assert told == [Progress(5, 2, 1), Progress(3, 3, 2)]


def test_a_wrong_bound_is_an_error_not_a_wrong_answer() -> None:
    with pytest.raises(InadmissibleBoundError, match="candidate 0"):
        best_first([1.0], None, lambda i: 1 - 1e-6)
    assert best_first([1.0], None, lambda i: 1 - 1e-12).status == "optimal"


def test_undefined_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="bounds"):
        best_first([float("nan")], None, lambda i: 1.0)
    with pytest.raises(ValueError, match="candidate 0"):
        best_first([1.0], None, lambda i: float("nan"))
    with pytest.raises(ValueError, match="refined bounds"):
        best_first([1.0, 1.0], lambda i: [1.0], lambda i: 1.0)
    with pytest.raises(ValueError, match="keep"):
        best_first([1.0], None, lambda i: 1.0, keep=0)
    with pytest.raises(ValueError, match="gap"):
        best_first([1.0], None, lambda i: 1.0, gap=-0.1)


def test_a_stop_before_anything_was_evaluated_evaluates_the_most_promising_once() -> None:
    """By hand: of bounds 3, 1, 2 the second is tried; 4 is open above bound 2, hence not proven."""
    result = best_first([3.0, 1.0, 2.0], None, [5.0, 4.0, 3.0].__getitem__, stop=MaxEvaluations(0))
    assert result.choice == ((1, 4.0),)
    assert (result.status, result.lower_bound, result.counts["evaluated"]) == ("feasible", 2.0, 1)


@settings(max_examples=200, deadline=None)
@given(spaces(), st.integers(1, 5), st.integers(0, 2**32))
def test_sharper_bounds_find_the_same_values(space: tuple[np.ndarray, ...], keep: int, seed: int) -> None:
    # Oracle: look at every value. Sharp bounds lie between the refined ones and the values.
    coarse, refined, values = space
    rng = np.random.default_rng(seed)
    sharp = np.where(rng.random(len(values)) < 0.5, values, refined)
    result = best_first(coarse, lambda i: refined[i], lambda i: values[i], sharpen=lambda i: sharp[i], keep=keep)
    finite = np.sort(values[values < np.inf])[:keep]
    assert (result.choice is None) == (not len(finite))
    if result.choice is not None:
        assert [ranked.value for ranked in result.choice] == finite.tolist()
    counts = result.counts
    assert counts["impossible"] + counts["refined_impossible"] + counts["evaluated"] + counts["cut"] == len(coarse)
    assert counts["evaluated"] <= counts["sharpened"]


def test_a_candidate_is_sharpened_once_before_it_is_evaluated() -> None:
    # By hand: 0 looks best at 1 but is at least 9 once sharpened; 1 (bound 2, value 3) settles it.
    asked: list[tuple[str, int]] = []
    sharp, values = [9.0, 2.5], [10.0, 3.0]
    result = best_first(
        [1, 2],
        None,
        lambda i: asked.append(("evaluate", i)) or values[i],
        sharpen=lambda i: asked.append(("sharpen", i)) or sharp[i],
    )
    assert asked == [("sharpen", 0), ("sharpen", 1), ("evaluate", 1)]
    assert result.choice[0] == (1, 3.0)
    assert result.status == "optimal"


def test_a_value_that_is_not_proven_leaves_a_gap() -> None:
    # By hand: candidate 0 costs 4 as found and at least 3 at best; 1 is at least 3.5. Nothing below 3.
    found = {0: Evaluated(4.0, 3.0), 1: Evaluated(5.0, 5.0)}
    result = best_first([1, 3.5], None, lambda i: found[i])
    assert (result.value, result.lower_bound, result.status) == (4.0, 3.0, "feasible")
    assert best_first([1, 3.5], None, lambda i: found[i], gap=0.25).status == "optimal"
    # a bound above the best value leaves none
    assert best_first([1, 2], None, lambda i: [Evaluated(4.0, 4.0), Evaluated(6.0, 5.0)][i]).status == "optimal"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5), st.booleans()), min_size=1, max_size=12),
    st.integers(1, 4),
)
def test_what_counts_as_the_best_alone_is_first_or_not_there(
    candidates: list[tuple[int, int, bool]], keep: int
) -> None:
    """Second method: a sorted list; those that count as the best alone stand in it only in its first place."""
    bounds = np.array([bound for bound, _, _ in candidates], dtype=np.float64)
    values = bounds + [more for _, more, _ in candidates]
    alone = np.array([flag for _, _, flag in candidates])
    evaluated: list[int] = []

    def evaluate(index: int) -> float:
        if alone[index]:
            assert all(values[before] > bounds[index] for before in evaluated), "it could still be the best"
        evaluated.append(index)
        return float(values[index])

    found = best_first(bounds, None, evaluate, keep=keep, best_only=alone)
    expected = sorted(values.tolist())[:1] + sorted(values[~alone].tolist())
    if values[~alone].min(initial=np.inf) == values.min():
        expected = expected[1:]
    assert found.choice is not None
    assert [ranked.value for ranked in found.choice] == expected[:keep]
    assert found.status == "optimal"
    assert found.counts["cut"] + found.counts["evaluated"] == len(candidates)
