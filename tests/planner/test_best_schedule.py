"""Orders made for a configuration: from prices to a pipeline problem and back, into a plan and out of it."""

from dataclasses import replace

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.step import StepModel
from costmodels.step_price import price_cut
from costmodels.timeline import schedule_order
from planner.best_schedule import hints, makespan_of_any_order, order_of_schedule, orders_in, schedule_problem
from planner.exports import export
from planner.exports.targets import ExportRefused
from planner.plan import Plan
from planner.plan.expand import operations
from planner.plan.order import order_of
from planner.predict import predict
from planner.pricing import Pricing
from planner.solve import SolveOptions, solve
from planner.space import IllegalConfiguration, check
from planner.validate import validate, validate_json
from solvers.schedule.solve import solve_schedule
from tests.machines import cluster, dense_model

MACHINE = cluster(1, 8)
MODEL = replace(dense_model(layers=14), vocabulary=128000)
JOB = Job(global_batch=32, sequence_length=2048)
SHAPES = {
    "one chunk": ({"pp": 4, "dp": 2}, (0, 5, 9, 13, 16)),
    "a V": ({"pp": 2, "vp": 2, "dp": 4}, (0, 5, 9, 13, 16)),
    "vocab-1": ({"pp": 4, "dp": 2, "vocabulary": "vocab-1"}, (0, 5, 9, 13, 16)),
    "vocab-2": ({"pp": 4, "dp": 2, "vocabulary": "vocab-2"}, (0, 5, 9, 13, 16)),
}


def step_model(**degrees: object) -> StepModel:
    configuration = Configuration(schedule="best", mbs=2, zero=1, **degrees)  # type: ignore[arg-type]
    check(MACHINE, MODEL, JOB, configuration)
    return StepModel(MODEL, MACHINE, JOB, load_calibration(MACHINE.gpu), Columns.of([configuration]))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_solvers_pipeline_is_that_of_the_price(shape: str) -> None:
    """Second method: the cost models' own simulation and memory of the order that the solver found."""
    degrees, cut = SHAPES[shape]
    step = step_model(**degrees)
    problem = schedule_problem(step, 0, cut)
    found = solve_schedule(problem, time_limit_seconds=1.0, hints=hints(problem), effort="quick")
    assert found.choice is not None
    order = order_of_schedule(found.choice, problem)
    price = price_cut(step.running(order), 0, cut)
    assert price.pipeline_seconds == pytest.approx(found.value, rel=1e-9)
    assert makespan_of_any_order(problem) <= found.value * (1 + 1e-9)
    assert orders_in(problem, order) == found.choice.orders
    assert price.peak_bytes <= MACHINE.capacity_bytes
    for stage, memory in enumerate(price.stages):
        kept = problem.vocabulary.kept[stage] if problem.vocabulary else 0.0
        held = memory.memory.activations_bytes
        assert held <= found.choice.peak_memory[stage] * (1 + 1e-9) + kept


def test_no_schedule_with_a_rule_is_faster_in_the_same_cut() -> None:
    """They are where the solver starts from."""
    degrees, cut = SHAPES["one chunk"]
    step = step_model(**degrees)
    problem = schedule_problem(step, 0, cut)
    found = solve_schedule(problem, time_limit_seconds=1.0, hints=hints(problem), effort="quick")
    for name in ("1f1b", "gpipe", "zb-h1", "zb-h2"):
        price = price_cut(step.running(schedule_order(name, 4, 1, 8)), 0, cut)
        fits = price.peak_bytes <= MACHINE.capacity_bytes
        assert not fits or found.value <= price.pipeline_seconds * (1 + 1e-9)


def plan_of(**pins: int | str) -> Plan:
    options = SolveOptions(pins={"schedule": "best", "zero": 1, **pins}, order_seconds=3.0, top_k=3)
    plan = solve(MACHINE, MODEL, JOB, options=options).plan
    assert plan is not None
    return plan


@pytest.mark.parametrize("pins", [{"pp": 4, "vp": 1}, {"pp": 2, "vp": 2}, {"pp": 4, "vocabulary": "vocab-1"}])
def test_a_plan_writes_its_order_out_and_is_sound(pins: dict[str, int | str]) -> None:
    plan = plan_of(**pins)
    assert validate(plan) == []
    assert Plan.loads(plan.text()) == plan
    assert plan.schedule.operations is not None
    assert len(plan.schedule.operations) == pins["pp"]
    proof = plan.certificate.schedule
    assert proof is not None
    assert proof.lower_bound_seconds <= proof.pipeline_seconds == plan.prediction.pipeline_seconds
    assert all(other.schedule != "best" for other in plan.certificate.alternatives)
    order = order_of(plan)
    assert order.splits_backward
    assert order.runs_s_and_t_apart == ("vocabulary" in pins)
    if "vocabulary" not in pins:
        ends = [operations(plan, stage)[-1].end_seconds for stage in range(int(pins["pp"]))]
        assert max(ends) == pytest.approx(plan.prediction.pipeline_seconds, rel=1e-12)


def test_what_is_wrong_with_a_written_order_is_found() -> None:
    plan = plan_of(pp=4, vp=1)
    assert plan.schedule.operations is not None
    first = plan.schedule.operations[0]

    def rules(*path: str | int, value: object) -> set[str]:
        document = plan.to_json()
        place = document
        for part in path[:-1]:
            place = place[part]  # type: ignore[index]
        place[path[-1]] = value  # type: ignore[index]
        return {finding.rule for finding in validate_json(document)}

    assert "schedule.operations" in rules("schedule", "operations", 0, value=first + " F")
    assert "schedule.operations" in rules("schedule", "operations", 0, value="nonsense")
    assert "schedule.operations" in rules("schedule", "operations", value=list(plan.schedule.operations[:3]))
    m = plan.parallelism.microbatches
    assert rules("schedule", "operations", 0, value=f"F*{m} I*{m} W*{m}") & {"memory.in_flight", "price.step"}
    assert "price.none" in rules("schedule", "operations", 3, value=f"I*{m} F*{m} W*{m}")  # waits for itself
    assert "schedule.proof" in rules("certificate", "schedule", "pipeline_seconds", value=1.0)
    assert "schedule.bound" in rules("certificate", "schedule", "lower_bound_seconds", value=1.0)
    assert "schedule.status" in rules("certificate", "schedule", "status", value="feasible") or (
        plan.certificate.schedule is not None and plan.certificate.schedule.status == "feasible"
    )
    document = plan.to_json()
    del document["certificate"]["schedule"]
    assert "schedule.proof" in {finding.rule for finding in validate_json(document)}


def test_torch_takes_the_order_and_megatron_refuses_it() -> None:
    plan = plan_of(pp=4, vp=1)
    rows = export(plan, "torch-csv")["schedule.csv"].splitlines()
    assert [len(row.split(",")) for row in rows] == [3 * plan.parallelism.microbatches] * 4
    with pytest.raises(ExportRefused, match="best"):
        export(plan, "megatron")


@pytest.mark.parametrize(
    ("degrees", "reason"),
    [
        ({"pp": 2, "vp": 3, "dp": 4}, "vp of 1 or 2"),
        ({"pp": 1, "dp": 8}, "pp > 1"),
        ({"pp": 4, "dp": 2, "recompute": "full:fit"}, "full:fit"),
        ({"pp": 4, "dp": 2, "vocabulary": "interlaced"}, "best with vocab-1 and vocab-2"),
    ],
)
def test_what_no_order_can_be_made_for_is_refused(degrees: dict[str, object], reason: str) -> None:
    with pytest.raises(IllegalConfiguration, match=reason):
        check(MACHINE, MODEL, JOB, Configuration(schedule="best", **degrees))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_configuration_alone_is_predicted_with_the_order_that_is_quickly_made(shape: str) -> None:
    """No slower than every schedule with a rule that fits in the same cut: they are what it starts from."""
    degrees, cut = SHAPES[shape]
    configuration = Configuration(schedule="best", mbs=2, zero=1, **degrees)  # type: ignore[arg-type]
    found = predict(MACHINE, MODEL, JOB, configuration, boundaries=cut)
    assert found.feasible
    rules = ("1f1b",) if "vocabulary" in degrees else ("1f1b", "zb-h1") if degrees["pp"] == 4 else ("v-half", "v-min")
    for rule in rules:
        other = predict(MACHINE, MODEL, JOB, replace(configuration, schedule=rule), boundaries=cut)
        assert other.feasible
        assert found.price.pipeline_seconds <= other.price.pipeline_seconds * (1 + 1e-9)


def test_what_fits_no_order_is_predicted_out_of_memory() -> None:
    small = cluster(1, 8, memory_bytes=2.5e9)
    found = predict(small, MODEL, JOB, Configuration(schedule="best", pp=4, dp=2, mbs=2, zero=1))
    assert not found.feasible
    assert found.shortfall_bytes > 0


def test_bounds_of_made_orders_hold() -> None:
    """Coarse, refined and sharpened, against the order made in the end."""
    from planner.space import enumerate_space

    columns = enumerate_space(MACHINE, MODEL, JOB, {"schedule": "best", "pp": 4, "zero": 1}).columns
    prices = Pricing(MACHINE, MODEL, JOB, load_calibration(MACHINE.gpu), columns)
    coarse, refined = prices.coarse_bounds(), prices.refine(np.arange(len(columns)))
    finite = np.flatnonzero(np.isfinite(refined))
    assert len(finite) >= 4
    for index in finite[:: max(1, len(finite) // 12)]:
        sharp = prices.sharpen(int(index))
        if np.isinf(sharp):
            continue
        found = prices.evaluate(int(index))
        assert max(coarse[index], refined[index], sharp) <= found.value * (1 + 1e-9)
        assert found.lower_bound <= found.value
        assert prices.price(int(index)).peak_bytes <= MACHINE.capacity_bytes
