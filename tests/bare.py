"""Machines and calibrations with everything switched off but what a test counts.

With one resource at a rate of 1 a second and all others free, seconds are that resource's FLOPs or
bytes, so that costs can be compared with counts made by hand.
"""

from costmodels.calibration import Calibration, load_calibration
from costmodels.hardware import Cluster, Gpu, Link
from tests.machines import H100

FREE = 1e40


def bare_calibration(**figures: float) -> Calibration:
    """Every attained share 1, every overhead 0, attention's backward pass twice its forward."""
    plain = {
        "gemm_peak_fraction": 1.0,
        "gemm_edge_half": 1e-12,
        "gemm_k_half": 1e-12,
        "gemm_sustained_fraction": 1.0,
        "fp8_gemm_speedup": 2.0,
        "fp8_edge_half": 1e-12,
        "fp8_k_half": 1e-12,
        "fp8_cast_bytes": 0.0,
        "fp4_edge_half": 1e-12,
        "fp4_k_half": 1e-12,
        "fp4_cast_bytes": 0.0,
        "block_scaling_fraction": 1.0,
        "host_jitter_per_doubling": 0.0,
        "graphed_host_fraction": 1.0,
        "grouped_gemm_fraction": 1.0,
        "group_launch_seconds": 0.0,
        "attention_forward_fraction": 1.0,
        "attention_keys_half": 0.0,
        "attention_softmax_width": 0.0,
        "attention_backward_ratio": 2.0,
        "attention_backward_softmax_width": 0.0,
        "memory_fraction": 1.0,
        "kernel_launch_seconds": 0.0,
        "layer_floor_seconds": 0.0,
        "moe_layer_seconds": 0.0,
        "scale_up_fraction": 1.0,
        "scale_out_fraction": 1.0,
        "own_part_fraction": 0.0,
        "in_network_fraction": 0.0,
        "collective_launch_seconds": 0.0,
        "scale_up_step_factor": 1.0,
        "low_latency_fraction": 1e-12,
        "low_latency_launch_seconds": 0.0,
        "low_latency_step_seconds": 0.0,
        "all_to_all_fraction": 1.0,
        "tensor_exposed_fraction": 1.0,
        "tensor_serial_factor": 1.0,
        "overlap_contention": 0.0,
        "fsdp_exposed_fraction": 0.0,
        "microbatch_seconds": 0.0,
        "step_seconds": 0.0,
        "loss_bytes_per_logit": 12.0,
        "optimizer_bytes_per_parameter": 30.0,
        "straggler_fraction_per_doubling": 0.0,
        "runtime_bytes": 0.0,
        "workspace_bytes": 0.0,
        "weight_workspace_bytes_per_element": 0.0,
        "logit_workspace_bytes_per_element": 0.0,
        "allocator_fraction": 0.0,
    }
    return load_calibration(H100).adjusted(kind="assumed", source="by hand", **{**plain, **figures})


def bare_cluster(
    nodes: int = 1,
    gpus_per_node: int = 8,
    *,
    flops: float = FREE,
    memory: float = FREE,
    up: float = FREE,
    out: float = FREE,
    memory_bytes: float = 80e9,
    reserve_bytes: float = 0.0,
) -> Cluster:
    """``flops`` a second by the units, ``memory`` bytes a second by the HBM, ``up`` and ``out`` by the
    links inside and between domains; no latency."""
    gpu = Gpu(
        name=H100.name,
        architecture=H100.architecture,
        memory_bytes=memory_bytes,
        memory_bytes_per_second=memory,
        peak_flops=dict.fromkeys(("fp16", "bf16", "fp8", "fp4"), flops),
    )
    return Cluster(
        name="bare",
        gpu=gpu,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        domain_gpus=gpus_per_node,
        scale_up=Link(bytes_per_second=up, latency_seconds=0.0),
        scale_out=Link(bytes_per_second=out, latency_seconds=0.0),
        reserve_bytes=reserve_bytes,
    )
