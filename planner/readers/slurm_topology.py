"""Slurm's ``topology.conf`` (its manual page): a tree of switches, or blocks of nodes; also what
``scontrol show topology`` prints, which adds levels and every node below each switch."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from planner.readers.fabric import Block, Fabric, Switch, names
from planner.readers.notes import Note
from planner.specs.document import read_text
from planner.specs.errors import refuse

MOST_BYTES = 16 * 2**20
_PAIR = re.compile(r"([A-Za-z]+)=(\"[^\"]*\"|\S*)")
_KEYS = ("switchname", "blockname", "blocksizes", "switches", "nodes", "linkspeed", "level", "blockindex", "blocksize")
_OF_SCONTROL = ("level", "blockindex", "blocksize")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    number: int
    text: str
    values: dict[str, str]


def read_slurm_topology(path: str | Path) -> Fabric:
    """Switches and blocks in the file's order; names of keys in any case, comments, lines continued by ``\\``.

    Raises ``SpecError`` where it names no switch and no block, a line holds no name or no hostlist, and where
    nodes or switches contradict themselves (``Fabric.check``).
    """
    file = str(path)
    notes: list[Note] = []
    lines = list(_lines(file, read_text(path, MOST_BYTES), notes))
    switches = [_switch(file, line, notes) for line in lines if "switchname" in line.values]
    blocks = [_block(file, line, notes) for line in lines if "blockname" in line.values]
    if not switches and not blocks:
        refuse(file, "names no switch and no block: is it a topology.conf, with SwitchName= or BlockName=?")
    fabric = Fabric(
        file=file,
        switches=tuple(_direct(switches, notes, file)),
        blocks=tuple(blocks),
        block_sizes=_sizes(file, lines),
        notes=tuple(notes),
    )
    fabric.check()
    if not fabric.nodes:
        refuse(file, "names no node: switches need Nodes= at the leaves")
    return fabric


def _lines(file: str, text: str, notes: list[Note]) -> Iterator[_Line]:
    for number, line in _joined(text):
        values: dict[str, str] = {}
        for match in _PAIR.finditer(line):
            key = match[1].lower()
            if key not in _KEYS:
                notes.append(
                    Note(file=file, line=number, text=match[0], why="is no key that is read here: passed over")
                )
            elif key in values:
                refuse(file, "is given twice on this line", line=number, key=match[1])
            else:
                values[key] = match[2].strip('"')
        if rest := _PAIR.sub("", line).strip():
            notes.append(Note(file=file, line=number, text=rest, why="is no Key=Value: passed over"))
        if values and not values.keys() & {"switchname", "blockname", "blocksizes"}:
            notes.append(Note(file=file, line=number, text=line, why="names no switch and no block: passed over"))
        yield _Line(number=number, text=line, values=values)


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, those that end in a backslash joined with the next, each with its first number."""
    begun, held = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        begun = begun if held else number
        plain = line.partition("#")[0].rstrip()
        if plain.endswith("\\"):
            held += plain[:-1] + " "
            continue
        if (held + plain).strip():
            yield begun, held + plain
        held = ""
    if held.strip():
        yield begun, held


def _switch(file: str, line: _Line, notes: list[Note]) -> Switch:
    return Switch(
        name=_name(file, line, "switchname"),
        line=line.number,
        switches=_names(file, line, "switches", notes),
        nodes=_names(file, line, "nodes", notes),
        link_speed=line.values.get("linkspeed"),
    )


def _block(file: str, line: _Line, notes: list[Note]) -> Block:
    return Block(name=_name(file, line, "blockname"), line=line.number, nodes=_names(file, line, "nodes", notes))


def _name(file: str, line: _Line, key: str) -> str:
    if not line.values[key]:
        refuse(file, "needs a name", line=line.number, key="SwitchName" if key == "switchname" else "BlockName")
    return line.values[key]


def _names(file: str, line: _Line, key: str, notes: list[Note]) -> tuple[str, ...]:
    text = line.values.get(key)
    if text is None:
        return ()
    if text.upper() == "ALL":
        why = "stands for every node of slurm.conf, which is not read here: no names taken from it"
        notes.append(Note(file=file, line=line.number, text=f"{key.capitalize()}={text}", why=why))
        return ()
    return names(file, line.number, key.capitalize(), text)


def _direct(switches: list[Switch], notes: list[Note], file: str) -> Iterator[Switch]:
    """Without the nodes that ``scontrol`` repeats at every switch above theirs; notes on children without a line."""
    known = {switch.name for switch in switches}
    for switch in switches:
        for child in switch.switches:
            if child not in known:
                why = f"is below {switch.name}, but no line says what is below it"
                notes.append(Note(file=file, line=switch.line, text=child, why=why))
        yield Switch(
            name=switch.name,
            line=switch.line,
            switches=switch.switches,
            nodes=() if switch.switches and _repeats(switch, switches) else switch.nodes,
            link_speed=switch.link_speed,
        )


def _repeats(switch: Switch, switches: list[Switch]) -> bool:
    below = {node for other in switches if other.name in switch.switches for node in other.nodes}
    return set(switch.nodes) <= below


def _sizes(file: str, lines: list[_Line]) -> tuple[int, ...]:
    found = [(line, line.values["blocksizes"]) for line in lines if "blocksizes" in line.values]
    if len(found) > 1:
        refuse(file, f"is given already, line {found[0][0].number}", line=found[1][0].number, key="BlockSizes")
    sizes: list[int] = []
    for line, text in found:
        for size in text.split(","):
            if not re.fullmatch(r"[0-9]{1,9}", size) or not int(size):
                refuse(file, "must be numbers of nodes, e.g. 8,16", line=line.number, key="BlockSizes", value=text)
            sizes.append(int(size))
    return tuple(sizes)
