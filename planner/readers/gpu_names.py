"""Which part of the catalogue a GPU is, by the name its driver prints or by its PCI device id."""

import re
from collections.abc import Iterable

_NAMES: tuple[tuple[str, str], ...] = (
    (r"V100-SXM2-32GB", "v100-sxm2-32gb"),
    (r"A100-SXM4?-40GB", "a100-sxm-40gb"),
    (r"A100-SXM4?-80GB", "a100-sxm-80gb"),
    (r"A100-PCIE-40GB", "a100-pcie-40gb"),
    (r"A100 80GB PCIe", "a100-pcie-80gb"),
    (r"H100 80GB HBM3", "h100-sxm-80gb"),
    (r"H100 PCIe", "h100-pcie-80gb"),
    (r"H100 NVL", "h100-nvl-94gb"),
    (r"H200", "h200-sxm-141gb"),
    (r"B200", "b200-sxm-180gb"),
    (r"B300 SXM6 AC", "b300-sxm-288gb"),
    (r"GB200", "gb200-186gb"),
    (r"GB300", "gb300-279gb"),
    (r"L40S", "l40s-48gb"),
    (r"GeForce RTX 4090", "rtx-4090-24gb"),
    (r"AMD Instinct MI300X(?: OAM)?", "mi300x-192gb"),
)
"""As ``nvidia-smi -L`` and nccl-tests print them, with or without the maker before."""

_DEVICES = {
    "0x1db5": "v100-sxm2-32gb",
    "0x20b0": "a100-sxm-40gb",
    "0x20b2": "a100-sxm-80gb",
    "0x20b5": "a100-pcie-80gb",
    "0x20f1": "a100-pcie-40gb",
    "0x2330": "h100-sxm-80gb",
    "0x2331": "h100-pcie-80gb",
    "0x2335": "h200-sxm-141gb",
}
"""Device ids of the PCI ID repository (pci.ids), vendor 0x10de."""


def part_of_name(name: str) -> str | None:
    """``NVIDIA A100-SXM4-40GB``, with or without the maker, is ``a100-sxm-40gb``; None where it is not known whole."""
    plain = re.sub(r"^\s*(?:NVIDIA|Tesla)\s+", "", name.strip(), flags=re.I)
    return next((part for pattern, part in _NAMES if re.fullmatch(pattern, plain, re.I)), None)


def part_of_device(device_id: str) -> str | None:
    """Of a PCI device id such as ``0x2330``."""
    return _DEVICES.get(device_id.lower())


def parts(names: Iterable[str]) -> set[str]:
    """The parts among ``names``; what is not known adds none."""
    return {part for name in names if (part := part_of_name(name)) is not None}
