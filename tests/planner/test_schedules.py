"""Schedules that run weight gradients apart, from ``--allow`` to the plan: legal, bounded, solved, validated."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from costmodels.calibration import load_calibration
from costmodels.configuration import PIPELINE_SCHEDULES, VOCABULARIES, Configuration, Job
from costmodels.step_price import price_cut
from planner.plan import Plan, operations
from planner.predict import predict
from planner.pricing import Pricing
from planner.solve import SolveOptions, solve
from planner.space import IllegalConfiguration, check, enumerate_space
from planner.validate import validate, validate_json
from tests.machines import cluster, dense_model, moe_model
from tests.oracles.configurations import legal_configurations
from tests.planner.instances import Instance, instances

MACHINE = cluster(1, 4)
MODEL = dense_model(layers=8)
JOB = Job(global_batch=16, sequence_length=2048)
BOTH = frozenset({"schedule", "vocabulary"})
SPLIT = tuple(name for name in PIPELINE_SCHEDULES if name not in ("1f1b", "best"))


def chunks_of(schedule: str) -> int:
    return 1 if schedule.startswith("zb-h") else 2


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        (Configuration(dp=4, schedule="zb-h1"), "needs pp > 1"),
        (Configuration(pp=2, vp=2, dp=2, schedule="zb-h2"), "zb-h1 and zb-h2 run one chunk a stage"),
        (Configuration(pp=2, dp=2, schedule="v-half"), "run two chunks a stage"),
        (Configuration(pp=2, dp=2, schedule="zb-h1", vocabulary="vocab-1"), "a split vocabulary has orders of its own"),
    ],
)
def test_what_cannot_run_a_schedule_is_refused_by_name(configuration: Configuration, reason: str) -> None:
    with pytest.raises(IllegalConfiguration, match=reason):
        check(MACHINE, MODEL, JOB, configuration)


def test_v_schedules_run_any_number_of_micro_batches() -> None:
    """Rule: interleaving alone needs multiples of pp; 3 micro-batches on 2 stages."""
    job = Job(global_batch=3, sequence_length=2048)
    machine = cluster(1, 2)
    for schedule in ("zb-v", "v-half", "v-min"):
        check(machine, MODEL, job, Configuration(pp=2, vp=2, schedule=schedule))
    with pytest.raises(IllegalConfiguration, match="multiples of pp"):
        check(machine, MODEL, job, Configuration(pp=2, vp=2))


@pytest.mark.parametrize("allow", [(), ("schedule",), ("vocabulary",), ("schedule", "vocabulary")])
def test_the_space_tries_what_is_allowed_and_nothing_else(allow: tuple[str, ...]) -> None:
    """Second method: nested loops with legality written again."""
    machine, model, job = cluster(1, 4), dense_model(layers=3), Job(global_batch=8, sequence_length=2048)
    space = enumerate_space(machine, model, job, allow=allow)
    found = [space.columns.row(i) for i in range(len(space.columns))]
    assert len(found) == len(set(found))
    assert set(found) == set(legal_configurations(machine, model, job, allow))
    assert {c.schedule for c in found} == ({"1f1b", *SPLIT} if "schedule" in allow else {"1f1b"})
    assert {c.vocabulary for c in found} == (set(VOCABULARIES) if "vocabulary" in allow else {"whole"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"allow": ("shedule",)}, "shedule cannot be allowed: did you mean schedule"),
        ({"allow": ("tp",)}, "tp cannot be allowed: one of recompute, schedule, vocabulary"),
        ({"allow": ("schedule",), "pins": {"schedule": "zb-v"}}, "allowed, and also pinned"),
        ({"allow": ("schedule",), "forbid": ("schedule",)}, "allowed, and also pinned or forbidden"),
        ({"pins": {"schedule": "zb-3"}}, "schedule=zb-3: one of 1f1b, zb-h1"),
    ],
)
def test_what_cannot_be_allowed_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(IllegalConfiguration, match=message):
        enumerate_space(MACHINE, MODEL, JOB, **arguments)  # type: ignore[arg-type]


def test_a_pin_holds_without_being_allowed() -> None:
    for schedule in SPLIT:
        columns = enumerate_space(MACHINE, MODEL, JOB, {"schedule": schedule}).columns
        rows = [columns.row(i) for i in range(len(columns))]
        assert {(row.schedule, row.vp) for row in rows} == {(schedule, chunks_of(schedule))}
        assert {row.pp for row in rows} == {2, 4}


def priced(instance: Instance) -> Pricing:
    columns = enumerate_space(*instance.parts, instance.pins, allow=BOTH).columns
    return Pricing(*instance.parts, load_calibration(instance.cluster.gpu), columns)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(instances())
def test_no_bound_exceeds_the_evaluated_step_and_no_cut_that_fits_is_dropped(instance: Instance) -> None:
    prices = priced(instance)
    count = len(prices.columns)
    if not count:
        return
    coarse, refined = prices.coarse_bounds(), prices.refine(np.arange(count))
    assert not (np.isinf(coarse) & np.isfinite(refined)).any()
    for index in np.flatnonzero(np.isfinite(refined)):
        if np.isinf(prices.evaluate(int(index)).value):  # no cut at all fits
            continue
        price = prices.price(int(index))
        assert max(coarse[index], refined[index]) <= price.step_seconds
        assert price.peak_bytes <= instance.cluster.capacity_bytes, prices.configuration(int(index))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(instances())
def test_the_optimum_of_all_that_is_allowed_is_that_of_brute_force(instance: Instance) -> None:
    """Second method: every candidate's own cut simulated in full, no bounds. Of several chunks a stage, or where
    weight gradients run apart, a better cut than the rule's may be found for the best of them."""
    prices = priced(instance)
    best = float("inf")
    for index in range(len(prices.columns)):
        step = prices.step.take(np.array([index])).running(None, prices.rows(index))
        price = price_cut(step, 0, prices.best_boundaries(index))
        if price.peak_bytes <= instance.cluster.capacity_bytes:
            best = min(best, price.step_seconds)
    outcome = solve(*instance.parts, options=SolveOptions(pins=instance.pins, allow=BOTH, top_k=2))
    if best == float("inf"):
        assert outcome.status == "infeasible"
        return
    assert outcome.plan is not None
    found = outcome.plan.certificate
    assert found.lower_bound <= found.value <= best * (1 + 1e-12)
    own = {(prices.configuration(i), prices.best_boundaries(i)) for i in range(len(prices.columns))}
    if (outcome.plan.configuration(), outcome.plan.boundaries()) in own:
        assert found.value == pytest.approx(best, rel=1e-12)
        assert found.status == "optimal"


@pytest.mark.parametrize("schedule", SPLIT)
@pytest.mark.parametrize("pp", [2, 4, 8])
@pytest.mark.parametrize("memory_gb", [80, 3.0, 2.2])
def test_memory_bounds_hold_where_memory_is_scarce(schedule: str, pp: int, memory_gb: float) -> None:
    machine, job = cluster(1, 8, memory_bytes=memory_gb * 1e9), Job(global_batch=64, sequence_length=2048)
    columns = enumerate_space(machine, dense_model(layers=16), job, {"schedule": schedule, "pp": pp, "zero": 1}).columns
    prices = Pricing(machine, dense_model(layers=16), job, load_calibration(machine.gpu), columns)
    coarse, refined = prices.coarse_bounds(), prices.refine(np.arange(len(columns)))
    assert len(columns)
    assert not (np.isinf(coarse) & np.isfinite(refined)).any()
    finite = np.isfinite(refined)
    assert (coarse[finite] <= np.array([prices.price(int(i)).step_seconds for i in np.flatnonzero(finite)])).all()
    if memory_gb < 3:
        assert np.isinf(coarse).any()


@pytest.mark.parametrize("schedule", SPLIT)
@pytest.mark.parametrize(("pp", "layers"), [(4, 8), (8, 22), (16, 30)])
def test_memory_that_just_holds_a_cut_is_never_too_little(schedule: str, pp: int, layers: int) -> None:
    """Second method: the peak of each candidate's own cut, to the byte, as all the memory there is."""
    model = replace(dense_model(layers), vocabulary=256)  # layers fill the memory, not logits
    machine, job = cluster(1, pp), Job(global_batch=64, sequence_length=4096)
    pins: dict[str, int | str] = {"schedule": schedule, "pp": pp, "zero": 1, "tp": 1, "cp": 1}
    columns = enumerate_space(machine, model, job, pins).columns
    prices = Pricing(machine, model, job, load_calibration(machine.gpu), columns)
    for index in range(len(columns)):
        peak = price_cut(prices.step, index, prices.best_boundaries(index)).peak_bytes
        just = cluster(1, pp, memory_bytes=peak)
        alone = Pricing(just, model, job, load_calibration(machine.gpu), columns.take(np.array([index])))
        assert np.isfinite(alone.coarse_bounds()[0])
        assert np.isfinite(alone.refine(np.array([0]))[0])


@pytest.mark.parametrize("schedule", SPLIT)
@pytest.mark.parametrize("model", [MODEL, replace(MODEL, tied_embeddings=True), moe_model(8, mtp=1)])
def test_a_pinned_schedule_is_solved_and_its_plan_is_sound(schedule: str, model) -> None:  # type: ignore[no-untyped-def]
    pins: dict[str, int | str] = {"schedule": schedule, "pp": 4, "zero": 1}
    plan = solve(cluster(1, 8), model, JOB, options=SolveOptions(pins=pins, top_k=3)).plan
    assert plan is not None
    assert validate(plan) == []
    assert Plan.loads(plan.text()) == plan
    assert (plan.schedule.name, plan.schedule.chunks_per_stage) == (schedule, chunks_of(schedule))
    assert plan.schedule.placement == ("linear" if chunks_of(schedule) == 1 else "v")
    held = [[chunk.chunk for chunk in stage.chunks] for stage in plan.stages]
    assert held == ([[0], [1], [2], [3]] if chunks_of(schedule) == 1 else [[0, 7], [1, 6], [2, 5], [3, 4]])


@pytest.mark.parametrize("schedule", SPLIT)
def test_operations_of_a_plan_are_those_of_its_step(schedule: str) -> None:
    """Second method: the price's pipeline seconds; every pass of every micro-batch once."""
    plan = solve(MACHINE, MODEL, JOB, options=SolveOptions(pins={"schedule": schedule, "pp": 4}, top_k=1)).plan
    assert plan is not None
    chunks, m = chunks_of(schedule), plan.schedule.microbatches
    found = [operations(plan, stage) for stage in range(4)]
    assert max(row[-1].end_seconds for row in found) == pytest.approx(plan.prediction.pipeline_seconds, rel=1e-12)
    for row in found:
        assert len({(op.kind, op.chunk, op.microbatch) for op in row}) == len(row) == 3 * chunks * m
        assert {op.kind for op in row} == {"forward", "input_grad", "weight_grad"}


def test_the_certificate_says_what_was_allowed() -> None:
    plan = solve(MACHINE, MODEL, JOB, options=SolveOptions(allow=BOTH, top_k=2)).plan
    assert plan is not None
    assert "any schedule, any vocabulary" in plan.certificate.scope
    assert plan.inputs.options.allow == ("schedule", "vocabulary")
    plain = solve(MACHINE, MODEL, JOB, options=SolveOptions(top_k=2)).plan
    assert plain is not None
    assert "any" not in plain.certificate.scope
    assert plan.certificate.value <= plain.certificate.value


def test_a_plan_that_says_otherwise_is_found() -> None:
    """Second method: ``planner.validate``'s own rules, which share nothing with the search's."""
    plan = solve(MACHINE, MODEL, JOB, options=SolveOptions(pins={"schedule": "zb-v", "pp": 4}, top_k=1)).plan
    assert plan is not None

    def rules(*path: str | int, value: object) -> set[tuple[str, str]]:
        document = plan.to_json()
        place = document
        for step in path[:-1]:
            place = place[step]  # type: ignore[index]
        place[path[-1]] = value  # type: ignore[index]
        return {(finding.rule, finding.path) for finding in validate_json(document)}

    legal = "parallelism.legal", "/parallelism/schedule"
    assert legal in rules("inputs", "options", "pins", value={"pp": 4})
    assert legal not in rules(
        "inputs", "options", value={**plan.to_json()["inputs"]["options"], "pins": {"pp": 4}, "allow": ["schedule"]}
    )
    assert ("options.allow", "/inputs/options/allow") in rules("inputs", "options", "allow", value=["schedule"])
    assert ("options.allow", "/inputs/options/allow") in rules("inputs", "options", "allow", value=["tp"])
    assert ("options.allow", "/inputs/options/allow") in rules("inputs", "options", "allow", value=["vocabulary"] * 2)
    assert legal in rules("parallelism", "vp", value=4)
    assert legal in rules("parallelism", "vocabulary", value="vocab-1")
    assert ("schedule", "/schedule/name") in rules("schedule", "name", value="v-half")
    assert ("schedule", "/schedule/placement") in rules("schedule", "placement", value="interleaved")
    assert ("stages.chunks", "/stages/0/chunks") in rules("stages", 0, "chunks", 1, "chunk", value=4)
    assert ("memory.in_flight", "/stages/0/memory/in_flight") in rules("stages", 0, "memory", "in_flight", value=9)


def test_zb_h1_is_faster_than_1f1b_in_the_same_cut_here() -> None:
    """Measured by both simulations: with few micro-batches and little between the stages, W fills the drain."""
    plain = Configuration(pp=4, recompute="none", mbs=1)
    cut = (0, 3, 5, 7, 10)
    seconds = [
        predict(MACHINE, MODEL, JOB, replace(plain, schedule=schedule), boundaries=cut).price.pipeline_seconds
        for schedule in ("1f1b", "zb-h1", "zb-h2")
    ]
    assert seconds[1] < seconds[0]
    assert seconds[2] <= seconds[1]
