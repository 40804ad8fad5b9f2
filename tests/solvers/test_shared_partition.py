"""Layers and vocabulary shares chosen together, against every answer of small instances."""

from itertools import product

import numpy as np
import pytest

from solvers.shared_partition import shared_partition
from tests.oracles.partition import all_splits


def tables(costs: np.ndarray) -> np.ndarray:
    """[chunks, items + 1, items + 1] sums of costs [chunks, items]."""
    prefix = np.concatenate([np.zeros((len(costs), 1)), np.cumsum(costs, axis=1)], axis=1)
    return np.maximum(prefix[:, None, :] - prefix[:, :, None], 0.0)


def best_by_hand(load, unit_seconds, load_bytes, unit_bytes, caps) -> float:  # type: ignore[no-untyped-def]
    chunks, items, units = len(load), load.shape[1] - 1, unit_seconds.shape[1] - 1
    best = np.inf
    for split in all_splits(items, chunks):
        for shares in product(range(units + 1), repeat=chunks):
            pieces = list(zip(range(chunks), split[:-1], split[1:], shares, strict=True))
            if sum(shares) == units and all(
                load_bytes[j, a, b] + u * unit_bytes[j] <= caps[j] for j, a, b, u in pieces
            ):
                best = min(best, max(load[j, a, b] + unit_seconds[j, u] for j, a, b, u in pieces))
    return best


def test_200_random_instances_have_the_value_of_brute_force() -> None:
    random = np.random.default_rng(11)
    infeasible = binding = 0
    for _ in range(200):
        chunks, units = int(random.integers(1, 4)), int(random.integers(0, 6))
        items = int(random.integers(chunks, 7))
        speed = random.uniform(0.5, 2.0, (chunks, 1))
        load = tables(random.integers(0, 9, items) * speed)
        held = tables(np.broadcast_to(random.integers(0, 5, items).astype(float), (chunks, items)))
        unit_seconds = np.cumsum(
            random.uniform(0, 2, (chunks, units + 1)), axis=1
        )  # not linear: a product's efficiency
        unit_bytes, caps = (random.integers(*ends, chunks).astype(float) for ends in ((0, 4), (2, 30)))
        best = best_by_hand(load, unit_seconds, held, unit_bytes, caps)
        free = best_by_hand(load, unit_seconds, held, unit_bytes, np.full(chunks, np.inf))
        found = shared_partition(load, unit_seconds, load_bytes=held, unit_bytes=unit_bytes, cap_bytes=caps)
        infeasible, binding = infeasible + np.isinf(best), binding + (free < best < np.inf)
        assert found.value == pytest.approx(best, rel=1e-9)
        assert found.status == ("infeasible" if np.isinf(best) else "optimal")
        if found.choice is not None:
            cut, shares = found.choice.boundaries, found.choice.units
            assert shares.sum() == units
            for j in range(chunks):
                assert held[j, cut[j], cut[j + 1]] + shares[j] * unit_bytes[j] <= caps[j] * (1 + 1e-9)
                assert load[j, cut[j], cut[j + 1]] + unit_seconds[j, shares[j]] <= found.value * (1 + 1e-9)
    assert infeasible > 10
    assert binding > 10


def test_of_several_moments_each_must_fit() -> None:
    """By hand: layers of 10 s and 4 bytes, units of 1 s. Holding two layers, 10 bytes leave 2 units at the moment when
    one takes 1, and one layer 3 at the moment when it takes 3 beside 1 byte more: 5 of 5 units, busy 13 and 22."""
    load, held = tables(np.full((2, 3), 10.0)), tables(np.full((2, 3), 4.0))
    moments = np.array([held, np.where(held > 4, 0.0, 1.0)]), np.array([[1.0, 1.0], [3.0, 3.0]])
    found = shared_partition(
        load, np.tile(np.arange(6.0), (2, 1)), load_bytes=moments[0], unit_bytes=moments[1], cap_bytes=10
    )
    assert found.choice is not None
    assert found.value == 22
    assert sorted(found.choice.units.tolist()) == [2, 3]
    one = shared_partition(load, np.tile(np.arange(6.0), (2, 1)), load_bytes=held, unit_bytes=1.0, cap_bytes=10)
    assert one.value == 20, "the first moment alone lets the lighter stage take all"
    none = shared_partition(
        load, np.tile(np.arange(7.0), (2, 1)), load_bytes=moments[0], unit_bytes=moments[1], cap_bytes=10
    )
    assert none.status == "infeasible"


def test_a_stage_with_a_layer_less_takes_more_of_the_vocabulary() -> None:
    """5 layers of 10 s on 2 devices, 20 units of 1 s: 30 + 5 and 20 + 15 (even shares: 30 + 10)."""
    found = shared_partition(tables(np.full((2, 5), 10.0)), np.tile(np.arange(21.0), (2, 1)))
    assert found.value == 35
    assert found.choice is not None
    assert sorted(found.choice.units.tolist()) == [5, 15]


def test_a_device_of_half_the_speed_takes_less_of_both() -> None:
    """6 layers of 4 s and 12 units of 1 s, twice that on the second device. Equal busy times: x layers and u
    units on the first with 4 x + u = 2 (4 (6 - x) + 12 - u) = 24: 6 layers' and units' seconds are 36."""
    load = tables(np.array([[4.0], [8.0]]) * np.ones(6))
    found = shared_partition(load, np.array([[1.0], [2.0]]) * np.arange(13.0))
    assert found.value == 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((2, 3, 4)), np.zeros((2, 2))), "load_seconds: shape"),
        ((np.zeros((3, 3, 3)), np.zeros((3, 2))), "3 chunks must be between 1 and the 2 items"),
        ((np.zeros((2, 4, 4)), np.zeros((1, 2))), "unit_seconds: shape"),
        ((np.zeros((2, 4, 4)), np.array([[0.0, 1.0], [1.0, 0.0]])), "must not take less time"),
        ((np.full((2, 4, 4), np.nan), np.zeros((2, 2))), "load_seconds: nan"),
    ],
)
def test_what_makes_no_instance_is_refused(arguments, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        shared_partition(*arguments)


def test_a_negative_figure_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cap_bytes: -1\.0"):
        shared_partition(np.zeros((2, 4, 4)), np.zeros((2, 2)), cap_bytes=-1.0)
