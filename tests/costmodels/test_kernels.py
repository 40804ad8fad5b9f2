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
from costmodels.configuration import Precision
from costmodels.hardware import Gpu


def gpu(name: str, tflops: float, terabytes: float) -> Gpu:
    peak = tflops * 1e12
    return Gpu(
        name=name,
        architecture="any",
        memory_bytes=80e9,
        memory_bytes_per_second=terabytes * 1e12,
        peak_flops={"fp16": peak, "bf16": peak, "fp8": 2 * peak} | ({} if tflops < 2000 else {"fp4": 4 * peak}),
    )


A100, H100, B200 = gpu("a100", 312, 2.039), gpu("h100", 989.4, 3.35), gpu("b200", 2250, 8)
H200, GB200, GB300 = gpu("h200", 989.4, 4.8), gpu("gb200", 2500, 8), gpu("gb300", 2500, 8)
ROUND = load_calibration(H100).adjusted(
    kind="assumed",
    source="round figures",
    gemm_peak_fraction=0.8,
    gemm_edge_half=100,
    gemm_k_half=200,
    gemm_sustained_fraction=0.5,
    group_launch_seconds=0.0,
    fp8_gemm_speedup=1.5,
    fp8_edge_half=300,
    fp8_k_half=400,
    fp8_cast_bytes=4,
    grouped_gemm_fraction=0.5,
    attention_forward_fraction=0.5,
    attention_keys_half=500,
    attention_softmax_width=128,
    attention_backward_ratio=2.5,
    attention_backward_softmax_width=64,
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


def test_fp8_runs_faster_with_edges_of_its_own() -> None:
    # 2 x (900+300) x (1900+300) x (3800+400) / (1e12 x 0.8 x 0.5 x 1.5) + 1e-6
    assert kernels.gemm_seconds(900, 1900, 3800, UNIT, "fp8", ROUND) == pytest.approx(0.03696 + 1e-6)


def test_a_cast_moves_its_bytes_and_wide_operands_need_none() -> None:
    # 4 bytes each of 1e6 elements at 0.5e12 B/s
    assert kernels.cast_seconds(1e6, UNIT, "fp8", ROUND) == pytest.approx(8e-6 + 1e-6)
    assert kernels.cast_seconds(1e6, UNIT, "bf16", ROUND) == 0


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
    # 4 FLOPs x 128 x pairs 2 x 4 x 1000 x (1500+500) at 1e12 x 0.5 x 0.5 FLOP/s, were the heads of 128;
    # of 64, forward ((1/2^4 + 1) / 2)^(1/4) as long, backward (2/2^4 / (1 + 1/2^4))^(1/4)
    forward, backward = kernels.attention_seconds(2, 4, 1000, 1500, 64, 64, UNIT, ROUND)
    at_128 = 4 * 128 * 16e6 / 0.25e12
    assert forward == pytest.approx(at_128 * (17 / 32) ** 0.25 + 1e-6)
    assert backward == pytest.approx(2.5 * at_128 * (2 / 17) ** 0.25 + 1e-6)


def test_fused_attention_that_only_moves_its_operands_by_hand() -> None:
    # 2 bytes x 8 heads x (1000 + 1500) x (64 + 64) at 0.5e12 B/s; twice that backward
    fast = replace(UNIT, peak_flops={"bf16": 1e30})
    forward, backward = kernels.attention_seconds(2, 4, 1000, 1500, 64, 64, fast, ROUND)
    assert forward == pytest.approx(5.12e6 / 0.5e12 + 1e-6)
    assert backward == pytest.approx(2 * 5.12e6 / 0.5e12 + 1e-6)


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
    ("machine", "precision", "speedup", "cast_bytes", "shape", "measured_us", "within"),
    [  # aiconfigurator-core 0.12.0, gemm_perf: FP8 of TensorRT-LLM, NVFP4 of vLLM. Speed-ups and the casts of
        # these kernels are those of the fit: the bundled ones are of training. 4097 and 2049 rows: off every tile.
        (H100, "bf16", None, None, (4097, 7168, 2048), 152.7, 0.08),
        (H100, "bf16", None, None, (16384, 1536, 4096), 258.0, 0.05),
        (H100, "fp8", 1.85, 5.49, (8192, 8192, 8192), 884.9, 0.05),
        (H100, "fp8", 1.85, 5.49, (16384, 1536, 4096), 319.2, 0.05),
        (H100, "fp8", 1.85, 5.49, (4097, 7168, 2048), 120.9, 0.05),
        (H100, "fp8", 1.85, 5.49, (4096, 1024, 8192), 139.3, 0.05),
        (B200, "fp8", 1.88, 7.71, (2048, 10240, 8192), 140.3, 0.05),
        (B200, "fp8", 1.88, 7.71, (16384, 1536, 4096), 167.8, 0.10),
        (B200, "fp4", 3.05, 3.09, (8192, 8192, 8192), 257.6, 0.08),
        (B200, "fp4", 3.05, 3.09, (4096, 1024, 8192), 36.1, 0.08),
        (B200, "fp4", 3.05, 3.09, (2049, 4096, 4096), 26.3, 0.08),
    ],
)
def test_gemms_take_what_was_measured(
    machine: Gpu,
    precision: Precision,
    speedup: float | None,
    cast_bytes: float | None,
    shape: tuple[int, int, int],
    measured_us: float,
    within: float,
) -> None:
    bench = short(machine)
    if speedup is not None and cast_bytes is not None:
        fitted = {f"{precision}_gemm_speedup": speedup, f"{precision}_cast_bytes": cast_bytes}
        bench = bench.adjusted(kind="fitted", source="fit", **fitted)
    rows, _, depth = shape
    product = kernels.gemm_seconds(*shape, machine, precision, bench)
    cast = kernels.cast_seconds(rows * depth, machine, precision, bench)
    assert 1e6 * (product + cast) == pytest.approx(measured_us, rel=within)


@pytest.mark.parametrize(
    ("machine", "heads", "length", "dims", "window", "forward_ms", "backward_ms"),
    [  # cuDNN 9.19, causal BF16, one sequence (two with windows): NVIDIA/cudnn-frontend,
        # benchmark/sdpa_benchmark_training/results/{h200,gb200,gb300}_919_only_cudnn; on A100 (a PCIe
        # part, two sequences) FlashAttention-2, benchmark/attention_training/results/llama3.1/a100
        (A100, 128, 4096, (128, 128), None, 2.690, 8.175),
        (A100, 128, 8192, (128, 128), None, 10.123, 31.745),
        (H200, 64, 4096, (128, 128), None, 0.465, 1.450),
        (H200, 64, 16384, (128, 128), None, 6.531, 19.002),
        (H200, 128, 4096, (192, 128), None, 1.148, None),
        (H200, 64, 8192, (64, 64), 1024, 0.738, 2.149),
        (GB200, 64, 4096, (128, 128), None, 0.206, 0.607),
        (GB200, 64, 16384, (128, 128), None, 2.606, 7.845),
        (GB200, 128, 8192, (192, 128), None, 1.800, None),
        (GB200, 64, 8192, (64, 64), 1024, 0.423, 0.998),
        (GB300, 64, 8192, (128, 128), None, 0.583, 1.985),
        (GB300, 64, 16384, (64, 64), 1024, 0.722, 1.951),
    ],
)
def test_training_attention_takes_what_was_measured(
    machine: Gpu,
    heads: int,
    length: int,
    dims: tuple[int, int],
    window: int | None,
    forward_ms: float,
    backward_ms: float | None,
) -> None:
    reach = window or length
    keys = reach * (length - (reach - 1) / 2) / length
    batch = 1 if window is None else 2
    forward, backward = kernels.attention_seconds(batch, heads, length, keys, *dims, machine, short(machine))
    assert 1e3 * forward == pytest.approx(forward_ms, rel=0.10)
    if backward_ms is not None:  # that of 192/128 is deterministic there, which costs more
        assert 1e3 * backward == pytest.approx(backward_ms, rel=0.10)


def test_small_heads_gain_less_where_softmax_is_slow_beside_the_products() -> None:
    # halving the head halves the products; on Blackwell softmax of 128 takes as long as they do
    halved = {
        machine.name: float(
            np.divide(
                *(kernels.attention_seconds(1, 64, 65536, 32768, d, d, machine, short(machine))[0] for d in (64, 128))
            )
        )
        for machine in (H100, GB200)
    }
    assert 0.5 < halved["h100"] < halved["gb200"] < 1


def test_sustained_clocks_slow_every_gemm() -> None:
    sustained = kernels.gemm_seconds(8192, 8192, 8192, H100, "bf16", load_calibration(H100))
    bursts = kernels.gemm_seconds(8192, 8192, 8192, H100, "bf16", short(H100))
    launch = short(H100).kernel_launch_seconds
    assert (bursts - launch) / (sustained - launch) == pytest.approx(load_calibration(H100).gemm_sustained_fraction)


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
    "fp8": lambda g, s: kernels.gemm_seconds(s[0], s[1], s[2], g, "fp8", ROUND),
    "cast": lambda g, s: kernels.cast_seconds(s[0] * s[1], g, "fp8", ROUND),
    "heads": lambda g, s: np.add(*kernels.attention_seconds(8, 8, s[3], s[4], s[0], s[1], g, ROUND)),
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


def test_every_group_but_the_first_is_started_by_itself() -> None:
    """By hand: eight groups wait for seven starts of 20 us; a single one, and none, for no start."""
    plain, started = (
        load_calibration(H100).adjusted(kind="assumed", source="test", group_launch_seconds=s) for s in (0, 20e-6)
    )
    for groups, starts in ((8, 7), (1, 0), (0, 0)):
        apart = [kernels.grouped_gemm_seconds(groups, 64, 64, 64, H100, "bf16", c) for c in (plain, started)]
        assert float(apart[1] - apart[0]) == pytest.approx(starts * 20e-6, abs=1e-12)
