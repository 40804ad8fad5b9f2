"""NCCL's topology XML: dumped on hosts with switches, dumped by two hosts, and written by hand."""

from pathlib import Path

import pytest

from planner.readers.nccl_topology import NcclTopology, read_nccl_topology
from planner.specs.errors import SpecError

PCI = 'link_speed="32.0 GT/s PCIe" link_width="16"'


def gpu(bus: str, index: int, nvlinks: str, device: str = "0x2335") -> str:
    return (
        f'<pci busid="{bus}" class="0x030200" vendor="0x10de" device="{device}" {PCI}>'
        f'<gpu dev="{index}" sm="90" rank="{index}" gdr="1">{nvlinks}</gpu></pci>\n'
    )


def nic(bus: str, name: str, speed: int = 400000) -> str:
    return (
        f'<pci busid="{bus}" class="0x020700" {PCI}><nic><net name="{name}" dev="0" speed="{speed}" port="1"/>'
        "</nic></pci>\n"
    )


SWITCHED = '<nvlink target="0000:07:00.0" count="10" tclass="0x068000"/><nvlink target="0000:06:00.0" count="8"/>'
DUMP = (
    '<system version="1">\n<cpu host_hash="0x1" numaid="0" affinity="ff">\n'
    f'<pci busid="0000:16:00.0" class="0x060400" {PCI}>\n'
    + gpu("0000:18:00.0", 0, SWITCHED)
    + nic("0000:19:00.0", "mlx5_0")
    + "</pci>\n"
    f'<pci busid="0000:27:00.0" class="0x060400" {PCI}>\n'
    + nic("0000:29:00.0", "mlx5_1")
    + gpu("0000:2a:00.0", 1, SWITCHED)
    + "</pci>\n</cpu>\n</system>\n"
)


def read(tmp_path: Path, text: str) -> NcclTopology:
    path = tmp_path / "topo.xml"
    path.write_text(text)
    return read_nccl_topology(path)


def test_gpus_links_and_the_cards_nearest_to_them(tmp_path: Path) -> None:
    """One direction of a PCIe 5.0 x16 slot: 32 GT/s x 16 lanes x 128/130 / 8 bits = 63.015 GB/s.
    400,000 Mb/s are 50 GB/s."""
    topology = read(tmp_path, DUMP)
    assert [(g.index, g.bus_id, g.numa, g.compute_capability, sum(g.nvlinks.values())) for g in topology.gpus] == [
        (0, "0000:18:00.0", 0, 90, 18),
        (1, "0000:2a:00.0", 0, 90, 18),
    ]
    assert [[n.name for n in topology.nearest_nics(g)] for g in topology.gpus] == [["mlx5_0"], ["mlx5_1"]]
    assert [n.bytes_per_second for n in topology.nics] == [50e9, 50e9]
    assert topology.gpus[0].pci_bytes_per_second == pytest.approx(63.015e9, rel=1e-4)
    assert [topology.direct(g) for g in topology.gpus] == [False, False]
    assert (topology.hosts, topology.notes) == (1, ())


def test_links_between_gpus_themselves_are_direct(tmp_path: Path) -> None:
    text = DUMP.replace("0000:07:00.0", "0000:2a:00.0").replace("0000:06:00.0", "0000:2a:00.0")
    topology = read(tmp_path, text)
    assert topology.gpus[0].nvlinks == {"0000:2a:00.0": 18}
    assert topology.direct(topology.gpus[0])


def test_a_dump_of_two_hosts_tells_them_apart(tmp_path: Path) -> None:
    cpu = DUMP.split("\n", 1)[1].rsplit("</system>", 1)[0]
    topology = read(tmp_path, f"<system>{cpu}{cpu.replace('0x1', '0x2', 1)}</system>")
    assert (topology.hosts, len(topology.gpus)) == (2, 4)
    assert [gpu.path[0] for gpu in topology.gpus] == ["host 0x1"] * 2 + ["host 0x2"] * 2
    assert [[n.name for n in topology.nearest_nics(g)] for g in topology.gpus] == [["mlx5_0"], ["mlx5_1"]] * 2


def test_files_written_by_hand_name_devices_by_class_only(tmp_path: Path) -> None:
    text = (
        '<system version="1"><cpu numaid="-1"><pci busid="ffff:ff:01.0" class="0x060400">\n'
        '<pci busid="0001:00:00.0" class="0x030200" link_speed="" link_width="0"/>\n'
        '<pci busid="0101:00:00.0" class="0x020700" link_speed="16 GT/s" link_width="16"/>\n'
        "</pci></cpu></system>"
    )
    topology = read(tmp_path, text)
    (one,), (card,) = topology.gpus, topology.nics
    assert (one.bus_id, one.index, one.numa, one.nvlinks, one.pci_bytes_per_second) == (
        "0001:00:00.0",
        None,
        None,
        {},
        None,
    )
    assert (card.name, card.bytes_per_second) == ("0101:00:00.0", None)
    assert topology.nearest_nics(one) == (card,)
    assert [(note.line, note.why) for note in topology.notes] == [(3, "tells no speed")]


def test_elements_that_are_not_read_are_told(tmp_path: Path) -> None:
    topology = read(tmp_path, DUMP.replace(SWITCHED, SWITCHED + '<c2c bw="9"/>\n<nvlink count="x"/>', 1))
    assert [(note.line, note.text) for note in topology.notes] == [(4, "<c2c>"), (5, "<nvlink>")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<system><cpu>", "is not XML"),
        ("<graphs/>", "must be <system>"),
        ("<system><cpu/></system>", "holds no GPU"),
        ('<!DOCTYPE s [<!ENTITY a "b">]><system>&a;</system>', "declares a document type"),
    ],
)
def test_what_is_no_topology_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
