"""What files about a network say of it: switches over switches over nodes, and blocks of nodes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from planner.readers.hostlist import expand_hostlist
from planner.readers.notes import Note
from planner.specs.errors import Problem, SpecError, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """``switches`` and ``nodes`` hang directly below; ``link_speed`` as written, in no stated unit."""

    name: str
    line: int | None = None
    switches: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    link_speed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Nodes that belong closely together; ``domain`` names the accelerator (NVLink) domain where the file does."""

    name: str
    nodes: tuple[str, ...]
    line: int | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """``block_sizes`` in nodes, as the scheduler may combine blocks; ``gpu_types`` as the file calls them."""

    file: str
    switches: tuple[Switch, ...] = ()
    blocks: tuple[Block, ...] = ()
    block_sizes: tuple[int, ...] = ()
    gpu_types: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node once: in the order of the tree's leaves from its roots down, then of the blocks."""
        by_name = {switch.name: switch for switch in self.switches}
        below = {child for switch in self.switches for child in switch.switches}
        found: dict[str, None] = {}
        waiting = [switch for switch in reversed(self.switches) if switch.name not in below]
        while waiting:
            switch = waiting.pop()
            found.update(dict.fromkeys(switch.nodes))
            waiting.extend(by_name[child] for child in reversed(switch.switches) if child in by_name)
        found.update(dict.fromkeys(node for block in self.blocks for node in block.nodes))
        return tuple(found)

    def check(self) -> None:
        """Raises ``SpecError`` with every name given twice, node or switch below two, and circle of switches."""
        if problems := list(_contradictions(self)):
            raise SpecError(problems)


def names(file: str, line: int | None, key: str, text: str) -> tuple[str, ...]:
    """The names in a hostlist; raises ``SpecError`` saying where it is no hostlist."""
    try:
        return expand_hostlist(text)
    except ValueError as error:
        raise SpecError([Problem(file=file, line=line, key=key, value=shown(text), message=str(error))]) from None


def _contradictions(fabric: Fabric) -> Iterator[Problem]:
    def problem(line: int | None, name: str, message: str) -> Problem:
        return Problem(file=fabric.file, line=line, key="", value=name, message=message)

    for kind, entries in (("switch", fabric.switches), ("block", fabric.blocks)):
        for line, name, first in _twice((entry.line, entry.name, "") for entry in entries):
            yield problem(line, name, f"names a {kind} a second time{first}")
    for line, name, first in _twice((s.line, node, s.name) for s in fabric.switches for node in s.nodes):
        yield problem(line, name, f"is below another switch already{first}: a node belongs to one leaf")
    for line, name, first in _twice((b.line, node, b.name) for b in fabric.blocks for node in b.nodes):
        yield problem(line, name, f"is in another block already{first}")
    for line, name, first in _twice((s.line, child, s.name) for s in fabric.switches for child in s.switches):
        yield problem(line, name, f"is below another switch already{first}: a tree has one way up")
    for switch in _in_circles(fabric.switches):
        yield problem(switch.line, switch.name, "is above itself: switches in a circle")


def _twice(found: Iterable[tuple[int | None, str, str]]) -> Iterator[tuple[int | None, str, str]]:
    first: dict[str, str] = {}
    for line, name, owner in found:
        if name in first:
            yield line, name, f" ({first[name]})" if first[name] else ""
        first.setdefault(name, owner)


def _in_circles(switches: tuple[Switch, ...]) -> Iterator[Switch]:
    """Switches that no walk down from a root reaches, where every one has at most one above it."""
    above = {child: switch.name for switch in switches for child in switch.switches}
    safe: set[str] = set()
    for switch in switches:
        walked: list[str] = []
        name: str | None = switch.name
        while name is not None and name not in safe and name not in walked:
            walked.append(name)
            name = above.get(name)
        if name is not None and name in walked:
            yield switch
        else:
            safe.update(walked)
