"""The cluster spec: what its keys are. ``planner.specs.machines`` turns it into a ``Cluster``."""

from typing import Annotated, Literal

from pydantic import Field, Tag

from planner.specs.gpu import GpuSpec
from planner.specs.strict import INLINE, NAMED, Bandwidth, Count, Hosts, Latency, Name, NamedOrInline, Reserve, Strict

NodeCount = Annotated[int, Field(ge=1, le=10**6)]
PerNode = Annotated[int, Field(ge=1, le=1024)]
Oversubscription = Annotated[float, Field(ge=1.0, le=1000.0)]


class LinkSpec(Strict):
    """A link between the GPUs of a node, written out."""

    bandwidth: Bandwidth = Field(description="one GPU's, one direction, e.g. 450 GB/s")
    latency: Latency = Field(description="of one hop, e.g. 3 us")


class NicsSpec(Strict):
    """A node's network cards."""

    count: PerNode = Field(description="cards per node")
    bandwidth: Bandwidth = Field(description="of one card, one direction, e.g. 400 Gb/s")
    kind: Literal["infiniband", "ethernet", "roce", "efa", "slingshot"] = Field(description="e.g. infiniband")
    latency: Latency = Field(default=0.0, description="of the card, beside the fabric's, e.g. 1 us")


class NodeGroupSpec(Strict):
    """``count`` equal nodes."""

    count: NodeCount = Field(description="how many nodes")
    gpu: Annotated[Annotated[Name, Tag(NAMED)] | Annotated[GpuSpec, Tag(INLINE)], NamedOrInline] = Field(
        description="a catalogue name, e.g. h100-sxm-80gb, or the figures written out"
    )
    gpus_per_node: PerNode = Field(description="GPUs in a node")
    intra_node: Annotated[Annotated[Name, Tag(NAMED)] | Annotated[LinkSpec, Tag(INLINE)], NamedOrInline] = Field(
        description="a catalogue name, e.g. nvlink4-nvswitch, or {bandwidth: 450 GB/s, latency: 3 us}"
    )
    nvlink_domain: Count | None = Field(
        default=None, description="GPUs that share one NVLink domain when it is larger than a node, e.g. 72"
    )
    nics: NicsSpec | None = Field(default=None, description="a node's network cards; a single node needs none")
    names: Hosts | None = Field(
        default=None, description="of the nodes, e.g. srv[1101-1108]; node0, node1, ... over all groups by default"
    )
    nic_of_gpu: list[Annotated[int, Field(ge=0, le=1023)]] | None = Field(
        default=None, description="the card that each GPU of a node sends by, e.g. [0, 0, 1, 1]"
    )


class FabricSpec(Strict):
    """The network between the nodes."""

    latency: Latency = Field(default=5e-6, description="from GPU to GPU of two nodes, e.g. 5 us")
    oversubscription: Oversubscription = Field(
        default=1.0, description="how many times less the core carries than the cards together could"
    )


class SwitchSpec(Strict):
    """A switch over nodes, or over other switches."""

    name: Name = Field(description="what to call it, e.g. leaf1")
    nodes: Hosts | None = Field(default=None, description="the nodes on it, e.g. srv[1101-1108]")
    switches: Hosts | None = Field(default=None, description="the switches below it, e.g. leaf[1-4]")
    oversubscription: Oversubscription | None = Field(
        default=None,
        description="how many times less the links from each switch below carry than the cards of its nodes, e.g. 2",
    )
    uplink: Bandwidth | None = Field(
        default=None, description="of all links from each switch below, together, instead of oversubscription"
    )
    latency: Latency = Field(default=0.0, description="added to every message through it, e.g. 1 us")


class TopologySpec(Strict):
    """What joins the nodes: one tree of switches."""

    switches: Annotated[list[SwitchSpec], Field(min_length=1, max_length=10**5)] = Field(
        description="leaves with nodes, others with switches, one at the top"
    )
    rails: bool = Field(
        default=False, description="a leaf stands for one switch per card: cards of unlike numbers meet above it"
    )


class DegradedSpec(Strict):
    """A node, or the link between two, that is worse than it should be."""

    node: Name | None = Field(default=None, description="the node")
    nodes: Annotated[list[Name], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="two nodes, e.g. [srv1101, srv1102]"
    )
    bandwidth: Bandwidth | None = Field(
        default=None, description="what the node's cards, or the two nodes, attain at most, e.g. 10 GB/s"
    )
    gpus: PerNode | None = Field(default=None, description="how many of the node's GPUs can be used, e.g. 7")


class MeasuredSpec(Strict):
    """Attained figures that take the place of nominal ones."""

    bandwidth_csv: Name = Field(description="N x N table in GB/s, N nodes or GPUs; relative to the spec's folder")


class ReserveSpec(Strict):
    """What the job must leave free."""

    memory_per_gpu: Reserve = Field(description="e.g. 4 GiB")


class ClusterSpec(Strict):
    """The machines to train on."""

    name: Name = Field(description="what to call it")
    node_groups: Annotated[list[NodeGroupSpec], Field(min_length=1, max_length=1000)] = Field(
        description="groups of equal nodes"
    )
    fabric: FabricSpec = Field(default=FabricSpec(), description="the network between the nodes")
    measured: MeasuredSpec | None = Field(default=None, description="attained bandwidths")
    reserve: ReserveSpec | None = Field(default=None, description="memory that must stay free")
    topology: TopologySpec | None = Field(default=None, description="the switches between the nodes")
    degraded: Annotated[list[DegradedSpec], Field(max_length=10**5)] = Field(
        default=[], description="nodes and links that are worse than they should be"
    )
    exclude: Hosts | None = Field(default=None, description="nodes to plan without, e.g. srv1103")
