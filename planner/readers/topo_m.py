"""What ``nvidia-smi topo -m`` prints: how the GPUs and network cards of a node are joined.

A matrix has one row and one column per device, in any order, then columns of affinities. It is read with tabs as the
tool writes it or with blanks as people paste it, with the underlining of a terminal, with cards called by name
(``mlx5_0``, older drivers) or by number (``NIC0``, with a legend below). A file may hold several matrices.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from planner.readers.notes import Note
from planner.specs.document import read_text
from planner.specs.errors import refuse

DISTANCE = {"PIX": 0, "PXB": 1, "PHB": 2, "NODE": 3, "SYS": 4, "SOC": 4}
"""Paths over PCIe, from the nearest to the farthest (legend of the tool; SOC is SYS in old drivers)."""
_KIND = re.compile(r"NV\d+|NVB|" + "|".join(DISTANCE))
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\[\d{1,3}(?:;\d{1,3})*m")
_HEADINGS = {"cpu affinity": "cpu", "numa affinity": "numa", "gpu numa id": "gpu_numa"}
_HEADING = re.compile("|".join(name.replace(" ", r"\s+") for name in _HEADINGS), re.I)
_GPU = re.compile(r"GPU(\d+)")
_DEVICE = re.compile(r"[A-Za-z][\w.:-]*\d[\w.:-]*")
_NIC_LEGEND = re.compile(r"\s*(NIC\d+)\s*:\s*(\S+)\s*")
_LISTED = re.compile(r"\s*GPU\s+\d+\s*:\s*(.+?)\s*\(UUID:.*")
_CHATTER = re.compile(
    r"\s*(?:(?:NIC )?Legend:|(?:X|NV[#B\d]*|C2C|" + "|".join(DISTANCE) + r")\s+=\s.*|[-=]*|#.*)\s*", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopoMatrix:
    """One matrix, beginning at ``line``.

    ``gpus`` (by number) and ``nics`` (as in the header's order by name) are what the matrix calls them;
    ``nic_devices`` their device names where legend or name tells; ``links`` the kind of connection of two devices,
    both ways round (``NV18``, ``PIX``, ...); ``cpus`` and ``numa`` the affinities of a GPU where they stand;
    ``gpu_names`` those that ``nvidia-smi -L`` printed into the same file.
    """

    file: str
    line: int
    gpus: tuple[str, ...]
    nics: tuple[str, ...]
    nic_devices: Mapping[str, str]
    links: Mapping[tuple[str, str], str]
    cpus: Mapping[str, str]
    numa: Mapping[str, int]
    gpu_names: tuple[str, ...]
    notes: tuple[Note, ...]

    def nvlinks(self, gpu: str) -> dict[str, int]:
        """How many NVLinks join ``gpu`` with each other GPU; 0 where the path is none of NV#."""
        kinds = {other: self.links.get((gpu, other), "") for other in self.gpus if other != gpu}
        return {other: int(kind[2:]) if kind[2:].isdigit() else 0 for other, kind in kinds.items()}

    def nearest_nics(self, gpu: str) -> tuple[str, ...]:
        """The cards whose path to ``gpu`` is the shortest of all cards'; none where no path is known."""
        far = {nic: DISTANCE[kind] for nic in self.nics if (kind := self.links.get((gpu, nic), "")) in DISTANCE}
        return tuple(nic for nic in far if far[nic] == min(far.values()))


@dataclass(slots=True)
class _Open:
    """A matrix while its lines are read; ``headings`` of the columns behind the devices."""

    file: str
    line: int
    devices: list[str]
    headings: list[str]
    rows: dict[str, int] = field(default_factory=dict)
    links: dict[tuple[str, str], str] = field(default_factory=dict)
    selves: int = 0
    cpus: dict[str, str] = field(default_factory=dict)
    numa: dict[str, int] = field(default_factory=dict)
    legend: dict[str, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def note(self, line: int, text: str, why: str) -> None:
        self.notes.append(Note(file=self.file, line=line, text=text, why=why))


def read_topo_m(path: str | Path) -> list[TopoMatrix]:
    """The matrices of a file, in its order; a note of a line between them goes to the matrix before it.

    Raises ``SpecError`` where no matrix can be read, and where one contradicts itself.
    """
    file = str(path)
    text = _TERMINAL.sub("", read_text(path))
    opened, names, before = _matrices(file, text)
    whole = [matrix for matrix in opened if matrix.selves or matrix.links]
    if not whole:
        refuse(file, "holds no matrix of 'nvidia-smi topo -m': a line of GPU0, GPU1, ... and a row for each of them")
    lost = [note for matrix in opened if matrix not in whole for note in _passed_over(matrix)]
    whole[0].notes[:0] = before
    whole[-1].notes += lost
    return [_closed(matrix, names) for matrix in whole]


def looks_like_topo_m(text: str) -> bool:
    """Whether a line heads such a matrix and another is one of its rows."""
    plain = _TERMINAL.sub("", text).splitlines()
    return any(map(_header, plain)) and any(
        re.match(r"\s*GPU\d+\s+(?:X|NV\d+|NODE|SYS|P[IHX][XB])\b", t) for t in plain
    )


def _matrices(file: str, text: str) -> tuple[list[_Open], list[str], list[Note]]:
    opened: list[_Open] = []
    names: list[str] = []
    before: list[Note] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _header(line):
            opened.append(_Open(file, number, *header))
        elif opened and (words := line.split()) and words[0] in opened[-1].devices:
            _row(opened[-1], number, line)
        elif opened and (legend := _NIC_LEGEND.fullmatch(line)):
            opened[-1].legend[legend[1]] = legend[2]
        elif listed := _LISTED.fullmatch(line):
            names.append(listed[1])
        elif not _CHATTER.fullmatch(line):
            note = Note(file=file, line=number, text=line, why="is no part of a matrix: passed over")
            (opened[-1].notes if opened else before).append(note)
    return opened, names, before


def _header(line: str) -> tuple[list[str], list[str]] | None:
    """The devices and the headings behind them, or None."""
    found = list(_HEADING.finditer(line))
    devices = line[: found[0].start() if found else None].split()
    if not any(map(_GPU.fullmatch, devices)) or not all(map(_DEVICE.fullmatch, devices)):
        return None
    if any(map(_KIND.fullmatch, devices)) or (len(devices) < 2 and not found):
        return None
    return devices, [_HEADINGS[" ".join(match[0].lower().split())] for match in found]


def _row(matrix: _Open, number: int, line: str) -> None:
    count = len(matrix.devices)
    tabbed = [cell.strip() for cell in line.strip(" ").lstrip("\t").split("\t")]
    exact = len(tabbed) > count and all(_KIND.fullmatch(c) or c == "X" for c in tabbed[1 : count + 1])
    cells = tabbed if exact else line.split()
    name = cells[0]
    if name in matrix.rows:
        refuse(matrix.file, f"{name} has a row already, line {matrix.rows[name]}", line=number, value=name)
    if len(cells) <= count:
        matrix.note(number, line, f"has {len(cells) - 1} of {count} connections: passed over")
        return
    matrix.rows[name] = number
    for other, kind in zip(matrix.devices, cells[1 : count + 1], strict=True):
        _cell(matrix, number, name, other, kind)
    if _GPU.fullmatch(name):
        _affinities(matrix, number, name, cells[count + 1 :], exact)


def _cell(matrix: _Open, number: int, name: str, other: str, kind: str) -> None:
    if name == other:
        matrix.selves += kind == "X"
    elif not _KIND.fullmatch(kind):
        matrix.note(number, kind, f"from {name} to {other} is no connection that 'nvidia-smi topo -m' writes: not read")
    elif matrix.links.setdefault((other, name), kind) != kind:
        was = matrix.links[other, name]
        refuse(matrix.file, f"to {other}, but {was} back: which is true?", line=number, key=name, value=kind)
    else:
        matrix.links[name, other] = kind


def _affinities(matrix: _Open, number: int, gpu: str, cells: list[str], exact: bool) -> None:
    """The tool writes an empty cell before the GPU's NUMA ID, and nothing where it knows no affinity."""
    if exact:
        late = [cell for cell in cells[2:] if cell]
        cells = [*cells[:2], *late]
        if len(late) > 1:
            matrix.note(number, " ".join(late[1:]), "stands behind the last column: not read")
    values = dict(zip(matrix.headings, cells, strict=False))
    if len(cells) > len(matrix.headings) and not exact:
        matrix.note(number, " ".join(cells[len(matrix.headings) :]), "stands behind the last column: not read")
    if values.get("cpu") and values["cpu"] != "N/A":
        matrix.cpus[gpu] = values["cpu"]
    numa = values.get("numa", "")
    if numa in ("", "N/A"):
        return
    if not exact and len(cells) < len(matrix.headings):
        matrix.note(number, numa, "may stand under NUMA Affinity or under GPU NUMA ID: not read")
    elif numa.isdigit():
        matrix.numa[gpu] = int(numa)
    else:
        matrix.note(number, numa, f"is no single NUMA node of {gpu}: not read")


def _passed_over(matrix: _Open) -> Iterator[Note]:
    last = max(matrix.rows.values(), default=matrix.line)
    lines = f"lines {matrix.line} to {last}"
    yield Note(
        file=matrix.file,
        line=matrix.line,
        text=lines,
        why="a matrix without a connection that 'nvidia-smi topo -m' writes: passed over",
    )


def _closed(matrix: _Open, names: list[str]) -> TopoMatrix:
    gpus = sorted((d for d in matrix.devices if _GPU.fullmatch(d)), key=lambda d: int(d[3:]))
    nics = sorted((d for d in matrix.devices if not _GPU.fullmatch(d)), key=_natural)
    if twice := sorted({device for device in matrix.devices if matrix.devices.count(device) > 1}):
        refuse(matrix.file, "heads two columns", line=matrix.line, value=", ".join(twice))
    for gpu in gpus:
        if gpu not in matrix.rows:
            matrix.note(matrix.line, gpu, "has a column but no row that was read")
    called = {nic: matrix.legend.get(nic, "" if re.fullmatch(r"NIC\d+", nic) else nic) for nic in nics}
    return TopoMatrix(
        file=matrix.file,
        line=matrix.line,
        gpus=tuple(gpus),
        nics=tuple(nics),
        nic_devices={nic: device for nic, device in called.items() if device},
        links=matrix.links,
        cpus=matrix.cpus,
        numa=matrix.numa,
        gpu_names=tuple(names),
        notes=tuple(matrix.notes),
    )


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
