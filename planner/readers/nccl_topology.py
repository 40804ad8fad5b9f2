"""NCCL's topology XML, dumped (``NCCL_TOPO_DUMP_FILE``) or hand-written (``NCCL_TOPO_FILE``); NCCL's ``graph/xml.cc``.

``system`` holds ``cpu`` (a NUMA node), that holds ``pci`` bridges and devices, those ``gpu`` with its ``nvlink``
and ``nic`` with its ``net``. A dump of several hosts joined by NVLink tells them apart by ``host_hash``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from planner.readers.notes import Note
from planner.specs.document import read_text
from planner.specs.errors import refuse

MOST_BYTES = 16 * 2**20
GPU_CLASSES = ("0x0300", "0x0302")
NIC_CLASSES = ("0x0200", "0x0207")
_READ = ("system", "cpu", "pci", "gpu", "nvlink", "nic", "net")


@dataclass(frozen=True, slots=True, kw_only=True)
class NcclGpu:
    """``path``: host, NUMA node and the bus ids above, itself last; ``nvlinks``: links by the other end's bus id;
    ``pci_bytes_per_second`` of its own slot, one direction, where speed and width stand."""

    line: int
    bus_id: str
    index: int | None
    compute_capability: int | None
    device_id: str
    numa: int | None
    path: tuple[str, ...]
    pci_bytes_per_second: float | None
    nvlinks: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NcclNic:
    """``bytes_per_second`` of the port, one direction, where the file tells; ``pci_class`` 0x0207.. is InfiniBand."""

    line: int
    name: str
    pci_class: str
    path: tuple[str, ...]
    bytes_per_second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NcclTopology:
    """All GPUs and network cards of ``hosts`` hosts."""

    file: str
    hosts: int
    gpus: tuple[NcclGpu, ...]
    nics: tuple[NcclNic, ...]
    notes: tuple[Note, ...]

    def nearest_nics(self, gpu: NcclGpu) -> tuple[NcclNic, ...]:
        """The cards that share the most of the way up with ``gpu``, if they share its host at all."""
        shared = {nic.path: sum(1 for _ in _common(nic.path, gpu.path)) for nic in self.nics}
        most = max(shared.values(), default=0)
        return tuple(nic for nic in self.nics if most and shared[nic.path] == most)

    def direct(self, gpu: NcclGpu) -> bool:
        """Whether its NVLinks end at other GPUs rather than at switches."""
        ends = {other.bus_id for other in self.gpus}
        return bool(gpu.nvlinks) and all(end in ends for end in gpu.nvlinks)


@dataclass(slots=True)
class _Element:
    tag: str
    line: int
    values: dict[str, str]
    parent: "_Element | None"
    children: list["_Element"] = field(default_factory=list)

    def above(self, tag: str) -> "_Element | None":
        found = self.parent
        while found is not None and found.tag != tag:
            found = found.parent
        return found


def read_nccl_topology(path: str | Path) -> NcclTopology:
    """GPUs by their device number, network cards in the file's order.

    Raises ``SpecError`` where the file is no XML of this kind, declares a document type (which could expand without
    end), or holds no GPU.
    """
    file = str(path)
    notes: list[Note] = []
    elements = _elements(file, read_text(path, MOST_BYTES))
    if not elements or elements[0].tag != "system":
        refuse(file, "is no NCCL topology: the outermost element must be <system>")
    for element in elements:
        if element.tag not in _READ and (element.parent is None or element.parent.tag in _READ):
            notes.append(Note(file=file, line=element.line, text=f"<{element.tag}>", why="is not read: passed over"))
    gpus = [_gpu(file, element, notes) for element in elements if _is(element, "gpu", GPU_CLASSES)]
    nics = [_nic(file, element, notes) for element in elements if _is(element, "net", NIC_CLASSES)]
    if not gpus:
        refuse(file, "holds no GPU: neither <gpu> nor a <pci> of class 0x0302")
    hosts = {element.values.get("host_hash", "") for element in elements if element.tag == "cpu"}
    return NcclTopology(
        file=file,
        hosts=max(1, len(hosts)),
        gpus=tuple(sorted(gpus, key=lambda gpu: (gpu.path[0], -1 if gpu.index is None else gpu.index))),
        nics=tuple(nics),
        notes=tuple(notes),
    )


def _elements(file: str, text: str) -> list[_Element]:
    """In document order."""
    found: list[_Element] = []
    open_elements: list[_Element] = []
    parser = expat.ParserCreate()

    def start(tag: str, values: dict[str, str]) -> None:
        parent = open_elements[-1] if open_elements else None
        element = _Element(tag, parser.CurrentLineNumber, values, parent)
        if parent is not None:
            parent.children.append(element)
        found.append(element)
        open_elements.append(element)

    def end(_: str) -> None:
        open_elements.pop()

    def doctype(*_: object) -> None:
        refuse(file, "declares a document type: take that line out", line=parser.CurrentLineNumber)

    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        refuse(file, f"is not XML: {expat.ErrorString(error.code)}", line=error.lineno)
    return found


def _is(element: _Element, tag: str, classes: tuple[str, ...]) -> bool:
    """The element itself, or a device of its class that a file written by hand leaves empty."""
    if element.tag == tag:
        return True
    return element.tag == "pci" and element.values.get("class", "").startswith(classes) and not element.children


def _gpu(file: str, element: _Element, notes: list[Note]) -> NcclGpu:
    device = element if element.tag == "pci" else (element.above("pci") or element)
    nvlinks: dict[str, int] = {}
    for link in (child for child in element.children if child.tag == "nvlink"):
        count, end = _whole(link.values.get("count")), link.values.get("target", "")
        if count is None or not end:
            why = "needs a target and a count of links: not read"
            notes.append(Note(file=file, line=link.line, text="<nvlink>", why=why))
        else:
            nvlinks[end] = nvlinks.get(end, 0) + count
    own = element.values if element.tag == "gpu" else {}
    cpu = element.above("cpu")
    numa = _whole(cpu.values.get("numaid")) if cpu else None
    return NcclGpu(
        line=element.line,
        bus_id=device.values.get("busid", ""),
        index=_whole(own.get("dev")),
        compute_capability=_whole(own.get("sm")),
        device_id=device.values.get("device", ""),
        numa=numa if numa is None or numa >= 0 else None,
        path=_path(device),
        pci_bytes_per_second=_pci_speed(device.values),
        nvlinks=nvlinks,
    )


def _nic(file: str, element: _Element, notes: list[Note]) -> NcclNic:
    device = element if element.tag == "pci" else (element.above("pci") or element)
    speed = _whole(element.values.get("speed")) if element.tag == "net" else None
    name = element.values.get("name", "") if element.tag == "net" else element.values.get("busid", "")
    if speed is None or speed <= 0:
        notes.append(Note(file=file, line=element.line, text=name, why="tells no speed"))
    return NcclNic(
        line=element.line,
        name=name,
        pci_class=device.values.get("class", "") if device.tag == "pci" else "",
        path=_path(device),
        bytes_per_second=speed * 1e6 / 8 if speed and speed > 0 else None,
    )


def _path(device: _Element) -> tuple[str, ...]:
    """Host, NUMA node, bus ids from the root down."""
    steps: list[str] = []
    at: _Element | None = device
    while at is not None:
        if at.tag == "pci":
            steps.append(at.values.get("busid", ""))
        elif at.tag == "cpu":
            steps += [f"numa {at.values.get('numaid', '')}", f"host {at.values.get('host_hash', '')}"]
        at = at.parent
    return tuple(reversed(steps))


def _pci_speed(values: Mapping[str, str]) -> float | None:
    """``16.0 GT/s PCIe`` and a width of lanes; 128b/130b from 8 GT/s on, 8b/10b below (PCI Express 3.0)."""
    words, width = values.get("link_speed", "").split(), _whole(values.get("link_width"))
    try:
        rate = float(words[0]) if words else 0.0
    except ValueError:
        return None
    if not 0 < rate < 1e3 or not width or not 0 < width <= 32:
        return None
    return rate * 1e9 * width / 8 * (128 / 130 if rate >= 8 else 0.8)


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> list[str]:
    count = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return list(one[:count])


def _whole(text: str | None) -> int | None:
    try:
        return int(text, 0) if text is not None and len(text) < 20 else None
    except ValueError:
        return None
