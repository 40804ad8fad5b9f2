"""Calibrate one cluster in stages: what a simple measurement settles, a later one takes as given.

1. links: from nccl-tests; 2. gemms: from timed GEMMs; 3. steps: from measured training steps, the rest;
4. memory: from the peaks of the same runs. What a stage has fitted, later ones leave alone. Every stage
is tested on groups of measurements that its fit has not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from costmodels.calibration import Calibration, Figure, Residuals, load_calibration
from costmodels.configuration import Software
from costmodels.hardware import Cluster
from planner.calibrate.fit import Fit, Fitted, fit, folds_of, held_out, summary
from planner.calibrate.kernels import PRICES, gemm_measurements, nccl_measurements
from planner.calibrate.measurements import Errors, Measurements, Values
from planner.calibrate.parameters import Parameter
from planner.calibrate.steps import Steps, memory_of, steps_of
from planner.readers.gemm_timings import GemmTiming
from planner.readers.nccl_tests import NcclRun
from planner.readers.published_rows import Row

NAME = "measured"
LINKS = (
    "scale_up_fraction",
    "scale_out_fraction",
    "own_part_fraction",
    "in_network_fraction",
    "collective_launch_seconds",
    "all_to_all_fraction",
)
GEMMS = (
    "gemm_peak_fraction",
    "gemm_edge_half",
    "gemm_k_half",
    "kernel_launch_seconds",
    "fp8_gemm_speedup",
    "fp4_gemm_speedup",
)
STEPS = (
    "gemm_sustained_fraction",
    "fp8_gemm_speedup",
    "fp4_gemm_speedup",
    "grouped_gemm_fraction",
    "attention_forward_fraction",
    "memory_fraction",
    "layer_floor_seconds",
    "moe_layer_seconds",
    "tensor_exposed_fraction",
    "tensor_serial_factor",
    "fsdp_exposed_fraction",
    "scale_out_fraction",
    "all_to_all_fraction",
    "microbatch_seconds",
    "step_seconds",
)
MEMORY = ("workspace_bytes", "weight_workspace_bytes_per_element", "logit_workspace_bytes_per_element")
LINK_SPEEDS = ("scale_up_fraction", "scale_out_fraction")

FOLDS = 4
OUTLIER = 0.25
"""A measurement this far off after the fit deserves a look."""
SLOW_LINK = 0.6
"""A link below this share of what is usual deserves one too."""
LEAST_RESIDUALS = 4
GROUPS = ("model_key", "model", "n_gpus", "precision", "row_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """How well one set of measurements is explained; ``held_out`` by fits that had not seen them."""

    name: str
    before: Errors
    after: Errors
    held_out: Errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    name: str
    sets: tuple[Explained, ...]
    figures: tuple[Fitted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """``changed``: the fitted figures, for a calibration file; ``calibration``: the base with them.
    ``unused``: measurements left out and why; ``warnings``: what deserves a look."""

    gpu: str
    software: Software
    calibration: Calibration
    changed: dict[str, Figure]
    stages: tuple[Stage, ...]
    residuals: Residuals | None
    unused: tuple[str, ...]
    warnings: tuple[str, ...]


def calibrate(
    cluster: Cluster,
    *,
    software: Software = "megatron",
    runs: Sequence[NcclRun] = (),
    gemms: Sequence[GemmTiming] = (),
    rows: Sequence[Row] = (),
) -> Calibrated:
    """Figures of ``cluster``'s GPU under ``software`` from whatever of the three is given.

    Raises CalibrationError for a GPU without base figures, ``SpecError`` for measurements that do not
    belong to the cluster.
    """
    work = _Work(cluster, load_calibration(cluster.gpu, None, software))
    used = [run for run in runs if run.collective in PRICES]
    work.unused += [f"{run.file}:{run.line}: {run.collective} runs are not used" for run in runs if run not in used]
    work.unused += [note for run in runs for note in run.notes]
    work.warnings += _other_gpus(runs, cluster)
    links = [nccl_measurements(run, cluster, NAME) for run in used]
    work.unused += [
        f"{run.file}:{run.line}: no size of 8 MiB or more" for run, m in zip(used, links, strict=True) if not m.labels
    ]
    work.stage("links", [m for m in links if m.labels], LINKS, f"{len(used)} runs of nccl-tests, 8 MiB and more")
    if gemms:
        work.stage("gemms", [gemm_measurements(gemms, cluster, NAME)], GEMMS, f"{len(gemms)} timed GEMMs")
    steps = work.steps(rows, software)
    residuals = None
    if steps.labels:
        errors = work.stage("steps", [steps], STEPS, f"{len(steps.labels)} measured steps")
        if len(errors) >= LEAST_RESIDUALS:
            share = float(f"{np.quantile(np.abs(errors), 0.8):.3g}")
            residuals = Residuals(seconds_p80=share, rows=len(errors))
    memory = memory_of(steps)
    if memory.labels:
        work.stage("memory", [memory], MEMORY, f"{len(memory.labels)} measured peaks of memory")
    return Calibrated(
        gpu=cluster.gpu.name,
        software=software,
        calibration=replace(work.calibration, residuals=residuals),
        changed=work.changed,
        stages=tuple(work.stages),
        residuals=residuals,
        unused=tuple(work.unused),
        warnings=tuple(work.warnings),
    )


class _Work:
    """A calibration on its way through the stages."""

    def __init__(self, cluster: Cluster, calibration: Calibration) -> None:
        self.cluster, self.calibration = cluster, calibration
        self.changed: dict[str, Figure] = {}
        self.stages: list[Stage] = []
        self.unused: list[str] = []
        self.warnings: list[str] = []

    def stage(self, name: str, measurements: Sequence[Measurements], figures: Sequence[str], what: str) -> Values:
        """Fit, test and note; signed errors of all measurements, on fits that had not seen them where
        groups could be left out."""
        if not measurements:
            return np.zeros(0)
        base = {NAME: self.calibration}
        parameters = [
            Parameter(figure=f, calibrations=(NAME,))
            for f in figures
            if f not in self.changed and not (f == "in_network_fraction" and self.calibration.in_network_fraction == 0)
        ]
        found = fit(measurements, parameters, base)
        folds = folds_of(measurements, FOLDS)
        unseen = held_out(measurements, parameters, base, folds, found.calibrations)
        sets = zip(measurements, found.before, found.after, unseen, strict=True)
        explained = tuple(
            Explained(name=m.name, before=summary([b]), after=summary([a]), held_out=summary([u]))
            for m, b, a, u in sets
        )
        self.stages.append(Stage(name=name, sets=explained, figures=found.figures))
        tested = summary(unseen)
        source = f"{what}: error before {summary(found.before)}; after {summary(found.after)}"
        source += f"; on groups left out {tested}" if tested.rows else ""
        changed = found.changed(NAME, source)
        self.changed |= changed
        values = {key: figure.value for key, figure in changed.items()}
        self.calibration = self.calibration.adjusted(kind="fitted", source=source, **values)
        self.warnings += _suspicious(measurements, found)
        errors = np.concatenate(unseen)
        return np.where(np.isfinite(errors), errors, np.concatenate(found.after))

    def steps(self, rows: Sequence[Row], software: Software) -> Steps:
        kept = []
        for row in rows:
            if row.request is not None and row.request.job.software != software:
                other = row.request.job.software
                self.unused.append(f"{row.row_id}: a run of {other}: --software {other} calibrates it")
            else:
                kept.append(row)
        group = next((g for g in GROUPS if len({row.cells.get(g, "") for row in kept}) > 1), "row_id")
        steps, refused = steps_of("steps", NAME, kept, group)
        self.unused += refused
        return steps


def _other_gpus(runs: Sequence[NcclRun], cluster: Cluster) -> list[str]:
    family = cluster.gpu.name.split("-")[0]
    return [
        f"{run.file}:{run.line}: ran on {gpu}, the figures are for {cluster.gpu.name}"
        for run in runs
        for gpu in run.gpu_names
        if family.lower() not in gpu.lower()
    ]


def _suspicious(measurements: Sequence[Measurements], found: Fit) -> list[str]:
    """Measurements that stay far off, runs that are slow as a whole, links at part of their usual speed."""
    warnings = []
    for m, errors in zip(measurements, found.after, strict=True):
        whole = float(np.median(errors))
        if abs(whole) > OUTLIER:
            speed = "slower" if whole < 0 else "faster"
            warnings.append(f"{m.name} ({m.labels[0]}...): {_times(whole)} {speed} than the other measurements explain")
            continue
        warnings += [
            f"{label}: {_times(float(e))} {'slower' if e < 0 else 'faster'} than the fit explains"
            for label, e in zip(m.labels, errors, strict=True)
            if abs(e) > OUTLIER
        ]
    for f in found.identified:
        name = f.parameter.figure
        if name in LINK_SPEEDS and f.new < SLOW_LINK * f.old:
            warnings.append(f"{name}: {f.new:.2g}, usual is {f.old:.2g}: a link or NIC at part of its speed?")
        if f.at_bound:
            warnings.append(f"{name}: {f.new:.3g} is the end of its range: is the hardware described right?")
    return warnings


def _times(error: float) -> str:
    """Predicted over measured less one, as how many times the one is the other."""
    ratio = 1.0 + error
    return f"{max(ratio, 1 / ratio):.2f} times"
