import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.timeline import any_split_bound, makespan_seconds, schedule_order, stage_load_caps
from tests.oracles.partition import all_splits


def loads_and_makespans(
    forward: np.ndarray, backward: np.ndarray, stages: int, microbatches: int, link: float
) -> tuple[np.ndarray, np.ndarray]:
    """Stage loads [splits, stages] and 1F1B makespans [splits] of every split."""
    splits = np.array(list(all_splits(len(forward), stages)))
    f, b = (np.diff(np.concatenate([[0.0], np.cumsum(c)])[splits], axis=1) for c in (forward, backward))
    order = schedule_order("1f1b", stages, 1, microbatches)
    return f + b, makespan_seconds(order, f, b, np.full(stages - 1, link))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 5), st.integers(0, 4), st.integers(1, 12), st.sampled_from([0.0, 0.05, 2.0]), st.integers(0, 2**32)
)
def test_no_split_beats_the_bound_nor_exceeds_its_caps(p: int, more: int, m: int, link: float, seed: int) -> None:
    # Oracle: every split, simulated.
    rng = np.random.default_rng(seed)
    forward, backward = rng.random(p + more) + 0.01, 2 * rng.random(p + more)
    share = (forward / (forward + backward)).max()
    total = float((forward + backward).sum())
    loads, makespans = loads_and_makespans(forward, backward, p, m, link)
    assert any_split_bound(p, m, total, share, link) <= makespans.min() * (1 + 1e-12)
    target = float(np.median(makespans))
    caps = stage_load_caps(target, p, m, total, share, link)
    within = makespans <= target
    assert (loads[within] <= caps * (1 + 1e-9)).all()


@pytest.mark.parametrize(("p", "m", "least"), [(16, 128, 0.98), (8, 64, 0.98), (16, 16, 0.91), (64, 2048, 0.99)])
def test_the_bound_is_near_the_even_split(p: int, m: int, least: float) -> None:
    # Hand formula: (m + p - 1) T / p for equal stages. The bound allows fractions of layers.
    bound = any_split_bound(p, m, 1.0, 1 / 3)
    assert least < bound * p / (m + p - 1) <= 1


def test_one_stage_is_bounded_by_its_own_work() -> None:
    # By hand: m T.
    assert any_split_bound(1, 7, 3.0, 0.5) == pytest.approx(21)


def test_slow_links_count_once_a_round() -> None:
    # By hand: p = 4 in flight, m = 8, so two round trips of T + 2 * 3 * link = 1 + 60.
    assert any_split_bound(4, 8, 1.0, 1 / 3, 10.0) == pytest.approx(122)


def test_candidates_are_bounded_side_by_side() -> None:
    together = any_split_bound([2, 4, 4], [8, 8, 16], 1.0, 1 / 3)
    assert together.tolist() == [any_split_bound(p, m, 1.0, 1 / 3) for p, m in ((2, 8), (4, 8), (4, 16))]
