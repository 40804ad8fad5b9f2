from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.splits import capped_splits, count_splits
from tests.oracles.partition import all_splits


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.integers(1, 9), st.integers(0, 2**32))
def test_splits_within_caps_are_those_of_plain_enumeration(cost: list[int], chunks: int, seed: int) -> None:
    chunks = min(chunks, len(cost))
    caps = np.random.default_rng(seed).integers(0, 12, chunks)
    expected = [
        split
        for split in all_splits(len(cost), chunks)
        if all(sum(cost[split[j] : split[j + 1]]) <= caps[j] for j in range(chunks))
    ]
    assert capped_splits(cost, caps).tolist() == [list(split) for split in expected]
    assert count_splits(cost, caps) == len(expected)


def test_counting_does_not_list() -> None:
    # By hand: choose 15 of the 125 inner boundaries.
    assert count_splits(np.ones(126), np.full(16, 126)) == pytest.approx(comb(125, 15), rel=1e-12)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="cost, caps"):
        count_splits([1, -1], [1, 1])
