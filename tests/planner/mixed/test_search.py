"""The search on unlike groups against every configuration priced one by one, and what its plans must look like."""

from dataclasses import replace

import numpy as np
import pytest

from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster, Link
from planner.mixed.islands import Islands
from planner.mixed.search import Found, search
from planner.mixed.space import MOST_IDLE
from tests.machines import dense_model
from tests.planner.mixed.machines import (
    CALIBRATION,
    Standing,
    best_by_hand,
    every_standing,
    group,
    islands,
)

MODEL = dense_model(layers=4, hidden=2048, ffn=8192)
JOB = Job(global_batch=12, sequence_length=4096)
PINS: dict[str, int | str] = {"sp": 0, "cp": 1, "recompute": "none", "zero": 1, "mbs": 1}
SHAPES = [Configuration(tp=tp, zero=1) for tp in (1, 2)]


def found_on(where: Islands, pins: dict[str, int | str], job: Job = JOB) -> Found:
    return search(where, [CALIBRATION] * len(where.groups), MODEL, job, pins=pins)


def by_hand(where: Islands, most_stages: int, job: Job = JOB) -> tuple[float, Standing]:
    """All of the space, and pipelines that leave more than a quarter of a bundle idle too."""
    every = list(every_standing(where, job, SHAPES, range(1, most_stages + 1), MOST_IDLE))
    values = [best_by_hand(where, MODEL, job, one, CALIBRATION) for one in every]
    best = int(np.argmin(values))
    return values[best], every[best]


def link(bytes_per_second: float) -> Link:
    return Link(bytes_per_second=bytes_per_second, latency_seconds=5e-6)


@pytest.mark.parametrize(
    ("groups", "rate", "chosen"),
    [
        # unlike shares of the batch side by side
        ((group("new", 2), group("old", 2, 0.4)), 50e9, [((0, 1),), ((1, 1),)]),
        # the slower part of one pipeline holds fewer layers
        ((group("new", 1), group("old", 1, 0.4)), 50e9, [((0, 1), (1, 1))]),
        # too slow a trunk: one group is left out
        ((group("new", 1), group("old", 1, 0.4)), 1e9, [((0, 1),)]),
        # too small for all layers alone
        ((group("new", 2, 1.0, 7.5e9), group("old", 2, 0.6, 10e9)), 20e9, [((1, 1), (0, 1))]),
        ((group("new", 4, 1.0, 7.5e9), group("old", 2, 0.6, 10e9)), 20e9, [((1, 1), (0, 2))]),
    ],
)
def test_nothing_that_stands_there_is_faster(
    groups: tuple[Cluster, ...], rate: float, chosen: list[tuple[tuple[int, int], ...]]
) -> None:
    """Brute force over bundles, orders, stages, pipelines, shares and cuts, spelled out apart from the search. What the
    search leaves out (fewer pipelines than fit and divide the batch) is tried there too."""
    where = islands(*groups, link=link(rate))
    expected, _ = by_hand(where, 3)
    found = min((found_on(where, {**PINS, "pp": pp}) for pp in (1, 2, 3)), key=lambda one: one.result.value)
    assert found.best is not None
    assert found.result.status == "optimal"
    assert found.result.value == pytest.approx(expected, rel=1e-9)
    assert found.best.price.over_bytes <= 0
    assert [lane.chain for lane in found.best.lanes] == chosen


def test_three_groups_with_one_kind_twice() -> None:
    """Two groups are interchangeable: the search looks at one of each pair that mirror one another, brute force at
    both."""
    where = islands(group("a", 1), group("b", 1), group("c", 1, 0.5), link=link(20e9))
    expected, _ = by_hand(where, 3)
    found = min((found_on(where, {**PINS, "pp": pp}) for pp in (1, 2, 3)), key=lambda one: one.result.value)
    assert found.result.value == pytest.approx(expected, rel=1e-9)


def test_equal_groups_do_as_well_as_the_nodes_of_one_cluster() -> None:
    """A second method: two halves of a cluster, joined by its own network, against the search on equal nodes; chains
    of one group's stages before the other's are what ranks dealt in order give, so no step is longer."""
    from planner.solve import SolveOptions, solve

    halves = islands(group("a", 2), group("b", 2), link=group("a", 1).scale_out)
    whole = replace(group("a", 4), name="whole")
    pins: dict[str, int | str] = {**PINS, "vp": 1}
    plan = solve(
        whole, MODEL, replace(JOB, global_batch=16), options=SolveOptions(pins=pins, calibration=CALIBRATION)
    ).plan
    assert plan is not None
    found = found_on(halves, pins, replace(JOB, global_batch=16))
    assert found.result.value <= plan.prediction.step_seconds * (1 + 1e-9)


def test_a_faster_group_never_makes_the_step_longer() -> None:
    steps = []
    for speed in (0.4, 0.7, 1.0):
        where = islands(group("new", 1), group("old", 1, speed), link=link(20e9))
        steps.append(found_on(where, PINS).result.value)
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > steps[-1]


def test_a_faster_trunk_never_makes_the_step_longer() -> None:
    steps = [
        found_on(islands(group("new", 1), group("old", 1, 0.4), link=link(rate)), PINS).result.value
        for rate in (1e9, 1e10, 5e10)
    ]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > steps[-1]


def test_a_group_more_never_makes_the_step_longer() -> None:
    """It can be left out."""
    two = islands(group("a", 1), group("b", 1, 0.7))
    three = islands(group("a", 1), group("b", 1, 0.7), group("c", 1, 0.1))
    assert found_on(three, PINS).result.value <= found_on(two, PINS).result.value * (1 + 1e-12)


def test_where_nothing_fits_there_is_no_plan() -> None:
    where = islands(group("a", 1, memory_bytes=5e9), group("b", 1, memory_bytes=5e9))
    found = found_on(where, PINS)
    assert found.best is None
    assert found.result.status == "infeasible"
