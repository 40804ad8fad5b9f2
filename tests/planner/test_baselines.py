"""Rules' cuts beside ours, and where the bubbles and the peaks of a plan are."""

import itertools

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.step import StepModel
from costmodels.step_price import price_cut
from planner.baselines import Baseline, baselines, corrected_splits
from planner.predict import predict
from planner.pricing import Pricing
from planner.stage_use import stage_uses
from tests.machines import cluster, dense_model, moe_model

JOB = Job(global_batch=32, sequence_length=2048)


def step_of(model, configuration: Configuration) -> StepModel:  # type: ignore[no-untyped-def]
    machine = cluster(configuration.gpus, 1)
    return StepModel(model, machine, JOB, load_calibration(machine.gpu), Columns.of([configuration]))


def found(model, configuration: Configuration) -> dict[str, Baseline]:  # type: ignore[no-untyped-def]
    return {baseline.rule: baseline for baseline in baselines(step_of(model, configuration), 0)}


def test_megatrons_settings_are_those_of_its_arguments() -> None:
    """By hand, 7 layers on 3 stages: embedding and loss counted make 9, three each; or first x, last y and one
    stage of 7 - x - y between."""
    splits = dict(corrected_splits(7, Configuration(pp=3)))
    assert splits["embedding and loss counted as a layer"] == [2, 3, 2]
    assert splits["first 1, last 2"] == [1, 4, 2]
    assert splits["first 5, last 1"] == [5, 1, 1]
    assert len(splits) == 1 + 15, "15 pairs x + y <= 6"
    assert all(sum(counts) == 7 for counts in splits.values())


def test_megatrons_settings_hold_for_interleaved_stages() -> None:
    """By hand, 14 layers in 2 x 3 chunks on stages of 2 turns: counting alone never divides by 6 but for 14 + 1
    + ..: none; first and last in twos, each turn half of them."""
    splits = dict(corrected_splits(14, Configuration(pp=3, vp=2)))
    assert splits["first 4, last 4"] == [2, 3, 2, 2, 3, 2]
    assert splits["first 2, last 4"] == [1, 4, 2, 1, 4, 2]
    assert all(sum(counts) == 14 for counts in splits.values())


@pytest.mark.parametrize(("layers", "pp", "vp"), [(61, 16, 1), (126, 16, 7), (12, 2, 1), (13, 4, 1), (12, 4, 3)])
def test_settings_place_every_layer_and_leave_no_chunk_empty(layers: int, pp: int, vp: int) -> None:
    for counts in dict(corrected_splits(layers, Configuration(pp=pp, vp=vp))).values():
        assert sum(counts) == layers
        assert len(counts) == pp * vp
        assert min(counts[1:-1], default=1) > 0


def test_ours_is_no_slower_than_any_rule() -> None:
    """One chunk a stage; each rule's price is that of its own cut."""
    for model in (dense_model(13), moe_model(layers=9, dense_prefix=3, mtp=1), dense_model(12, ffn=4096)):
        for pp in (2, 3, 4):
            configuration = Configuration(pp=pp, mbs=2)
            step = step_of(model, configuration)
            best = predict(step.cluster, model, JOB, configuration)
            for baseline in baselines(step, 0):
                if baseline.boundaries is None:
                    assert baseline.detail
                    continue
                price = price_cut(step, 0, baseline.boundaries)
                assert (baseline.step_seconds, baseline.pipeline_seconds) == (
                    price.step_seconds,
                    price.pipeline_seconds,
                )
                assert baseline.fits
                assert best.step_seconds <= baseline.step_seconds * (1 + 1e-12)


def test_the_rules_of_a_plain_chain_by_hand() -> None:
    """12 layers on 4 stages: three each; the least largest chunk leaves the head's stage fewer."""
    rules = found(dense_model(12, hidden=512, ffn=1024), Configuration(pp=4))
    assert rules["even"].boundaries == (0, 4, 7, 10, 14)
    assert rules["min-max"].boundaries is not None
    assert np.diff(rules["min-max"].boundaries)[-1] < 4
    assert rules["megatron"].step_seconds <= rules["even"].step_seconds
    assert "plain dense layers" in rules["redis"].detail, "its layers are gated here"
    none = found(dense_model(13), Configuration(pp=4))
    assert none["even"].boundaries is None
    assert none["even"].detail == "13 layers do not divide by 4 chunks"


# -- bubbles and peaks -----------------------------------------------------------------------------


def test_idle_time_is_where_1f1b_leaves_it() -> None:
    """By hand: stage i waits for i chunks' forward passes, ends before i chunks' backward passes, and idle
    and busy time make up the pipeline; it holds p - i micro-batches at its peak."""
    configuration, model = Configuration(pp=4, mbs=1), dense_model(12)
    step = step_of(model, configuration)
    boundaries = predict(step.cluster, model, JOB, configuration).boundaries
    price = price_cut(step, 0, boundaries)
    forward, recompute, input_grad, weight_grad = step.chunk_seconds(0, boundaries)
    backward, links = recompute + input_grad + weight_grad, step.link_seconds(0)
    for use, stage in zip(stage_uses(step, 0, boundaries), price.stages, strict=True):
        i = use.stage
        assert use.fill_seconds == pytest.approx(forward[:i].sum() + links[:i].sum())
        assert use.drain_seconds == pytest.approx(backward[:i].sum() + links[:i].sum())
        assert use.busy_seconds == stage.busy_seconds
        assert use.busy_seconds + use.idle_seconds == pytest.approx(price.pipeline_seconds)
        assert use.alive == {i: tuple(range(4 - i))}


def test_what_is_alive_makes_up_the_activations_of_the_peak() -> None:
    """Second method: the stage's activation bytes in the price."""
    configuration, model = Configuration(pp=2, vp=2, mbs=1), dense_model(8)
    step = step_of(model, configuration)
    boundaries = predict(step.cluster, model, JOB, configuration).boundaries
    price = price_cut(step, 0, boundaries)
    saved = np.add.reduceat(step.saved_bytes[step.chain.types, 0], boundaries[:-1])
    for use, stage in zip(stage_uses(step, 0, boundaries), price.stages, strict=True):
        assert sum(saved[chunk] * len(alive) for chunk, alive in use.alive.items()) == pytest.approx(
            stage.memory.activations_bytes
        )
        assert sum(map(len, use.alive.values())) == stage.memory.in_flight


# -- several chunks a stage ------------------------------------------------------------------------


@pytest.mark.parametrize("recompute", ["none", "full:fit"])
def test_an_interleaved_cut_is_improved_and_bounded(recompute: str) -> None:
    """Against every cut of 9 items into 4 chunks, priced alone: few enough to be all tried."""
    configuration, model = Configuration(pp=2, vp=2, mbs=4, recompute=recompute), dense_model(7, ffn=4096)
    machine = cluster(2, 1)
    pricing = Pricing(machine, model, JOB, load_calibration(machine.gpu), Columns.of([configuration]))
    pricing.coarse_bounds()
    ruled = pricing.price(0)
    assert pricing.cut_bound(0) <= ruled.step_seconds
    pricing.improve(0)
    best = pricing.price(0)
    every = [price_cut(pricing.step, 0, (0, *inner, 9)) for inner in itertools.combinations(range(1, 9), 3)]
    least = min(price.step_seconds for price in every if price.peak_bytes <= machine.capacity_bytes)
    assert best.step_seconds == least
    assert least <= ruled.step_seconds
    assert pricing.cut_bound(0) == float("inf"), "none is better"


def test_a_long_interleaved_cut_is_never_made_worse_and_keeps_its_gap() -> None:
    configuration, model = Configuration(pp=4, vp=3, mbs=2), dense_model(31)
    machine = cluster(4, 1)
    pricing = Pricing(machine, model, JOB, load_calibration(machine.gpu), Columns.of([configuration]))
    (coarse,) = pricing.coarse_bounds()
    before = pricing.price(0).step_seconds
    pricing.improve(0)
    assert pricing.price(0).step_seconds <= before
    assert pricing.cut_bound(0) == pytest.approx(coarse)
    assert sum(np.diff(pricing.boundaries(0))) == 33


def test_a_proof_over_every_cut_needs_every_other_cut_bounded() -> None:
    """One chunk a stage is cut exactly; interleaved ones count unless their bound is above."""
    configurations = [Configuration(pp=2), Configuration(pp=2, vp=2)]
    machine, model = cluster(2, 1), dense_model(8)
    pricing = Pricing(machine, model, JOB, load_calibration(machine.gpu), Columns.of(configurations))
    bounds = pricing.coarse_bounds()
    assert pricing.covers_every_cut(bounds[1])
    assert not pricing.covers_every_cut(bounds[1] * 1.001)
    whole = Pricing(machine, model, JOB, load_calibration(machine.gpu), Columns.of([Configuration(pp=2, vp=5)]))
    whole.coarse_bounds()
    assert whole.covers_every_cut(float("inf")), "ten items in ten chunks: one cut"
