"""Published kernel benchmarks, as tables that the fits of ``tools.fit_kernels`` read.

Most are the parquet files of the PyPI package aiconfigurator-core (Apache-2.0): inference kernels on
one node in short bursts, forward only. ``attention_training.csv`` beside this module holds fused
attention of training, causal, BF16, in both directions, from github.com/NVIDIA/cudnn-frontend:

- ``cudnn-9.19``: benchmark/sdpa_benchmark_training/results/{h200,gb200,gb300}_919_only_cudnn, the
  configurations llama3.1, gpt_oss and dsv3 (whose backward pass is deterministic there: left out);
- ``fa2``: benchmark/attention_training/results/llama3.1/a100, FlashAttention-2 on an A100 PCIe.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from numpy.typing import NDArray

from costmodels.hardware import Gpu

PACKAGE = "aiconfigurator-core 0.12.0"
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One GPU of the package: its folder, and the nominal figures that fractions refer to.

    ``training`` names its rows of the training kernels' table, or those of a GPU with the same chip:
    ``training_part`` is what their fractions refer to. ``training_forward``: their clocks are its own.
    """

    folder: str
    architecture: str
    peak_tflops: float
    memory_tb: float
    nvlink_gb: float
    training: str
    training_part: str
    training_forward: bool = True
    reduces_in_network: bool = True

    def gpu(self, name: str) -> Gpu:
        peak = self.peak_tflops * 1e12
        return Gpu(
            name=name,
            architecture=self.architecture,
            memory_bytes=80e9,
            memory_bytes_per_second=self.memory_tb * 1e12,
            peak_flops={"bf16": peak, "fp8": 2 * peak, "fp4": 4 * peak},
        )


BENCHES = {
    "a100": Bench(
        folder="a100_sxm",
        architecture="ampere",
        peak_tflops=312,
        memory_tb=2.039,
        nvlink_gb=300,
        training="a100-pcie",
        training_part="a100",
        training_forward=False,  # of less power than an SXM part
        reduces_in_network=False,
    ),
    "h100": Bench(
        folder="h100_sxm",
        architecture="hopper",
        peak_tflops=989,
        memory_tb=3.35,
        nvlink_gb=450,
        training="h200",
        training_part="h200",
    ),
    "h200": Bench(
        folder="h200_sxm",
        architecture="hopper",
        peak_tflops=989,
        memory_tb=4.8,
        nvlink_gb=450,
        training="h200",
        training_part="h200",
    ),
    "b200": Bench(
        folder="b200_sxm",
        architecture="blackwell",
        peak_tflops=2250,
        memory_tb=8,
        nvlink_gb=900,
        training="gb200",
        training_part="gb200",
    ),
    "b300": Bench(
        folder="b300_sxm",
        architecture="blackwell",
        peak_tflops=2250,
        memory_tb=8,
        nvlink_gb=900,
        training="gb300",
        training_part="gb300",
    ),
    "gb200": Bench(
        folder="gb200",
        architecture="blackwell",
        peak_tflops=2500,
        memory_tb=8,
        nvlink_gb=900,
        training="gb200",
        training_part="gb200",
    ),
    "gb300": Bench(
        folder="gb300",
        architecture="blackwell",
        peak_tflops=2500,
        memory_tb=8,
        nvlink_gb=900,
        training="gb300",
        training_part="gb300",
    ),
}


def version(path: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", path.parent.name)]


def newest_tables(folder: Path, name: str) -> pd.DataFrame:
    """The newest version of every framework's table ``name`` below ``folder``, as one."""
    frameworks = sorted({path.parents[1] for path in folder.glob(f"*/*/{name}.parquet")})
    if not frameworks:
        raise SystemExit(f"{folder}: no {name}.parquet below it; point at the package's systems/data")
    newest = [max(framework.glob(f"*/{name}.parquet"), key=version) for framework in frameworks]
    return pd.concat([pd.read_parquet(path) for path in newest])


def columns(table: pd.DataFrame, *names: str) -> list[Values]:
    return [table[name].to_numpy(float) for name in names]


def gemm_table(root: Path, dtype: str, frameworks: Iterable[str] | None = None) -> pd.DataFrame:
    """Shapes of 512 and more each way that all ``frameworks`` measured (None: all that measured the
    data type), aligned to tiles or not; the fastest one's time."""
    table = newest_tables(root / "gemm", "gemm_perf")
    table = table[(table.gemm_dtype == dtype) & (table[["m", "n", "k"]] >= 512).all(axis=1)]
    if frameworks is not None:
        table = table[table.framework.str.lower().isin(list(frameworks))]
    timed = table.groupby(["m", "n", "k"], as_index=False).agg(
        latency=("latency", "min"), frameworks=("framework", "nunique")
    )
    return timed[timed.frameworks == timed.frameworks.max()].drop(columns="frameworks")


def attention_table(root: Path) -> pd.DataFrame:
    """Causal prefill without windows, of 1,024 tokens and more and 0.1 TFLOP; the fastest framework."""
    table = newest_tables(root / "attention", "context_attention_perf")
    window = table.window_size.fillna(0) if "window_size" in table else 0
    wide = (table.attn_dtype == "bfloat16") & (table.kv_cache_dtype == "bfloat16")
    flops = 2.0 * table.batch_size * table.num_heads * table.isl**2 * table.head_dim
    table = table[wide & (window == 0) & (table.step == 0) & (table.kernel_source != "triton") & (flops >= 1e11)]
    table = table[(table.isl >= 1024) & (table.head_dim <= 256)]
    keys = ["batch_size", "num_heads", "num_key_value_heads", "isl", "head_dim"]
    return table.groupby(keys, as_index=False).latency.min()


def attention_training_table(gpu: str) -> pd.DataFrame:
    """Rows of the training kernels' table measured on ``gpu``."""
    table = pd.read_csv(Path(__file__).with_name("attention_training.csv"))
    return table[table.gpu == gpu]


def expert_table(root: Path) -> pd.DataFrame:
    """BF16 gated experts of TensorRT-LLM's CUTLASS kernels with 64 rows an expert and 0.02 TFLOP, from
    the version with most rows (newer ones add single models)."""
    versions = [pd.read_parquet(path) for path in (root / "moe" / "trtllm").glob("*/moe_perf.parquet")]
    table = max(versions, key=len)
    table = table[(table.moe_dtype == "bfloat16") & ~table.kernel_source.str.contains("nongated")]
    rows = table.num_tokens * table.topk / table.num_experts
    inter = table.inter_size / table.moe_tp_size
    flops = 6.0 * rows * table.num_experts / table.moe_ep_size * table.hidden_size * inter
    table = table.assign(rows=rows, inter=inter, groups=table.num_experts / table.moe_ep_size)
    table = table[(rows >= 64) & (inter >= 256) & (flops >= 2e10)]
    keys = ["distribution", "num_tokens", "hidden_size", "inter", "groups", "rows"]
    return table.groupby(keys, as_index=False).latency.median()


def nccl_table(root: Path) -> pd.DataFrame:
    """The newest NCCL on one NVLink domain; ``message_size`` counts elements of 2 bytes."""
    newest = max((root / "comm" / "nccl").glob("*/nccl_perf.parquet"), key=version)
    table = pd.read_parquet(newest)
    table = table[table.nccl_dtype == "half"]
    timed = table.groupby(["op_name", "num_gpus", "message_size"], as_index=False).latency.median()
    return timed.assign(bytes=2 * timed.message_size)
