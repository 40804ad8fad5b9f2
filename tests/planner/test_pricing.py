"""Bounds never exceed what they bound, and every cut keeps every layer."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings

from costmodels.calibration import load_calibration
from costmodels.configuration import Job
from costmodels.items import chain_of
from planner.pricing import Pricing
from planner.space import enumerate_space
from tests.machines import cluster, dense_model, mla, moe_model
from tests.planner.instances import Instance, instances


def pricing(instance: Instance) -> Pricing:
    columns = enumerate_space(*instance.parts, instance.pins).columns
    calibration = load_calibration(instance.cluster.gpu)
    return Pricing(*instance.parts, calibration, columns)


@settings(max_examples=150, deadline=None)
@given(instances())
def test_no_bound_exceeds_the_evaluated_step(instance: Instance) -> None:
    """Coarse <= refined <= simulated for every candidate; inf only where nothing fits."""
    prices = pricing(instance)
    count = len(prices.columns)
    if not count:
        return
    coarse = prices.coarse_bounds()
    refined = prices.refine(np.arange(count))
    for index in range(count):
        if np.isinf(refined[index]):
            continue
        value = prices.evaluate(index)
        assert coarse[index] <= refined[index] * (1 + 1e-12) or coarse[index] <= value
        assert refined[index] <= value
        assert coarse[index] <= value


@settings(max_examples=60, deadline=None)
@given(instances())
def test_the_coarse_memory_test_never_drops_a_candidate_that_fits(instance: Instance) -> None:
    prices = pricing(instance)
    if not len(prices.columns):
        return
    coarse = prices.coarse_bounds()
    refined = prices.refine(np.arange(len(coarse)))
    assert not (np.isinf(coarse) & np.isfinite(refined)).any()


@pytest.mark.parametrize(("layers", "pp"), [(126, 16), (61, 8), (61, 16), (5, 7)])
def test_no_layer_is_lost_when_counts_do_not_divide(layers: int, pp: int) -> None:
    """126 layers on 16 stages, 61 on 8: chunks in order, each item once, none empty."""
    model = moe_model(layers=layers, dense_prefix=3, mtp=1, attention=mla())
    job = Job(global_batch=64, sequence_length=2048)
    space = enumerate_space(cluster(pp, 1, domain_gpus=1), model, job, {"pp": pp})
    prices = Pricing(cluster(pp, 1), model, job, load_calibration(cluster().gpu), space.columns)
    bounds = prices.refine(np.arange(len(space.columns)))
    assert np.isfinite(bounds).any()
    for index in np.flatnonzero(np.isfinite(bounds)):
        boundaries = prices.boundaries(int(index))
        assert boundaries[0] == 0
        assert boundaries[-1] == len(chain_of(model).types) == layers + 3
        assert all(a < b for a, b in itertools.pairwise(boundaries))
        assert boundaries[-2] <= layers + 1, "prediction layer and head share weights: one chunk"


def test_the_head_is_priced_where_it_stands() -> None:
    """A vocabulary head worth several layers leaves the last stage fewer of them."""
    model = dense_model(layers=16, hidden=512, ffn=1024)
    job = Job(global_batch=64, sequence_length=2048)
    space = enumerate_space(cluster(4, 1), model, job, {"pp": 4, "vp": 1, "mbs": 1, "zero": 0, "recompute": "none"})
    prices = Pricing(cluster(4, 1), model, job, load_calibration(cluster().gpu), space.columns)
    prices.refine(np.arange(1))
    sizes = np.diff(prices.boundaries(0))
    step = prices.step
    head, layer = (float((step.forward_seconds + step.backward_seconds)[row, 0]) for row in (-1, 1))
    assert head > 2 * layer
    assert sizes[-1] < sizes[1:-1].min(), "fewer items beside the head than in the middle"
