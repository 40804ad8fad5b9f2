"""Why nothing fits on unlike groups: which group lacks how much, and a change that was checked."""

from dataclasses import replace

import pytest

from costmodels.configuration import Configuration, Job
from costmodels.ground_step import GroundModel
from planner.mixed.ground import ground_of
from planner.mixed.solve import solve_mixed
from planner.partition import Partition
from planner.solve import SolveOptions
from tests.machines import dense_model
from tests.planner.mixed.machines import CALIBRATION, every_standing, group, islands

MODEL = dense_model(layers=4, hidden=2048, ffn=8192)
JOB = Job(global_batch=12, sequence_length=4096)
PINS: dict[str, int | str] = {"tp": 1, "sp": 0, "cp": 1, "recompute": "none", "zero": 1, "mbs": 1, "pp": 2}
OPTIONS = SolveOptions(pins=PINS, calibration=CALIBRATION)


def test_the_group_that_lacks_memory_is_named_with_how_much_and_what_helps() -> None:
    """Brute force over every standing of two stages finds the same least excess; the change is solved again."""
    where = islands(group("large", 1, memory_bytes=8e9), group("small", 1, memory_bytes=5e9))
    outcome = solve_mixed(where, MODEL, JOB, options=OPTIONS)
    assert outcome.status == "infeasible"
    report = outcome.infeasibility
    assert report is not None
    least = min(
        Partition.on(
            GroundModel(MODEL, JOB, configuration, ground_of(where, configuration, lanes), [CALIBRATION] * 2)
        ).least_over_bytes()
        for configuration, lanes in every_standing(where, JOB, [Configuration(zero=1)], range(2, 3), 0.25)
        if len({g for lane in lanes for g, _ in lane.chain}) == 2
    )
    assert report.short_bytes is not None
    assert report.short_bytes == pytest.approx(least)
    assert "GB short" in report.reasons[0]
    (remedy,) = report.remedies
    named = next(one for one in where.groups if f"in {one.name}" in remedy)
    nodes = int(remedy.split()[0])
    more = tuple(one.resized(nodes) if one == named else one for one in where.groups)
    assert solve_mixed(replace(where, groups=more), MODEL, JOB, options=OPTIONS, compare=False).plan is not None


def test_what_breaks_a_rule_everywhere_says_which() -> None:
    where = islands(group("a", 2), group("b", 2, 0.5))
    outcome = solve_mixed(where, MODEL, JOB, options=replace(OPTIONS, pins={**PINS, "pp": 2, "mbs": 8}))
    assert outcome.status == "infeasible"
    assert outcome.infeasibility is not None
    assert any("mbs" in reason for reason in outcome.infeasibility.reasons)
