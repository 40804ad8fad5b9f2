"""The link between the GPUs of a node, from what joins them and which part they are."""

from costmodels.catalogue import Catalogue
from costmodels.hardware import Gpu
from planner.importing.node import Node

NVLINK = {
    "volta": (6, 25e9, "nvlink2"),
    "ampere": (12, 25e9, "nvlink3-nvswitch"),
    "hopper": (18, 25e9, "nvlink4-nvswitch"),
    "blackwell": (18, 50e9, "nvlink5-nvswitch"),
}
"""Links of a GPU, bytes per second of one in one direction, and the catalogue's name for all of them together
(NVIDIA data sheets of V100, A100, H100 and Blackwell: 300, 600, 900 and 1,800 GB/s in both directions)."""

PCIE: dict[str, str | float] = {
    "volta": 8e9 * 16 * 128 / 130 / 8,
    "ampere": "pcie4-x16",
    "ada": "pcie4-x16",
    "hopper": "pcie5-x16",
    "blackwell": "pcie5-x16",
}
"""A slot of 16 lanes of the generation that the part has; PCI Express 3.0 written out (8 GT/s, 128b/130b)."""

HOP_LATENCY = "3 us"
"""Assumed, as in the catalogue."""

RACK_LINK = "nvlink5-nvl72"
RACKS = ("gb200", "gb300")


def link_of(node: Node, gpu: Gpu, catalogue: Catalogue) -> tuple[object, str] | None:
    """The value of ``intra_node`` and where it comes from; None where the GPU's links are not known here."""
    architecture = gpu.architecture
    if architecture in NVLINK and any(node.nvlinks):
        most, speed, name = NVLINK[architecture]
        links = node.links_of_gpu(most)
        if links:
            why = f"{links} NVLinks a GPU ({node.source})"
            if links * speed == catalogue.links[name].bytes_per_second:
                return name, why
            return written_out(links * speed), why
    if node.gpus > 1 and architecture in PCIE:
        some = "not every pair has NVLink: the slowest counts" if any(node.nvlinks) else "no NVLink"
        if node.pci_bytes_per_second:
            return written_out(node.pci_bytes_per_second), f"PCIe, {some} ({node.source})"
        slot = PCIE[architecture]
        return slot if isinstance(slot, str) else written_out(slot), f"PCIe, {some} ({node.source})"
    return None


def is_rack(gpu: Gpu) -> bool:
    """Whether the part is built into racks whose NVLink joins several nodes."""
    return gpu.name.startswith(RACKS)


def written_out(bytes_per_second: float) -> dict[str, str]:
    return {"bandwidth": f"{bytes_per_second / 1e9:.6g} GB/s", "latency": HOP_LATENCY}
