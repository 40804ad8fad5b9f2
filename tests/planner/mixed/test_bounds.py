"""Bounds of families and of chains: never above the price of a member, against brute force and by hand."""

import numpy as np
import pytest

from costmodels.configuration import Configuration, Job
from costmodels.sharding import Column
from planner.mixed.bounds import Figures, Ramp, Scale, family_bounds, fullest
from planner.mixed.chain_bound import Shares, chain_seconds
from planner.mixed.rough_bound import rough_bounds
from planner.mixed.space import MOST_IDLE, families
from tests.machines import dense_model
from tests.planner.mixed.machines import CALIBRATION, best_by_hand, every_standing, group, islands

MODEL = dense_model(layers=3, hidden=2048, ffn=8192)
JOB = Job(global_batch=6, sequence_length=4096)


def bound_of(
    slowness: Column,
    layers: Column,
    microbatches: int,
    links: Column,
    shares: Shares,
    states: float = 0.0,
    hidden: float = 0.0,
    limit: float = np.inf,
) -> float:
    """Of one pipeline alone, a third of a load its forward pass, ``states`` seconds to keep a layer's equal."""
    return float(
        chain_seconds(
            slowness[None],
            layers[None],
            np.array([[microbatches]]),
            links[None],
            np.full((1, *slowness.shape), states),
            1 / 3,
            hidden,
            np.zeros((1, *slowness.shape)),
            shares,
            limit,
        )[0]
    )


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
    rough = rough_bounds(where, space, calibrations, MODEL, JOB)
    assert (rough > 0).all()
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
        assert max(bounds[index], rough[index]) <= value * (1 + 1e-9)
        seen += 1
    assert seen >= 5


def test_equal_stages_without_memory_are_as_slow_as_the_sum_of_their_turns() -> None:
    """By hand: 4 machines that take 4 s for the whole chain each hold a quarter, 1 s; 8 micro-batches and a ramp of 3
    turns take 11 s. A third of a load is its forward pass: by the last stage alone, T >= S + (m-1) l is tight."""
    equal = np.full((1, 4), 4.0)
    room = np.full((1, 4), 1e4)
    shares = Shares(layer=1e-3, before=0.0, behind=0.0, whole=False)
    found = bound_of(equal, room, 8, np.zeros((1, 3)), shares)
    assert found <= 11.0
    assert found >= 8 + 3 * 0.75  # what averages of the same bounds come to (``planner.coarse``)


def test_room_limits_what_a_machine_takes() -> None:
    """By hand: of 10 equal layers at most 2 fit the faster machine; the other holds 8, of 1 s each."""
    slowness, layers = np.array([[10.0, 2.0]]), np.array([[10.0, 2.0]])
    shares = Shares(layer=0.1, before=0.0, behind=0.0, whole=True)
    found = bound_of(slowness, layers, 50, np.zeros((1, 1)), shares)
    assert 50 * 8 * (1 - 1e-9) <= found <= 50 * 8 + 0.4 + 8.4
    assert np.isinf(bound_of(slowness, np.array([[7.0, 2.0]]), 50, np.zeros((1, 1)), shares))


def test_a_slow_link_holds_up_every_round_trip() -> None:
    """By hand: two stages of 1 s, 10 s to the next: two micro-batches in flight make a round trip of 22 s, five of them
    ten micro-batches."""
    slowness, layers = np.array([[2.0, 2.0]]), np.full((1, 2), 1e4)
    shares = Shares(layer=1e-3, before=0.0, behind=0.0, whole=False)
    found = bound_of(slowness, layers, 10, np.array([[10.0]]), shares)
    assert found == pytest.approx(5 * 22, rel=1e-6)


def test_states_hold_every_stage_up_but_for_what_passes_hide() -> None:
    """By hand: two stages of 1 s and 5 of 10 layers, 10 micro-batches, 2 s to keep a layer's states equal. Stage 0 is
    last, at (m + 1) 1 s less the third of a pass that the other has ahead, and then reduces for 5 x 2 s, of which all
    but the last micro-batch's pass may be hidden. No cut is below what the best of all cuts takes."""
    slowness, room = np.array([[2.0, 2.0]]), np.full((1, 2), 10.0)
    shares = Shares(layer=0.1, before=0.0, behind=0.0, whole=True)

    def by_hand(layers: int, hidden: float) -> float:
        """Stages' ends under 1F1B where one holds ``layers``: T of the second kind, and what their states add."""
        first, second = 0.2 * layers, 0.2 * (10 - layers)
        ends = 2 * (first + second) + 8 * max(first, second), first / 3 + 10 * second
        return max(ends[0] - hidden * first + 2 * layers, ends[1] - hidden * second + 2 * (10 - layers))

    for hidden in (0.0, 0.87):
        found = bound_of(slowness, room, 10, np.zeros((1, 1)), shares, states=2.0, hidden=hidden)
        least = min(by_hand(layers, hidden) for layers in range(1, 10))
        assert 0.95 * least <= found <= least * (1 + 1e-9)
        assert found > bound_of(slowness, room, 10, np.zeros((1, 1)), shares) + 5


def test_pipelines_side_by_side_share_one_cut() -> None:
    """By hand: where one pipeline is fast on its first stage and the other on its last, each stage takes what its
    slower machine makes of half the chain; alone either would give the fast stage three quarters."""
    slowness, room = np.array([[[1.0, 3.0], [3.0, 1.0]]]), np.full((1, 2, 2), 1e4)
    shares = Shares(layer=1e-3, before=0.0, behind=0.0, whole=False)
    common = (1 / 3, 0.0, np.zeros((1, 2, 2)), shares)
    together = chain_seconds(slowness, room, np.full((1, 2), 100), np.zeros((1, 2, 1)), np.zeros((1, 2, 2)), *common)
    alone = bound_of(slowness[0, :1], room[0, :1], 100, np.zeros((1, 1)), shares)
    assert 150 <= together[0] <= 155
    assert 75 <= alone <= 78


def test_what_does_not_end_in_time_has_no_bound() -> None:
    slowness, room = np.array([[2.0, 2.0]]), np.full((1, 2), 1e4)
    shares = Shares(layer=1e-3, before=0.0, behind=0.0, whole=False)
    found = bound_of(slowness, room, 10, np.zeros((1, 1)), shares)
    assert bound_of(slowness, room, 10, np.zeros((1, 1)), shares, limit=found * 1.01) == pytest.approx(found, rel=1e-6)
    assert np.isinf(bound_of(slowness, room, 10, np.zeros((1, 1)), shares, limit=found * 0.99))


def test_a_ramp_and_its_inverse_agree() -> None:
    ramp = Ramp.of(np.array([[3.0], [1.0]]), np.array([[2], [3]]), np.array([5]), np.array([0.4]), 0.01)
    for m in (1.0, 7.0, 300.0):
        assert ramp.microbatches(ramp.seconds(np.array([m])))[0] == pytest.approx(m, rel=1e-9)
    assert ramp.seconds(np.array([100.0]))[0] > 100 / (2 / 3 + 3)  # more than the steady rate alone


def test_stages_go_to_the_fastest_groups_first() -> None:
    slowness, room = np.array([[3.0], [1.0], [2.0]]), np.array([[4], [3], [4]])
    assert fullest(slowness, room, np.array([6])).ravel().tolist() == [1, 3, 2]
