"""Seconds of single kernels: GEMMs, attention and memory-bound work.

Shapes are numbers or arrays that broadcast. Every time is non-decreasing in each shape argument and
non-increasing in the GPU's peak FLOP/s and memory bandwidth.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.calibration import Calibration
from costmodels.configuration import Precision
from costmodels.hardware import Gpu

Seconds = NDArray[np.float64]

OPERAND_BYTES = {"fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "fp4": 0.5}
OUTPUT_BYTES = 2.0

UNFUSED_FORWARD_BYTES = 9.0
"""Per score: masked softmax reads and writes 2 + 2 bytes, dropout 2 + 2 and a mask of 1."""
UNFUSED_BACKWARD_BYTES = 11.0
"""Per score: dropout reads 2 + 1 and writes 2 bytes, softmax reads 2 + 2 and writes 2."""


def dense_peak(gpu: Gpu, precision: Precision) -> float:
    """The dense FLOP/s that times of ``precision`` are derived from: BF16's (FP16's) for FP8 and
    FP4, whose speed-ups are calibrated. Raises ValueError when the GPU lacks the precision."""
    if precision not in gpu.peak_flops:
        have = ", ".join(gpu.peak_flops)
        raise ValueError(f"gpu {gpu.name!r}: precision {precision!r}: it has no such units; use one of {have}")
    wide = precision if precision in ("bf16", "fp16") else "bf16"
    return gpu.peak_flops[wide]


def gemm_seconds(
    m: ArrayLike, n: ArrayLike, k: ArrayLike, gpu: Gpu, precision: Precision, calibration: Calibration
) -> Seconds:
    """[m, k] x [k, n] in a training run, casts to narrow precisions apart (``cast_seconds``).

    The larger of 2 (m + e) (n + e) (k + d) / rate, where the edge e stands for partly filled tiles
    and waves and the depth d for filling and draining a tile's pipeline, and of the bytes of the three
    matrices over the attained bandwidth; then the launch. Narrow precisions have edges and depths of
    their own: a tile takes less time, filling it does not.
    """
    m, n, k = (np.asarray(value, dtype=np.float64) for value in (m, n, k))
    operand = OPERAND_BYTES[precision]
    moved = operand * (m * k + k * n) + OUTPUT_BYTES * m * n
    compute = _gemm_compute_seconds(m, n, k, gpu, precision, calibration)
    return _bound(compute, moved, gpu, calibration, m * n * k > 0)


def cast_seconds(elements: ArrayLike, gpu: Gpu, precision: Precision, calibration: Calibration) -> Seconds:
    """A kernel that casts a GEMM operand of ``elements`` from BF16 to ``precision``; 0 for wide ones."""
    cast_bytes = {"fp8": calibration.fp8_cast_bytes, "fp4": calibration.fp4_cast_bytes}.get(precision, 0.0)
    return memory_seconds(cast_bytes * np.asarray(elements, dtype=np.float64), gpu, calibration)


def grouped_gemm_seconds(
    groups: ArrayLike,
    m: ArrayLike,
    n: ArrayLike,
    k: ArrayLike,
    gpu: Gpu,
    precision: Precision,
    calibration: Calibration,
) -> Seconds:
    """``groups`` GEMMs [m, k] x [k, n] as one kernel, ``m`` rows each on average.

    Every group fills its own tiles: the compute time is that of the groups one by one, over the
    calibrated share that uneven groups leave of it; every group's own weights are read or written.
    """
    groups, m, n, k = (np.asarray(value, dtype=np.float64) for value in (groups, m, n, k))
    operand = OPERAND_BYTES[precision]
    moved = groups * (operand * (m * k + k * n) + OUTPUT_BYTES * m * n)
    compute = groups * _gemm_compute_seconds(m, n, k, gpu, precision, calibration) / calibration.grouped_gemm_fraction
    runs = groups * m * n * k > 0
    starts = np.where(runs, np.maximum(groups - 1.0, 0.0) * calibration.group_launch_seconds, 0.0)
    return np.asarray(_bound(compute, moved, gpu, calibration, runs) + starts)


def attention_seconds(
    batch: ArrayLike,
    heads: ArrayLike,
    queries: ArrayLike,
    keys: ArrayLike,
    query_dim: ArrayLike,
    value_dim: ArrayLike,
    gpu: Gpu,
    calibration: Calibration,
) -> tuple[Seconds, Seconds]:
    """Forward and backward of fused (flash) attention.

    ``keys``: mean number a query attends to, (s + 1) / 2 under a causal mask. Forward FLOPs are
    2 batch heads queries keys (query_dim + value_dim). Keys are padded by what masked edges and ramps
    cost. Softmax runs beside the matrix products, on other units: a head of mean dimension d takes as
    long as one of (d^4 + w^4)^(1/4), a soft maximum of d and the width w whose products take as long
    as softmax (FlashAttention-4 shows the balance on Blackwell). The backward pass has a width of its
    own and twice the memory traffic: four operands and the gradient of three more.
    """
    batch, heads, queries, keys, query_dim, value_dim = (
        np.asarray(value, dtype=np.float64) for value in (batch, heads, queries, keys, query_dim, value_dim)
    )
    c = calibration
    rate = _wide_peak(gpu) * c.attention_forward_fraction * c.gemm_sustained_fraction
    dims = query_dim + value_dim
    pairs = batch * heads * queries * (keys + c.attention_keys_half)
    # relative to a head dimension of 128, where the fraction is stated
    forward = 4.0 * 128.0 / rate * _beside_softmax(dims / 2.0, c.attention_softmax_width) * pairs
    backward = (
        4.0
        * 128.0
        / rate
        * c.attention_backward_ratio
        * pairs
        * _beside_softmax(dims / 2.0, c.attention_backward_softmax_width)
    )
    moved = OUTPUT_BYTES * batch * heads * (queries + keys) * dims
    runs = batch * heads * queries * keys * dims > 0
    return _bound(forward, moved, gpu, c, runs), _bound(backward, 2.0 * moved, gpu, c, runs)


def _beside_softmax(dim: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Time of a head of dimension ``dim`` over that of one of 128, the softmax of ``width`` beside it."""
    return np.asarray(((dim**4 + width**4) / (128.0**4 + width**4)) ** 0.25)


def unfused_attention_seconds(
    batch: ArrayLike,
    heads: ArrayLike,
    queries: ArrayLike,
    keys: ArrayLike,
    query_dim: ArrayLike,
    value_dim: ArrayLike,
    gpu: Gpu,
    calibration: Calibration,
) -> tuple[Seconds, Seconds]:
    """Forward and backward of attention whose scores pass through memory (Korthikanti et al., arXiv
    2205.05198 sec. 4): two batched GEMMs forward, four backward, and masked softmax and dropout over
    batch x heads x queries x keys 16-bit scores. ``keys`` is the whole length, masked ones included.
    """
    batch, heads, queries, keys, query_dim, value_dim = (
        np.asarray(value, dtype=np.float64) for value in (batch, heads, queries, keys, query_dim, value_dim)
    )
    matrices = batch * heads
    scores = matrices * queries * keys
    precision: Precision = "bf16" if "bf16" in gpu.peak_flops else "fp16"

    def batched(m: NDArray[np.float64], n: NDArray[np.float64], k: NDArray[np.float64]) -> Seconds:
        moved = OUTPUT_BYTES * matrices * (m * k + k * n + m * n)
        compute = _gemm_compute_seconds(matrices * m, n, k, gpu, precision, calibration)
        return _bound(compute, moved, gpu, calibration, scores > 0)

    forward = (
        batched(queries, keys, query_dim)
        + memory_seconds(UNFUSED_FORWARD_BYTES * scores, gpu, calibration)
        + batched(queries, value_dim, keys)
    )
    backward = (
        batched(queries, keys, value_dim)
        + batched(keys, value_dim, queries)
        + memory_seconds(UNFUSED_BACKWARD_BYTES * scores, gpu, calibration)
        + batched(queries, query_dim, keys)
        + batched(keys, query_dim, queries)
    )
    return forward, backward


def memory_seconds(moved_bytes: ArrayLike, gpu: Gpu, calibration: Calibration) -> Seconds:
    """A kernel that only reads and writes ``moved_bytes``; none moved, none launched."""
    moved = np.asarray(moved_bytes, dtype=np.float64)
    return _bound(np.zeros_like(moved), moved, gpu, calibration, moved > 0)


def _wide_peak(gpu: Gpu) -> float:
    return gpu.peak_flops["bf16"] if "bf16" in gpu.peak_flops else gpu.peak_flops["fp16"]


def _gemm_compute_seconds(
    m: NDArray[np.float64],
    n: NDArray[np.float64],
    k: NDArray[np.float64],
    gpu: Gpu,
    precision: Precision,
    calibration: Calibration,
) -> Seconds:
    c = calibration
    speedup = {"fp8": c.fp8_gemm_speedup, "fp4": c.fp4_gemm_speedup}.get(precision, 1.0)
    rate = dense_peak(gpu, precision) * c.gemm_peak_fraction * c.gemm_sustained_fraction * speedup
    narrow = {"fp8": (c.fp8_edge_half, c.fp8_k_half), "fp4": (c.fp4_edge_half, c.fp4_k_half)}
    edge, depth = narrow.get(precision, (c.gemm_edge_half, c.gemm_k_half))
    padded = (m + edge) * (n + edge) * (k + depth)
    return np.asarray(2.0 * padded / rate, dtype=np.float64)


def _bound(
    compute: Seconds, moved: NDArray[np.float64], gpu: Gpu, calibration: Calibration, runs: NDArray[np.bool_]
) -> Seconds:
    """The slower of computing and moving, after the launch; 0 where there is nothing to do."""
    traffic = moved / (gpu.memory_bytes_per_second * calibration.memory_fraction)
    seconds = np.maximum(compute, traffic) + calibration.kernel_launch_seconds
    return np.asarray(np.where(runs, seconds, 0.0), dtype=np.float64)
