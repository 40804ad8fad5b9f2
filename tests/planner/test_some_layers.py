"""Recompute of some layers from pin to checked plan, its cuts and its bounds."""

import itertools
import re

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.step_price import price_cut
from planner.plan import Plan
from planner.plan.strict import RecomputeLevel
from planner.predict import IllegalConfiguration, predict
from planner.pricing import Pricing
from planner.solve import SolveOptions, solve
from planner.space import enumerate_space
from planner.validate import validate
from tests.bare import bare_calibration
from tests.machines import cluster, dense_model

JOB = Job(global_batch=16, sequence_length=2048)


@pytest.mark.parametrize("level", ["full:1", "full:3", "full/2"])
@pytest.mark.parametrize("pp", [1, 2])
def test_a_pinned_level_becomes_a_plan_that_passes(level: str, pp: int) -> None:
    outcome = solve(cluster(), dense_model(8), JOB, options=SolveOptions(pins={"recompute": level, "pp": pp}))
    assert outcome.status == "optimal"
    assert isinstance(outcome.plan, Plan)
    assert outcome.plan.configuration().recompute == level
    assert {stage.recompute for stage in outcome.plan.stages} == {level}
    assert validate(outcome.plan) == []
    redone = [chunk.recompute_seconds for stage in outcome.plan.stages for chunk in stage.chunks]
    assert sum(redone) > 0


def test_the_search_finds_the_best_of_all_candidates() -> None:
    """Against the prices of all legal candidates, each under its own cut."""
    parts, pins = (cluster(1, 4), dense_model(6), JOB), {"recompute": "full:2", "sp": 0}
    outcome = solve(*parts, options=SolveOptions(pins=pins))
    columns = enumerate_space(*parts, pins).columns
    pricing = Pricing(*parts, load_calibration(parts[0].gpu), columns)
    bounds = pricing.refine(np.arange(len(columns)))
    values = [pricing.evaluate(int(i)).value for i in np.flatnonzero(np.isfinite(bounds))]
    assert len(values) > 10
    assert outcome.plan is not None
    assert outcome.plan.prediction.step_seconds == min(values)


def test_a_cut_that_spares_the_first_stage_is_tried_where_the_balanced_one_does_not_fit() -> None:
    """Two stages of 12 layers, one of each recomputed; the fullest cap at which the balanced cut fails."""
    configuration = Configuration(pp=2, dp=1, mbs=8, recompute="full:1")
    job = Job(global_batch=64, sequence_length=2048)
    model = dense_model(12)

    def pricing(memory: float) -> Pricing:
        machine = cluster(1, 2, memory_bytes=memory)
        return Pricing(machine, model, job, bare_calibration(), Columns.of([configuration]))

    roomy = pricing(80e9)
    roomy.refine(np.arange(1))
    balanced = roomy.boundaries(0)
    peak = max(stage.memory.peak_bytes for stage in price_cut(roomy.step, 0, balanced).stages)
    tight = pricing(peak - 1.0)
    assert np.isfinite(tight.coarse_bounds()).all()
    (bound,) = tight.refine(np.arange(1))
    assert np.isfinite(bound)
    assert tight.boundaries(0) != balanced
    assert tight.boundaries(0)[1] < balanced[1]
    assert max(stage.memory.peak_bytes for stage in tight.price(0).stages) <= peak - 1.0


def test_bounds_hold_for_every_cut() -> None:
    """The coarse bound against all cuts of 6 layers into 3 stages."""
    model, machine = dense_model(6), cluster(1, 3)
    for level in ("full:1", "full:4", "full/2"):
        columns = Columns.of([Configuration(pp=3, dp=1, recompute=level)])
        pricing = Pricing(machine, model, JOB, bare_calibration(), columns)
        (bound,) = pricing.coarse_bounds()
        found = [price_cut(pricing.step, 0, (0, *inner, 8)) for inner in itertools.combinations(range(1, 8), 2)]
        assert bound <= min(price.step_seconds for price in found)
        assert pricing.memory_bounds()[0] <= min(price.peak_bytes for price in found)


def test_more_first_layers_than_the_model_has_are_refused() -> None:
    whole = predict(cluster(), dense_model(8), JOB, Configuration(dp=8, recompute="full"))
    first = predict(cluster(), dense_model(8), JOB, Configuration(dp=8, recompute="full:8"))
    assert first.price == whole.price
    with pytest.raises(IllegalConfiguration, match="more first layers than the 8 of the model: write full"):
        predict(cluster(), dense_model(8), JOB, Configuration(dp=8, recompute="full:9"))
    with pytest.raises(IllegalConfiguration, match="write full:2"):
        predict(cluster(), dense_model(8), JOB, Configuration(dp=8, recompute="full:02"))


def test_the_plan_schema_describes_the_levels_that_plans_hold() -> None:
    pattern = TypeAdapter(RecomputeLevel).json_schema()["pattern"]
    for level in ("full:5", "full:120", "full/2", "full/10", "full", "none", "selective", "layernorm+mlp"):
        assert re.search(pattern, level)
        assert TypeAdapter(RecomputeLevel).validate_python(level) == level
    for wrong in ("full:0", "full:05", "full/1", "full/0", "full:", "full:5+mlp", "none:1"):
        assert not re.search(pattern, wrong)
        with pytest.raises(ValidationError):
            TypeAdapter(RecomputeLevel).validate_python(wrong)


def test_what_fits_at_no_cut_is_infeasible_with_its_shortfall() -> None:
    machine = cluster(1, 2, memory_bytes=6.3e9)
    outcome = solve(
        machine, dense_model(12), JOB, options=SolveOptions(pins={"recompute": "full:1", "pp": 2, "mbs": 8})
    )
    assert outcome.status == "infeasible"
    assert outcome.infeasibility is not None
    assert outcome.infeasibility.short_bytes is not None
    assert outcome.infeasibility.short_bytes > 0
    assert "recompute not pinned to full:1" in outcome.infeasibility.remedies
