"""Fit the kernel and collective figures of ``costmodels/data/calibration`` to published benchmarks.

A development command; the product never runs it. The measurements are the parquet tables of the PyPI
package aiconfigurator-core (Apache-2.0): inference kernels on one node in short bursts. Figures of
training runs (sustained clocks, exposed shares, host work) are not touched.

    pip install --no-deps --target SCRATCH aiconfigurator-core==0.12.0
    pip install pandas pyarrow scipy
    python -m tools.fit_kernels SCRATCH/aiconfigurator_core/systems/data [--gpu h100 ...] [--write]

Prints, for each GPU, the median and 90th percentile of the relative error on shapes that the fit has
not seen: whole weight shapes (n, k) for GEMMs, whole head counts for attention, every second message
size for collectives. ``--write`` puts the fitted figures into the YAML files.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import yaml
from numpy.typing import NDArray
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from costmodels import collectives, kernels
from costmodels.calibration import DATA, Calibration, Figure, Residuals, calibration_text, load_calibration
from costmodels.groups import group_shape
from costmodels.hardware import Cluster, Gpu, Link

PACKAGE = "aiconfigurator-core 0.12.0"
Values = NDArray[np.float64]
COLLECTIVES = {
    "all_gather": collectives.all_gather_seconds,
    "reduce_scatter": collectives.reduce_scatter_seconds,
    "all_reduce": collectives.all_reduce_seconds,
}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One GPU of the package: its folder, and the nominal figures that fractions refer to."""

    folder: str
    architecture: str
    peak_tflops: float
    memory_tb: float
    nvlink_gb: float
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
        reduces_in_network=False,
    ),
    "h100": Bench(folder="h100_sxm", architecture="hopper", peak_tflops=989, memory_tb=3.35, nvlink_gb=450),
    "h200": Bench(folder="h200_sxm", architecture="hopper", peak_tflops=989, memory_tb=4.8, nvlink_gb=450),
    "b200": Bench(folder="b200_sxm", architecture="blackwell", peak_tflops=2250, memory_tb=8, nvlink_gb=900),
    "b300": Bench(folder="b300_sxm", architecture="blackwell", peak_tflops=2250, memory_tb=8, nvlink_gb=900),
    "gb200": Bench(folder="gb200", architecture="blackwell", peak_tflops=2500, memory_tb=8, nvlink_gb=900),
    "gb300": Bench(folder="gb300", architecture="blackwell", peak_tflops=2500, memory_tb=8, nvlink_gb=900),
}


def newest_tables(folder: Path, name: str) -> pd.DataFrame:
    """The newest version of every framework's table ``name`` below ``folder``, as one."""

    def version(path: Path) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", path.parent.name)]

    frameworks = sorted({path.parents[1] for path in folder.glob(f"*/*/{name}.parquet")})
    if not frameworks:
        raise SystemExit(f"{folder}: no {name}.parquet below it; point at the package's systems/data")
    newest = [max(framework.glob(f"*/{name}.parquet"), key=version) for framework in frameworks]
    return pd.concat([pd.read_parquet(path) for path in newest])


def columns(table: pd.DataFrame, *names: str) -> list[Values]:
    return [table[name].to_numpy(float) for name in names]


def fit(
    base: Calibration,
    start: Mapping[str, tuple[float, float, float]],
    predict: Callable[[Calibration], Values],
    measured: Values,
    held: NDArray[np.bool_],
) -> tuple[dict[str, float], str]:
    """Figures (start, lowest, highest) that bring ``predict`` nearest to ``measured`` where not
    ``held``, in the robust mean of squared log errors; and the error where held."""
    names = list(start)
    first, low, high = np.array(list(start.values())).T

    def calibrated(values: Values) -> Calibration:
        trial = dict(zip(names, map(float, values), strict=True))
        return base.adjusted(kind="fitted", source="trial", **trial)

    def residuals(values: Values) -> Values:
        return np.asarray(np.log(predict(calibrated(values)) / measured)[~held])

    best = least_squares(residuals, first, bounds=(low, high), x_scale=first, loss="soft_l1", f_scale=0.1)
    error = np.abs(predict(calibrated(best.x)) / measured - 1)[held]
    summary = f"median {np.median(error):.1%}, p90 {np.quantile(error, 0.9):.1%} on {held.sum()} held-out"
    return {name: float(f"{value:.3g}") for name, value in zip(names, best.x, strict=True)}, summary


def gemm_table(root: Path, dtypes: Iterable[str]) -> pd.DataFrame:
    """Tile-aligned shapes that training uses and every framework measured; the fastest one's time."""
    table = newest_tables(root / "gemm", "gemm_perf")
    table = table[table.gemm_dtype.isin(list(dtypes))]
    aligned = (table[["m", "n", "k"]] % 128 == 0).all(axis=1) & (table[["m", "n", "k"]] >= 512).all(axis=1)
    table = table[aligned]
    timed = table.groupby(["m", "n", "k"], as_index=False).agg(
        latency=("latency", "min"), frameworks=("framework", "nunique")
    )
    return timed[timed.frameworks == timed.frameworks.max()].drop(columns="frameworks")


def fit_gemm(root: Path, gpu: Gpu, base: Calibration) -> dict[str, Figure]:
    table = gemm_table(root, ["bfloat16"])
    m, n, k, milliseconds = columns(table, "m", "n", "k", "latency")
    held = (n / 128 * 31 + k / 128 * 17) % 10 < 3
    start = {
        "gemm_peak_fraction": (0.8, 0.1, 1.2),
        "gemm_edge_half": (50.0, 1.0, 2000.0),
        "gemm_k_half": (100.0, 1.0, 4000.0),
        "kernel_launch_seconds": (3e-6, 1e-7, 5e-6),
    }
    values, error = fit(base, start, lambda c: kernels.gemm_seconds(m, n, k, gpu, "bf16", c), milliseconds / 1e3, held)
    print(f"  bf16 GEMM        {error}  {values}")
    return figures(values, "fitted", f"{PACKAGE}, BF16 GEMMs of m, n, k >= 512: {error} shapes")


def fit_speedups(root: Path) -> dict[str, Figure]:
    """Median ratio to BF16 over GEMMs of at least 0.2 TFLOP and training's widths."""
    wide = gemm_table(root, ["bfloat16"])
    found: dict[str, Figure] = {}
    for name, dtypes in (("fp8_gemm_speedup", ["fp8", "fp8_block"]), ("fp4_gemm_speedup", ["nvfp4"])):
        narrow = gemm_table(root, dtypes)
        both = wide.merge(narrow, on=["m", "n", "k"], suffixes=("_wide", "_narrow"))
        both = both[(both.m * both.n * both.k >= 1e11) & (both.n <= 32768) & (both.k <= 32768)]
        if len(both) < 100:
            continue
        ratio = both.latency_wide / both.latency_narrow
        low, mid, high = ratio.quantile([0.1, 0.5, 0.9])
        print(f"  {name} median {mid:.2f}, p10 {low:.2f}, p90 {high:.2f} of {len(both)}")
        source = f"{PACKAGE}, median of {len(both)} GEMMs of 0.2 TFLOP and more (p10 {low:.2f}, p90 {high:.2f})"
        found |= figures({name: round(float(mid), 2)}, "measured", source)
    return found


def fit_attention(root: Path, gpu: Gpu, base: Calibration) -> dict[str, Figure]:
    """Causal prefill of 1,024 tokens and more and 0.1 TFLOP; the median framework."""
    table = newest_tables(root / "attention", "context_attention_perf")
    window = table.window_size.fillna(0) if "window_size" in table else 0
    wide = (table.attn_dtype == "bfloat16") & (table.kv_cache_dtype == "bfloat16")
    flops = 2.0 * table.batch_size * table.num_heads * table.isl**2 * table.head_dim
    table = table[wide & (window == 0) & (table.step == 0) & (table.kernel_source != "triton") & (flops >= 1e11)]
    table = table[(table.isl >= 1024) & (table.head_dim <= 192)]
    table = table.groupby(["batch_size", "num_heads", "isl", "head_dim"], as_index=False).latency.median()
    batch, heads, length, dim, milliseconds = columns(table, "batch_size", "num_heads", "isl", "head_dim", "latency")

    def predict(calibration: Calibration) -> Values:
        return kernels.attention_seconds(batch, heads, length, (length + 1) / 2, dim, dim, gpu, calibration)[0]

    held = np.isin(heads, (12, 24, 40))
    start = {"attention_forward_fraction": (0.6, 0.05, 1.2), "attention_keys_half": (500.0, 1.0, 5000.0)}
    if len(np.unique(dim)) > 1:
        start["attention_head_half"] = (50.0, 1.0, 500.0)
    values, error = fit(base, start, predict, milliseconds / 1e3, held)
    print(f"  attention        {error}  {values}")
    return figures(values, "fitted", f"{PACKAGE}, causal BF16 prefill of 1,024 tokens and more: {error} cases")


def fit_collectives(root: Path, bench: Bench, gpu: Gpu, base: Calibration) -> dict[str, Figure]:
    """NCCL on one NVLink domain, messages of 8 MiB and more; ``message_size`` counts elements.

    Smaller ones run other protocols, which one launch and one bandwidth cannot follow. All-to-all is
    left out: its fraction comes from training runs.
    """
    tables = sorted((root / "comm" / "nccl").glob("*/nccl_perf.parquet"))
    table = pd.read_parquet(max(tables, key=lambda path: [int(x) for x in re.findall(r"\d+", path.parent.name)]))
    table = table[(table.nccl_dtype == "half") & (table.op_name != "alltoall") & (table.message_size * 2 >= 2**23)]
    table = table.groupby(["op_name", "num_gpus", "message_size"], as_index=False).latency.median()
    size, milliseconds = 2 * table.message_size.to_numpy(float), table.latency.to_numpy(float)
    link = Link(bytes_per_second=bench.nvlink_gb * 1e9, latency_seconds=3e-6)
    cluster = Cluster(name="bench", gpu=gpu, nodes=1, gpus_per_node=8, domain_gpus=8, scale_up=link, scale_out=link)
    group = group_shape(table.num_gpus.to_numpy(), 1, 8)

    def predict(calibration: Calibration) -> Values:
        by_kind = [price(size, group, cluster, calibration) for price in COLLECTIVES.values()]
        return np.select([(table.op_name == name).to_numpy() for name in COLLECTIVES], by_kind)

    switched = bench.reduces_in_network and bool((table.num_gpus == 8).any())
    start = {
        "scale_up_fraction": (0.75, 0.2, 1.0),
        "own_part_fraction": (0.4, 0.01, 2.0),
        "collective_launch_seconds": (1.5e-5, 1e-6, 1e-4),
    } | ({"in_network_fraction": (0.6, 0.05, 1.2)} if switched else {})
    held = np.log2(size).astype(int) % 2 == 1
    values, error = fit(base, start, predict, milliseconds / 1e3, held)
    print(f"  NCCL             {error}  {values}")
    return figures(values, "fitted", f"{PACKAGE}, NCCL of 8 MiB and more on one node: {error} cases")


TRAINING = re.compile(r"training runs|published")


def figures(values: Mapping[str, float], kind: Any, source: str) -> dict[str, Figure]:
    units = {"seconds": "seconds", "half": "elements", "speedup": "factor"}
    return {
        name: Figure(value=value, unit=units.get(name.rsplit("_", 1)[-1], "fraction"), kind=kind, source=source)
        for name, value in values.items()
    }


def write(stem: str, found: Mapping[str, Figure]) -> None:
    """Replace the figures in ``stem``'s file."""
    path = DATA / f"{stem}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = {name: Figure(**entry) for name, entry in document["figures"].items()}
    for name, figure in found.items():
        if name in entries and TRAINING.search(entries[name].source):
            continue  # fitted on whole runs: a short benchmark does not know better
        entries[name] = figure
    residuals = Residuals(**document["residuals"]) if "residuals" in document else None
    text = calibration_text(document["name"], entries, residuals, document.get("like"))
    path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the package's systems/data folder")
    parser.add_argument("--gpu", choices=list(BENCHES), action="append", help="only this one (repeatable)")
    parser.add_argument("--write", action="store_true", help="put the figures into the YAML files")
    arguments = parser.parse_args()
    for stem in arguments.gpu or BENCHES:
        bench = BENCHES[stem]
        gpu, root = bench.gpu(stem), arguments.data / bench.folder
        print(stem)
        bundled = load_calibration(gpu)
        # benchmarks run at boost clocks
        short = bundled.adjusted(kind="assumed", source="short benchmark", gemm_sustained_fraction=1.0)
        found = fit_gemm(root, gpu, short)
        short = short.adjusted(kind="fitted", source="fit", kernel_launch_seconds=found["kernel_launch_seconds"].value)
        found |= fit_speedups(root)
        found |= fit_attention(root, gpu, short)
        found |= fit_collectives(root, bench, gpu, short)
        if arguments.write:
            write(stem, found)


if __name__ == "__main__":
    main()
