"""The consumers that plans are exported to, and how an export is refused. Imports nothing heavy."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``module`` of ``planner.exports`` writes it; ``main`` is the first of its ``files``."""

    module: str
    files: tuple[str, ...]
    summary: str

    @property
    def main(self) -> str:
        return self.files[0]


TARGETS: dict[str, Target] = {
    "torch-csv": Target(
        module="torch_csv",
        files=("schedule.csv",),
        summary="the schedule as torch.distributed.pipelining (2.13) loads it",
    ),
    "megatron": Target(
        module="megatron",
        files=("megatron.args", "megatron.json"),
        summary="command-line arguments of Megatron-LM (megatron-core 0.16), layer layout included",
    ),
    "torchtitan": Target(
        module="torchtitan",
        files=("torchtitan.toml", "schedule.csv"),
        summary="job configuration of torchtitan 0.2: degrees, modules of each model part, schedule",
    ),
    "deepspeed": Target(
        module="deepspeed",
        files=("deepspeed.json", "pipeline_module.json"),
        summary="DeepSpeed (0.19) configuration and arguments of its PipelineModule",
    ),
    "chrome-trace": Target(
        module="chrome_trace",
        files=("trace.json",),
        summary="the simulated step for Perfetto or chrome://tracing, with activation bytes per stage",
    ),
    "hostfile": Target(
        module="hostfile",
        files=("hostfile",),
        summary="hosts with their slots in the order of ranks (Open MPI, DeepSpeed)",
    ),
    "slurm": Target(
        module="slurm",
        files=("slurm.hostfile", "srun.sh"),
        summary="SLURM_HOSTFILE with the host of every task, and the srun line (--distribution=arbitrary)",
    ),
    "openmpi-rankfile": Target(
        module="openmpi_rankfile",
        files=("rankfile",),
        summary="Open MPI's rankfile: host and core of every rank",
    ),
    "cuda-visible-devices": Target(
        module="cuda_visible_devices",
        files=("cuda_visible_devices.sh", "cuda_visible_devices.json"),
        summary="CUDA_VISIBLE_DEVICES of every host",
    ),
    "device-mesh": Target(
        module="device_mesh",
        files=("device_mesh.json", "device_mesh.py"),
        summary="rank tensors of torch's DeviceMesh (2.13), and the code that loads them",
    ),
}


class UnknownTarget(ValueError):  # noqa: N818 - it names what is wrong, not an error class
    """No such target; the text names the nearest."""

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, TARGETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(TARGETS)}"
        super().__init__(f"no export target {name!r}; {hint}")


class ExportRefused(Exception):  # noqa: N818 - refusing is an answer, not a failure
    """The plan holds what the target cannot express; ``reasons`` names every such part."""

    def __init__(self, target: str, reasons: Iterable[str]) -> None:
        self.target, self.reasons = target, tuple(reasons)
        super().__init__("\n".join(f"{target}: {reason}" for reason in self.reasons))


def target_named(name: str) -> Target:
    """Raises ``UnknownTarget``."""
    if name not in TARGETS:
        raise UnknownTarget(name)
    return TARGETS[name]
