"""The cluster of a row: GPU and node from columns, NICs by GPU generation."""

import re
from dataclasses import replace
from functools import lru_cache
from math import lcm

from costmodels.hardware import Cluster
from planner.readers.published.cells import Refusal, degree, number, text
from planner.readers.published.table import Cells
from planner.specs import load_cluster

PARTS = {
    ("A100", 40): "a100-sxm-40gb",
    ("A100", 80): "a100-sxm-80gb",
    ("H100", 80): "h100-sxm-80gb",
    ("H100", 96): "h100-sxm-96gb-500w",
    ("H200", 141): "h200-sxm-141gb",
    ("B200", 180): "b200-sxm-180gb",
    ("B300", 288): "b300-sxm-288gb",
    ("GB200", 186): "gb200-186gb",
    ("GB300", 288): "gb300-279gb",
}
USUAL_GB = {"A100": 80, "H100": 80}
"""The memory that is meant where a GPU comes with several and the row tells none."""
NVLINK = {"A": "nvlink3-nvswitch", "H": "nvlink4-nvswitch", "B": "nvlink5-nvswitch", "G": "nvlink5-nvl72"}
NIC_GBPS = {"A100": 200, "H100": 400, "H200": 400, "B200": 400, "B300": 800, "GB200": 400, "GB300": 800}
RACK_GPUS = 64
STATED = re.compile(r"(?:(\d+)(?: ?x ?| [\w-]+ links of ))?(\d+) ?Gb/s(?: [\w-]+)? per (node|GPU)")
"""``400 Gb/s per node``, ``8x400 Gb/s IB per node``, ``4 Omni-Path links of 100 Gb/s per node``,
``400 Gb/s RDMA per GPU``."""


def cluster_of(cells: Cells, gpus: int, assumptions: list[str]) -> Cluster:
    """A cluster of ``gpus`` GPUs; what the row leaves open is taken from the GPU's generation."""
    gpu = text(cells, "gpu").upper()
    sizes = sorted(size for name, size in PARTS if name == gpu)
    if not sizes:
        raise Refusal(f"GPU {gpu or '(blank)'}")
    memory = number(cells, "gpu_mem_gb")
    if memory is None:
        memory = USUAL_GB.get(gpu, sizes[-1])
        assumptions.append(f"{gpu} of {memory} GB")
    size = min(sizes, key=lambda s: abs(s - memory))
    rack = gpu.startswith("G")
    per_node = degree(cells, "gpus_per_node", 4 if rack else 8)
    if gpus < per_node:
        per_node = gpus
    if gpus % per_node:
        raise Refusal(f"n_gpus={gpus} is not a multiple of gpus_per_node={per_node}")
    nic = _stated_gbps(text(cells, "interconnect"), per_node)
    if nic is None:
        nic = NIC_GBPS[gpu]
        if gpus > per_node:
            assumptions.append(f"one {nic:g} Gb/s NIC per GPU")
    domain = min(RACK_GPUS, gpus) if rack else per_node
    if rack and gpus > RACK_GPUS:
        assumptions.append(f"NVLink domain of {RACK_GPUS} GPUs, as jobs are placed on NVL72 racks")
    return _cluster(PARTS[gpu, size], NVLINK[gpu[0]], gpus // per_node, per_node, domain, nic)


def _stated_gbps(interconnect: str, per_node: int) -> float | None:
    """Gb/s of network for each GPU; None where the row does not state them."""
    found = STATED.search(interconnect)
    if found is None:
        return None
    rate = float(found[2]) * int(found[1] or 1)
    return rate / per_node if found[3] == "node" else rate


@lru_cache(maxsize=256)
def _cluster(part: str, link: str, nodes: int, per_node: int, domain: int, nic_gbps: float) -> Cluster:
    return load_cluster(
        {
            "name": f"{nodes} x {per_node} x {part}",
            "node_groups": [
                {
                    "count": nodes,
                    "gpu": part,
                    "gpus_per_node": per_node,
                    "intra_node": link,
                    "nvlink_domain": domain,
                    "nics": {"count": per_node, "bandwidth": f"{nic_gbps} Gb/s", "kind": "infiniband"},
                }
            ],
            "fabric": {"latency": "5 us"},
        }
    )


def gpu_count(cells: Cells, ranks: int, expert_ranks: int, assumptions: list[str]) -> int:
    """``n_gpus``, or where blank whole nodes, as few as hold ``ranks`` (tp x cp x pp) and
    ``expert_ranks`` (ep x etp x pp)."""
    if text(cells, "n_gpus"):
        return degree(cells, "n_gpus")
    node = degree(cells, "gpus_per_node", 8)
    gpus = lcm(node, ranks, expert_ranks)
    assumptions.append(f"n_gpus {gpus}: the fewest whole nodes that hold the degrees")
    return gpus


def within(cluster: Cluster, cells: Cells, gpus: int) -> Cluster:
    """``gpus`` GPUs of ``cluster``, whole nodes of it; a refusal for a row of other GPUs."""
    stated = text(cells, "gpu").lower()
    if stated and not cluster.gpu.name.lower().startswith(stated):
        raise Refusal(f"GPU {stated.upper()}, where the cluster has {cluster.gpu.name}")
    per_node = min(gpus, cluster.gpus_per_node)
    if gpus % per_node:
        raise Refusal(f"n_gpus={gpus} is not a multiple of the cluster's gpus_per_node={per_node}")
    return replace(cluster, nodes=gpus // per_node, gpus_per_node=per_node, domain_gpus=min(cluster.domain_gpus, gpus))


def usual_node(part: str) -> Cluster | None:
    """One node of the catalogue's ``part`` as that generation is built; None where none is usual."""
    gpu = next((name for (name, _), known in PARTS.items() if known == part), None)
    if gpu is None:
        return None
    per_node = 4 if gpu.startswith("G") else 8
    domain = RACK_GPUS if gpu.startswith("G") else per_node
    return _cluster(part, NVLINK[gpu[0]], domain // per_node, per_node, domain, NIC_GBPS[gpu])
