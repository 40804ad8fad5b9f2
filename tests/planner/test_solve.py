"""The whole road from specs to a plan, against brute force over the same space."""

import pytest
from hypothesis import HealthCheck, given, settings

from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster
from costmodels.recompute import EVERY
from costmodels.step_price import price_cut
from planner.predict import predict
from planner.pricing import Pricing, calibration_for
from planner.solve import Progress, SolveOptions, solve
from planner.space import IllegalConfiguration, enumerate_space
from planner.validate import validate
from tests.machines import cluster, dense_model, moe_model
from tests.oracles.configurations import fastest, legal_configurations
from tests.planner.instances import Instance, instances


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(instances())
def test_the_optimum_is_that_of_brute_force(instance: Instance) -> None:
    """Second method: every candidate's own cut simulated in full, one after the other, no bounds; and the
    first and the best of them priced alone by ``predict``. An interleaved winner's cut may be improved on."""
    best, best_index = float("inf"), 0
    columns = enumerate_space(*instance.parts, instance.pins).columns
    pricing = Pricing(*instance.parts, calibration_for(instance.cluster, instance.job, None), columns)
    capacity, count = instance.cluster.capacity_bytes, len(columns)
    for index in range(count):
        price = price_cut(pricing.step, index, pricing.best_boundaries(index))
        alone = predict(*instance.parts, columns.row(index)).price if index == 0 else price
        assert (price.step_seconds, price.peak_bytes) == pytest.approx(
            (alone.step_seconds, alone.peak_bytes), rel=1e-12
        )
        if price.peak_bytes <= capacity and price.step_seconds < best:
            best, best_index = price.step_seconds, index
    outcome = solve(*instance.parts, options=SolveOptions(pins=instance.pins, top_k=2))
    if best == float("inf"):
        assert outcome.status == "infeasible"
        assert outcome.infeasibility is not None
        return
    assert outcome.status == "optimal"
    assert outcome.plan is not None
    alone = predict(*instance.parts, columns.row(best_index))
    assert alone.feasible
    assert alone.step_seconds == pytest.approx(best, rel=1e-12)
    certificate = outcome.plan.certificate
    assert certificate.value <= best * (1 + 1e-12)
    winner = (
        outcome.plan.parallelism
    )  # a rule's cut may be improved: of several chunks, or with every K-th layer redone
    if winner.vp == 1 and EVERY not in winner.recompute:
        assert certificate.value == pytest.approx(best, rel=1e-12)
    assert certificate.lower_bound == certificate.value
    assert certificate.searched.candidates == count
    for alternative in certificate.alternatives:
        assert alternative.step_seconds >= certificate.value


def test_nothing_pinned_is_brute_force_in_plain_loops_too() -> None:
    """The same with the oracle's own enumeration: its rules are written out separately."""
    parts = (cluster(1, 4), dense_model(layers=3), Job(global_batch=4, sequence_length=2048))
    best, chosen, count = fastest(*parts)
    outcome = solve(*parts)
    assert outcome.plan is not None
    assert chosen is not None
    assert outcome.plan.certificate.value == pytest.approx(best, rel=1e-12)
    assert outcome.plan.certificate.searched.candidates == count == len(set(legal_configurations(*parts)))


def test_the_same_inputs_give_the_same_bytes() -> None:
    parts = (cluster(1, 8), moe_model(layers=6, mtp=1), Job(global_batch=16, sequence_length=2048))
    first, second = (solve(*parts).plan for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.text() == second.text()


def test_alternatives_are_the_next_best_with_the_reason_each_lost() -> None:
    parts = (cluster(1, 4), dense_model(), Job(global_batch=8, sequence_length=2048))
    plan = solve(*parts, options=SolveOptions(top_k=4)).plan
    assert plan is not None
    others = plan.certificate.alternatives
    space = enumerate_space(*parts).columns
    every = sorted(p.step_seconds for p in (predict(*parts, space.row(i)) for i in range(len(space))) if p.feasible)
    assert [plan.certificate.value, *(a.step_seconds for a in others)] == pytest.approx(every[:4], rel=1e-12)
    assert all(a.reason for a in others)


def test_a_time_limit_of_nothing_still_gives_a_plan() -> None:
    parts = (cluster(1, 8), dense_model(), Job(global_batch=8, sequence_length=2048))
    outcome = solve(*parts, options=SolveOptions(time_limit_seconds=0.0))
    assert outcome.plan is not None
    certificate = outcome.plan.certificate
    assert certificate.searched.evaluated == 1
    assert certificate.status == ("optimal" if certificate.lower_bound == certificate.value else "feasible")
    assert validate(outcome.plan) == []


def test_progress_tells_each_stage() -> None:
    told: list[Progress] = []
    solve(cluster(1, 4), dense_model(), Job(global_batch=8, sequence_length=2048), progress=told.append)
    assert [p.stage for p in told][:2] == ["enumerate", "bound"]
    assert told[-1].stage == "search"
    assert told[-1].best_seconds is not None


def test_too_little_memory_is_an_answer() -> None:
    """By how much, for which configuration, and what would do: each remedy is solved and fits."""
    small = cluster(1, 2, memory_bytes=3.3e9)
    job = Job(global_batch=4, sequence_length=2048)
    outcome = solve(small, dense_model(layers=12, hidden=1024, ffn=4096), job)
    assert outcome.status == "infeasible"
    report = outcome.infeasibility
    assert report is not None
    assert report.short_bytes is not None
    assert report.short_bytes > 0
    enough = Cluster(
        **{
            **{f: getattr(small, f) for f in small.__slots__},
            "gpu": cluster(1, 2, memory_bytes=report.capacity_bytes + report.short_bytes + 1).gpu,
        }
    )
    assert solve(enough, dense_model(layers=12, hidden=1024, ffn=4096), job).status == "optimal"
    less = cluster(1, 2, memory_bytes=report.capacity_bytes + report.short_bytes - 1e6)
    assert solve(less, dense_model(layers=12, hidden=1024, ffn=4096), job).status == "infeasible"
    assert report.remedies


def test_no_legal_configuration_names_the_rules() -> None:
    outcome = solve(
        cluster(1, 8), dense_model(), Job(global_batch=3, sequence_length=2048), options=SolveOptions(pins={"dp": 8})
    )
    assert outcome.status == "infeasible"
    assert outcome.infeasibility is not None
    assert "dp x mbs" in "\n".join(outcome.infeasibility.lines)


def test_an_illegal_configuration_is_not_predicted() -> None:
    with pytest.raises(IllegalConfiguration):
        predict(cluster(1, 8), dense_model(), Job(global_batch=8, sequence_length=2048), Configuration(tp=3))
