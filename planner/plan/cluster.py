"""The cluster as a plan holds it: its figures, and compactly what joins its nodes."""

import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from costmodels.attained import Attained
from costmodels.hardware import Cluster, Gpu, Link
from costmodels.switch_tree import Switch
from costmodels.topology import Degraded, Domain, Nodes, Topology
from planner.plan.strict import Amount, Index, Strict
from planner.readers.hostlist import compress_hostlist, expand_hostlist

Hostlist = Annotated[str, Field(min_length=1, max_length=2**24)]
"""Names of nodes, or of switches, in short form: ``srv[1101-1108]``."""

Rate = Annotated[float, Field(gt=0.0, le=1e30)]


class _Part(Strict):
    """Keys that say nothing are absent."""

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value not in (None, [], ())}


class NodesInput(_Part):
    """``costmodels.topology.Nodes``."""

    names: Hostlist
    gpus: Index
    cards: Index
    cards_bytes_per_second: Amount
    card_latency_seconds: Amount
    card_of_gpu: tuple[Index, ...] | None = None

    @classmethod
    def of(cls, kind: Nodes) -> "NodesInput":
        return cls(
            names=compress_hostlist(kind.names),
            gpus=kind.gpus,
            cards=kind.cards,
            cards_bytes_per_second=kind.cards_bytes_per_second,
            card_latency_seconds=kind.card_latency_seconds,
            card_of_gpu=kind.card_of_gpu or None,
        )

    def nodes(self) -> Nodes:
        return Nodes(
            names=expand_hostlist(self.names),
            gpus=self.gpus,
            cards=self.cards,
            cards_bytes_per_second=self.cards_bytes_per_second,
            card_latency_seconds=self.card_latency_seconds,
            card_of_gpu=self.card_of_gpu or (),
        )


class SwitchInput(_Part):
    """``costmodels.switch_tree.Switch``; no uplink: the top."""

    name: Hostlist
    nodes: Hostlist | None = None
    switches: Hostlist | None = None
    uplink_bytes_per_second: Rate | None = None
    latency_seconds: Amount
    rails: bool

    @classmethod
    def of(cls, switch: Switch) -> "SwitchInput":
        uplink = switch.uplink_bytes_per_second
        return cls(
            name=switch.name,
            nodes=compress_hostlist(switch.nodes) if switch.nodes else None,
            switches=compress_hostlist(switch.switches) if switch.switches else None,
            uplink_bytes_per_second=uplink if math.isfinite(uplink) else None,
            latency_seconds=switch.latency_seconds,
            rails=switch.rails,
        )

    def switch(self) -> Switch:
        uplink = self.uplink_bytes_per_second
        return Switch(
            name=self.name,
            nodes=expand_hostlist(self.nodes) if self.nodes else (),
            switches=expand_hostlist(self.switches) if self.switches else (),
            uplink_bytes_per_second=math.inf if uplink is None else uplink,
            latency_seconds=self.latency_seconds,
            rails=self.rails,
        )


class DomainInput(Strict):
    """``costmodels.topology.Domain``."""

    names: Hostlist
    bytes_per_second: Rate
    latency_seconds: Amount


class DegradedInput(_Part):
    """``costmodels.topology.Degraded``."""

    names: Hostlist
    bytes_per_second: Rate | None = None
    gpus: Index | None = None


class MeasuredInput(Strict):
    """A measured table by the SHA-256 of its figures (``costmodels.attained.Attained.digest``): a plan does not hold
    the table, and prices only its slowest pair."""

    rows: Index
    of: Literal["nodes", "gpus"]
    digest: str


class TopologyInput(_Part):
    """``costmodels.topology.Topology``, names in short form, without the measured table."""

    nodes: tuple[NodesInput, ...]
    latency_seconds: Amount
    switches: tuple[SwitchInput, ...] = ()
    domains: tuple[DomainInput, ...] = ()
    degraded: tuple[DegradedInput, ...] = ()
    measured: MeasuredInput | None = None

    @classmethod
    def of(cls, topology: Topology) -> "TopologyInput":
        return cls(
            nodes=tuple(map(NodesInput.of, topology.nodes)),
            latency_seconds=topology.latency_seconds,
            switches=tuple(map(SwitchInput.of, topology.switches)),
            domains=tuple(
                DomainInput(
                    names=compress_hostlist(domain.names),
                    bytes_per_second=domain.bytes_per_second,
                    latency_seconds=domain.latency_seconds,
                )
                for domain in topology.domains
            ),
            degraded=tuple(
                DegradedInput(names=compress_hostlist(one.names), bytes_per_second=one.bytes_per_second, gpus=one.gpus)
                for one in topology.degraded
            ),
            measured=_measured(topology.attained),
        )

    def topology(self) -> Topology:
        """Without the measured table. ``ValueError`` where names do not fit together."""
        return Topology(
            nodes=tuple(kind.nodes() for kind in self.nodes),
            latency_seconds=self.latency_seconds,
            switches=tuple(switch.switch() for switch in self.switches),
            domains=tuple(
                Domain(
                    names=expand_hostlist(domain.names),
                    bytes_per_second=domain.bytes_per_second,
                    latency_seconds=domain.latency_seconds,
                )
                for domain in self.domains
            ),
            degraded=tuple(
                Degraded(names=expand_hostlist(one.names), bytes_per_second=one.bytes_per_second, gpus=one.gpus)
                for one in self.degraded
            ),
        )


def _measured(attained: Attained | None) -> MeasuredInput | None:
    if attained is None:
        return None
    return MeasuredInput(rows=len(attained.matrix), of="gpus" if attained.of_gpus else "nodes", digest=attained.digest)


class ClusterInput(Strict):
    """``costmodels.hardware.Cluster``; ``topology`` is absent where the cluster has none."""

    name: str
    gpu: Gpu
    nodes: int
    gpus_per_node: int
    domain_gpus: int
    scale_up: Link
    scale_out: Link
    reserve_bytes: float = 0.0
    topology: TopologyInput | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "ClusterInput":
        self.cluster()
        return self

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}

    @classmethod
    def of(cls, cluster: Cluster) -> "ClusterInput":
        return cls(
            **{name: getattr(cluster, name) for name in FIGURES},
            topology=TopologyInput.of(cluster.topology) if cluster.topology is not None else None,
        )

    def cluster(self) -> Cluster:
        """The cluster, without the measured table of its topology."""
        return Cluster(
            **{name: getattr(self, name) for name in FIGURES},
            topology=self.topology.topology() if self.topology is not None else None,
        )


FIGURES: Iterable[str] = tuple(name for name in ClusterInput.model_fields if name != "topology")
