"""From a cluster spec to the resolved machines: names looked up, shares worked out."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

import cases
from costmodels.attained import Attained
from costmodels.catalogue import Catalogue, load_catalogue
from costmodels.hardware import Cluster, Gpu, Link
from costmodels.topology import Topology
from planner.readers import bandwidth_csv
from planner.readers.hostlist import compress_hostlist
from planner.specs.cluster import ClusterSpec, LinkSpec, NodeGroupSpec
from planner.specs.document import Document, Place, read_document
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.gpu import GpuSpec, sparse_peaks
from planner.specs.names import looks_like_path, matching, meant
from planner.specs.reporter import Reporter
from planner.specs.strict import parse_spec
from planner.specs.topology import TopologyBuilder, nearest_name, node_names

MOST_GPUS = 2**20
"""Far above any cluster there is; below what makes a search long."""

Source = str | Path | Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One way to use the nodes of a kind, where some have lost GPUs or NVLink domains have lost nodes; ``note``: what
    it leaves unused, empty where that is nothing."""

    cluster: Cluster
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """What a cluster spec describes, excluded nodes left out.

    ``kinds``: of each kind of node the ways to use it, the one with most GPUs in whole NVLink domains first.
    ``topology``: of all nodes of all kinds. ``notes``: for a person.
    """

    kinds: tuple[tuple[Choice, ...], ...]
    topology: Topology
    notes: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[Cluster, ...]:
        """One cluster for each kind of node, used as its first choice says."""
        return tuple(choices[0].cluster for choices in self.kinds)

    @property
    def alternatives(self) -> tuple[Choice, ...]:
        """Of machines of one kind: the ways to use them, as in ``kinds``."""
        return self.kinds[0] if len(self.kinds) == 1 else ()

    def nodes_of(self, group: int) -> tuple[int, ...]:
        """Where the nodes of ``groups[group]`` stand in ``topology.names``."""
        topology = self.groups[group].topology
        names = topology.names if topology is not None else self.topology.names
        return tuple(self.topology.index(names).tolist())


def load_machines(source: Source, catalogue: Catalogue | None = None, *, exclude: Collection[str] = ()) -> Machines:
    """The machines in a spec file, of a bundled name such as ``dgx-h100-256``, or in a mapping; nodes may be unlike.

    ``exclude``: names of nodes to leave out, beside the spec's own. A cluster's ``scale_out`` is the share of the
    network that every GPU can count on: nics.count x nics.bandwidth / gpus_per_node / fabric.oversubscription, with
    the fabric's and the card's latency. With ``topology`` or ``degraded`` keys it is at most
    ``Topology.slowest_share`` over gpus_per_node, and the latency that of the longest way. With
    ``measured.bandwidth_csv`` the slowest attained pair takes the place of the nominal figure: of a node table a
    gpus_per_node-th of the slowest pair; of a GPU table the slowest pair inside a domain (scale-up) and the slowest
    across domains (scale-out). A measured figure is taken as it is, without dividing by the fabric's oversubscription
    again. Where the spec has such keys the clusters carry their ``topology``.

    ``catalogue`` takes the place of the bundled one. Raises ``SpecError`` with every problem found.
    """
    return _resolution(source, catalogue).machines(exclude, one_kind=False)


def load_cluster(source: Source, catalogue: Catalogue | None = None, *, exclude: Collection[str] = ()) -> Cluster:
    """The first choice of ``load_machines``, where all nodes are of one kind; ``SpecError`` where they are unlike."""
    return _resolution(source, catalogue).machines(exclude, one_kind=True).groups[0]


def load_alike(source: Source, catalogue: Catalogue | None = None, *, exclude: Collection[str] = ()) -> Machines:
    """``load_machines``, with ``SpecError`` for unlike nodes."""
    return _resolution(source, catalogue).machines(exclude, one_kind=True)


def _resolution(source: Source, catalogue: Catalogue | None) -> "_Resolution":
    document, folder = _document(source)
    return _Resolution(
        spec=parse_spec(ClusterSpec, document),
        reporter=Reporter(document=document),
        folder=folder,
        catalogue=catalogue or load_catalogue(),
    )


def _document(source: Source) -> tuple[Document, Path]:
    if isinstance(source, Mapping):
        return Document(file="cluster", data=dict(source)), Path()
    if isinstance(source, Path) or looks_like_path(source):
        return read_document(source), Path(source).parent
    name = matching(source, cases.cluster_names())
    if name is None:
        message = f"is neither a spec file nor a bundled cluster{meant(source, cases.cluster_names())}"
        raise SpecError([Problem(file="cluster", key="", value=shown(source), message=message)])
    path = cases.cluster_path(name)
    return replace(read_document(path), file=path.name), path.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Nodes of one kind, in order, before any is left out. ``cluster`` is of nominal figures."""

    cluster: Cluster
    names: tuple[str, ...]
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolution:
    spec: ClusterSpec
    reporter: Reporter
    folder: Path
    catalogue: Catalogue

    def machines(self, exclude: Collection[str], *, one_kind: bool) -> Machines:
        self._check_size()
        names = node_names(self.spec, self.reporter)
        kinds = self._kinds(names)
        if one_kind:
            for kind in kinds[1:]:
                self.reporter.wrong(
                    ("node_groups", kind.groups[0]),
                    "its hardware differs from node_groups[0]: only plan solve takes unlike nodes; "
                    "use it, or give each kind of node as a cluster of its own",
                )
        domains = tuple(domain for kind in kinds for domain in kind.cluster.domains_of(kind.names))
        builder = TopologyBuilder(spec=self.spec, names=names, domains=domains, reporter=self.reporter)
        builder.check()
        self._check_network(kinds)
        gone = self._excluded(exclude, [name for kind in kinds for name in kind.names])
        self.reporter.check()
        attained = self._attained(names)
        self.reporter.check()
        topology = builder.build(attained).without(gone)
        left = [kind for kind in kinds if not gone.issuperset(kind.names)]
        choices = tuple(self._choices(kind, topology) for kind in left)
        notes = tuple(note for choice in choices if (note := choice[0].note))
        return Machines(kinds=choices, topology=topology, notes=notes)

    @property
    def _has_more(self) -> bool:
        """Whether the spec says more of the network than its figures."""
        spec = self.spec
        own = any(group.names or group.nic_of_gpu for group in spec.node_groups)
        return own or any((spec.topology, spec.degraded, spec.exclude, spec.measured))

    def _kinds(self, names: Sequence[tuple[str, ...]]) -> list[_Kind]:
        found: list[_Kind] = []
        for i, own in enumerate(names):
            cluster = self._group(i)
            alike = next((j for j, kind in enumerate(found) if cluster == replace(kind.cluster, nodes=len(own))), None)
            if alike is None:
                found.append(_Kind(cluster=cluster, names=own, groups=(i,)))
            else:
                kind = found[alike]
                merged = replace(cluster, nodes=kind.cluster.nodes + len(own))
                found[alike] = _Kind(cluster=merged, names=kind.names + own, groups=(*kind.groups, i))
        return found

    def _check_size(self) -> None:
        """Before anything is made of every node."""
        gpus = sum(group.count * group.gpus_per_node for group in self.spec.node_groups)
        if gpus > MOST_GPUS:
            self.reporter.wrong(("node_groups",), f"{gpus:,} GPUs in all: at most {MOST_GPUS:,} can be planned")
            self.reporter.check()

    def _check_network(self, kinds: Sequence[_Kind]) -> None:
        for kind in kinds:
            apart = len(kinds) > 1 or kind.cluster.gpus > kind.cluster.domain_gpus
            for i in kind.groups:
                if apart and self.spec.node_groups[i].nics is None:
                    message = "missing: GPUs of different NVLink domains need a network"
                    self.reporter.wrong(("node_groups", i, "nics"), message)

    def _excluded(self, exclude: Collection[str], names: list[str]) -> set[str]:
        known = set(names)
        for name in self.spec.exclude or ():
            if name not in known:
                self.reporter.wrong(("exclude",), f"there is no such node{nearest_name(name, names)}", name)
        for name in exclude:
            if name not in known:
                message = f"there is no such node in {self.reporter.document.file}{nearest_name(name, names)}"
                problem = Problem(file="--exclude", key="", value=shown(name), message=message)
                self.reporter.problems.append(problem)
        gone = {*exclude, *(self.spec.exclude or ())}
        if gone >= known:
            self.reporter.wrong(("exclude",), "leaves no node: keep one at least")
        return gone

    def _choices(self, kind: _Kind, topology: Topology) -> tuple[Choice, ...]:
        """For each number of GPUs that a node has, the nodes that have as many, with so many each; where NVLink domains
        have lost nodes, as many of each domain (first), or all nodes and domains as small as then line up."""
        own = topology.without(set(topology.names) - set(kind.names))
        span = kind.cluster.domain_gpus // kind.cluster.gpus_per_node
        found: list[tuple[bool, Choice]] = []
        for count in sorted(set(own.gpus.tolist()), reverse=True):
            able = [name for name, gpus in zip(own.names, own.gpus.tolist(), strict=True) if gpus >= count]
            blocks = _blocks(kind.names, span, able)
            lined_up = _consecutive(blocks)
            alike = max({len(block) for block in blocks}, key=lambda size: _with_as_many(blocks, size) * size)
            if lined_up < alike:
                trimmed = [name for block in blocks if len(block) >= alike for name in block[:alike]]
                found.append((False, self._choice(kind, own, trimmed, count, alike)))
            domain = span if len(able) == len(kind.names) else lined_up
            found.append((lined_up < alike, self._choice(kind, own, able, count, domain)))
        return tuple(choice for _, choice in sorted(found, key=lambda one: (one[0], -one[1].cluster.gpus)))

    def _choice(self, kind: _Kind, own: Topology, names: Sequence[str], gpus: int, domain: int) -> Choice:
        left = set(own.names) - set(names)
        topology = own.without(left)
        told = [f"{compress_hostlist([name for name in own.names if name in left])} left out"] if left else []
        if unused := int(own.gpus.sum()) - len(names) * gpus:
            told.append(f"{unused} GPUs stay unused")
        if len(names) < len(kind.names) and domain < kind.cluster.domain_gpus // kind.cluster.gpus_per_node:
            told.append(f"NVLink domains of {domain * gpus} GPUs")
        cluster = replace(
            self._attainable(kind.cluster, topology),
            nodes=len(names),
            gpus_per_node=gpus,
            domain_gpus=domain * gpus,
            topology=topology if self._has_more or len(names) < len(kind.names) else None,
        )
        return Choice(cluster=cluster, note=f"{len(names)} x {gpus} GPUs: {', '.join(told)}" if told else "")

    def _attainable(self, cluster: Cluster, topology: Topology) -> Cluster:
        """With the figures that every GPU can count on."""
        cluster = _measured(cluster, topology)
        if self.spec.topology is None and not self.spec.degraded:
            return cluster
        share = topology.slowest_share() / cluster.gpus_per_node
        out = cluster.scale_out
        if share < out.bytes_per_second:
            out = replace(out, bytes_per_second=share)
        if self.spec.topology is not None and math.isfinite(share):
            out = replace(out, latency_seconds=topology.worst_latency())
        return replace(cluster, scale_out=out)

    def _attained(self, names: Sequence[tuple[str, ...]]) -> Attained | None:
        if self.spec.measured is None:
            return None
        name = self.spec.measured.bandwidth_csv
        matrix = bandwidth_csv.read_bandwidth_csv(self.folder / name)
        nodes = sum(map(len, names))
        gpus = sum(len(own) * group.gpus_per_node for own, group in zip(names, self.spec.node_groups, strict=True))
        if len(matrix) in (nodes, gpus):
            return Attained(matrix=matrix, of_gpus=len(matrix) == gpus)
        size = len(matrix)
        message = f"is {size} x {size}, but there are {nodes} nodes and {gpus} GPUs"
        self.reporter.wrong(("measured", "bandwidth_csv"), message, name)
        return None

    def _group(self, position: int) -> Cluster:
        group, place = self.spec.node_groups[position], ("node_groups", position)
        gpu = self._gpu(group.gpu, (*place, "gpu"))
        link = self._link(group.intra_node, (*place, "intra_node"))
        reserve = self.spec.reserve.memory_per_gpu if self.spec.reserve else 0.0
        if reserve >= gpu.memory_bytes:
            message = f"leaves nothing of {gpu.name}'s {gpu.memory_bytes:.4g} bytes"
            self.reporter.wrong(("reserve", "memory_per_gpu"), message)
        return Cluster(
            name=self.spec.name,
            gpu=gpu,
            nodes=group.count,
            gpus_per_node=group.gpus_per_node,
            domain_gpus=self._domain(group, place),
            scale_up=link,
            scale_out=self._scale_out(group, link),
            reserve_bytes=reserve,
        )

    def _gpu(self, gpu: str | GpuSpec, place: Place) -> Gpu:
        if isinstance(gpu, str):
            name = matching(gpu, self.catalogue.gpus)
            if name is None:
                self.reporter.wrong(place, f"is not in the catalogue{meant(gpu, self.catalogue.gpus, 3)}", gpu)
                return next(iter(self.catalogue.gpus.values()))
            return self.catalogue.gpus[name]
        written = gpu.gpu()
        if not written.peak_flops:
            self.reporter.wrong((*place, "peak_flops"), "needs at least one precision, e.g. {bf16: 989 TFLOP/s}")
        for precision, message in sparse_peaks(written, self.catalogue):
            self.reporter.wrong((*place, "peak_flops", precision), message)
        return written

    def _link(self, link: str | LinkSpec, place: Place) -> Link:
        if isinstance(link, LinkSpec):
            return Link(bytes_per_second=link.bandwidth, latency_seconds=link.latency)
        name = matching(link, self.catalogue.links)
        if name is None:
            self.reporter.wrong(place, f"is not in the catalogue{meant(link, self.catalogue.links)}", link)
            return Link(bytes_per_second=1.0, latency_seconds=0.0)
        return self.catalogue.links[name]

    def _domain(self, group: NodeGroupSpec, place: Place) -> int:
        domain, link = group.nvlink_domain, group.intra_node
        if domain is None:
            if isinstance(link, str) and matching(link, self.catalogue.links) in self.catalogue.spans_nodes:
                self.reporter.wrong(
                    (*place, "nvlink_domain"),
                    f"missing: {link} joins several nodes; say how many GPUs share a domain, e.g. 72, "
                    "or 64 to use that many of each",
                )
            return group.gpus_per_node
        if domain % group.gpus_per_node:
            self.reporter.wrong(
                (*place, "nvlink_domain"), f"must be a multiple of gpus_per_node, {group.gpus_per_node}", domain
            )
        return domain

    def _scale_out(self, group: NodeGroupSpec, link: Link) -> Link:
        if group.nics is None:
            return link
        node = group.nics.count * group.nics.bandwidth / self.spec.fabric.oversubscription
        return Link(
            bytes_per_second=node / group.gpus_per_node,
            latency_seconds=self.spec.fabric.latency + group.nics.latency,
        )


def _measured(cluster: Cluster, topology: Topology) -> Cluster:
    """With the slowest measured pairs for nominal figures."""
    attained = topology.attained
    if attained is None:
        return cluster
    matrix = attained.matrix
    if attained.of_gpus:
        alone = -1 - np.arange(len(topology.names))
        domains = np.repeat(np.where(topology.domain_of < 0, alone, topology.domain_of), cluster.gpus_per_node)
        inside = domains[:, None] == domains[None, :]
        up, out = (float(np.min(matrix, where=mask, initial=np.inf)) for mask in (inside, ~inside))
    else:
        up, out = np.inf, float(matrix.min()) / cluster.gpus_per_node
    if np.isfinite(up):
        cluster = replace(cluster, scale_up=replace(cluster.scale_up, bytes_per_second=up))
    if np.isfinite(out):
        cluster = replace(cluster, scale_out=replace(cluster.scale_out, bytes_per_second=out))
    return cluster


def _blocks(names: Sequence[str], span: int, kept: Collection[str]) -> list[list[str]]:
    """``kept`` by NVLink domain, of ``span`` consecutive ``names`` each."""
    wanted = set(kept)
    left = ((position // span, name) for position, name in enumerate(names) if name in wanted)
    return [[name for _, name in block] for _, block in groupby(left, key=lambda entry: entry[0])]


def _consecutive(blocks: Sequence[Sequence[str]]) -> int:
    """The largest number of consecutive nodes that never straddle two blocks; the last of them may be fewer."""
    sizes = list(map(len, blocks))
    return math.gcd(*sizes[:-1]) if len(sizes) > 1 else sizes[0]


def _with_as_many(blocks: Sequence[Sequence[str]], size: int) -> int:
    """Blocks that have ``size`` nodes."""
    return sum(len(block) >= size for block in blocks)
