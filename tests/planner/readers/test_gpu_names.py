"""Names of drivers and PCI ids lead to parts that the catalogue has."""

import pytest

from costmodels.catalogue import load_catalogue
from planner.readers.gpu_names import _DEVICES, _NAMES, part_of_device, part_of_name, parts


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("A100-SXM4-40GB", "a100-sxm-40gb"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm-80gb"),
        ("NVIDIA H100 PCIe", "h100-pcie-80gb"),
        ("NVIDIA H200", "h200-sxm-141gb"),
        ("Tesla V100-SXM2-32GB", "v100-sxm2-32gb"),
        ("NVIDIA H200 NVL", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("", None),
    ],
)
def test_a_name_that_is_known_whole_is_one_part(name: str, part: str | None) -> None:
    assert part_of_name(name) == part


def test_every_part_is_in_the_catalogue() -> None:
    known = load_catalogue().gpus
    assert {part for _, part in _NAMES} | set(_DEVICES.values()) <= known.keys()


def test_devices_and_sets_of_names() -> None:
    assert (part_of_device("0x20B0"), part_of_device("0xffff")) == ("a100-sxm-40gb", None)
    assert parts(["A100-SXM4-40GB", "GeForce 256"]) == {"a100-sxm-40gb"}
