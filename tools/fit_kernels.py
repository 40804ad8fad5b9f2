"""Fit the kernel and collective figures of ``costmodels/data/calibration`` to published benchmarks.

A development command; the product never runs it. ``tools.benchmarks`` says what the measurements are.
Figures of training runs (sustained clocks, exposed shares, host work) are not touched.

    pip install --no-deps --target SCRATCH aiconfigurator-core==0.12.0
    pip install pandas pyarrow scipy
    python -m tools.fit_kernels SCRATCH/aiconfigurator_core/systems/data [--gpu h100 ...] [--write]

Prints one table: for each GPU, kernel and data type the median and 90th percentile of the relative
error on shapes that the fit has not seen: whole weight shapes (n, k) for GEMMs, whole head counts for
attention, every second length for training attention, every third layer shape for experts, every second
message size for collectives. ``--write`` puts the fitted figures into the YAML files; rows marked
"not written" are there to judge by.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.optimize import least_squares  # type: ignore[import-untyped]

from costmodels import collectives, kernels
from costmodels.calibration import DATA, Calibration, Figure, Residuals, calibration_text, load_calibration
from costmodels.configuration import Precision
from costmodels.groups import group_shape
from costmodels.hardware import Cluster, Gpu, Link
from tools.benchmarks import (
    BENCHES,
    PACKAGE,
    Bench,
    Values,
    attention_table,
    attention_training_table,
    columns,
    expert_table,
    gemm_table,
    nccl_table,
)

COLLECTIVES = {
    "all_gather": collectives.all_gather_seconds,
    "reduce_scatter": collectives.reduce_scatter_seconds,
    "all_reduce": collectives.all_reduce_seconds,
}
TRAINING_KERNELS = "cudnn-frontend's published benchmark of training attention"
Start = Mapping[str, tuple[float, float, float]]
Aside = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fitted figures, and the errors of predictions on all cases, of which ``held`` were not seen.

    ``aside``: what the benchmark adds to the kernel and a training run does not pay.
    """

    values: dict[str, float]
    aside: dict[str, float]
    errors: Values
    held: NDArray[np.bool_]

    def error(self, among: NDArray[np.bool_] | None = None) -> str:
        seen = self.errors[self.held if among is None else self.held & among]
        return f"median {np.median(seen):.1%}, p90 {np.quantile(seen, 0.9):.1%} on {len(seen)} held-out"


def fit(
    base: Calibration,
    start: Start,
    predict: Callable[[Calibration, Aside], Values],
    measured: Values,
    held: NDArray[np.bool_],
    aside: Start | None = None,
) -> Fit:
    """Figures and asides (start, lowest, highest) that bring ``predict`` nearest to ``measured`` where
    not ``held``, in the robust mean of squared log errors."""
    extra = aside or {}
    names = [*start, *extra]
    first, low, high = np.array([*start.values(), *extra.values()]).T

    def priced(values: Values) -> Values:
        given = dict(zip(names, map(float, values), strict=True))
        trial = base.adjusted(kind="fitted", source="trial", **{name: given[name] for name in start})
        return predict(trial, {name: given[name] for name in extra})

    def residuals(values: Values) -> Values:
        return np.asarray(np.log(priced(values) / measured)[~held])

    best = least_squares(residuals, first, bounds=(low, high), x_scale=first, loss="soft_l1", f_scale=0.1)
    found = {name: float(f"{value:.3g}") for name, value in zip(names, best.x, strict=True)}
    return Fit(
        values={name: found[name] for name in start},
        aside={name: found[name] for name in extra},
        errors=np.abs(priced(best.x) / measured - 1),
        held=held,
    )


def show(gpu: Gpu, kernel: str, error: str, note: object) -> None:
    print(f"{gpu.name:6} {kernel:27} {error:48} {note}")


def fit_gemm(root: Path, gpu: Gpu, base: Calibration) -> dict[str, Figure]:
    m, n, k, milliseconds = columns(gemm_table(root, "bfloat16"), "m", "n", "k", "latency")
    start = {
        "gemm_peak_fraction": (0.8, 0.1, 1.2),
        "gemm_edge_half": (50.0, 1.0, 2000.0),
        "gemm_k_half": (100.0, 1.0, 4000.0),
        "kernel_launch_seconds": (3e-6, 1e-7, 5e-6),
    }

    def predict(calibration: Calibration, _: Aside) -> Values:
        return kernels.gemm_seconds(m, n, k, gpu, "bf16", calibration)

    found = fit(base, start, predict, milliseconds / 1e3, unseen_weights(n, k))
    show(gpu, "GEMM bf16", found.error(), found.values)
    show(gpu, "GEMM bf16, 0.02 TFLOP up", found.error(m * n * k >= 1e10), "")
    return figures(found.values, "fitted", f"{PACKAGE}, BF16 GEMMs of m, n, k >= 512: {found.error()} shapes")


NARROW: tuple[tuple[str, Precision, str, bool], ...] = (
    ("fp8", "fp8", "trtllm", True),  # cuBLASLt, which training uses
    ("fp8_block", "fp8", "trtllm", False),  # DeepGEMM
    ("nvfp4", "fp4", "vllm", True),  # FlashInfer's CUTLASS kernels
)


def fit_narrow_gemm(root: Path, gpu: Gpu, base: Calibration) -> dict[str, Figure]:
    """FP8 and FP4 GEMMs, one framework each. Its time holds the cast of the rows as inference does it, in
    kernels of their own; training's cast is counted, not fitted."""
    written: dict[str, Figure] = {}
    for dtype, precision, framework, write_it in NARROW:
        table = gemm_table(root, dtype, [framework])
        if table.empty:
            continue
        m, n, k, milliseconds = columns(table, "m", "n", "k", "latency")
        start = {
            f"{precision}_gemm_speedup": (2.0, 0.5, 6.0),
            f"{precision}_edge_half": (50.0, 1.0, 2000.0),
            f"{precision}_k_half": (200.0, 1.0, 4000.0),
        }
        predict = _narrow_prediction(m, n, k, gpu, precision)
        aside: Start = {"cast bytes": (5.0, 0.0, 20.0), "more launches": (5e-6, 0.0, 4e-5)}
        found = fit(base, start, predict, milliseconds / 1e3, unseen_weights(n, k), aside)
        show(gpu, f"GEMM {dtype}", found.error(), f"{'' if write_it else 'not written: '}{found.values | found.aside}")
        show(gpu, f"GEMM {dtype}, 0.02 TFLOP up", found.error(m * n * k >= 1e10), "")
        if write_it:
            source = f"{PACKAGE}, {dtype} GEMMs of {framework}, m, n, k >= 512, casts apart: {found.error()} shapes"
            written |= figures(found.values, "fitted", source)
    return written


def _narrow_prediction(
    m: Values, n: Values, k: Values, gpu: Gpu, precision: Precision
) -> Callable[[Calibration, Aside], Values]:
    def predict(calibration: Calibration, aside: Aside) -> Values:
        product = kernels.gemm_seconds(m, n, k, gpu, precision, calibration)
        cast = kernels.memory_seconds(aside["cast bytes"] * m * k, gpu, calibration)
        return np.asarray(product + cast + aside["more launches"])

    return predict


def unseen_weights(n: Values, k: Values) -> NDArray[np.bool_]:
    return np.asarray((n / 128 * 31 + k / 128 * 17) % 10 < 3)


def fit_attention(root: Path, gpu: Gpu, base: Calibration) -> dict[str, Figure]:
    """Prefill by heads, lengths and head dimensions. Its time holds the keys and values appended to a
    cache, which training does not pay."""
    table = attention_table(root)
    batch, heads, cached, length, dim = columns(
        table, "batch_size", "num_heads", "num_key_value_heads", "isl", "head_dim"
    )
    moved = 2.0 * 2.0 * batch * cached * length * dim

    def predict(calibration: Calibration, aside: Aside) -> Values:
        keys = (length + 1) / 2
        forward, _ = kernels.attention_seconds(batch, heads, length, keys, dim, dim, gpu, calibration)
        cache = aside["cache passes"] * moved / gpu.memory_bytes_per_second
        return np.asarray(forward + cache + aside["more launches"])

    start = {"attention_forward_fraction": (0.6, 0.05, 1.2), "attention_keys_half": (500.0, 1.0, 5000.0)}
    if len(np.unique(dim)) > 1:
        start["attention_softmax_width"] = (90.0, 1.0, 500.0)
    measured, held = table.latency.to_numpy(float) / 1e3, np.isin(heads, (12, 24, 40))
    aside = {"cache passes": (2.0, 0.0, 20.0), "more launches": (5e-6, 0.0, 4e-5)}
    found = fit(base, start, predict, measured, held, aside)
    show(gpu, "attention forward bf16", found.error(), found.values)
    return figures(found.values, "fitted", f"{PACKAGE}, causal BF16 prefill of 1,024 tokens up: {found.error()} cases")


def fit_training_attention(bench: Bench, gpu: Gpu, base: Calibration) -> dict[str, Figure]:
    """Both directions of the kernels that training runs, by length, window and head dimension."""
    written: dict[str, Figure] = {}
    part, rows = BENCHES[bench.training_part].gpu(gpu.name), bench.training
    for direction in ("forward", "backward") if bench.training_forward else ("backward",):
        table = attention_training_table(rows).dropna(subset=[f"{direction}_ms"])
        batch, heads, length, window, query_dim, value_dim, milliseconds = columns(
            table, "batch", "heads", "length", "window", "query_dim", "value_dim", f"{direction}_ms"
        )
        reach = np.where(window > 0, np.minimum(window, length), length)
        shape = (batch, heads, length, reach * (length - (reach - 1) / 2) / length, query_dim, value_dim)
        start = {"attention_forward_fraction": (0.6, 0.05, 1.2), "attention_keys_half": (500.0, 1.0, 5000.0)}
        if direction == "backward":
            start = {"attention_backward_ratio": (3.0, 1.0, 6.0)}
            if len(np.unique(query_dim)) > 1:
                start["attention_backward_softmax_width"] = (70.0, 1.0, 500.0)
        predict = _training_prediction(shape, part, direction == "backward")
        measured = milliseconds / 1e3
        if not bench.training_forward:  # another part's clocks: only the ratio carries over
            own = _training_prediction(shape, part, False)(base, {})
            measured = measured * own / (table.forward_ms.to_numpy(float) / 1e3)
        found = fit(base, start, predict, measured, np.isin(length, (4096, 16384)))
        show(gpu, f"attention {direction}, training", found.error(), f"{found.values} on {rows}")
        source = f"{TRAINING_KERNELS} on {rows}, head dimensions 64 to 192: {found.error()} cases"
        written |= figures(found.values, "fitted", source)
        base = base.adjusted(kind="fitted", source="fit", **found.values)
    return written


def _training_prediction(shape: tuple[Values, ...], gpu: Gpu, backward: bool) -> Callable[[Calibration, Aside], Values]:
    batch, heads, queries, keys, query_dim, value_dim = shape

    def predict(calibration: Calibration, _: Aside) -> Values:
        both = kernels.attention_seconds(batch, heads, queries, keys, query_dim, value_dim, gpu, calibration)
        return both[backward]

    return predict


def fit_experts(root: Path, gpu: Gpu, base: Calibration) -> None:
    """Two grouped GEMMs of a gated expert layer, and what moves rows and activates. Not written: rows
    spread evenly are faster, and those of one worst rank slower, than what training meets."""
    table = expert_table(root)
    for name in sorted(table.distribution.unique()):
        tokens, hidden, inter, groups, rows, milliseconds = columns(
            table[table.distribution == name], "num_tokens", "hidden_size", "inter", "groups", "rows", "latency"
        )
        moved = 2.0 * (2 * rows * groups * hidden + 2 * tokens * hidden + 3 * rows * groups * inter)
        predict = _expert_prediction(groups, rows, hidden, inter, moved, gpu)
        start = {"grouped_gemm_fraction": (0.9, 0.1, 2.0)}
        aside = {"more launches": (2e-5, 0.0, 2e-4), "passes": (1.0, 0.0, 6.0)}
        held = (hidden / 64 + inter / 64).astype(int) % 3 == 0
        found = fit(base, start, predict, milliseconds / 1e3, held, aside)
        show(gpu, f"experts bf16 {name}", found.error(), f"not written: {found.values}")


def _expert_prediction(
    groups: Values, rows: Values, hidden: Values, inter: Values, moved: Values, gpu: Gpu
) -> Callable[[Calibration, Aside], Values]:
    def predict(calibration: Calibration, aside: Aside) -> Values:
        up = kernels.grouped_gemm_seconds(groups, rows, 2 * inter, hidden, gpu, "bf16", calibration)
        down = kernels.grouped_gemm_seconds(groups, rows, hidden, inter, gpu, "bf16", calibration)
        others = kernels.memory_seconds(aside["passes"] * moved, gpu, calibration)
        return np.asarray(up + down + others + aside["more launches"])

    return predict


LARGE, HUGE = 2**23, 2**26


def fit_collectives(root: Path, bench: Bench, gpu: Gpu, base: Calibration) -> dict[str, Figure]:
    """NCCL on one NVLink domain: bandwidths from messages of 64 MiB and more, then the start and steps of
    the large messages' protocol from those of 8 MiB and more, then the other protocol from smaller ones.
    All-to-all is judged only: its fraction comes from training runs."""
    table = nccl_table(root)
    link = Link(bytes_per_second=bench.nvlink_gb * 1e9, latency_seconds=3e-6)
    cluster = Cluster(name="bench", gpu=gpu, nodes=1, gpus_per_node=8, domain_gpus=8, scale_up=link, scale_out=link)
    exchange = table[table.op_name == "alltoall"]
    table = table[table.op_name != "alltoall"]
    size, seconds = table.bytes.to_numpy(float), table.latency.to_numpy(float) / 1e3
    group = group_shape(table.num_gpus.to_numpy(), 1, 8)

    def predict(calibration: Calibration, _: Aside) -> Values:
        by_kind = [price(size, group, cluster, calibration) for price in COLLECTIVES.values()]
        return np.select([(table.op_name == name).to_numpy() for name in COLLECTIVES], by_kind)

    switched = bench.reduces_in_network and bool((table.num_gpus == 8).any())
    bandwidths = {"scale_up_fraction": (0.75, 0.2, 1.0), "own_part_fraction": (0.4, 0.01, 2.0)}
    if switched:
        bandwidths["in_network_fraction"] = (0.6, 0.05, 1.2)
    steps = {"collective_launch_seconds": (1.5e-5, 1e-6, 1e-4), "scale_up_step_factor": (2.5, 0.01, 10.0)}
    small = {
        "low_latency_fraction": (0.3, 0.02, 1.0),
        "low_latency_launch_seconds": (5e-6, 1e-7, 1e-4),
        "low_latency_step_seconds": (1e-6, 1e-8, 1e-5),
    }
    held = np.log2(size).astype(int) % 2 == 1
    values: dict[str, float] = {}
    stages = (
        (bandwidths | steps, tuple(bandwidths), size >= HUGE),
        (steps, tuple(steps), size >= LARGE),
        (small, tuple(small), size < LARGE),
    )
    for start, kept, among in stages:
        so_far = base.adjusted(kind="fitted", source="fit", **values)
        found = fit(so_far, start, predict, seconds, held | ~among)
        values |= {name: found.values[name] for name in kept}
    errors = Fit(values=values, aside={}, errors=found.errors, held=held)
    show(gpu, "NCCL from 64 MiB", errors.error(size >= HUGE), values)
    show(gpu, "NCCL from 8 MiB", errors.error(size >= LARGE), "")
    show(gpu, "NCCL below 8 MiB", errors.error(size < LARGE), "")
    after = base.adjusted(kind="fitted", source="fit", **values)
    exchanged = exchange[exchange.bytes >= LARGE]
    members = group_shape(exchanged.num_gpus.to_numpy(), 1, 8)
    predicted = collectives.all_to_all_seconds(exchanged.bytes.to_numpy(float), members, cluster, after)
    off = np.abs(predicted / (exchanged.latency.to_numpy(float) / 1e3) - 1)
    judged = f"median {np.median(off):.1%}, p90 {np.quantile(off, 0.9):.1%} on {len(off)}"
    show(gpu, "NCCL all-to-all from 8 MiB", judged, f"not fitted: all_to_all_fraction {base.all_to_all_fraction}")
    source = f"{PACKAGE}, NCCL on one node: {errors.error(size >= HUGE)} cases of 64 MiB and more, "
    source += f"{errors.error(size >= LARGE)} of 8 MiB and more, {errors.error(size < LARGE)} smaller"
    return figures(values, "fitted", source)


LEFT_ALONE = re.compile(r"training runs|published .*runs|^as ")
"""Sources of figures that a benchmark does not replace: fitted on whole runs, or borrowed on purpose."""

UNITS = {"seconds": "seconds", "half": "elements", "width": "elements", "speedup": "factor"}
UNITS |= {"ratio": "factor", "factor": "factor", "bytes": "bytes"}


def figures(values: Mapping[str, float], kind: Any, source: str) -> dict[str, Figure]:
    return {
        name: Figure(value=value, unit=UNITS.get(name.rsplit("_", 1)[-1], "fraction"), kind=kind, source=source)
        for name, value in values.items()
    }


def write(stem: str, found: Mapping[str, Figure]) -> None:
    """Replace the figures in ``stem``'s file."""
    path = DATA / f"{stem}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = {name: Figure(**entry) for name, entry in document["figures"].items()}
    for name, figure in found.items():
        if name in entries and LEFT_ALONE.search(entries[name].source):
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
        # benchmarks run at boost clocks
        short = load_calibration(gpu).adjusted(kind="assumed", source="short benchmark", gemm_sustained_fraction=1.0)
        found: dict[str, Figure] = {}

        def so_far(base: Calibration = short, found: dict[str, Figure] = found) -> Calibration:
            return base.adjusted(kind="fitted", source="fit", **{name: f.value for name, f in found.items()})

        found |= fit_gemm(root, gpu, so_far())
        found |= fit_narrow_gemm(root, gpu, so_far())
        found |= fit_attention(root, gpu, so_far())
        found |= fit_training_attention(bench, gpu, so_far())
        fit_experts(root, gpu, so_far())
        found |= fit_collectives(root, bench, gpu, so_far())
        if arguments.write:
            write(stem, found)


if __name__ == "__main__":
    main()
