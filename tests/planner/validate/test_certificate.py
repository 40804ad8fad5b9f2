"""The certificate's arithmetic and its alternatives."""

from typing import Any

import pytest

from planner.plan.certificate import Certificate
from planner.validate import validate
from tests.planner.plan import samples
from tests.planner.validate.corruption import rules

STEP = samples.interleaved_dense().prediction.step_seconds
FIRST = "/certificate/alternatives/0"


@pytest.mark.parametrize(
    ("path", "value", "rule", "where"),
    [
        ("value", STEP / 2, "certificate.value", "/certificate/value"),
        ("lower_bound", STEP * 1.01, "certificate.bound", "/certificate/lower_bound"),
        ("lower_bound", 0.0, "certificate.bound", "/certificate/lower_bound"),
        ("lower_bound", STEP * 0.9, "certificate.gap", "/certificate/gap"),
        ("lower_bound", STEP * 0.9, "certificate.status", "/certificate/status"),
        ("gap", 0.1, "certificate.gap", "/certificate/gap"),
        ("status", "feasible", "certificate.status", "/certificate/status"),
        ("method", " ", "certificate.method", "/certificate/method"),
        ("scope", "everything there is", "certificate.scope", "/certificate/scope"),
        ("searched__candidates", 41, "certificate.counts", "/certificate/searched/candidates"),
        ("searched__considered", 41, "certificate.counts", "/certificate/searched/considered"),
        ("searched__refined", 41, "certificate.counts", "/certificate/searched/refined"),
        ("searched__ranked", 2, "certificate.counts", "/certificate/searched/ranked"),
        ("searched__evaluated", 1, "certificate.counts", "/certificate/searched/evaluated"),
        ("searched__open", 1, "certificate.counts", "/certificate/searched/open"),
        ("pruned", {"never": 0}, "certificate.pruned", "/certificate/pruned"),
        ("alternatives__0__step_seconds", STEP * 0.9, "alternatives.slower", f"{FIRST}/step_seconds"),
        ("alternatives__0__step_seconds", STEP * 99, "alternatives.order", "/certificate/alternatives/1/step_seconds"),
        ("alternatives__0__slower_by", 0.5, "alternatives.slower", f"{FIRST}/slower_by"),
        ("alternatives__0__peak_memory_bytes", 1e9, "alternatives.price", f"{FIRST}/peak_memory_bytes"),
        ("alternatives__0__peak_memory_bytes", 1e12, "alternatives.fits", f"{FIRST}/peak_memory_bytes"),
        ("alternatives__0__recompute", "none", "alternatives.price", f"{FIRST}/step_seconds"),
        ("alternatives__0__tp", 3, "alternatives.legal", f"{FIRST}/tp"),
        ("alternatives__0__cp", 2, "alternatives.legal", f"{FIRST}/cp"),
        ("alternatives__0__boundaries", [0, 34], "alternatives.cut", f"{FIRST}/boundaries"),
        ("alternatives__0__boundaries", [0, 8, 8, 26, 34], "alternatives.cut", f"{FIRST}/boundaries"),
        ("alternatives__0__boundaries", [0, 9, 17, 26, 34], "alternatives.price", f"{FIRST}/step_seconds"),
        ("alternatives__0__reason", "", "alternatives.reason", f"{FIRST}/reason"),
    ],
)
def test_a_claim_that_does_not_hold_is_found(path: str, value: Any, rule: str, where: str) -> None:
    assert (rule, where) in rules(samples.interleaved_dense(), **{f"certificate__{path}": value})


def test_the_same_alternative_twice_is_found() -> None:
    plan = samples.interleaved_dense()
    first = plan.to_json()["certificate"]["alternatives"][0]
    found = rules(plan, certificate__alternatives=[first, first])
    assert ("alternatives.distinct", "/certificate/alternatives/1") in found


def test_prediction_layers_are_not_cut_from_the_head() -> None:
    plan = samples.experts_and_prediction_layer()
    found = rules(plan, certificate__alternatives__0__boundaries=[0, 17, 18])
    assert ("alternatives.cut", "/certificate/alternatives/0/boundaries") in found


def test_a_search_that_stopped_early_is_feasible_with_its_gap_and_validates() -> None:
    """Bound 8 % under the value, four candidates left: (1 - 0.92) = 0.08 by hand."""
    plan = samples.single_stage_windowed()
    value = plan.certificate.value
    certificate = Certificate.of(
        value=value,
        lower_bound=0.92 * value,
        allowed_gap=0.05,
        method="stopped early",
        candidates=10,
        refined=3,
        evaluated=2,
        infeasible=1,
        cut_by_bound=3,
        pruned={},
        alternatives=plan.certificate.alternatives,
    )
    assert certificate.status == "feasible"
    assert certificate.gap == pytest.approx(0.08, abs=1e-12)
    assert certificate.searched.open == 4
    stopped = plan.model_copy(
        update={"certificate": certificate.model_copy(update={"scope": plan.certificate.scope})}
    ).sealed()
    assert validate(stopped) == []
