"""Keys of a cluster spec that say what joins its nodes; shares and uplinks are worked by hand."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from planner.specs import SpecError, load_cluster, load_machines
from tests.planner.specs.test_machines import SPEC

TREE: dict[str, Any] = {
    "switches": [
        {"name": "leaf1", "nodes": "srv[1-2]", "latency": "1 us"},
        {"name": "leaf2", "nodes": ["srv3", "srv4"], "latency": "1 us"},
        {"name": "spine", "switches": "leaf[1-2]", "oversubscription": 2.0, "latency": "2 us"},
    ]
}


def spec(count: int = 4, names: Any = "srv[1-4]", **more: Any) -> dict[str, Any]:
    """DGX H100 nodes, 8 cards of 50 GB/s each, without oversubscription."""
    found = copy.deepcopy(SPEC)
    found["fabric"] = {"latency": "5 us"}
    found["node_groups"][0]["count"] = count
    if names is not None:
        found["node_groups"][0]["names"] = names
    return found | copy.deepcopy(more)


def problems(given: dict[str, Any], **options: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_machines(given, **options)
    return [str(problem) for problem in caught.value.problems]


def test_a_spec_of_plain_figures_has_no_topology() -> None:
    assert load_cluster(SPEC).topology is None
    assert load_cluster("gb200-nvl72-64").topology is None
    machines = load_machines(SPEC)
    assert machines.topology.names[:2] == ("node0", "node1")
    assert machines.topology.slowest_share() == pytest.approx(8 * 50e9 / 2)  # all cards over an oversubscription of 2


def test_uplinks_follow_from_the_cards_below_them() -> None:
    """Two nodes of 400 GB/s a leaf, oversubscription 2: 400 GB/s up, half a node's cards for each when all talk."""
    cluster = load_cluster(spec(topology=TREE))
    fabric = cluster.topology
    assert fabric is not None
    assert [s.uplink_bytes_per_second for s in fabric.switches] == [pytest.approx(400e9)] * 2 + [float("inf")]
    assert cluster.scale_out.bytes_per_second == pytest.approx(400e9 / 2 / 8)
    assert cluster.scale_out.latency_seconds == pytest.approx(5e-6 + 1e-6 + 2e-6 + 1e-6)
    assert fabric.pair_bandwidth()[0, 3] == pytest.approx(400e9)


def test_an_uplink_may_be_written_out_and_rails_are_of_the_leaves() -> None:
    tree = copy.deepcopy(TREE) | {"rails": True}
    tree["switches"][2] = {"name": "spine", "switches": "leaf[1-2]", "uplink": "800 Gb/s"}
    cluster = load_cluster(spec(topology=tree))
    assert cluster.topology is not None
    assert [s.rails for s in cluster.topology.switches] == [True, True, False]
    assert cluster.topology.pair_bandwidth()[1, 2] == pytest.approx(100e9)
    assert cluster.scale_out.bytes_per_second == pytest.approx(100e9 / 2 / 8)


def test_oversubscription_higher_up_is_of_all_cards_below() -> None:
    tree = {
        "switches": [
            {"name": "l1", "nodes": "node[0-1]"},
            {"name": "l2", "nodes": "node[2-3]"},
            {"name": "s1", "switches": "l[1-2]"},
            {"name": "l3", "nodes": "node4"},
            {"name": "top", "switches": "s1,l3", "oversubscription": 4},
        ]
    }
    cluster = load_cluster(spec(5, None, topology=tree))
    assert cluster.topology is not None
    uplinks = [s.uplink_bytes_per_second / 1e9 for s in cluster.topology.switches]
    assert uplinks == pytest.approx([800, 800, 400, 100, float("inf")])
    assert cluster.scale_out.bytes_per_second == pytest.approx(100e9 / 8)  # one node alone behind l3


def test_a_degraded_node_or_link_is_the_slowest_share() -> None:
    node = spec(degraded=[{"node": "srv2", "bandwidth": "100 GB/s"}])
    assert load_cluster(node).scale_out.bytes_per_second == pytest.approx(100e9 / 8)
    link = load_cluster(spec(degraded=[{"nodes": ["srv2", "srv4"], "bandwidth": "10 GB/s"}]))
    assert link.scale_out.bytes_per_second == pytest.approx(10e9 / 8)
    assert link.topology is not None
    assert (link.topology.pair_bandwidth()[1] / 1e9).tolist() == [400, float("inf"), 400, 10]


def test_a_measured_table_is_kept_and_its_slowest_pair_sets_the_share(tmp_path: Path) -> None:
    (tmp_path / "bw.csv").write_text("0,300,300,300\n300,0,300,300\n300,300,0,120\n300,300,200,0\n")
    given = spec(measured={"bandwidth_csv": "bw.csv"})
    (tmp_path / "c.json").write_text(json.dumps(given))
    cluster = load_cluster(tmp_path / "c.json")
    assert cluster.scale_out.bytes_per_second == pytest.approx(120e9 / 8)
    assert cluster.topology is not None
    assert cluster.topology.pair_bandwidth()[2, 3] == 120e9
    without = load_cluster(tmp_path / "c.json", exclude=["srv3"])
    assert without.scale_out.bytes_per_second == pytest.approx(300e9 / 8)


def test_pairs_of_gpus_of_the_nodes_that_are_left(tmp_path: Path) -> None:
    slow = {(3, 9): 20.0, (9, 10): 250.0, (1, 2): 200.0}
    rows = [[slow.get((i, j), 400.0 if i // 8 == j // 8 else 45.0) for j in range(24)] for i in range(24)]
    (tmp_path / "bw.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    (tmp_path / "c.json").write_text(json.dumps(spec(3, "srv[1-3]", measured={"bandwidth_csv": "bw.csv"})))
    cluster = load_cluster(tmp_path / "c.json")
    assert (cluster.scale_up.bytes_per_second, cluster.scale_out.bytes_per_second) == (200e9, 20e9)
    cluster = load_cluster(tmp_path / "c.json", exclude=["srv1"])
    assert (cluster.scale_up.bytes_per_second, cluster.scale_out.bytes_per_second) == (250e9, 45e9)


def test_excluding_nodes_is_building_without_them() -> None:
    """With uplinks written out, which stay as they are, by the key and by the argument alike."""
    tree = copy.deepcopy(TREE)
    tree["switches"][2] = {"name": "spine", "switches": "leaf[1-2]", "uplink": "300 GB/s"}
    smaller = copy.deepcopy(tree)
    smaller["switches"][1]["nodes"] = ["srv4"]
    built = load_cluster(spec(3, "srv[1-2,4]", topology=smaller))
    assert load_cluster(spec(topology=tree), exclude=["srv3"]) == built
    assert load_cluster(spec(topology=tree, exclude="srv3")) == built
    assert built.scale_out.bytes_per_second == pytest.approx(300e9 / 8)  # one node behind the second leaf


def test_nodes_left_out_of_a_plain_cluster() -> None:
    cluster = load_cluster("dgx-h100-8", exclude=["node3"])
    full = load_cluster("dgx-h100-8")
    assert (cluster.nodes, cluster.scale_out) == (7, full.scale_out)
    assert cluster.topology is not None
    assert "node3" not in cluster.topology.names


def test_nvlink_domains_that_lost_nodes_use_as_many_of_each_or_all_one_by_one() -> None:
    """Trays of 4 GPUs, 16 a domain: 15 of the second and 16 of the others line up only one by one."""
    both = load_cluster("gb200-nvl72-64", exclude=["node3", "node20", "node40", "node50"])
    assert (both.nodes, both.domain_gpus) == (60, 60)
    machines = load_machines("gb200-nvl72-64", exclude=["node20"])
    ways = [(c.cluster.nodes, c.cluster.domain_gpus, c.note) for c in machines.alternatives]
    assert ways == [
        (60, 60, "60 x 4 GPUs: node[15,47,63] left out, 12 GPUs stay unused, NVLink domains of 60 GPUs"),
        (63, 4, "63 x 4 GPUs: NVLink domains of 4 GPUs"),
    ]
    assert machines.notes == (ways[0][2],)
    last = load_machines("gb200-nvl72-64", exclude=["node63"])
    assert [(c.cluster.nodes, c.cluster.domain_gpus, c.note) for c in last.alternatives] == [(63, 64, "")]


def test_a_node_that_lost_a_gpu_leaves_two_ways_to_plan() -> None:
    machines = load_machines(spec(degraded=[{"node": "srv2", "gpus": 7}]))
    ways = [(c.cluster.nodes, c.cluster.gpus_per_node, c.cluster.gpus, c.note) for c in machines.alternatives]
    assert ways == [
        (4, 7, 28, "4 x 7 GPUs: 3 GPUs stay unused"),
        (3, 8, 24, "3 x 8 GPUs: srv2 left out, 7 GPUs stay unused"),
    ]
    share = {choice.cluster.scale_out.bytes_per_second for choice in machines.alternatives}
    assert share == {50e9}  # the card of a lost GPU is nobody else's
    larger = load_machines(spec(16, None, degraded=[{"node": "node2", "gpus": 7}]))
    assert [choice.cluster.gpus for choice in larger.alternatives] == [120, 112]


def test_unlike_nodes_are_groups_of_one_topology() -> None:
    given = spec(2, "fast[1-2]")
    given["node_groups"].append({**given["node_groups"][0], "names": "slow[1-3]", "count": 3, "gpu": "a100-sxm-80gb"})
    given["node_groups"].append({**given["node_groups"][0], "names": "fast3", "count": 1})
    machines = load_machines(given)
    assert [(group.gpu.name, group.nodes) for group in machines.groups] == [("h100-sxm-80gb", 3), ("a100-sxm-80gb", 3)]
    assert [machines.nodes_of(i) for i in (0, 1)] == [(0, 1, 5), (2, 3, 4)]
    assert machines.alternatives == ()
    with pytest.raises(SpecError, match=r"node_groups\[1\]: its hardware differs"):
        load_cluster(given)
    assert [group.gpu.name for group in load_machines(given, exclude=["fast1", "fast2", "fast3"]).groups] == [
        "a100-sxm-80gb"
    ]


def test_the_card_of_each_gpu_is_kept() -> None:
    given = spec()
    given["node_groups"][0]["nic_of_gpu"] = [7, 6, 5, 4, 3, 2, 1, 0]
    fabric = load_cluster(given).topology
    assert fabric is not None
    assert fabric.nodes[0].card_of_gpu == (7, 6, 5, 4, 3, 2, 1, 0)


def tree(position: int, **keys: Any) -> dict[str, Any]:
    found = copy.deepcopy(TREE)
    found["switches"][position].update(keys)
    return {"topology": found}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (spec(5), "node_groups[0].names: 4 names for 5 nodes"),
        (spec(4, "srv[1-2,1,3]"), "node_groups[0].names: 'srv1': names a node of node_groups[0] again"),
        (spec(4, "srv[1-"), "node_groups[0].names: 'srv[1-': has a '[' without its ']'"),
        (spec(4, 7), "node_groups[0].names: 7: must be names in short form"),
        (spec(4, ["a", "b c", "d", "e"]), "node_groups[0].names: ['a', 'b c', 'd', 'e']: 'b c' is no host name"),
        (spec(**tree(0, nodes="srv[1-2],srv9")), "topology.switches[0].nodes: 'srv9': there is no such node; did you"),
        (
            spec(**tree(2, switches="leaf[1-3]")),
            "topology.switches[2].switches: 'leaf3': there is no such switch; did you mean 'leaf",
        ),
        (spec(**tree(1, nodes="srv[2-4]")), "topology.switches[1].nodes: 'srv2': also hangs on switch leaf1"),
        (spec(**tree(1, nodes="srv4")), "topology.switches: 'srv3': hang on no switch"),
        (spec(**tree(2, switches="leaf1")), "topology.switches: 'leaf2, spine': hang on no other switch"),
        (spec(**tree(0, oversubscription=2.0)), "topology.switches[0].oversubscription: is of links to switches below"),
        (spec(**tree(1, uplink="1 GB/s")), "topology.switches[1].uplink: is of links to switches below"),
        (spec(**tree(2, uplink="1 GB/s")), "topology.switches[2].uplink: beside oversubscription: give one"),
        (spec(**tree(2, oversubscription=0.5)), "topology.switches[2].oversubscription: 0.5: must be at least 1"),
        (spec(**tree(2, latncy="1 us")), "topology.switches[2].latncy: unknown key; did you mean 'latency'?"),
        (
            spec(topology=TREE) | {"fabric": {"oversubscription": 2.0}},
            "fabric.oversubscription: 2.0: beside topology: write it at the switches",
        ),
        (spec(degraded=[{}]), "degraded[0]: give either node, or nodes"),
        (spec(degraded=[{"node": "srv1"}]), "degraded[0]: give bandwidth (of the node's cards), or gpus"),
        (spec(degraded=[{"node": "srv1", "gpus": 9}]), "degraded[0].gpus: 9: the node has 8: give how many"),
        (spec(degraded=[{"node": "srv1", "gpus": 0}]), "degraded[0].gpus: 0: must be at least 1"),
        (spec(degraded=[{"node": "srx1", "gpus": 7}]), "degraded[0].node: 'srx1': there is no such node; did you"),
        (spec(degraded=[{"nodes": ["srv1", "srv2"]}]), "degraded[0].bandwidth: missing: what the two nodes attain"),
        (
            spec(degraded=[{"nodes": ["srv1", "srv1"], "bandwidth": "1 GB/s"}]),
            "degraded[0].nodes: 'srv1': names one node twice",
        ),
        (
            spec(degraded=[{"nodes": ["srv1", "x"], "bandwidth": "1 GB/s"}]),
            "degraded[0].nodes[1]: 'x': there is no such node",
        ),
        (
            spec(degraded=[{"nodes": ["srv1", "srv2"], "bandwidth": "1 GB/s", "gpus": 7}]),
            "degraded[0].gpus: 7: is of one node",
        ),
        (spec(exclude="srv5"), "exclude: 'srv5': there is no such node; did you mean 'srv"),
        (spec(exclude="srv[1-4]"), "exclude: leaves no node"),
        (spec() | {"exclude": []}, "exclude: []: must be names in short form"),
    ],
)
def test_a_mistake_is_named_with_key_value_and_remedy(given: dict[str, Any], expected: str) -> None:
    (problem,) = problems(given)
    assert expected in problem


def test_cards_of_gpus_that_are_not_there() -> None:
    given = spec()
    given["node_groups"][0]["nic_of_gpu"] = [0, 8]
    assert problems(given) == [
        "cluster: node_groups[0].nic_of_gpu: has 2 cards for 8 GPUs: give one for each GPU",
        "cluster: node_groups[0].nic_of_gpu[1]: 8: there are 8 cards, counted from 0",
    ]


def test_switches_in_a_circle_and_a_name_given_twice() -> None:
    circle = copy.deepcopy(TREE)
    circle["switches"] += [{"name": "a", "switches": "b"}, {"name": "b", "switches": "a"}]
    found = problems(spec(topology=circle))
    assert [problem.split(": ")[1] for problem in found] == [f"topology.switches[{i}].switches" for i in (3, 4)]
    assert "circle of a, b" in found[0]
    twice = copy.deepcopy(TREE)
    twice["switches"][1]["name"] = "leaf1"
    assert any(
        "switches[1].name: 'leaf1': another switch has this name" in problem
        for problem in problems(spec(topology=twice))
    )


def test_nvlink_inside_a_domain_is_never_degraded() -> None:
    given = spec(degraded=[{"nodes": ["srv1", "srv2"], "bandwidth": "10 GB/s"}])
    given["node_groups"][0]["nvlink_domain"] = 16
    (problem,) = problems(given)
    assert "degraded[0].nodes: ['srv1', 'srv2']: share an NVLink domain" in problem


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "name: c\nexclude: srv9\nnode_groups:\n  - count: 4\n    gpu: h100-sxm-80gb\n    gpus_per_node: 8\n"
        "    intra_node: nvlink4-nvswitch\n    nics: {count: 8, bandwidth: 400 Gb/s, kind: infiniband}\n"
        "    names: srv[1-3]\ntopology:\n  switches:\n    - name: leaf\n      nodes: srv[1-4]\n"
        "degraded:\n  - {node: srv1, gpus: 9}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_cluster(path)
    assert [(p.line, p.key) for p in caught.value.problems] == [
        (2, "exclude"),
        (9, "node_groups[0].names"),
        (13, "topology.switches[0].nodes"),
        (15, "degraded[0].gpus"),
    ]


def test_an_unknown_name_on_the_command_line_is_told_apart() -> None:
    assert problems(spec(), exclude=["srv7"]) == [
        "--exclude: 'srv7': there is no such node in cluster; did you mean 'srv4'?"
    ]


def test_more_gpus_than_can_be_planned_are_refused_before_they_are_named() -> None:
    given = spec(10**6, None)
    given["node_groups"] *= 1000
    assert problems(given) == ["cluster: node_groups: 8,000,000,000 GPUs in all: at most 1,048,576 can be planned"]
