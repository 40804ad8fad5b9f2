"""Bounds never exceed what they bound, and every cut keeps every layer."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster
from costmodels.items import chain_of
from costmodels.sharding import Column
from costmodels.step_price import price_cut
from planner.partition import Partition
from planner.pricing import Pricing
from planner.space import enumerate_space
from tests.bare import bare_calibration, bare_cluster
from tests.machines import cluster, dense_model, mla, moe_model
from tests.planner.instances import Instance, instances


def pricing(instance: Instance) -> Pricing:
    columns = enumerate_space(*instance.parts, instance.pins).columns
    calibration = load_calibration(instance.cluster.gpu)
    return Pricing(*instance.parts, calibration, columns)


@settings(max_examples=60, deadline=None)
@given(instances())
def test_no_bound_exceeds_the_evaluated_step(instance: Instance) -> None:
    """Coarse <= refined <= sharp <= simulated for every candidate; inf only where nothing fits."""
    prices = pricing(instance)
    count = len(prices.columns)
    if not count:
        return
    coarse = prices.coarse_bounds()
    refined = prices.refine(np.arange(count))
    for index in range(count):
        if np.isinf(refined[index]):
            continue
        value, least = prices.evaluate(index)
        assert value == least
        assert coarse[index] <= refined[index] * (1 + 1e-12) or coarse[index] <= value
        assert refined[index] <= value
        assert coarse[index] <= value
        if prices.exact[index]:
            assert refined[index] * (1 - 1e-12) <= prices.sharpen(index) <= value


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


# -- bounds by hand ------------------------------------------------------------------------------


def by_hand(
    configuration: Configuration,
    *,
    layers: int = 4,
    forward: tuple[float, float, float] = (0, 1, 2),
    backward: tuple[float, float, float] = (0, 2, 4),
    parameters: tuple[float, float, float] = (0, 0, 0),
    saved: float = 1,
    batch: int = 8,
    cluster: Cluster | None = None,
    **figures: float,
) -> Pricing:
    """One candidate whose embedding, layer and head cost what is given: seconds, parameters, bytes kept."""
    job = Job(global_batch=batch, sequence_length=2048, gradient_overlap=False)
    prices = Pricing(
        cluster or bare_cluster(),
        dense_model(layers=layers),
        job,
        bare_calibration(**figures),
        Columns.of([configuration]),
    )

    def column(values: tuple[float, float, float]) -> Column:
        return np.array(values, dtype=np.float64)[:, None]

    none = np.zeros((3, 1))
    kept = column((0, saved, 0))[None]
    prices.step.costs = replace(
        prices.step.costs,
        forward_seconds=column(forward),
        input_grad_seconds=column(backward),
        weight_grad_seconds=none,
        saved_bytes=kept,
        rebuilt_bytes=np.zeros_like(kept),
        dense_parameters=column(parameters),
    )
    return prices


def test_the_coarse_bound_of_one_stage_is_its_step() -> None:
    """By hand: 4 x (18 + 8 of the host), 60 parameters x 30 bytes at 100 bytes/s over two replicas,
    2 nodes 10 % slower, 7 s a step."""
    prices = by_hand(
        Configuration(dp=2),
        cluster=bare_cluster(2, 1, memory=100),
        parameters=(10, 10, 10),
        microbatch_seconds=8,
        straggler_fraction_per_doubling=0.1,
        step_seconds=7,
    )
    step = 1.1 * (4 * 26 + 9) + 7
    assert prices.coarse_bounds()[0] == pytest.approx(step, rel=1e-9)
    assert prices.refine(np.array([0]))[0] == pytest.approx(step, rel=1e-9)
    assert prices.evaluate(0).value == pytest.approx(step, rel=1e-9)


@pytest.mark.parametrize(
    ("configuration", "problem", "host", "expected"),
    [
        # W/p (m + (p-1) / (1 + f)): 18 / 2 x (2 + 1 / (1 + 1/3))
        (Configuration(pp=2, dp=4), {}, 0, 9 * 2.75),
        # the host's 8 s on each stage, half of them forward: f = 1/2
        (Configuration(pp=2, dp=4), {}, 8, 17 * (2 + 1 / 1.5)),
        # three of five layers on some stage: 32 x (3 x 3), more than 7.5 x (32 + 0.75)
        (
            Configuration(pp=2, dp=1),
            {"layers": 5, "forward": (0, 1, 0), "backward": (0, 2, 0), "batch": 32},
            0,
            288,
        ),
        (
            Configuration(pp=2, dp=1),
            {"layers": 5, "forward": (0, 1, 0), "backward": (0, 2, 0), "batch": 32},
            1,
            32 * (9 + 1),
        ),
        # interleaved: 48/4 x 4, and on average (3 x 6 + 3 x 3) / 4 before a stage starts
        (
            Configuration(pp=4, vp=2, dp=2),
            {"layers": 12, "forward": (2, 1, 2), "backward": (4, 2, 4)},
            0,
            48 / 4 * 4 + (3 * 6 + 3 * 3) / 4,
        ),
        # the host adds 8 to each stage and half of it to each of its two chunks
        (
            Configuration(pp=4, vp=2, dp=2),
            {"layers": 12, "forward": (2, 1, 2), "backward": (4, 2, 4)},
            8,
            (48 + 4 * 8) / 4 * 4 + (3 * 6 + 3 * (3 + 4)) / 4,
        ),
        # two stages: nothing but the embedding stands before the second
        (
            Configuration(pp=2, vp=2, dp=4),
            {"forward": (2, 1, 2), "backward": (4, 2, 4)},
            0,
            24 / 2 * 2 + 6 / 2,
        ),
    ],
)
def test_the_coarse_bound_of_a_pipeline_by_its_formula(
    configuration: Configuration,
    problem: dict[str, Any],
    host: float,
    expected: float,
) -> None:
    """By hand from the docstring of ``Pricing._coarse``, all micro-batches of one second's FLOPs."""
    prices = by_hand(configuration, microbatch_seconds=host, **problem)
    assert prices.coarse_bounds()[0] == pytest.approx(expected, rel=1e-9)
    assert prices.refine(np.array([0]))[0] >= expected * (1 - 1e-9)


def test_the_update_of_an_average_stage_is_in_the_coarse_bound() -> None:
    """By hand: 30 bytes for each of 60 parameters over two stages and four replicas at 5 bytes/s."""
    prices = by_hand(Configuration(pp=2, dp=4), cluster=bare_cluster(memory=5), parameters=(10, 10, 10))
    assert prices.coarse_bounds()[0] == pytest.approx(9 * 2.75 + 60 / 2 / 4 * 30 / 5, rel=1e-9)


def test_what_follows_the_pipeline_counts_in_a_cut_and_in_its_bound() -> None:
    """By hand, the head alone on stage 1 (with two micro-batches the bottleneck is 8 against 12 for an
    even cut): F 4, B 8 against F 2, B 4; stage 1 B 6-10 and 12-16, stage 0 B 10-18-26. 60 parameters on
    stage 0: three quarters of 4 bytes reduced and of 2 gathered at 15 bytes/s, 12 s and 6 s; a quarter
    updated at 30 bytes each and 30 bytes/s, 15 s. Three items each (30, 8, 10 and 4 s) are better, the best of
    all cuts by their prices."""
    prices = by_hand(Configuration(pp=2, dp=4), parameters=(20, 10, 10), cluster=bare_cluster(up=15, memory=30))
    prices.step.__dict__["link_seconds"] = lambda index: np.zeros(1)
    assert Partition.of(prices.step, 0).bounds[0, 0, 5] == pytest.approx(26 + 12 + 15 + 6, rel=1e-9)
    every = {cut: price_cut(prices.step, 0, (0, cut, 6)).step_seconds for cut in range(1, 6)}
    assert every[5] == pytest.approx(59, rel=1e-9)
    assert every[3] == pytest.approx(52, rel=1e-9)
    assert min(every, key=every.__getitem__) == 3
    assert prices.boundaries(0) == (0, 3, 6)
    assert prices.evaluate(0) == (every[3], every[3])
    assert prices.refine(np.array([0]))[0] <= prices.sharpen(0) <= every[3]


def tight(memory_bytes: float, configuration: Configuration, *, layers: int = 4, batch: int = 8) -> Pricing:
    """18 bytes a parameter (1 in the embedding, 1 in a layer, 2 in the head), 5 bytes kept by a layer,
    7 for logits (a byte an element, 2,048 tokens x 32,000 columns), 100 of fixed work space."""
    return by_hand(
        replace(configuration, zero=0),
        layers=layers,
        batch=batch,
        parameters=(1, 1, 2),
        saved=5,
        cluster=bare_cluster(memory_bytes=memory_bytes, reserve_bytes=11),
        workspace_bytes=100,
        logit_workspace_bytes_per_element=7 / (2048 * 32000),
    )


@pytest.mark.parametrize(
    ("configuration", "layers", "batch", "least"),
    [
        # 1F1B keeps 2 and 1: a layer takes 28 and 23; two and two need 18 + 56 and 36 + 7 + 46
        (Configuration(pp=2, dp=4), 4, 8, 89),
        # one micro-batch only: 23 and 23; three and one need 18 + 69 and 36 + 7 + 23
        (Configuration(pp=2, dp=4), 4, 4, 87),
        # interleaved 4 stages keep 4, 4, 3, 1 of each layer at least: 38, 38, 33, 23
        (Configuration(pp=4, vp=2, dp=2), 8, 8, 94),
        # 1F1B keeps 4, 3, 2, 1: 38, 33, 28, 23; two layers a stage but for three on the third
        (Configuration(pp=4, dp=2), 8, 8, 89),
        (Configuration(dp=8), 4, 8, 18 + 4 * 23 + 43),
    ],
)
def test_no_cut_fits_below_the_room_for_whole_layers(
    configuration: Configuration, layers: int, batch: int, least: float
) -> None:
    """By hand: whole layers that each stage has room for, beside embedding and head."""
    enough = least + 100 + 11
    assert np.isfinite(tight(enough, configuration, layers=layers, batch=batch).coarse_bounds()[0])
    assert np.isinf(tight(enough - 0.5, configuration, layers=layers, batch=batch).coarse_bounds()[0])


def test_a_stage_with_no_room_takes_no_layer() -> None:
    """By hand: a head of 20 parameters, 360 bytes, leaves the second stage nothing; stage 0 holds three of
    the four layers in 18 + 3 x 28 bytes."""
    prices = by_hand(
        Configuration(pp=2, dp=4, zero=0),
        parameters=(1, 1, 20),
        saved=5,
        cluster=bare_cluster(memory_bytes=18 + 3 * 28),
    )
    assert np.isinf(prices.coarse_bounds()[0])


def test_a_cut_that_just_fits_is_found_and_its_shortfall_is_exact() -> None:
    """By hand as above: 89 + 100 bytes on the second stage of two, 11 in reserve."""
    configuration = Configuration(pp=2, dp=4)
    fits, short = tight(200, configuration), tight(198, configuration)
    assert np.isfinite(fits.refine(np.array([0]))[0])
    assert fits.least_peak_bytes(0) == 189
    assert np.isinf(short.refine(np.array([0]))[0])
    assert short.cut(0).shortfall_bytes == pytest.approx(2)
    assert short.least_peak_bytes(0) == pytest.approx(189)
    assert short.best_boundaries(0) == (0, 5, 6), "the fastest, as memory rules out all"


def test_an_interleaved_cut_fits_to_the_byte() -> None:
    """By hand: the peak of the cut under ample memory and 11 bytes in reserve are enough, half a byte less
    is not."""
    configuration = Configuration(pp=2, vp=2, dp=4)
    need = tight(1e6, configuration).least_peak_bytes(0) + 11
    assert np.isfinite(tight(need, configuration).refine(np.array([0]))[0])
    short = tight(need - 0.5, configuration)
    assert np.isinf(short.refine(np.array([0]))[0])
    assert short.cuts[0].shortfall_bytes == pytest.approx(0.5)


def test_memory_bounds_spread_states_evenly() -> None:
    """By hand: (18 x 7 + 4 x 5) / 2 + 100; with a heavy head 18 x 20 + 7 + 100 stands on one stage;
    a fifth more for fragments and 50 of the runtime."""
    assert tight(1000, Configuration(pp=2, dp=4)).memory_bounds()[0] == pytest.approx(73 + 100)
    prices = by_hand(
        Configuration(pp=2, dp=4, zero=0),
        parameters=(1, 1, 20),
        workspace_bytes=100,
        allocator_fraction=0.2,
        runtime_bytes=50,
    )
    assert prices.memory_bounds()[0] == pytest.approx((18 * 20 + 100) * 1.2 + 50)


def test_a_cut_that_does_not_fit_is_the_fastest_all_the_same() -> None:
    """Second method: every cut simulated. A prediction for a job that does not fit still has a cut."""
    prices = by_hand(Configuration(pp=2, dp=4), cluster=bare_cluster(memory_bytes=1), saved=5)
    step = prices.step
    every = {cut: price_cut(step, 0, (0, cut, 6)).step_seconds for cut in range(1, 6)}
    assert prices.best_boundaries(0) == (0, min(every, key=every.__getitem__), 6)


def test_layers_of_several_kinds_are_bounded_by_their_own_costs() -> None:
    """Second method: bounds stay below the step whichever kind is heavier, and use what is there only:
    a kind that no layer has (the prediction layer's, here free) does not loosen them."""
    model = moe_model(layers=4, dense_prefix=2)
    job = Job(global_batch=32, sequence_length=2048, gradient_overlap=False)
    configuration = Configuration(pp=2, dp=1, zero=0)
    prices = Pricing(bare_cluster(1, 2), model, job, bare_calibration(), Columns.of([configuration]))
    seconds = np.array([0, 3, 1, 0, 0], dtype=np.float64)[:, None]
    nothing = np.zeros((5, 1))
    prices.step.costs = replace(
        prices.step.costs,
        forward_seconds=seconds,
        input_grad_seconds=2 * seconds,
        weight_grad_seconds=nothing,
    )
    # by hand: 24 / 2 x (32 + 1 / (4/3)); two layers of the lighter kind alone would give 32 x 6
    assert prices.coarse_bounds()[0] == pytest.approx(12 * 32.75, rel=1e-9)
    assert prices.refine(np.array([0]))[0] >= 12 * 32.75
