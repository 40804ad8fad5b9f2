"""The cluster spec of all files together: each figure from the file that states it, or from the user's options."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costmodels.catalogue import Catalogue, load_catalogue
from costmodels.hardware import Gpu
from planner.importing.attained import Attained, attained, best
from planner.importing.links import NVLINK, RACK_LINK, is_rack, link_of, written_out
from planner.importing.names import Names, names_of
from planner.importing.node import Node, node_of
from planner.importing.sources import Sources
from planner.importing.switches import hostlist, switch_specs
from planner.importing.wanted import Wanted
from planner.readers.fabric import Block, Fabric
from planner.readers.gpu_names import part_of_name
from planner.specs.errors import Problem, SpecError, shown
from planner.specs.names import matching, meant

OPTIONS = "options"
"""What stands for the file in messages about the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDraft:
    """``spec`` as a cluster file holds it, without the ``bandwidths`` that go into a table beside it (bytes per
    second between ``names``, None where none were measured); ``remarks`` say where each figure comes from."""

    spec: dict[str, Any]
    names: tuple[str, ...]
    bandwidths: NDArray[np.float64] | None
    remarks: tuple[str, ...]


def cluster_of(sources: Sources, wanted: Wanted) -> ClusterDraft:
    """The cluster that ``sources`` and ``wanted`` describe.

    Raises ``SpecError`` with everything that neither tells, by the option that would, and with contradictions.
    """
    return _Draft(sources, wanted, load_catalogue(), node_of(sources), names_of(sources), attained(sources)).cluster()


@dataclass(slots=True)
class _Draft:
    sources: Sources
    wanted: Wanted
    catalogue: Catalogue
    node: Node | None
    named: Names
    figures: list[Attained]
    remarks: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def cluster(self) -> ClusterDraft:
        gpu = self.gpu()
        each = self.gpus_per_node()
        nodes = self.nodes()
        domain = self.domain(gpu, each, nodes)
        link = self.intra_node(gpu, each, nodes, domain)
        nics = self.nics(each, nodes, domain)
        if self.problems:
            raise SpecError(self.problems)
        group: dict[str, Any] = {"count": nodes, "gpu": gpu.name if gpu else "", "gpus_per_node": each}
        group["intra_node"] = link
        if domain:
            group["nvlink_domain"] = domain
        if nics:
            group["nics"] = nics
            if self.node and self.node.nic_of_gpu and (nics["count"], each) == (self.node.nics, self.node.gpus):
                group["nic_of_gpu"] = list(self.node.nic_of_gpu)
                self.remarks.append(f"nic_of_gpu: the card nearest to each GPU ({self.node.source})")
        if self.named.nodes:
            group["names"] = hostlist(self.named.nodes)
        spec: dict[str, Any] = {
            "name": self.wanted.name or f"{nodes} x {each} x {group['gpu']}",
            "node_groups": [group],
        }
        if self.named.fabric and (switches := self.switches(self.named.fabric, domain)):
            spec["topology"] = {"switches": switches}
        return ClusterDraft(
            spec=spec, names=self.named.nodes, bandwidths=self.named.bandwidths, remarks=tuple(self.remarks)
        )

    def gpu(self) -> Gpu | None:
        if self.wanted.gpu is not None:
            name = matching(self.wanted.gpu, self.catalogue.gpus)
            if name is None:
                self.wrong(
                    "--gpu", f"is not in the catalogue{meant(self.wanted.gpu, self.catalogue.gpus, 3)}", self.wanted.gpu
                )
                return None
            self.remarks.append(f"gpu: --gpu {self.wanted.gpu}")
            return self.catalogue.gpus[name]
        told = {name: f"{run.file} ({name})" for run in self.sources.runs for name in run.gpu_names}
        told |= {name: f"{matrix.file} ({name})" for matrix in self.sources.matrices for name in matrix.gpu_names}
        found = {part: where for name, where in told.items() if (part := part_of_name(name))}
        found |= dict.fromkeys(self.node.gpu_parts, f"{self.node.source} (PCI device)") if self.node else {}
        if len(found) == 1 and all(map(part_of_name, told)):
            [(part, where)] = found.items()
            self.remarks.append(f"gpu: {where}")
            return self.catalogue.gpus[part]
        hints = sorted({*told, *found, *(kind for fabric in self.sources.fabrics for kind in fabric.gpu_types)})
        said = f"the files say {', '.join(hints)}: " if hints else "no file tells: "
        self.wrong("--gpu", f"which GPU of the catalogue? {said}e.g. --gpu {_likely(hints, self.catalogue)}")
        return None

    def gpus_per_node(self) -> int:
        told: dict[int, str] = {}
        if self.node:
            told.setdefault(self.node.gpus, self.node.source)
        for profile in self.sources.galvatron:
            if profile.gpus_per_node:
                told.setdefault(profile.gpus_per_node, profile.file)
        if self.named.gpus_per_node:
            told.setdefault(self.named.gpus_per_node, "names given once a GPU")
        if not told and self.sources.runs:
            run = max(self.sources.runs, key=lambda run: run.gpus // run.hosts)
            told[run.gpus // run.hosts] = f"{run.file}, the GPUs that it ran on"
        if (asked := self.wanted.gpus_per_node) is not None:
            others = "".join(f", instead of {count} ({where})" for count, where in told.items() if count != asked)
            self.remarks.append(f"gpus_per_node: --gpus-per-node {asked}{others}")
            return asked
        if len(told) != 1:
            said = "; ".join(f"{count} in {where}" for count, where in told.items())
            self.wrong(
                "--gpus-per-node", f"how many GPUs has a node? {said or 'No file tells'}: e.g. --gpus-per-node 8"
            )
            return 1
        [(count, where)] = told.items()
        self.remarks.append(f"gpus_per_node: {where}")
        return count

    def nodes(self) -> int:
        """From names first: a log or a profile may have run on fewer nodes than there are."""
        asked, named = self.wanted.nodes, len(self.named.nodes)
        if named:
            if asked not in (None, named):
                self.wrong("--nodes", f"but the files name {named} nodes", str(asked))
            self.remarks.append(f"count: {self.named.source}")
            return named
        if asked is not None:
            self.remarks.append(f"count: --nodes {asked}")
            return asked
        ran = [(p.nodes, p.file) for p in self.sources.galvatron if p.nodes]
        ran += [(run.hosts, run.file) for run in self.sources.runs]
        ran += [(topology.hosts, topology.file) for topology in self.sources.topologies]
        count, where = max(ran, default=(1, "one node described"))
        self.remarks.append(f"count: {where}; --nodes says otherwise")
        return count

    def domain(self, gpu: Gpu | None, each: int, nodes: int) -> int | None:
        """GPUs of an NVLink domain that is larger than a node: of racks the blocks, or what the user says."""
        if (asked := self.wanted.nvlink_domain) is not None:
            self.remarks.append(f"nvlink_domain: --nvlink-domain {asked}")
            return asked
        if gpu is None or not is_rack(gpu) or nodes == 1:
            return None
        blocks = self.named.fabric.blocks if self.named.fabric else ()
        sizes = _domain_sizes(blocks)
        if len(sizes) != 1:
            said = f"blocks of {', '.join(map(str, sorted(sizes)))} nodes" if sizes else "no file tells"
            self.wrong("--nvlink-domain", f"how many GPUs share one NVLink domain? {said}: e.g. --nvlink-domain 72")
            return None
        self.remarks.append(f"nvlink_domain: blocks of {min(sizes)} nodes ({self.named.source})")
        return min(sizes) * each

    def intra_node(self, gpu: Gpu | None, each: int, nodes: int, domain: int | None) -> object:
        if (asked := self.wanted.intra_node) is not None:
            self.remarks.append("intra_node: --intra-node")
            return self.wanted.link(self.catalogue)
        if gpu is None:
            return ""
        if is_rack(gpu) and nodes > 1 and domain != each:
            self.remarks.append(f"intra_node: {gpu.name} in racks")
            return RACK_LINK
        usual = NVLINK[gpu.architecture][2] if gpu.architecture in NVLINK else "pcie4-x16"
        inside = best(self.figures, across=False)
        found = link_of(self.node, gpu, self.catalogue) if self.node else None
        if found:
            link, why = found
            self.remarks.append(f"intra_node: {why}")
            if inside:
                self.remarks.append(
                    f"attained inside a node: {inside.bytes_per_second / 1e9:.6g} GB/s ({inside.source}); "
                    "'plan calibrate' fits the model's figures to such logs"
                )
            return link
        if inside:
            self.remarks.append(
                f"intra_node: attained, not nominal ({inside.source}), and the model takes its usual share of it "
                f"again: --intra-node {usual} says what is built in; latency assumed"
            )
            return written_out(inside.bytes_per_second)
        if each == 1:
            self.remarks.append("intra_node: of no use with one GPU a node")
            return "pcie4-x16"
        self.wrong("--intra-node", f"what joins the GPUs of a node? No file tells: e.g. --intra-node {usual}")
        return asked

    def nics(self, each: int, nodes: int, domain: int | None) -> dict[str, Any] | None:
        """Cards and their nominal bandwidth, or what a node attained; None where one NVLink domain needs no network."""
        node, wanted = self.node, self.wanted
        needed = nodes * each > (domain or each)
        speed = wanted.nic_bytes_per_second or (node.nic_bytes_per_second if node else None)
        count = wanted.nics or (node.nics if node else None)
        across = best(self.figures, across=True)
        if speed is None and across:
            count = count or 1
            self.remarks.append(
                f"nics: {across.source}: attained by all cards of a node together, and the model takes its usual share "
                "of it again: --nics and --nic-bandwidth say what is built in"
            )
            return self.cards(count, f"{across.bytes_per_second / count / 1e9:.6g} GB/s")
        if not needed and (speed is None or count is None):
            self.remarks.append("nics: none told, and one node needs none: --nic-bandwidth adds them")
            return None
        if speed is None:
            self.wrong("--nic-bandwidth", "how fast is one network card? No file tells: e.g. --nic-bandwidth 400Gb/s")
        if count is None:
            self.wrong("--nics", f"how many network cards has a node? No file tells: e.g. --nics {each}")
        if speed is None or count is None:
            return None
        told = "--nics" if wanted.nics else node.source if node else ""
        self.remarks.append(
            f"nics: {count} a node ({told}), the bandwidth from {(wanted.nic_bandwidth and '--nic-bandwidth') or told}"
        )
        if node and node.far_nics and not wanted.nics:
            self.remarks.append(
                f"nics: nearest to no GPU and not counted: {', '.join(node.far_nics)}; --nics says otherwise"
            )
        return self.cards(count, f"{speed * 8 / 1e9:.6g} Gb/s")

    def cards(self, count: int, bandwidth: str) -> dict[str, Any]:
        kind = self.wanted.nic_kind or (self.node.nic_kind if self.node else None)
        if kind is None:
            self.remarks.append("nics: kind infiniband assumed (no figure depends on it); --nic-kind says otherwise")
        return {"count": count, "bandwidth": bandwidth, "kind": kind or "infiniband"}

    def switches(self, fabric: Fabric, domain: int | None) -> list[dict[str, Any]]:
        """The tree; blocks as its leaves where there is no tree, unless they are NVLink domains."""
        if domain and not fabric.switches:
            return []
        entries, remarks = switch_specs(fabric)
        self.remarks += remarks
        return entries

    def wrong(self, option: str, message: str, value: str | None = None) -> None:
        self.problems.append(
            Problem(file=OPTIONS, key=option, value="" if value is None else shown(value), message=message)
        )


def _domain_sizes(blocks: Sequence[Block]) -> set[int]:
    """Nodes of each accelerator domain; a block that names none is one of its own."""
    domains: dict[str, set[str]] = {}
    for block in blocks:
        domains.setdefault(block.domain or f"block {block.name}", set()).update(block.nodes)
    return {len(nodes) for nodes in domains.values()}


def _likely(hints: Sequence[str], catalogue: Catalogue) -> str:
    """A part of the catalogue that resembles what the files say."""
    begun = [part for hint in hints for part in catalogue.gpus if part.startswith(hint.lower())]
    return (begun or ["h100-sxm-80gb"])[0]
