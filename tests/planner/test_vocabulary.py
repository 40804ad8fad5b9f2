"""A split vocabulary from the pin to the plan: legal where it can run, bounded, solved, validated."""

from dataclasses import replace

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.configuration import Configuration, Job
from planner.plan import Plan
from planner.predict import predict
from planner.pricing import Pricing
from planner.solve import SolveOptions, solve
from planner.space import IllegalConfiguration, check, enumerate_space
from planner.validate import validate, validate_json
from tests.machines import cluster, dense_model, moe_model

METHODS = ("vocab-1", "vocab-2", "interlaced")
MACHINE = cluster(1, 4)
MODEL = replace(dense_model(layers=6), vocabulary=128000)
JOB = Job(global_batch=16, sequence_length=2048)


@pytest.mark.parametrize(
    ("configuration", "model", "reason"),
    [
        (Configuration(dp=4, vocabulary="vocab-1"), MODEL, "pp > 1"),
        (Configuration(pp=2, vp=2, dp=2, vocabulary="vocab-2"), MODEL, "vp = 1"),
        (Configuration(pp=2, dp=2, zero=2, vocabulary="vocab-1"), MODEL, "zero of at most 1"),
        (Configuration(pp=4, vocabulary="vocab-1"), replace(MODEL, tied_embeddings=True), "untied"),
        (Configuration(pp=4, vocabulary="interlaced"), moe_model(6, mtp=1), "multi-token prediction"),
    ],
)
def test_what_cannot_split_its_vocabulary_is_refused_by_name(configuration, model, reason: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(IllegalConfiguration, match=reason):
        check(MACHINE, model, JOB, configuration)
    check(MACHINE, replace(MODEL, tied_embeddings=False), JOB, Configuration(pp=4, vocabulary="vocab-1"))


def test_the_space_keeps_vocabularies_whole_unless_pinned() -> None:
    free = enumerate_space(MACHINE, MODEL, JOB).columns
    assert not free.vocabulary.any()
    pinned = enumerate_space(MACHINE, MODEL, JOB, {"vocabulary": "vocab-2"}).columns
    assert len(pinned) > 0
    assert {pinned.row(i).vocabulary for i in range(len(pinned))} == {"vocab-2"}
    with pytest.raises(IllegalConfiguration, match="vocabulary=vocab-3: one of whole, vocab-1"):
        enumerate_space(MACHINE, MODEL, JOB, {"vocabulary": "vocab-3"})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("memory_gb", [80, 4])
def test_no_bound_exceeds_the_evaluated_step(method: str, memory_gb: int) -> None:
    machine = cluster(1, 4, memory_bytes=memory_gb * 1e9)
    columns = enumerate_space(machine, MODEL, JOB, {"vocabulary": method}).columns
    prices = Pricing(machine, MODEL, JOB, load_calibration(machine.gpu), columns)
    coarse, refined = prices.coarse_bounds(), prices.refine(np.arange(len(columns)))
    assert np.isfinite(refined).any()
    assert not (np.isinf(coarse) & np.isfinite(refined)).any()
    least = prices.memory_bounds()
    for index in np.flatnonzero(np.isfinite(refined)):
        value = prices.evaluate(int(index)).value
        if np.isinf(value):  # no cut with any shares was found to fit
            continue
        assert coarse[index] <= value
        assert refined[index] <= value * (1 + 1e-12)
        assert least[index] <= prices.price(int(index)).peak_bytes


@pytest.mark.parametrize("method", METHODS)
def test_the_pinned_optimum_is_that_of_brute_force_and_its_plan_is_clean(method: str) -> None:
    columns = enumerate_space(MACHINE, MODEL, JOB, {"vocabulary": method}).columns
    found = [predict(MACHINE, MODEL, JOB, columns.row(i)) for i in range(len(columns))]
    best = min(p.step_seconds for p in found if p.feasible)
    outcome = solve(MACHINE, MODEL, JOB, options=SolveOptions(pins={"vocabulary": method}, top_k=2))
    assert outcome.status == "optimal"
    assert outcome.plan is not None
    assert outcome.plan.certificate.value == pytest.approx(best, rel=1e-12)
    assert outcome.plan.schedule.name == method
    assert validate(outcome.plan) == []


def plan_of(method: str, job: Job = JOB) -> Plan:
    pins: dict[str, int | str] = {"vocabulary": method, "pp": 4}
    plan = solve(MACHINE, MODEL, job, options=SolveOptions(pins=pins, top_k=1)).plan
    assert plan is not None
    return plan


def test_each_stage_of_the_plan_holds_its_share() -> None:
    """By hand: 128,000 rows over 4 stages."""
    for stage in plan_of("vocab-1").stages:
        assert (stage.vocabulary.input_rows, stage.vocabulary.output_rows) == (32000, 32000)


@pytest.mark.parametrize(("setting", "value", "less"), [("moments", "bf16", 4.0), ("gradients", "bf16", 2.0)])
def test_the_share_is_kept_in_what_the_job_says(setting: str, value: str, less: float) -> None:
    """By hand: two moments of 2 bytes instead of 4, gradients of 2 instead of 4, on every parameter of every
    stage, the shares of the vocabulary among them; and the validator's own count agrees."""
    usual, told = (plan_of("vocab-1", job) for job in (JOB, replace(JOB, **{setting: value})))  # type: ignore[arg-type]
    assert validate(told) == []
    for before, after in zip(usual.stages, told.stages, strict=True):
        states = [s.memory.weights_bytes + s.memory.gradients_bytes + s.memory.optimizer_bytes for s in (before, after)]
        assert states[0] - states[1] == pytest.approx(less * before.parameters_per_rank.dense)


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        (("parallelism", "vocabulary"), "vocab-2", "schedule"),
        (("parallelism", "vocabulary"), "whole", "stages.vocabulary"),
        (("schedule", "name"), "1f1b", "schedule"),
        (("stages", 1, "vocabulary", "output_rows"), 31999, "stages.vocabulary"),
        (("stages", 1, "vocabulary_seconds"), 1e-3, "price.stage"),
        (("stages", 1, "memory", "in_flight"), 3, "memory.in_flight"),
        (("stages", 1, "parameters_per_rank", "dense"), 1e6, "stages.parameters"),
    ],
)
def test_a_wrong_figure_is_found(path: tuple[str | int, ...], value: object, rule: str) -> None:
    document = plan_of("vocab-1").to_json()
    part = document
    for step in path[:-1]:
        part = part[step]  # type: ignore[index]
    assert part[path[-1]] != value  # type: ignore[index]
    part[path[-1]] = value  # type: ignore[index]
    assert any(finding.rule.startswith(rule) for finding in validate_json(document))


def test_a_large_vocabulary_is_faster_split_and_lighter() -> None:
    """Yeung et al. (arXiv 2411.05288 table 5): the last stage's head is what a plain pipeline waits for."""
    whole, *parts = (
        predict(MACHINE, MODEL, JOB, Configuration(pp=4, vocabulary=v), split="even")  # type: ignore[arg-type]
        for v in ("whole", *METHODS)
    )
    assert all(part.step_seconds < whole.step_seconds for part in parts)
    assert all(part.peak_memory_bytes < whole.peak_memory_bytes for part in parts)
