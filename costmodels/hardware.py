"""The machines: GPUs, the links between them, and how many there are.

Everything here is resolved: SI units, dense peaks, one direction per link. Catalogue entries and
the specs people write become these objects in ``planner.specs``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from costmodels.topology import Domain, Nodes, Topology


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

    ``topology``: what joins the nodes, in the order of ranks, where more is known of it than these figures; prices are
    of ``scale_out``, the share and latency that every two nodes can count on (``Topology.slowest_share``). Raises
    ``ValueError`` where the topology has other nodes, or fewer GPUs in one.
    """

    name: str
    gpu: Gpu
    nodes: int
    gpus_per_node: int
    domain_gpus: int
    scale_up: Link
    scale_out: Link
    reserve_bytes: float = 0.0
    topology: Topology | None = None

    def __post_init__(self) -> None:
        if self.topology is None:
            return
        if len(self.topology.names) != self.nodes:
            raise ValueError(f"topology has {len(self.topology.names)} nodes, the cluster {self.nodes}")
        if self.topology.gpus.min() < self.gpus_per_node:
            raise ValueError(f"topology has a node of fewer than {self.gpus_per_node} GPUs")

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node

    @property
    def capacity_bytes(self) -> float:
        """What a job may use of each GPU: its memory less the reserve."""
        return self.gpu.memory_bytes - self.reserve_bytes

    def resized(self, nodes: int) -> "Cluster":
        """``nodes`` of the same kind, of which no topology is known."""
        return replace(self, nodes=nodes, topology=None)

    def fabric(self) -> Topology:
        """``topology``; where none is known, nodes node0, node1, ... that each send ``gpus_per_node`` shares of
        ``scale_out`` to any other, and the NVLink domains of consecutive nodes."""
        if self.topology is not None:
            return self.topology
        names = tuple(f"node{i}" for i in range(self.nodes))
        return Topology(
            nodes=(
                Nodes(
                    names=names,
                    gpus=self.gpus_per_node,
                    cards=self.gpus_per_node,
                    cards_bytes_per_second=self.gpus_per_node * self.scale_out.bytes_per_second,
                ),
            ),
            latency_seconds=self.scale_out.latency_seconds,
            domains=self.domains_of(names),
        )

    def domains_of(self, names: tuple[str, ...]) -> tuple[Domain, ...]:
        """NVLink domains that span nodes, consecutive ones of ``names``."""
        size = self.domain_gpus // self.gpus_per_node
        blocks = (names[i : i + size] for i in range(0, len(names), max(size, 1)))
        up = self.scale_up
        return tuple(
            Domain(names=block, bytes_per_second=up.bytes_per_second, latency_seconds=up.latency_seconds)
            for block in blocks
            if len(block) > 1
        )
