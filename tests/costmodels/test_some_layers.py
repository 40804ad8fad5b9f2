"""Recompute of some layers in a step: by hand from whole seconds and bytes, and against whole levels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.price import StepPrice
from costmodels.step import StepModel
from costmodels.step_price import price_cut, price_step
from tests.bare import bare_calibration, bare_cluster
from tests.machines import cluster, dense_model, moe_model

JOB = Job(global_batch=8, sequence_length=2048)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def step(configuration: Configuration, layers: int = 4) -> StepModel:
    """Embedding, layers, head: F 0, 1, 2 s and B 0, 2, 4 s; a recomputed layer a second more. A
    micro-batch leaves 1, 10, 100 bytes, 2 of a recomputed layer, which holds 9 rebuilt."""
    columns = Columns.of([configuration])
    found = StepModel(dense_model(layers), bare_cluster(), JOB, bare_calibration(), columns)
    for model, recompute, saved, rebuilt in ((found.kept, 0, 10, 0), (found, 1, 2, 9)):
        parts = (column(0, recompute, 0), column(0, 1, 3), column(0, 1, 1))
        model.__dict__.update(
            forward_seconds=column(0, 1, 2),
            backward_parts=parts,
            backward_seconds=sum(parts),
            saved_bytes=column(1, saved, 100),
            transient_bytes=column(0, rebuilt, 0),
            logit_bytes=np.zeros(1),
            lookup_gradient_bytes=np.zeros(1),
        )
    return found


@pytest.mark.parametrize(("level", "again"), [("full:1", 1), ("full:3", 3), ("full/2", 2), ("full/3", 1)])
def test_recomputed_layers_alone_run_again(level: str, again: int) -> None:
    """By hand: 4 micro-batches x (18 s and one for each recomputed layer)."""
    price = price_cut(step(Configuration(dp=2, recompute=level)), 0, (0, 6))
    assert price.pipeline_seconds == 4 * (18 + again)
    assert price.stages[0].chunks[0].recompute_seconds == again


def test_each_chunk_counts_its_first_layers() -> None:
    """By hand, stages of 1, 3 and 2 layers with the first 2 of each redone: 1, 2, 2."""
    price = price_cut(step(Configuration(pp=3, dp=2, recompute="full:2"), layers=6), 0, (0, 2, 5, 8))
    assert [stage.chunks[0].recompute_seconds for stage in price.stages] == [1, 2, 2]


def test_kept_layers_are_freed_before_a_layer_in_front_of_them_is_rebuilt() -> None:
    """By hand, one stage of embedding, 4 layers and head: 1 + 2 x 2 + 2 x 10 + 100 bytes kept; the second
    layer's 9 rebuilt bytes take the room of the last two layers' 20. With all four recomputed, 1 + 4 x 2
    + 100 and the 9 of the last."""
    two = price_cut(step(Configuration(dp=2, recompute="full:2")), 0, (0, 6)).stages[0].memory
    assert (two.activations_bytes, two.workspace_bytes) == (125, 0)
    four = price_cut(step(Configuration(dp=2, recompute="full:4")), 0, (0, 6)).stages[0].memory
    assert (four.activations_bytes, four.workspace_bytes) == (109, 9)
    other = price_cut(step(Configuration(dp=2, recompute="full/2")), 0, (0, 6)).stages[0].memory
    assert (other.activations_bytes, other.workspace_bytes) == (125, 9), "the last layer is rebuilt beside all"


def test_prediction_layers_are_not_recomputed() -> None:
    """Megatron-Core skips them under the block method, as under none."""
    model, chain = moe_model(mtp=1), (0, 7)

    def chunk(level: str) -> float:
        configuration = Configuration(ep=1, recompute=level)
        price = price_step(model, bare_cluster(flops=1.0), JOB, bare_calibration(), configuration, chain)
        return price.stages[0].chunks[0].recompute_seconds

    prices = StepModel(
        model, bare_cluster(flops=1.0), JOB, bare_calibration(), Columns.of([Configuration(recompute="full")])
    )
    prediction = float(prices.costs.recompute_seconds[0, -2, 0])
    assert prediction > 0
    assert chunk("full:4") == pytest.approx(chunk("full") - prediction)


def priced(level: str, cut: tuple[int, ...], **degrees: int) -> StepPrice:
    pp = degrees.get("pp", 1)
    configuration = Configuration(recompute=level, **{"dp": 8 // pp, **degrees})  # type: ignore[arg-type]
    job = Job(global_batch=32, sequence_length=2048)
    return price_step(dense_model(8), cluster(1, 8), job, bare_calibration(), configuration, cut)


CUTS = {
    (0, 10): {},
    (0, 5, 10): {"pp": 2},
    (0, 3, 5, 7, 10): {"pp": 2, "vp": 2},
    (0, 2, 6, 7, 10): {"pp": 4},
}


@settings(max_examples=40, deadline=None)
@given(cut=st.sampled_from(list(CUTS)), few=st.integers(1, 8), zero=st.integers(0, 3))
def test_more_recomputed_layers_take_no_less_time_and_keep_no_more(cut: tuple[int, ...], few: int, zero: int) -> None:
    """Between ``none`` and ``full`` and ever further; ``full:8`` of 8 layers is ``full``."""
    levels = ["none", *(f"full:{n}" for n in range(1, few + 1)), "full"]
    found = [priced(level, cut, zero=zero, **CUTS[cut]) for level in levels]
    seconds = [price.step_seconds for price in found]
    kept = [[stage.memory.activations_bytes for stage in price.stages] for price in found]
    peaks = [[stage.memory.peak_bytes for stage in price.stages] for price in found]
    assert (np.diff(seconds) >= -1e-12 * seconds[0]).all()
    assert (np.diff(kept, axis=0) <= 0).all()
    assert (np.diff(peaks, axis=0) <= 1e-9 * np.max(peaks)).all()
    assert seconds[-1] > seconds[0]
    assert priced("full:8", cut, zero=zero, **CUTS[cut]) == found[-1]
