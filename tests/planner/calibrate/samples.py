"""Measurements made up from known figures, in the files that users have."""

import csv
from pathlib import Path

import numpy as np

from costmodels import collectives, kernels
from costmodels.calibration import Calibration, load_calibration
from costmodels.groups import group_shape
from planner.calibrate.steps import steps_of
from planner.readers.published_rows import read_rows
from planner.specs import load_cluster

CLUSTER = load_cluster("dgx-h100-2")
BASE = load_calibration(CLUSTER.gpu)


def truth(**figures: float) -> Calibration:
    return BASE.adjusted(kind="assumed", source="truth", **figures)


def nccl_log(path: Path, collective: str, gpus: int, calibration: Calibration, slower: float = 1.0) -> Path:
    """Sizes from 1 MiB to 4 GiB on consecutive GPUs of DGX H100 nodes."""
    price = {
        "all_reduce": collectives.all_reduce_seconds,
        "all_gather": collectives.all_gather_seconds,
        "alltoall": collectives.all_to_all_seconds,
    }[collective]
    sizes = 2.0 ** np.arange(20, 33)
    times = slower * price(sizes, group_shape(gpus, 1, 8), CLUSTER, calibration)
    lines = [f"# Collective test starting: {collective}_perf", "# nThread 1 nGpus 1 minBytes 1048576"]
    lines += [
        f"#  Rank {i} Group 0 Pid {i} on host{i // 8} device {i % 8} [0x1b] NVIDIA H100 80GB HBM3" for i in range(gpus)
    ]
    lines += [
        f"{int(s):12d} {int(s) // 4:12d} float sum -1 {t * 1e6:.1f} {s / t / 1e9:.2f} {s / t / 1e9:.2f} 0 "
        f"{t * 1e6:.1f} {s / t / 1e9:.2f} {s / t / 1e9:.2f} 0"
        for s, t in zip(sizes, np.atleast_1d(times), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def gemm_csv(path: Path, calibration: Calibration) -> Path:
    """BF16 and FP8, from 1 to 140 TFLOP."""
    burst = calibration.adjusted(kind="assumed", source="burst", gemm_sustained_fraction=1.0)
    lines = ["m,n,k,dtype,microseconds"]
    for precision in ("bf16", "fp8"):
        for m in (1024, 4096, 16384):
            for n, k in ((1024, 8192), (4096, 4096), (8192, 1024), (16384, 8192)):
                seconds = float(kernels.gemm_seconds(m, n, k, CLUSTER.gpu, precision, burst))  # type: ignore[arg-type]
                lines.append(f"{m},{n},{k},{precision},{seconds * 1e6:.6g}")
    path.write_text("\n".join(lines) + "\n")
    return path


SHAPES = {"GPT 1B": (16, 2048, 16), "GPT 7B": (32, 4096, 32), "GPT 13B": (40, 5120, 40)}


def steps_csv(path: Path, calibration: Calibration, source: str = "made-up") -> Path:
    """Three models at several batches and degrees, as ``calibration`` predicts them."""
    cells = []
    for name, (layers, hidden, heads) in SHAPES.items():
        for gpus, tp, mbs, batch in ((8, 1, 1, 64), (8, 4, 1, 64), (16, 2, 1, 256)):
            cells.append(
                {
                    "row_id": f"{source}-{len(cells)}",
                    "source_id": source,
                    "source_date": "2025-01",
                    "model": name,
                    "model_key": "gpt_inline",
                    "gpu": "H100",
                    "gpu_mem_gb": "80",
                    "gpus_per_node": "8",
                    "n_gpus": str(gpus),
                    "precision": "BF16",
                    "seq_len": "2048",
                    "gbs": str(batch),
                    "mbs": str(mbs),
                    "tp": str(tp),
                    "pp": "1",
                    "sp": str(int(tp > 1)),
                    "zero_stage": "1",
                    "recompute": "full",
                    "step_time_s": "1.0",
                    "extra_json": f'{{"layers": {layers}, "hidden": {hidden}, "heads": {heads}, "vocab": 51200}}',
                }
            )
    _write(path, cells)
    steps, refused = steps_of("made up", "h100", read_rows(path), "row_id")
    assert not refused
    times = steps.settled(calibration).predict(calibration)
    _write(path, [row | {"step_time_s": repr(float(t))} for row, t in zip(cells, times, strict=True)])
    return path


def _write(path: Path, cells: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)
