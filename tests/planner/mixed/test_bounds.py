"""Bounds of families and of chains: never above the price of a member, against brute force and by hand."""

import numpy as np
import pytest

from costmodels.configuration import Configuration, Job
from planner.mixed.bounds import Figures, Ramp, Scale, family_bounds, fullest
from planner.mixed.chain_bound import Shares, chain_seconds
from planner.mixed.space import MOST_IDLE, families
from tests.machines import dense_model
from tests.planner.mixed.machines import CALIBRATION, best_by_hand, every_standing, group, islands

MODEL = dense_model(layers=3, hidden=2048, ffn=8192)
JOB = Job(global_batch=6, sequence_length=4096)


@pytest.mark.parametrize("zero", [0, 1, 3])
def test_no_member_is_below_the_bound_of_its_family(zero: int) -> None:
    """Every member of every family, each with the best of all its cuts."""
    where = islands(group("new", 2), group("old", 2, 0.5, 12e9))
    pins: dict[str, int | str] = {"sp": 0, "cp": 1, "recompute": "none", "zero": zero, "mbs": 1, "tp": 1}
    space = families(where, MODEL, JOB, pins, frozenset(), frozenset())
    calibrations = [CALIBRATION] * 2
    figures = Figures.of(where, space, calibrations, MODEL, JOB)
    scale = Scale.of(where, space, calibrations, figures)
    bounds = family_bounds(where, space, calibrations, figures, scale, JOB)
    least: dict[tuple[object, ...], float] = {}
    for standing in every_standing(where, JOB, [Configuration(zero=zero)], range(1, 4), MOST_IDLE):
        configuration, lanes = standing
        bundles = {frozenset(g for g, _ in lane.chain): lane.pipelines for lane in lanes}
        key = (configuration.pp, frozenset(bundles.items()))
        least[key] = min(least.get(key, np.inf), best_by_hand(where, MODEL, JOB, standing, CALIBRATION))
    seen = 0
    for index in range(len(space)):
        if space.columns.pp[index] > 3:
            continue
        pipelines = space.pipelines[index].tolist()
        bundles = {frozenset(b): d for b, d in zip(space.bundles(index), pipelines, strict=False)}
        value = least[int(space.columns.pp[index]), frozenset(bundles.items())]
        assert bounds[index] <= value * (1 + 1e-9)
        seen += 1
    assert seen >= 5


def test_equal_stages_without_memory_are_as_slow_as_the_sum_of_their_turns() -> None:
    """By hand: 4 machines that take 4 s for the whole chain each hold a quarter, 1 s; 8 micro-batches and a ramp of 3
    turns take 11 s. A third of a load is its forward pass: by the last stage alone, T >= S + (m-1) l is tight."""
    equal = np.full((1, 4), 4.0)
    room = np.full((1, 4), 1e4)
    shares = Shares(layer=1e-3, before=0.0, behind=0.0, whole=False)
    found = chain_seconds(equal, room, np.array([8]), np.zeros((1, 3)), 1 / 3, 0.0, shares)[0]
    assert found <= 11.0
    assert found >= 8 + 3 * 0.75  # what averages of the same bounds come to (``planner.coarse``)


def test_room_limits_what_a_machine_takes() -> None:
    """By hand: of 10 equal layers at most 2 fit the faster machine; the other holds 8, of 1 s each."""
    slowness, layers = np.array([[10.0, 2.0]]), np.array([[10.0, 2.0]])
    shares = Shares(layer=0.1, before=0.0, behind=0.0, whole=True)
    found = chain_seconds(slowness, layers, np.array([50]), np.zeros((1, 1)), 1 / 3, 0.0, shares)[0]
    assert 50 * 8 * (1 - 1e-9) <= found <= 50 * 8 + 0.4 + 8.4
    assert np.isinf(
        chain_seconds(slowness, np.array([[7.0, 2.0]]), np.array([50]), np.zeros((1, 1)), 1 / 3, 0.0, shares)[0]
    )


def test_a_slow_link_holds_up_every_round_trip() -> None:
    """By hand: two stages of 1 s, 10 s to the next: two micro-batches in flight make a round trip of 22 s, five of them
    ten micro-batches."""
    slowness, layers = np.array([[2.0, 2.0]]), np.full((1, 2), 1e4)
    shares = Shares(layer=1e-3, before=0.0, behind=0.0, whole=False)
    found = chain_seconds(slowness, layers, np.array([10]), np.array([[10.0]]), 1 / 3, 0.0, shares)[0]
    assert found == pytest.approx(5 * 22, rel=1e-6)


def test_a_ramp_and_its_inverse_agree() -> None:
    ramp = Ramp.of(np.array([[3.0], [1.0]]), np.array([[2], [3]]), np.array([5]), np.array([0.4]), 0.01)
    for m in (1.0, 7.0, 300.0):
        assert ramp.microbatches(ramp.seconds(np.array([m])))[0] == pytest.approx(m, rel=1e-9)
    assert ramp.seconds(np.array([100.0]))[0] > 100 / (2 / 3 + 3)  # more than the steady rate alone


def test_stages_go_to_the_fastest_groups_first() -> None:
    slowness, room = np.array([[3.0], [1.0], [2.0]]), np.array([[4], [3], [4]])
    assert fullest(slowness, room, np.array([6])).ravel().tolist() == [1, 3, 2]
