"""Models of topograph: today's layouts and the older list."""

from pathlib import Path

import pytest

from planner.readers.fabric import Fabric
from planner.readers.topograph import read_topograph
from planner.specs.errors import SpecError

BLOCKS = """switches:
  core:
    labels: {topology.kubernetes.io/region: us-east, accelerator: a switch has none}
    switches: [spine-1]
  spine-1:
    switches:
    - leaf-1
    - leaf-2
blocks:
- switch: leaf-1
  nodes: ["node[1101-1103]"]
  annotations: {accelerator.topology.test/domain: nvl-1}
- switch: leaf-2
  nodes: ["node[1201-1202]", node1203]
  labels: {network.topology.nvidia.com/accelerator: nvl-2, test.topology/rack: r2}
"""
NODES = """switches:
  S1: {switches: [S2, S3]}
  S2: {nodes: [I21, I22]}
  S3: {nodes: ["I[34-35]"]}
nodes:
  I21: {capacity_block: CB2, type: H100, attributes: {nvlink: nv2}}
  I22: {capacity_block: CB2, type: H100, attributes: {nvlink: nv2}}
  I34: {capacity_block: CB9}
capacity_blocks:
  CB2: {nodes: ["I[21-22]"]}
  CB3: {nodes: ["I[34-35]"]}
"""
OLD = """topology: topology/tree
switches:
- {name: S1, switches: [S2, S3]}
- {name: S2, capacity_blocks: [CB2]}
- {name: S3, capacity_blocks: [CB3]}
capacity_blocks:
- {name: CB2, type: H100, nvlink: nv1, nodes: [I21, I22, I25]}
- {name: CB3, type: H100, nodes: [I34]}
"""


def read(tmp_path: Path, text: str) -> Fabric:
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return read_topograph(path)


def test_blocks_hang_their_nodes_below_leaves_and_name_domains(tmp_path: Path) -> None:
    fabric = read(tmp_path, BLOCKS)
    assert [(s.name, s.switches, s.nodes) for s in fabric.switches] == [
        ("core", ("spine-1",), ()),
        ("spine-1", ("leaf-1", "leaf-2"), ()),
        ("leaf-1", (), ("node1101", "node1102", "node1103")),
        ("leaf-2", (), ("node1201", "node1202", "node1203")),
    ]
    assert [(b.name, b.domain, len(b.nodes)) for b in fabric.blocks] == [("leaf-1", "nvl-1", 3), ("leaf-2", "nvl-2", 3)]
    assert [(note.line, note.text) for note in fabric.notes] == [
        (15, "blocks[1].labels.test.topology/rack"),
        (3, "switches.core.labels.topology.kubernetes.io/region"),
        (3, "switches.core.labels.accelerator"),
    ]


def test_nodes_below_switches_and_domains_of_nodes(tmp_path: Path) -> None:
    fabric = read(tmp_path, NODES)
    assert fabric.nodes == ("I21", "I22", "I34", "I35")
    assert [(b.name, b.domain) for b in fabric.blocks] == [("CB2", "nv2"), ("CB3", None)]
    assert fabric.gpu_types == ("H100",)
    assert [(note.line, note.text) for note in fabric.notes] == [(8, "nodes.I34.capacity_block")]


def test_the_older_list_hangs_capacity_blocks_below_switches(tmp_path: Path) -> None:
    fabric = read(tmp_path, OLD)
    assert [(s.name, s.switches, s.nodes) for s in fabric.switches] == [
        ("S1", ("S2", "S3"), ()),
        ("S2", (), ("I21", "I22", "I25")),
        ("S3", (), ("I34",)),
    ]
    assert [(b.name, b.domain) for b in fabric.blocks] == [("CB2", "nv1"), ("CB3", None)]
    assert [(note.line, note.text) for note in fabric.notes] == [(1, "topology")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nodes: {a: {}}\n", "is no model of topograph"),
        ("switches: {a: {switches: [b]}}\n", "names no node"),
        ("switches: {a: {nodes: ['n[2-1]']}}\n", "switches.a.nodes[0]: 'n[2-1]': the range 2-1 runs backwards"),
        ("switches: {a: {nodes: [n1]}, b: {nodes: [n1]}}\n", "is below another switch already (a)"),
        ("switches: {a: 3}\n", "must be a mapping"),
        ("blocks:\n- {switch: a, nodes: [{x: 1}]}\n", "must be a name or a hostlist"),
        ("switches:\n- {nodes: [n1]}\n", "needs a name"),
    ],
)
def test_what_cannot_be_used_is_refused_where_it_stands(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
