"""The ablations compare what they say: the product's predictions, and predictions without one factor."""

from dataclasses import replace

import numpy as np
import pytest

from costmodels.calibration import bundled_calibration
from costmodels.configuration import Configuration
from planner.published import PredictedRow
from planner.readers.published_rows import Row, RowRequest
from planner.specs import load_cluster, load_model, make_job
from tests.benchmarks.ablations import MODELS, Table, fitted_figures, measure, refitted
from tests.benchmarks.factors import FACTORS, FULL_MODEL, Factor

ROWS = (
    "mbridge-perf-0290",
    "vocabpar-0003",
    "llm-foundry-0081",
    "simumax-b200-0002",
    "mbridge-perf-0089",
    "vocabpar-0017",
)
"""Runs that together show most factors: FP8, experts, pipelines, interleaving, FSDP, a split vocabulary."""


def made(name: str, cluster: str, model: str, job: dict[str, object], choice: Configuration) -> Row:
    """A run that nobody published, for what no scored row shows."""
    request = RowRequest(
        cluster=load_cluster(cluster),
        model=load_model(model),
        job=make_job(sequence_length=2048, **job),
        choices=(choice,),
        split="even",
        assumptions=(),
        boundaries={},
    )
    return Row(
        row_id=name,
        source_id="made-up",
        cells={},
        request=request,
        refusal="",
        measured_seconds=1.0,
        measured_memory=1.0,
        memory_unit_bytes=1e9,
        memory_rank="max",
        memory_reading="allocated",
    )


@pytest.fixture(scope="module")
def made_up() -> list[Row]:
    reduced = Configuration(tp=8, mbs=1, dp=1)
    modules = Configuration(tp=1, ep=8, dp=8, mbs=2, recompute="layernorm+moe_act")
    return [
        made("all-reduce", "dgx-h100-1", "llama-3-8b", {"global_batch": 8, "fused_loss": True}, reduced),
        made("small", "dgx-a100-80gb-8", "mpt-125m", {"global_batch": 64}, Configuration(tp=4, dp=16, sp=1)),
        made("modules", "dgx-h100-1", "qwen3-30b-a3b", {"global_batch": 16}, modules),
    ]


@pytest.fixture(scope="module")
def table(published: list[PredictedRow], made_up: list[Row]) -> Table:
    by_id = {found.row.row_id: found.row for found in published}
    return measure([*(by_id[row] for row in ROWS), *made_up])


def test_the_full_model_is_the_product(published: list[PredictedRow], table: Table) -> None:
    """Second way: ``predict_rows``, which chooses what a row leaves open by itself."""
    by_id = {found.row.row_id: found for found in published}
    for row, seconds, memory in zip(table.rows, table.predicted["time"][0], table.predicted["memory"][0], strict=True):
        if row in by_id:
            assert (seconds, memory) == (by_id[row].seconds, by_id[row].memory), row


@pytest.mark.parametrize("index", range(1, len(MODELS)), ids=[factor.name for factor in FACTORS])
def test_each_factor_changes_a_prediction_of_its_kind(table: Table, index: int) -> None:
    factor = table.factors[index]
    values = table.predicted[factor.kind]
    moved = ~np.isclose(values[index], values[0], rtol=1e-9, atol=0.0)
    assert moved.any()


def test_nothing_stays_switched_off(made_up: list[Row]) -> None:
    request = made_up[0].request
    assert request is not None
    (choice,) = request.choices
    before = FULL_MODEL.predict(request, choice)
    for factor in FACTORS:
        with factor.off():
            factor.predict(request, choice)
    after = FULL_MODEL.predict(request, choice)
    assert before is not None
    assert after is not None
    assert after.price == before.price


def test_a_factor_that_a_job_does_not_use_is_not_predicted_anew(made_up: list[Row]) -> None:
    request = made_up[0].request
    assert request is not None
    dense = Factor(name="none of it", job={"expert_overlap": False})
    assert dense.predict(request, request.choices[0]) is None
    assert (
        dense.predict(replace(request, job=replace(request.job, expert_overlap=True)), request.choices[0]) is not None
    )


def test_a_refit_removes_a_common_factor_of_each_calibration() -> None:
    """By hand: h100 rows at 2 and 2 and 4 times the measured time, a100 at 0.5; medians 2 and 0.5."""
    measured = np.array([1.0, 10.0, 100.0, 3.0, np.nan])
    predicted = np.array([2.0, 20.0, 400.0, 1.5, 7.0])
    found = refitted(predicted, measured, ["h100", "h100", "h100", "a100", "b200"])
    assert found == pytest.approx([1.0, 10.0, 200.0, 3.0, 7.0])


def test_figures_fitted_to_runs_and_to_benchmarks_are_told_apart() -> None:
    """Counted by eye in the file: of H200's own figures none comes from training runs."""
    runs, benchmarks, other = fitted_figures()["h200"]
    assert (runs, other) == (0, 0)
    assert benchmarks == 20
    assert all(sum(counts) <= len(bundled_calibration(name).figures) for name, counts in fitted_figures().items())
