"""What files tell of one node: its GPUs, what joins them, its network cards."""

from dataclasses import dataclass, replace
from typing import TypeVar

from planner.importing.sources import Sources
from planner.readers.gpu_names import part_of_device
from planner.readers.nccl_topology import NcclTopology
from planner.readers.topo_m import TopoMatrix
from planner.specs.errors import Problem, SpecError

Nic = TypeVar("Nic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """``nvlinks`` of each GPU to all others together, ``least_nvlinks`` to the one it has fewest to (0: some path is
    PCIe). ``nics`` are the cards nearest to some GPU, ``far_nics`` the others; ``nic_of_gpu`` the nearest of each GPU,
    counted among ``nics``, where each has one. None: the file does not tell.
    """

    source: str
    gpus: int
    nvlinks: tuple[int, ...]
    least_nvlinks: tuple[int, ...]
    gpu_parts: frozenset[str] = frozenset()
    pci_bytes_per_second: float | None = None
    nics: int | None = None
    far_nics: tuple[str, ...] = ()
    nic_of_gpu: tuple[int, ...] | None = None
    nic_bytes_per_second: float | None = None
    nic_kind: str | None = None

    def links_of_gpu(self, most: int) -> int:
        """NVLinks that one GPU sends over, of GPUs that have ``most``; 0 where some pair has none. More links in
        a row of the matrix than a GPU has are the same ones, through a switch."""
        if not self.least_nvlinks or not all(self.least_nvlinks):
            return 0
        return min(least if each > most else each for each, least in zip(self.nvlinks, self.least_nvlinks, strict=True))


def node_of(sources: Sources) -> Node | None:
    """The node that matrices and topologies describe, None where there are none; raises ``SpecError`` where two
    describe unlike nodes."""
    matrices = [_of_matrix(matrix) for matrix in sources.matrices]
    topologies = [_of_topology(topology) for topology in sources.topologies]
    for alike in (matrices, topologies):
        for other in alike[1:]:
            if replace(other, source="") != replace(alike[0], source=""):
                _unlike(alike[0], other)
    if not matrices or not topologies:
        return next(iter([*matrices, *topologies]), None)
    matrix, topology = matrices[0], topologies[0]
    if matrix.gpus != topology.gpus:
        _unlike(matrix, topology)
    return replace(
        topology,
        source=f"{matrix.source} and {topology.source}",
        nvlinks=matrix.nvlinks,
        least_nvlinks=matrix.least_nvlinks,
        nics=topology.nics or matrix.nics,
        nic_of_gpu=topology.nic_of_gpu if topology.nics else matrix.nic_of_gpu,
    )


def _unlike(one: Node, other: Node) -> None:
    message = f"describes another node than {one.source}: import each kind of node by itself"
    raise SpecError([Problem(file=other.source, key="", value=f"{other.gpus} GPUs", message=message)])


def _of_matrix(matrix: TopoMatrix) -> Node:
    rows = [list(matrix.nvlinks(gpu).values()) for gpu in matrix.gpus]
    nearest = [matrix.nearest_nics(gpu) for gpu in matrix.gpus]
    near = [nic for nic in matrix.nics if any(nic in of_gpu for of_gpu in nearest)]
    return Node(
        source=f"{matrix.file}, line {matrix.line}",
        gpus=len(matrix.gpus),
        nvlinks=tuple(map(sum, rows)),
        least_nvlinks=tuple(min(row, default=0) for row in rows),
        nics=len(near) or None,
        far_nics=tuple(nic for nic in matrix.nics if nic not in near),
        nic_of_gpu=_only(nearest, near),
    )


def _of_topology(topology: NcclTopology) -> Node:
    """Of the first host; of links into switches all reach every GPU."""
    hosts = [gpu.path[0] if gpu.path else "" for gpu in topology.gpus]
    gpus = [gpu for gpu, host in zip(topology.gpus, hosts, strict=True) if host == hosts[0]]
    if len(gpus) * len(set(hosts)) != len(topology.gpus):
        message = "has hosts of unlike numbers of GPUs: import each kind of node by itself"
        raise SpecError([Problem(file=topology.file, key="", value=f"{len(topology.gpus)} GPUs", message=message)])
    rows = []
    for gpu in gpus:
        others = [other.bus_id for other in gpus if other.bus_id != gpu.bus_id]
        direct = topology.direct(gpu) or not gpu.nvlinks
        rows.append([gpu.nvlinks.get(bus, 0) for bus in others] if direct else [sum(gpu.nvlinks.values())])
    nearest = [topology.nearest_nics(gpu) for gpu in gpus]
    near = [nic for nic in topology.nics if any(nic in of_gpu for of_gpu in nearest)]
    speeds = [nic.bytes_per_second for nic in near if nic.bytes_per_second]
    pci = {gpu.pci_bytes_per_second for gpu in gpus if gpu.pci_bytes_per_second}
    kinds = {_nic_kind(nic.name, nic.pci_class) for nic in near}
    return Node(
        source=topology.file,
        gpus=len(gpus),
        nvlinks=tuple(map(sum, rows)),
        least_nvlinks=tuple(min(row, default=0) for row in rows),
        gpu_parts=frozenset(part for gpu in gpus if (part := part_of_device(gpu.device_id))),
        pci_bytes_per_second=min(pci) if pci else None,
        nics=len(near) or None,
        far_nics=tuple(nic.name for nic in topology.nics if nic not in near and nic.path[:1] == gpus[0].path[:1]),
        nic_of_gpu=_only(nearest, near),
        nic_bytes_per_second=sum(speeds) / len(speeds) if len(speeds) == len(near) and near else None,
        nic_kind=kinds.pop() if len(kinds) == 1 else None,
    )


def _only(nearest: list[tuple[Nic, ...]], near: list[Nic]) -> tuple[int, ...] | None:
    """The position in ``near`` of each GPU's only nearest card; None where one has several, or none."""
    if any(len(of_gpu) != 1 for of_gpu in nearest):
        return None
    return tuple(near.index(of_gpu[0]) for of_gpu in nearest)


def _nic_kind(name: str, pci_class: str) -> str | None:
    """PCI class 0x0207 is an InfiniBand controller; an RDMA device of an Ethernet one is RoCE, AWS's are EFA."""
    if pci_class.startswith("0x0207"):
        return "infiniband"
    if name.startswith(("rdmap", "efa")):
        return "efa"
    if pci_class.startswith("0x0200"):
        return "roce" if name.startswith(("mlx", "bnxt")) else "ethernet"
    return None
