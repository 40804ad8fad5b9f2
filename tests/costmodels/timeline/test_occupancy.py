import numpy as np
import pytest
from hypothesis import given, settings

from costmodels.timeline import memory_over_time, peak_activation, peak_live_counts, schedule_order, simulate
from tests.costmodels.timeline.strategies import Pipeline, pipelines


@pytest.mark.parametrize(("p", "m"), [(1, 3), (4, 8), (4, 2), (8, 8)])
def test_1f1b_holds_p_minus_i_micro_batches(p: int, m: int) -> None:
    # Paper: at most p in flight, fewer on later stages (arXiv 2104.04473, 2.2.1).
    sizes = np.linspace(1, 2, p)
    expected = np.minimum(m, p - np.arange(p))
    order = schedule_order("1f1b", p, 1, m)
    assert (peak_live_counts(order) == expected).all()
    np.testing.assert_allclose(peak_activation(order, sizes), expected * sizes)


def test_gpipe_holds_all_micro_batches() -> None:
    # Paper: arXiv 2104.04473, 2.2.1.
    assert (peak_activation(schedule_order("gpipe", 4, 1, 9), np.ones(4)) == 9).all()


@pytest.mark.parametrize(("p", "v"), [(2, 2), (4, 2), (8, 4), (8, 12)])
def test_interleaving_holds_more_on_the_first_device(p: int, v: int) -> None:
    # Paper: 1 + (p - 1) / (p v) times the p micro-batches of 1F1B (Korthikanti et al., arXiv 2205.05198, 4.2.3).
    peak = peak_activation(schedule_order("interleaved-1f1b", p, v, 4 * p), np.full(p * v, 1 / v))
    assert peak[0] == pytest.approx(p * (1 + (p - 1) / (p * v)))
    assert peak[0] == peak.max()


@settings(max_examples=200, deadline=None)
@given(pipelines())
def test_the_peak_is_that_of_the_series_over_time(pipeline: Pipeline) -> None:
    # Second method: the running sum along the simulated timeline.
    order = pipeline.order
    sizes, kept = np.random.default_rng(order.microbatches).random((2, 2, order.chunks))
    timeline = simulate(order, *pipeline.costs, weight_grad_seconds=pipeline.weight_grad)
    peaks = peak_activation(order, sizes, kept)
    for case in range(2):
        for device in range(order.devices):
            seconds, alive = memory_over_time(order, timeline, device, sizes[case], kept[case])
            assert (np.diff(seconds) >= 0).all()
            assert peaks[case, device] == pytest.approx(alive.max(), rel=1e-12)
            assert alive[-1] == pytest.approx(0, abs=1e-9)


def test_memory_over_time_steps_at_start_of_f_and_end_of_b() -> None:
    # By hand, p = 2, m = 2, F = 1, B = 2: stage 0 runs F 0-1, F 1-2, B 4-6, B 7-9.
    order = schedule_order("1f1b", 2, 1, 2)
    timeline = simulate(order, [1, 1], [2, 2], [0])
    seconds, alive = memory_over_time(order, timeline, 0, [5, 7])
    assert seconds.tolist() == [0, 1, 6, 9]
    assert alive.tolist() == [5, 10, 5, 0]


def test_what_w_keeps_may_outgrow_what_i_frees() -> None:
    # By hand: zb-h1, p = 2, m = 2, device 1: F 5, I 7 (output gradients wait), F 12, I 14, W 7, W 0.
    order = schedule_order("zb-h1", 2, 1, 2)
    assert peak_activation(order, [0, 5], [0, 7]).tolist() == [0, 14]
    timeline = simulate(order, [1, 1], [1, 1], [0], weight_grad_seconds=[1, 1])
    assert memory_over_time(order, timeline, 1, [0, 5], [0, 7])[1].tolist() == [5, 7, 12, 14, 7, 0]


def test_wrong_sizes_are_named() -> None:
    order = schedule_order("1f1b", 2, 1, 2)
    with pytest.raises(ValueError, match="must end in 2 chunks"):
        peak_activation(order, [1.0])
    with pytest.raises(ValueError, match="negative"):
        peak_activation(order, [1.0, -1.0])
    with pytest.raises(ValueError, match="kept_for_weight_grad_bytes: shape"):
        peak_activation(order, [1.0, 1.0], [1.0])
