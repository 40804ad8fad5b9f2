"""From a cluster spec to the resolved ``Cluster``: names looked up, shares worked out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import cases
from costmodels.catalogue import Catalogue, load_catalogue
from costmodels.hardware import Cluster, Gpu, Link
from planner.readers import bandwidth_csv
from planner.specs.cluster import ClusterSpec, LinkSpec, NodeGroupSpec
from planner.specs.document import Document, Place, read_document, spelled
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.gpu import GpuSpec, sparse_peaks
from planner.specs.names import looks_like_path, matching, meant
from planner.specs.strict import parse_spec

MOST_GPUS = 2**20
"""Far above any cluster there is; below what makes a search long."""


def load_cluster(source: str | Path | Mapping[str, object], catalogue: Catalogue | None = None) -> Cluster:
    """The cluster in a spec file, of a bundled name such as ``dgx-h100-256``, or in a mapping.

    One GPU's share of the network is nics.count x nics.bandwidth / gpus_per_node /
    fabric.oversubscription; its latency is the fabric's plus the card's. With
    ``measured.bandwidth_csv`` the slowest attained pair takes the place of the nominal figure: of a
    node table a gpus_per_node-th of the slowest pair; of a GPU table the slowest pair inside a
    domain (scale-up) and the slowest across domains (scale-out). A measured figure is taken as it
    is, without dividing by the oversubscription again.

    ``catalogue`` takes the place of the bundled one. Raises ``SpecError`` with every problem found.
    """
    document, folder = _document(source)
    spec = parse_spec(ClusterSpec, document)
    return _Resolution(document=document, folder=folder, catalogue=catalogue or load_catalogue()).cluster(spec)


def _document(source: str | Path | Mapping[str, object]) -> tuple[Document, Path]:
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
class _Resolution:
    document: Document
    folder: Path
    catalogue: Catalogue
    problems: list[Problem] = field(default_factory=list)

    def cluster(self, spec: ClusterSpec) -> Cluster:
        groups = [self._group(spec, i) for i in range(len(spec.node_groups))]
        for i, group in enumerate(groups[1:], start=1):
            if group != replace(groups[0], nodes=group.nodes):
                self._wrong(
                    ("node_groups", i),
                    "its hardware differs from node_groups[0]: clusters of unlike nodes are not supported; "
                    "plan each kind of node as a cluster of its own",
                )
        self._check()
        cluster = replace(groups[0], nodes=sum(group.nodes for group in groups))
        if cluster.gpus > MOST_GPUS:
            self._wrong(("node_groups",), f"{cluster.gpus:,} GPUs in all: at most {MOST_GPUS:,} can be planned")
        if cluster.gpus > cluster.domain_gpus and spec.node_groups[0].nics is None:
            self._wrong(("node_groups", 0, "nics"), "missing: GPUs of different NVLink domains need a network")
        if spec.measured is not None and not self.problems:
            cluster = self._measured(cluster, spec.measured.bandwidth_csv)
        self._check()
        return cluster

    def _group(self, spec: ClusterSpec, position: int) -> Cluster:
        group, place = spec.node_groups[position], ("node_groups", position)
        gpu = self._gpu(group.gpu, (*place, "gpu"))
        link = self._link(group.intra_node, (*place, "intra_node"))
        reserve = spec.reserve.memory_per_gpu if spec.reserve else 0.0
        if reserve >= gpu.memory_bytes:
            self._wrong(("reserve", "memory_per_gpu"), f"leaves nothing of {gpu.name}'s {gpu.memory_bytes:.4g} bytes")
        return Cluster(
            name=spec.name,
            gpu=gpu,
            nodes=group.count,
            gpus_per_node=group.gpus_per_node,
            domain_gpus=self._domain(group, place),
            scale_up=link,
            scale_out=self._scale_out(spec, group, link),
            reserve_bytes=reserve,
        )

    def _gpu(self, gpu: str | GpuSpec, place: Place) -> Gpu:
        if isinstance(gpu, str):
            name = matching(gpu, self.catalogue.gpus)
            if name is None:
                self._wrong(place, f"is not in the catalogue{meant(gpu, self.catalogue.gpus, 3)}", gpu)
                return next(iter(self.catalogue.gpus.values()))
            return self.catalogue.gpus[name]
        written = gpu.gpu()
        if not written.peak_flops:
            self._wrong((*place, "peak_flops"), "needs at least one precision, e.g. {bf16: 989 TFLOP/s}")
        for precision, message in sparse_peaks(written, self.catalogue):
            self._wrong((*place, "peak_flops", precision), message)
        return written

    def _link(self, link: str | LinkSpec, place: Place) -> Link:
        if isinstance(link, LinkSpec):
            return Link(bytes_per_second=link.bandwidth, latency_seconds=link.latency)
        name = matching(link, self.catalogue.links)
        if name is None:
            self._wrong(place, f"is not in the catalogue{meant(link, self.catalogue.links)}", link)
            return Link(bytes_per_second=1.0, latency_seconds=0.0)
        return self.catalogue.links[name]

    def _domain(self, group: NodeGroupSpec, place: Place) -> int:
        domain, link = group.nvlink_domain, group.intra_node
        if domain is None:
            if isinstance(link, str) and matching(link, self.catalogue.links) in self.catalogue.spans_nodes:
                self._wrong(
                    (*place, "nvlink_domain"),
                    f"missing: {link} joins several nodes; say how many GPUs share a domain, e.g. 72, "
                    "or 64 to use that many of each",
                )
            return group.gpus_per_node
        if domain % group.gpus_per_node:
            self._wrong(
                (*place, "nvlink_domain"), f"must be a multiple of gpus_per_node, {group.gpus_per_node}", domain
            )
        return domain

    def _scale_out(self, spec: ClusterSpec, group: NodeGroupSpec, link: Link) -> Link:
        if group.nics is None:
            return link
        node = group.nics.count * group.nics.bandwidth / spec.fabric.oversubscription
        return Link(
            bytes_per_second=node / group.gpus_per_node,
            latency_seconds=spec.fabric.latency + group.nics.latency,
        )

    def _measured(self, cluster: Cluster, name: str) -> Cluster:
        matrix = bandwidth_csv.read_bandwidth_csv(self.folder / name)
        place, size = ("measured", "bandwidth_csv"), len(matrix)
        if size == cluster.gpus:
            domains = np.arange(size) // cluster.domain_gpus
            inside = domains[:, None] == domains[None, :]
            up, out = (float(np.min(matrix, where=mask, initial=np.inf)) for mask in (inside, ~inside))
        elif size == cluster.nodes:
            up, out = np.inf, float(matrix.min()) / cluster.gpus_per_node
        else:
            self._wrong(place, f"is {size} x {size}, but there are {cluster.nodes} nodes and {cluster.gpus} GPUs", name)
            return cluster
        if np.isfinite(up):
            cluster = replace(cluster, scale_up=replace(cluster.scale_up, bytes_per_second=up))
        if np.isfinite(out):
            cluster = replace(cluster, scale_out=replace(cluster.scale_out, bytes_per_second=out))
        return cluster

    def _wrong(self, place: Place, message: str, value: object = None) -> None:
        problem = Problem(
            file=self.document.file,
            key=spelled(place),
            value="" if value is None else shown(value),
            message=message,
            line=self.document.line(place),
        )
        if problem not in self.problems:
            self.problems.append(problem)

    def _check(self) -> None:
        if self.problems:
            raise SpecError(self.problems)
