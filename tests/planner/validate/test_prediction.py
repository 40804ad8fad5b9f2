"""The prediction's own arithmetic."""

import pytest

from tests.planner.plan import samples
from tests.planner.validate.corruption import rules


@pytest.mark.parametrize(
    ("path", "factor", "rule", "where"),
    [
        ("step_seconds", 1.1, "prediction.sum", "step_seconds"),
        ("overhead_seconds", 1.1, "prediction.sum", "step_seconds"),
        ("tokens_per_second", 1.1, "prediction.rates", "tokens_per_second"),
        ("tokens_per_second_per_gpu", 1.1, "prediction.rates", "tokens_per_second_per_gpu"),
        ("mfu", 1.1, "prediction.rates", "mfu"),
        ("model_flops_per_step", 1.1, "prediction.flops", "model_flops_per_step"),
        ("bubble_fraction", 1.1, "prediction.bubble", "bubble_fraction"),
        ("peak_memory_bytes", 0.9, "prediction.peak", "peak_memory_bytes"),
    ],
)
def test_a_figure_that_does_not_follow_is_found(path: str, factor: float, rule: str, where: str) -> None:
    plan = samples.interleaved_dense()
    wrong = getattr(plan.prediction, path) * factor
    assert (rule, f"/prediction/{where}") in rules(plan, **{f"prediction__{path}": wrong})


def test_the_wrong_stage_of_the_peak_is_found() -> None:
    plan = samples.interleaved_dense()
    other = (plan.prediction.peak_memory_stage + 1) % 4
    found = rules(plan, prediction__peak_memory_stage=other)
    assert found == {("prediction.peak", "/prediction/peak_memory_stage")}


def test_exposed_communication_is_priced_again() -> None:
    plan = samples.interleaved_dense()
    less = {**plan.prediction.exposed_seconds, "tensor": 0.0}
    found = rules(plan, prediction__exposed_seconds=less)
    assert found == {("price.step", "/prediction/exposed_seconds")}
