"""Whether a placement is worth it: gains and noise by hand."""

import numpy as np
import pytest

from planner.expert_verdict import judge


def test_a_gain_is_the_share_of_the_baseline_that_is_saved() -> None:
    found = judge("contiguous", (np.array([1.0, 1.0]), np.array([2.0, 1.2])), None)
    assert found.gain == pytest.approx(1.2 / 3.2)
    assert found.worth_it
    assert found.held_out_gain is None


def test_less_than_a_percent_is_not_worth_it() -> None:
    found = judge("contiguous", (np.array([1.0]), np.array([1.005])), None)
    assert not found.worth_it
    assert found.text.startswith("not worth it: only 0.5 % better than contiguous")


def test_the_noise_is_two_standard_errors_over_the_layers() -> None:
    """Savings 0.1 and 0.3 of 1: mean 0.2, deviation sqrt(0.02), error 0.1, twice 0.2 of the baseline's 1."""
    seen = (np.array([0.5, 0.5]), np.array([1.0, 1.0]))
    found = judge("current", seen, (np.array([0.9, 0.7]), np.array([1.0, 1.0])))
    assert found.held_out_gain == pytest.approx(0.2)
    assert found.noise == pytest.approx(0.2)
    assert not found.worth_it
    assert "within the noise" in found.text
    surer = judge("current", seen, (np.array([0.85, 0.75]), np.array([1.0, 1.0])))
    assert surer.worth_it


def test_a_gain_that_vanishes_on_held_out_counts_is_said() -> None:
    seen = (np.array([0.5, 0.5]), np.array([1.0, 1.0]))
    found = judge("contiguous", seen, (np.array([1.0, 1.0]), np.array([1.0, 1.0])))
    assert not found.worth_it
    assert "does not carry over" in found.text


def test_a_baseline_of_nothing_leaves_nothing_to_gain() -> None:
    assert judge("contiguous", (np.zeros(2), np.zeros(2)), None).gain == 0.0
