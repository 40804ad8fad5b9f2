"""Slurm's topology.conf, trees and blocks; the examples follow its manual page."""

from pathlib import Path

import pytest

from planner.readers.fabric import Fabric
from planner.readers.slurm_topology import read_slurm_topology
from planner.specs.errors import SpecError

TREE = """# a tree of two levels
SwitchName=core Switches=leaf[1-2]   # all of it
switchname=leaf1 NODES=tux[0-3,12] LinkSpeed=400
SwitchName=leaf2 \\
  Nodes=tux[4-5]
"""
BLOCKS = "BlockName=rack11 Nodes=srv[1101-1104]\nBlockName=rack12 Nodes=srv[1201-1204]\nBlockSizes=4,8\n"


def read(tmp_path: Path, text: str) -> Fabric:
    path = tmp_path / "topology.conf"
    path.write_text(text)
    return read_slurm_topology(path)


def test_a_tree_is_read_whatever_the_case_comments_and_continued_lines(tmp_path: Path) -> None:
    fabric = read(tmp_path, TREE)
    assert [(s.name, s.switches, s.line, s.link_speed) for s in fabric.switches] == [
        ("core", ("leaf1", "leaf2"), 2, None),
        ("leaf1", (), 3, "400"),
        ("leaf2", (), 4, None),
    ]
    assert fabric.nodes == ("tux0", "tux1", "tux2", "tux3", "tux12", "tux4", "tux5")
    assert fabric.notes == ()


def test_blocks_are_read_with_the_sizes_they_combine_to(tmp_path: Path) -> None:
    fabric = read(tmp_path, BLOCKS)
    assert [(b.name, len(b.nodes), b.line) for b in fabric.blocks] == [("rack11", 4, 1), ("rack12", 4, 2)]
    assert (fabric.block_sizes, len(fabric.nodes)) == ((4, 8), 8)


def test_what_scontrol_prints_repeats_nodes_that_are_taken_once(tmp_path: Path) -> None:
    shown = (
        "SwitchName=s0 Level=0 LinkSpeed=1 Nodes=n[0-1]\n"
        "SwitchName=s1 Level=0 LinkSpeed=1 Nodes=n[2-3]\n"
        "SwitchName=s2 Level=1 LinkSpeed=1 Nodes=n[0-3] Switches=s[0-1]\n"
    )
    fabric = read(tmp_path, shown)
    assert [s.nodes for s in fabric.switches] == [("n0", "n1"), ("n2", "n3"), ()]
    assert (fabric.nodes, fabric.notes) == (("n0", "n1", "n2", "n3"), ())


def test_what_is_not_read_is_told_with_its_line(tmp_path: Path) -> None:
    text = TREE + "SwitchName=leaf3 Nodes=ALL Colour=red\nTopologyParam\nSwitchName=top Switches=core,gone\n"
    fabric = read(tmp_path, text)
    assert [(note.line, note.text) for note in fabric.notes] == [
        (6, "Colour=red"),
        (7, "TopologyParam"),
        (6, "Nodes=ALL"),
        (8, "gone"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Nodes=a\n", "names no switch and no block"),
        ("SwitchName=a\n", "names no node"),
        ("SwitchName=a Nodes=ALL\n", "names no node"),
        ("SwitchName=a Nodes=n[1-\n", "conf:1: Nodes: 'n[1-': has a '[' without its ']'"),
        ("SwitchName= Nodes=n1\n", "needs a name"),
        ("SwitchName=a Nodes=n1 nodes=n2\n", "given twice"),
        ("SwitchName=a Nodes=n1\nSwitchName=a Nodes=n2\n", "conf:2: a: names a switch a second time"),
        ("SwitchName=a Nodes=n1\nSwitchName=b Nodes=n1\n", "conf:2: n1: is below another switch already (a)"),
        ("SwitchName=a Switches=c\nSwitchName=b Switches=c\nSwitchName=c Nodes=n\n", "one way up"),
        ("SwitchName=a Switches=b\nSwitchName=b Switches=a\nSwitchName=c Nodes=n\n", "is above itself"),
        ("BlockName=a Nodes=n1\nBlockName=b Nodes=n1\n", "is in another block already (a)"),
        (BLOCKS + "BlockSizes=2\n", "is given already, line 3"),
        ("BlockName=a Nodes=n1\nBlockSizes=4,x\n", "must be numbers of nodes"),
    ],
)
def test_contradictions_are_refused_where_they_stand(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_every_contradiction_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, "SwitchName=a Nodes=n[1-3]\nSwitchName=b Nodes=n[2-3]\n")
    assert len(caught.value.problems) == 2
