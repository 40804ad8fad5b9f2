"""The validator's own count of parameters, against the model's totals."""

from collections.abc import Callable

import pytest

from costmodels.configuration import Configuration
from planner.plan import Plan
from planner.validate.parameters import stage_parameters
from tests.planner.plan import samples


@pytest.mark.parametrize("model", [samples.LLAMA_8B, samples.LATENT_MOE, samples.WINDOWED])
def test_one_rank_holds_the_whole_model(model: samples.Model) -> None:
    """Unsharded: the model's total, prediction layers and vocabulary padding added (second method:
    ``Model.total_parameters``)."""
    plan = samples.make_plan(
        samples.h100_cluster(1),
        model,
        samples.Job(global_batch=8, sequence_length=2048),
        (Configuration(dp=8), (0, len(model.layers) + len(model.mtp_layers) + 2)),
    )
    dense, experts = stage_parameters(model, plan.configuration(), plan.stages[0])
    padding = (-model.vocabulary % 128) * model.hidden * (1 if model.tied_embeddings else 2)
    prediction = sum(model.kinds[k].parameters(model.hidden) for k in model.mtp_layers)
    assert dense + experts == model.total_parameters + prediction + padding


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_the_cost_model_counts_the_same(sample: Callable[[], Plan]) -> None:
    """Second method: the operators of ``costmodels.layers``."""
    plan = sample()
    for stage in plan.stages:
        held = stage.parameters_per_rank
        assert stage_parameters(plan.model(), plan.configuration(), stage) == (held.dense, held.experts)


def test_tied_embeddings_are_two_copies_only_when_pipelined() -> None:
    """50304 x 1024 rows and 2048 positions once on one stage; the head's own copy on the second."""
    model = samples.WINDOWED
    cut = (0, 13, 26)
    plan = samples.make_plan(
        samples.h100_cluster(1),
        model,
        samples.Job(global_batch=8, sequence_length=2048),
        (Configuration(pp=2, dp=4), cut),
    )
    first, last = (stage_parameters(model, plan.configuration(), stage)[0] for stage in plan.stages)
    layers = 12 * model.kinds[0].parameters(1024)
    assert first == layers + (50304 + 2048) * 1024
    assert last == layers + 50304 * 1024 + model.final_norm_parameters
