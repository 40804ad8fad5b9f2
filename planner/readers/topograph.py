"""Models of NVIDIA's topograph (``tests/models`` of its repository): YAML with switches, nodes and blocks.

``switches`` is a mapping of names, or the older list of ``{name: ...}``, with child ``switches``, ``nodes`` or
``capacity_blocks``; ``blocks`` hang nodes below a leaf ``switch``; ``capacity_blocks`` group nodes; ``nodes`` describe
single ones. Names are hostlists. The accelerator domain stands under a label, annotation or attribute whose key
speaks of an accelerator or of NVLink.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planner.readers.fabric import Block, Fabric, Switch, names
from planner.readers.notes import Note
from planner.specs.document import Document, Place, read_document, spelled
from planner.specs.errors import refuse, shown

_LABELS = ("annotations", "labels", "attributes")
_SWITCH_KEYS = ("name", "switches", "nodes", "capacity_blocks", *_LABELS)
_BLOCK_KEYS = ("name", "switch", "nodes", "type", "nvlink", *_LABELS)
_NODE_KEYS = ("capacity_block", "type", "nvlink", *_LABELS)
_TOP = ("switches", "blocks", "capacity_blocks", "nodes")


@dataclass(frozen=True, slots=True)
class _Entry:
    """One switch, block or node: its name where it has one, what it holds, where it stands."""

    name: str
    data: Mapping[Any, Any]
    place: Place


@dataclass(slots=True)
class _Reading:
    document: Document
    notes: list[Note] = field(default_factory=list)

    def note(self, place: Place, why: str) -> None:
        line = self.document.line(place)
        self.notes.append(Note(file=self.document.file, line=line, text=spelled(place), why=why))

    def refuse(self, place: Place, value: object, message: str) -> None:
        line = self.document.line(place)
        refuse(self.document.file, message, line=line, key=spelled(place), value=shown(value))

    def entries(self, key: str, known: tuple[str, ...]) -> list[_Entry]:
        """Of a mapping name -> entry, or of a list of entries."""
        section = self.document.data.get(key)
        if section is None:
            return []
        if isinstance(section, dict):
            pairs: list[tuple[Place, str, object]] = [((key, name), str(name), data) for name, data in section.items()]
        elif isinstance(section, list):
            pairs = [((key, i), "", data) for i, data in enumerate(section)]
        else:
            self.refuse((key,), section, "must be a mapping of names, or a list")
            return []
        found = []
        for place, name, data in pairs:
            if data is not None and not isinstance(data, dict):
                self.refuse(place, data, "must be a mapping")
            assert data is None or isinstance(data, dict)
            entry = data or {}
            for unknown in (k for k in entry if k not in known):
                self.note((*place, unknown), "is no key that is read here: passed over")
            for labels in (k for k in _LABELS if isinstance(entry.get(k), dict)):
                for label in entry[labels]:
                    if key == "switches" or not _speaks_of_domain(str(label)):
                        self.note((*place, labels, label), "is no accelerator domain: passed over")
            found.append(_Entry(name or str(entry.get("name") or ""), entry, place))
        return found

    def names(self, entry: _Entry, key: str) -> tuple[str, ...]:
        value = entry.data.get(key)
        items = value if isinstance(value, list) else [] if value is None else [value]
        found: list[str] = []
        for i, item in enumerate(items):
            place = (*entry.place, key, i)
            if isinstance(item, dict | list) or item is None:
                self.refuse(place, item, "must be a name or a hostlist such as node[1101-1118]")
            found.extend(names(self.document.file, self.document.line(place), spelled(place), str(item)))
        return tuple(found)

    def domain(self, entry: _Entry) -> str | None:
        """The accelerator domain that labels, annotations, attributes or a key of its own name."""
        told = {str(k): v for k, v in entry.data.items() if not isinstance(v, dict | list)}
        for key in _LABELS:
            labels = entry.data.get(key)
            told |= {str(k): v for k, v in labels.items()} if isinstance(labels, dict) else {}
        return next((str(v) for k, v in told.items() if _speaks_of_domain(k)), None)


def read_topograph(path: str | Path) -> Fabric:
    """Switches with the nodes below them, and the blocks with their accelerator domains.

    Raises ``SpecError`` where the file is no such model, names no node, or contradicts itself (``Fabric.check``).
    """
    reading = _Reading(read_document(path))
    if not is_topograph(reading.document):
        refuse(str(path), "is no model of topograph: needs 'switches' with names, 'blocks' or 'capacity_blocks'")
    for key in reading.document.data:
        if key not in _TOP:
            reading.note((str(key),), "is no part that is read here: passed over")
    blocks = [*reading.entries("blocks", _BLOCK_KEYS), *reading.entries("capacity_blocks", _BLOCK_KEYS)]
    nodes = reading.entries("nodes", _NODE_KEYS)
    switches = reading.entries("switches", _SWITCH_KEYS)
    fabric = Fabric(
        file=str(path),
        switches=tuple(_switches(reading, switches, blocks)),
        blocks=tuple(_blocks(reading, blocks, nodes)),
        gpu_types=tuple(sorted({str(e.data["type"]) for e in (*blocks, *nodes) if e.data.get("type")})),
        notes=tuple(reading.notes),
    )
    fabric.check()
    if not fabric.nodes:
        refuse(str(path), "names no node")
    return fabric


def _speaks_of_domain(key: str) -> bool:
    return "accelerator" in key or "nvlink" in key


def is_topograph(document: Document) -> bool:
    """Whether the mapping is such a model rather than a spec of ours."""
    data = document.data
    parts = [data.get(key) for key in ("switches", "blocks", "capacity_blocks")]
    return any(isinstance(part, list | dict) and part for part in parts) and "node_groups" not in data


def _switches(reading: _Reading, switches: list[_Entry], blocks: list[_Entry]) -> Iterator[Switch]:
    """Those written out, then the leaves that blocks name."""
    in_block = {block.name: reading.names(block, "nodes") for block in blocks if block.name}
    hung: dict[str, list[str]] = {}
    for block in blocks:
        if leaf := block.data.get("switch"):
            hung.setdefault(str(leaf), []).extend(reading.names(block, "nodes"))
    for entry in switches:
        if not entry.name:
            reading.refuse(entry.place, entry.data, "needs a name")
        below = [*reading.names(entry, "nodes"), *hung.pop(entry.name, [])]
        for block_name in reading.names(entry, "capacity_blocks"):
            if block_name not in in_block:
                reading.note((*entry.place, "capacity_blocks"), f"{block_name} is not among capacity_blocks")
            below.extend(in_block.get(block_name, ()))
        yield Switch(
            name=entry.name,
            line=reading.document.line(entry.place),
            switches=reading.names(entry, "switches"),
            nodes=tuple(below),
        )
    for leaf, below in hung.items():
        yield Switch(name=leaf, nodes=tuple(below))


def _blocks(reading: _Reading, blocks: list[_Entry], nodes: list[_Entry]) -> Iterator[Block]:
    """A block without a domain of its own has that of its nodes where all of them name the same."""
    of_node = {node.name: reading.domain(node) for node in nodes}
    of_block = {name: block.name for block in blocks for name in reading.names(block, "nodes")}
    for node in nodes:
        if "capacity_block" in node.data and of_block.get(node.name) != node.data["capacity_block"]:
            reading.note((*node.place, "capacity_block"), "does not list this node: passed over")
    for i, entry in enumerate(blocks):
        below = reading.names(entry, "nodes")
        shared = {of_node.get(name) for name in below}
        yield Block(
            name=entry.name or str(entry.data.get("switch") or f"block {i}"),
            line=reading.document.line(entry.place),
            nodes=below,
            domain=reading.domain(entry) or (shared.pop() if len(shared) == 1 else None),
        )
