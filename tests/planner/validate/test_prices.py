"""Times and bytes: a figure that its inputs do not give is found."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from planner.plan import Plan
from tests.planner.plan import samples
from tests.planner.validate.corruption import findings, rules

FIGURES = [
    ("stages__1__chunks__0__forward_seconds", "price.chunk", "/stages/1/chunks/0/forward_seconds"),
    ("stages__1__chunks__0__recompute_seconds", "price.chunk", "/stages/1/chunks/0/recompute_seconds"),
    ("stages__0__send_seconds", "price.stage", "/stages/0/send_seconds"),
    ("stages__0__busy_seconds", "stages.busy", "/stages/0/busy_seconds"),
    ("stages__0__memory__activations_bytes", "price.memory", "/stages/0/memory/activations_bytes"),
    ("stages__0__memory__activations_bytes", "memory.sum", "/stages/0/memory/peak_bytes"),
    ("stages__0__memory__weights_bytes", "memory.states", "/stages/0/memory/weights_bytes"),
    ("stages__0__memory__optimizer_bytes", "memory.states", "/stages/0/memory/optimizer_bytes"),
    ("stages__0__memory__capacity_bytes", "memory.capacity", "/stages/0/memory/capacity_bytes"),
    ("stages__0__memory__free_bytes", "memory.free", "/stages/0/memory/free_bytes"),
    ("stages__0__parameters_per_rank__dense", "stages.parameters", "/stages/0/parameters_per_rank/dense"),
    ("prediction__pipeline_seconds", "price.step", "/prediction/pipeline_seconds"),
    ("prediction__gradient_seconds", "price.step", "/prediction/gradient_seconds"),
]


def value_at(plan: Plan, path: str) -> Any:
    value: Any = plan.to_json()
    for step in path.split("__"):
        value = value[int(step) if step.isdigit() else step]
    return value


@pytest.mark.parametrize(("path", "rule", "where"), FIGURES)
def test_a_figure_off_by_a_millionth_is_found(path: str, rule: str, where: str) -> None:
    plan = samples.interleaved_dense()
    wrong = value_at(plan, path) * (1 + 1e-6) or 1e-6
    assert (rule, where) in rules(plan, **{path: wrong})


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_the_rounding_of_another_machine_is_not_a_finding(sample: Callable[[], Plan]) -> None:
    plan = sample()
    path = "stages__0__chunks__0__forward_seconds"
    assert rules(plan, **{path: value_at(plan, path) * (1 + 1e-14)}) == set()


def test_a_plan_that_does_not_fit_says_by_how_much() -> None:
    """GPUs of 16 GiB less a reserve of 2: stage 1 needs more."""
    plan = samples.interleaved_dense()
    found = {
        f.path: f for f in findings(plan, inputs__cluster__gpu__memory_bytes=16 * 2.0**30) if f.rule == "memory.fits"
    }
    over = plan.stages[1].memory.peak_bytes - 14 * 2**30
    assert f"by {over / 1e9:.2f} GB" in found["/stages/1/memory/peak_bytes"].message


def test_1f1b_holds_as_many_micro_batches_as_stages_are_left() -> None:
    plan = samples.experts_and_prediction_layer()
    assert [stage.memory.in_flight for stage in plan.stages] == [2, 1]
    assert ("memory.in_flight", "/stages/0/memory/in_flight") in rules(plan, stages__0__memory__in_flight=3)


def test_a_step_too_long_to_simulate_is_said_to_be_unchecked() -> None:
    """A million micro-batches through four chunks and more are over two million operations."""
    plan = samples.interleaved_dense()
    batch = 8_000_000
    found = rules(
        plan,
        inputs__job__global_batch=batch,
        parallelism__microbatches=batch // 8,
        schedule__microbatches=batch // 8,
    )
    assert ("price.size", "/stages") in found


def test_a_cost_model_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no bandwidth")

    monkeypatch.setattr(import_module("planner.validate.prices"), "price_step", fail)
    found = findings(samples.single_stage_windowed())
    assert {(f.rule, f.path) for f in found} == {
        ("price.none", "/stages"),
        ("price.none", "/certificate/alternatives/0"),
    }
    assert "ZeroDivisionError: no bandwidth" in found[0].message
