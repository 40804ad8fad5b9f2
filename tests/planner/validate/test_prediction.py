"""The prediction's own arithmetic."""

import pytest

from planner.uncertainty import Spread
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


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("share", 0.5),
        ("low", 0.0),
        ("high", 1e30),
        ("rows", 10_000),
        ("sources", {"dgxc": 1}),
        ("kind", "megatron, ampere, dense"),
        ("kind", "megatron, hopper, experts"),
    ],
)
@pytest.mark.parametrize("figure", ["step_seconds", "peak_memory_bytes"])
def test_an_interval_follows_from_its_figure_share_and_kind(figure: str, path: str, value: object) -> None:
    plan = samples.interleaved_dense()
    found = rules(plan, **{f"prediction__uncertainty__{figure}__{path}": value})
    assert {rule for rule, _ in found} == {"prediction.uncertainty"}
    assert all(where.startswith(f"/prediction/uncertainty/{figure}/") for _, where in found)


def test_an_interval_of_other_published_runs_is_no_finding() -> None:
    """A plan of another release: its shares are of the rows that release knew."""
    plan = samples.interleaved_dense()
    seconds = plan.prediction.step_seconds
    other = Spread(kind="megatron, hopper, dense", share=0.5, sources={"somewhere": 21}).around(seconds)
    assert rules(plan, prediction__uncertainty__step_seconds=other) == set()
