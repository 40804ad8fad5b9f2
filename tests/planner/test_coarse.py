"""Bounds over every cut of the chain, against the cuts one by one."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from costmodels.architecture import Model
from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.expert_load import lightened, loaded_model
from costmodels.step import StepModel
from costmodels.step_price import price_cut
from planner.coarse import _exposed_states, bounds_of_any_cut
from planner.pricing import COARSE_LOADS, Pricing
from tests.machines import cluster, moe_model

MACHINES = cluster(4, 4)
MODEL = moe_model(layers=6, hidden=2048, experts=8)
CHOICES = [
    Configuration(pp=pp, vp=vp, dp=16 // pp, zero=zero, ep=ep, recompute=recompute)
    for pp, vp in ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2))
    for zero in (0, 1, 2)
    for ep in (1, 4)
    for recompute in ("none", "full", "full:1")
]


def stepping(model: Model = MODEL, *, overlap: bool = True) -> StepModel:
    """One or two micro-batches for each stage: states are exposed behind little work."""
    job = Job(global_batch=32, sequence_length=1024, gradient_overlap=overlap)
    return StepModel(model, MACHINES, job, load_calibration(MACHINES.gpu), Columns.of(CHOICES))


def cuts(step: StepModel, index: int) -> Iterator[tuple[int, ...]]:
    """Every contiguous cut into chunks of at least an item, prediction layers with the head."""
    chunks, items = CHOICES[index].pp * CHOICES[index].vp, step.chain.decoder_layers + 2
    for inner in combinations(range(1, items), chunks - 1):
        yield (0, *inner, len(step.chain.types))


@pytest.mark.parametrize("overlap", [True, False])
def test_no_cut_is_faster_than_the_bound(overlap: bool) -> None:
    """Second method: every cut of eight items, simulated in full."""
    step = stepping(overlap=overlap)
    bound, _ = bounds_of_any_cut(step)
    for index in range(len(CHOICES)):
        least = min(price_cut(step, index, cut).step_seconds for cut in cuts(step, index))
        assert bound[index] <= least
        if CHOICES[index].pp == 1 and CHOICES[index].recompute != "full:1":  # there is but one cut: nothing is left out
            assert bound[index] == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("overlap", [True, False])
def test_exposed_states_are_at_most_those_of_the_mean_stage(overlap: bool) -> None:
    """Second method: the states of every stage of every cut; some are worth counting."""
    step = stepping(overlap=overlap)
    reduced, gathered = _exposed_states(step, lightened=False)
    for index in range(len(CHOICES)):
        found = [step.state_seconds(index, cut) for cut in cuts(step, index)]
        assert reduced[index] <= min(gradient.mean() for gradient, _, _ in found) * (1 + 1e-12)
        assert gathered[index] <= min(gather.mean() for _, _, gather in found) * (1 + 1e-12)
        if CHOICES[index].pp == 2:
            assert reduced[index] > 0.5 * min(gradient.mean() for gradient, _, _ in found) or CHOICES[index].zero == 2
    with_gather = np.array([choice.zero > 0 for choice in CHOICES])
    assert (gathered[with_gather] > 0).all()
    assert (gathered[~with_gather] == 0).all()


def test_lighter_layers_are_not_taken_to_expose_more() -> None:
    """Passes of merged kinds take less and so would hide less: all that can be is taken to be hidden."""
    loads = [1.0 + 0.8 * layer for layer in range(5)]
    loaded = loaded_model(MODEL, {1: loads, 4: loads})
    whole, light = stepping(loaded), stepping(lightened(loaded, COARSE_LOADS))
    true = np.array(_exposed_states(whole, lightened=False))
    assert (np.array(_exposed_states(light, lightened=False)) > true * (1 + 1e-6)).any()  # what the caller must avoid
    assert (np.array(_exposed_states(light, lightened=True)) <= true * (1 + 1e-12)).all()


def test_bounds_with_loads_stay_below_every_candidate() -> None:
    """More kinds of layers than the coarse bounds tell apart, against their evaluation."""
    loads = [1.0 + 0.8 * layer for layer in range(5)]
    step = stepping(loaded_model(MODEL, {1: loads, 4: loads}))
    pricing = Pricing(MACHINES, step.model, step.job, step.calibration, step.columns)
    assert pricing.light is not pricing.step
    coarse = pricing.coarse_bounds()
    values = np.array([pricing.evaluate(index).value for index in range(len(CHOICES))])
    assert (coarse <= values * (1 + 1e-12)).all()
