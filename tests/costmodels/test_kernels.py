"""Kernel times: by hand with round figures, against measured kernels, and what must always hold."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costmodels import kernels
from costmodels.calibration import Calibration, load_calibration
from costmodels.hardware import Gpu


def gpu(name: str, tflops: float, terabytes: float) -> Gpu:
    peak = tflops * 1e12
    return Gpu(
        name=name,
        architecture="any",
        memory_bytes=80e9,
        memory_bytes_per_second=terabytes * 1e12,
        peak_flops={"fp16": peak, "bf16": peak, "fp8": 2 * peak},
    )


A100, H100, B200 = gpu("a100", 312, 2.039), gpu("h100", 989.4, 3.35), gpu("b200", 2250, 8)
ROUND = load_calibration(H100).adjusted(
    kind="assumed",
    source="round figures",
    gemm_peak_fraction=0.8,
    gemm_edge_half=100,
    gemm_k_half=200,
    gemm_sustained_fraction=0.5,
    fp8_gemm_speedup=1.5,
    grouped_gemm_fraction=0.5,
    attention_forward_fraction=0.5,
    attention_keys_half=500,
    attention_head_half=128,
    attention_backward_ratio=2.5,
    memory_fraction=0.5,
    kernel_launch_seconds=1e-6,
)
UNIT = gpu("unit", 1, 1)


def short(machine: Gpu) -> Calibration:
    """Without the clock factor of long runs: what a short benchmark sees."""
    return load_calibration(machine).adjusted(kind="assumed", source="benchmark", gemm_sustained_fraction=1.0)


def test_a_compute_bound_gemm_by_hand() -> None:
    # 2 x (900+100) x (1900+100) x (3800+200) / (1e12 x 0.8 x 0.5) + 1e-6
    assert kernels.gemm_seconds(900, 1900, 3800, UNIT, "bf16", ROUND) == pytest.approx(0.04 + 1e-6)


def test_a_memory_bound_gemm_by_hand() -> None:
    # one row: 2 x (1 x 1e5 + 1e5 x 1e5 + 1e5) bytes at 0.5e12 B/s; computing takes 1e3 x less at 1e18
    fast = replace(UNIT, peak_flops={"bf16": 1e18})
    expected = 2 * (1e5 + 1e10 + 1e5) / 0.5e12 + 1e-6
    assert kernels.gemm_seconds(1, 1e5, 1e5, fast, "bf16", ROUND) == pytest.approx(expected)


def test_fp8_runs_the_bf16_law_faster() -> None:
    # 0.04 / 1.5 as above
    assert kernels.gemm_seconds(900, 1900, 3800, UNIT, "fp8", ROUND) == pytest.approx(0.04 / 1.5 + 1e-6)


def test_a_grouped_gemm_by_hand() -> None:
    # 9 groups, each as a GEMM of its own without its launch, at half the speed
    each = kernels.gemm_seconds(900, 1900, 3800, UNIT, "bf16", ROUND) - 1e-6
    grouped = kernels.grouped_gemm_seconds(9, 900, 1900, 3800, UNIT, "bf16", ROUND)
    assert grouped == pytest.approx(9 * each / 0.5 + 1e-6)


def test_grouped_weights_are_read_group_by_group() -> None:
    # of one row each: the four weight matrices of 2e10 bytes dominate, at 0.5e12 B/s
    fast = replace(UNIT, peak_flops={"bf16": 1e18})
    seconds = kernels.grouped_gemm_seconds(4, 1, 1e5, 1e5, fast, "bf16", ROUND)
    assert seconds == pytest.approx(4 * 2e10 / 0.5e12, rel=1e-4)


def test_fused_attention_by_hand() -> None:
    # pairs 2 x 4 x 1000 x (1500+500); dims (64+64+256) x 128/256; 2 FLOPs; 1e12 x 0.5 x 0.5 FLOP/s
    forward, backward = kernels.attention_seconds(2, 4, 1000, 1500, 64, 64, UNIT, ROUND)
    assert forward == pytest.approx(2 * 16e6 * 192 / 0.25e12 + 1e-6)
    assert backward == pytest.approx(2.5 * forward)


def test_unfused_attention_moves_its_scores_by_hand() -> None:
    # a GPU that computes in no time, launches apart; 1e8 scores of 2 bytes. Forward, the GEMMs write and
    # read them (4 bytes a score), softmax and dropout move 9. Backward, each of four GEMMs reads or
    # writes a score matrix (8), softmax and dropout move 11. Each GEMM has two 1e4 x 16 matrices more.
    fast = replace(UNIT, peak_flops={"bf16": 1e30})
    quiet = ROUND.adjusted(kind="assumed", source="no launch", kernel_launch_seconds=0.0)
    forward, backward = kernels.unfused_attention_seconds(1, 1, 1e4, 1e4, 16, 16, fast, quiet)
    operands = 2 * 2e4 * 16
    assert forward == pytest.approx((13e8 + 2 * operands) / 0.5e12)
    assert backward == pytest.approx((19e8 + 4 * operands) / 0.5e12)


def test_memory_bound_work_by_hand() -> None:
    assert kernels.memory_seconds(1e9, UNIT, ROUND) == pytest.approx(2e-3 + 1e-6)


def test_nothing_to_do_costs_nothing() -> None:
    assert kernels.memory_seconds(0, UNIT, ROUND) == 0
    assert kernels.gemm_seconds(0, 8, 8, UNIT, "bf16", ROUND) == 0
    assert kernels.grouped_gemm_seconds(4, 0, 8, 8, UNIT, "bf16", ROUND) == 0
    assert np.all(np.array(kernels.attention_seconds(0, 8, 8, 8, 8, 8, UNIT, ROUND)) == 0)
    assert np.all(np.array(kernels.unfused_attention_seconds(0, 8, 8, 8, 8, 8, UNIT, ROUND)) == 0)


@pytest.mark.parametrize(
    ("machine", "shape", "fastest", "slowest"),
    [  # milliseconds of three frameworks (aiconfigurator-core 0.12.0, gemm_perf)
        (A100, (4096, 4096, 4096), 0.5141, 0.5489),
        (A100, (2048, 10240, 8192), 1.1854, 1.3584),
        (A100, (8192, 4096, 1024), 0.2762, 0.3005),
        (H100, (8192, 8192, 8192), 1.4048, 1.5639),
        (H100, (4096, 4096, 4096), 0.1660, 0.1793),
        (H100, (2048, 10240, 8192), 0.4125, 0.4518),
        (H100, (8192, 4096, 1024), 0.0975, 0.1105),
        (B200, (8192, 8192, 8192), 0.6519, 0.7372),
        (B200, (4096, 4096, 4096), 0.0902, 0.1123),
        (B200, (16384, 1024, 4096), 0.0921, 0.0960),
    ],
)
def test_gemms_land_among_measured_ones(
    machine: Gpu, shape: tuple[int, int, int], fastest: float, slowest: float
) -> None:
    predicted = 1e3 * kernels.gemm_seconds(*shape, machine, "bf16", short(machine))
    assert 0.85 * fastest < predicted < 1.15 * slowest


@pytest.mark.parametrize(
    ("machine", "length", "fastest", "slowest"),
    [  # milliseconds, batch 1, 32 heads of 128, causal (aiconfigurator-core 0.12.0, context_attention_perf)
        (A100, 4096, 0.842, 1.145),
        (A100, 16384, 11.08, 15.26),
        (H100, 4096, 0.253, 0.339),
        (H100, 16384, 3.31, 4.34),
        (B200, 4096, 0.154, 0.194),
        (B200, 16384, 1.72, 1.93),
    ],
)
def test_attention_lands_among_measured_kernels(machine: Gpu, length: int, fastest: float, slowest: float) -> None:
    keys = (length + 1) / 2
    forward, _ = kernels.attention_seconds(1, 32, length, keys, 128, 128, machine, short(machine))
    assert 0.9 * fastest < 1e3 * forward < 1.15 * slowest


def test_sustained_clocks_slow_every_gemm() -> None:
    sustained = kernels.gemm_seconds(8192, 8192, 8192, H100, "bf16", load_calibration(H100))
    bursts = kernels.gemm_seconds(8192, 8192, 8192, H100, "bf16", short(H100))
    launch = short(H100).kernel_launch_seconds
    assert (bursts - launch) / (sustained - launch) == pytest.approx(0.82)  # the calibrated factor


def test_a_precision_the_gpu_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'a100'.*'fp4'.*fp8"):
        kernels.gemm_seconds(8, 8, 8, A100, "fp4", ROUND)


Shape = tuple[int, int, int, int, int]
Kernel = Callable[[Gpu, Shape], Any]
SIZES = st.integers(1, 100_000)
SHAPES = st.tuples(SIZES, SIZES, SIZES, SIZES, SIZES)


def grouped(machine: Gpu, shape: Shape) -> Any:
    m, n, k, groups, _ = shape
    return kernels.grouped_gemm_seconds(groups % 64 + 1, m, n, k, machine, "bf16", ROUND)


KERNELS: dict[str, Kernel] = {
    "gemm": lambda g, s: kernels.gemm_seconds(s[0], s[1], s[2], g, "bf16", ROUND),
    "grouped": grouped,
    "fused": lambda g, s: np.add(*kernels.attention_seconds(1, *s, g, ROUND)),
    "unfused": lambda g, s: np.add(*kernels.unfused_attention_seconds(1, *s, g, ROUND)),
    "memory": lambda g, s: kernels.memory_seconds(s[0] * s[1], g, ROUND),
}
FASTER_COMPUTE = replace(H100, peak_flops={key: 1.7 * value for key, value in H100.peak_flops.items()})
FASTER_MEMORY = replace(H100, memory_bytes_per_second=1.7 * H100.memory_bytes_per_second)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@given(shape=SHAPES)
def test_time_is_positive_and_never_rises_with_a_faster_gpu(kernel: Kernel, shape: Shape) -> None:
    seconds = kernel(H100, shape)
    assert seconds > 0
    assert kernel(FASTER_COMPUTE, shape) <= seconds
    assert kernel(FASTER_MEMORY, shape) <= seconds


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@given(shape=SHAPES, axis=st.integers(0, 2), more=st.integers(1, 10_000))
def test_time_never_falls_with_more_work(kernel: Kernel, shape: Shape, axis: int, more: int) -> None:
    m, n, k, fourth, fifth = shape
    larger = (m + more * (axis == 0), n + more * (axis == 1), k + more * (axis == 2), fourth, fifth)
    assert kernel(H100, larger) >= kernel(H100, shape)


def test_arrays_give_what_each_number_gives() -> None:
    m = np.array([512.0, 4096.0, 0.0])
    together = kernels.gemm_seconds(m, 4096, 1024, H100, "bf16", ROUND)
    alone = [float(kernels.gemm_seconds(value, 4096, 1024, H100, "bf16", ROUND)) for value in m]
    assert together.tolist() == alone
