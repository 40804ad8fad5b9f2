"""The machines: GPUs, the links between them, and how many there are.

Everything here is resolved: SI units, dense peaks, one direction per link. Catalogue entries and
the specs people write become these objects in ``planner.specs``.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One accelerator.

    ``peak_flops`` are dense matrix FLOP/s by precision (``fp16``, ``bf16``, ``fp8``, ``fp4``);
    a precision the part lacks is absent. ``memory_bytes`` is what the driver reports as total.
    """

    name: str
    architecture: str
    memory_bytes: float
    memory_bytes_per_second: float
    peak_flops: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One GPU's share of a link, one direction, before protocol efficiency."""

    bytes_per_second: float
    latency_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """``nodes`` x ``gpus_per_node`` equal GPUs.

    ``domain_gpus`` consecutive GPUs reach one another over ``scale_up`` (NVLink: a node, or an
    NVL72 rack); every other pair talks over ``scale_out``, whose figure is one GPU's share of its
    node's NICs after oversubscription. ``reserve_bytes`` of each GPU must stay free.
    """

    name: str
    gpu: Gpu
    nodes: int
    gpus_per_node: int
    domain_gpus: int
    scale_up: Link
    scale_out: Link
    reserve_bytes: float = 0.0

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node

    @property
    def capacity_bytes(self) -> float:
        """What a job may use of each GPU: its memory less the reserve."""
        return self.gpu.memory_bytes - self.reserve_bytes
