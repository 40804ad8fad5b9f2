"""A fabric as the cluster spec writes it: one tree of switches, nodes at its leaves."""

from collections.abc import Iterator, Sequence
from typing import Any

from planner.readers.fabric import Fabric, Switch
from planner.readers.hostlist import compress_hostlist

TOP = "top"
"""Stands above what no file joins."""


def switch_specs(fabric: Fabric) -> tuple[list[dict[str, Any]], list[str]]:
    """The entries of ``topology.switches``, none where the fabric is no such tree, and remarks on what was made of it.

    Switches with nothing below are left out; where a switch has switches and nodes, the nodes get a leaf of their own;
    several trees, or blocks without one, are joined by a switch ``top``.
    """
    written = fabric.switches or tuple(Switch(name=block.name, nodes=block.nodes) for block in fabric.blocks)
    switches = list(_leaves_apart(_joined(written)))
    lone = set(fabric.nodes) - {node for switch in switches for node in switch.nodes}
    if lone:
        return [], [f"topology: left out: {len(lone)} nodes are below no switch, e.g. {min(lone)} ({fabric.file})"]
    remarks = [f"topology: {fabric.file}; no file tells oversubscription or uplinks"]
    below = {child for switch in switches for child in switch.switches}
    roots = [switch.name for switch in switches if switch.name not in below]
    if len(roots) > 1:
        top = TOP
        while any(switch.name == top for switch in switches):
            top += "-"
        switches.insert(0, Switch(name=top, switches=tuple(roots)))
        remarks.append(f"topology: what joins {len(roots)} parts is not told: switch {top} without oversubscription")
    return [_entry(switch) for switch in switches], remarks


def hostlist(names: Sequence[str]) -> str | list[str]:
    """In short form where the names allow it."""
    try:
        return compress_hostlist(names)
    except ValueError:
        return list(names)


def _joined(switches: Sequence[Switch]) -> list[Switch]:
    """Those with nodes somewhere below, and only such among their children."""
    kept = {switch.name: switch for switch in switches}
    while True:
        empty = {name for name, s in kept.items() if not s.nodes and not any(child in kept for child in s.switches)}
        if not empty:
            return [
                Switch(name=s.name, nodes=s.nodes, switches=tuple(child for child in s.switches if child in kept))
                for s in kept.values()
            ]
        kept = {name: switch for name, switch in kept.items() if name not in empty}


def _leaves_apart(switches: Sequence[Switch]) -> Iterator[Switch]:
    names = {switch.name for switch in switches}
    for switch in switches:
        if not switch.nodes or not switch.switches:
            yield switch
            continue
        leaf = f"{switch.name}-nodes"
        while leaf in names:
            leaf += "-"
        yield Switch(name=switch.name, switches=(*switch.switches, leaf))
        yield Switch(name=leaf, nodes=switch.nodes)


def _entry(switch: Switch) -> dict[str, Any]:
    key, held = ("nodes", switch.nodes) if switch.nodes else ("switches", switch.switches)
    return {"name": switch.name, key: hostlist(held)}
