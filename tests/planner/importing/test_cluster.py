"""Files of one cluster become one spec, every figure from where it stands.

Expected figures: NVLink 3 and 4 carry 25 GB/s a link and direction, 12 links an A100, 18 an H100 or H200 (NVIDIA data
sheets); the rest is read off the files.
"""

from pathlib import Path
from typing import Any

import pytest

from planner.importing import Wanted, import_files, write_import
from planner.importing.cluster import ClusterDraft
from planner.readers.bandwidth_csv import read_bandwidth_csv
from planner.specs.cluster import ClusterSpec, NodeGroupSpec
from planner.specs.errors import SpecError
from planner.specs.machines import load_cluster

LOG = """#  Rank  0 Pid 1 on host0 device  0 [0x00] A100-SXM4-40GB
#  Rank  1 Pid 2 on host0 device  1 [0x00] A100-SXM4-40GB
#  Rank  2 Pid 3 on host{second} device  0 [0x00] A100-SXM4-40GB
#  Rank  3 Pid 4 on host{second} device  1 [0x00] A100-SXM4-40GB
host0:1:1 [0] NCCL INFO Launch mode Parallel
           0             0   float     sum    35.20    0.00    0.00    N/A    34.05    0.00    0.00    N/A
  1000000000     250000000   float     sum    10000  100.00  150.00    N/A    10000  100.00  150.00    N/A
"""
TREE = "SwitchName=core Switches=leaf[1-2]\nSwitchName=leaf1 Nodes=n[1-2]\nSwitchName=leaf2 Nodes=n[3-4]\n"
BLOCKS = "BlockName=b1 Nodes=n[1-2]\nBlockName=b2 Nodes=n[3-4]\n"
PAIRS = '{"gpus": ["n1", "n2", "n3"], "bandwidth": [[200, 10, 11], [12, 200, 13], [9, 15, 200]]}'
PROFILE = '{"allreduce_size_16_consec_1": 45, "allreduce_size_8_consec_1": 150, "allreduce_size_2_consec_0": 9}'


def matrix(gpus: int, kind: str, nics: tuple[int, ...] = (), far: int = 0) -> str:
    """All pairs of ``kind``; the i-th card of ``nics`` next to that GPU, ``far`` more next to none."""
    names = [f"GPU{i}" for i in range(gpus)] + [f"mlx5_{i}" for i in range(len(nics) + far)]
    rows = ["\t" + "\t".join(names)]
    for i in range(gpus):
        cells = ["X" if i == j else kind for j in range(gpus)]
        cells += ["PIX" if near == i else "SYS" for near in nics] + ["SYS"] * far
        rows.append(f"GPU{i}\t" + "\t".join(cells))
    return "\n".join(rows) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def draft(folder: Path, files: dict[str, str], **said: Any) -> ClusterDraft:
    for name, text in files.items():
        (folder / name).write_text(text)
    found = import_files([folder / name for name in files], Wanted(**said)).cluster
    assert found is not None
    return found


def group(folder: Path, files: dict[str, str], **said: Any) -> dict[str, Any]:
    return dict(draft(folder, files, **said).spec["node_groups"][0])


def refused(folder: Path, files: dict[str, str], **said: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        draft(folder, files, **said)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_a_log_alone_gives_gpu_and_attained_bandwidth(folder: Path) -> None:
    """4 ranks: bus bandwidth is 2 x 3/4 x 1e9 bytes / 10 ms = 150 GB/s."""
    found = group(folder, {"a.log": LOG.format(second=0)})
    assert found == {
        "count": 1,
        "gpu": "a100-sxm-40gb",
        "gpus_per_node": 4,
        "intra_node": {"bandwidth": "150 GB/s", "latency": "3 us"},
    }


def test_a_log_across_nodes_gives_what_a_node_attains_outwards(folder: Path) -> None:
    found = group(folder, {"a.log": LOG.format(second=1)}, intra_node="nvlink3-nvswitch")
    assert (found["count"], found["gpus_per_node"]) == (2, 2)
    assert found["nics"] == {"count": 1, "bandwidth": "150 GB/s", "kind": "infiniband"}


def test_lines_of_the_log_that_hold_no_results_are_told(folder: Path) -> None:
    (folder / "a.log").write_text(LOG.format(second=0))
    unread = import_files([folder / "a.log"]).unread
    assert [line.split(": ", 1)[1] for line in unread] == [
        "line 6: sizes of no bytes",
        "line 5: no results, written by other programs",
    ]


@pytest.mark.parametrize(
    ("gpus", "kind", "gpu", "link"),
    [
        (8, "NV18", "h200-sxm-141gb", "nvlink4-nvswitch"),
        (8, "NV12", "a100-sxm-40gb", "nvlink3-nvswitch"),
        (4, "NV4", "a100-sxm-40gb", "nvlink3-nvswitch"),  # 3 x 4 direct links: all 12
        (2, "NV12", "a100-pcie-80gb", "nvlink3-nvswitch"),
        (2, "NV6", "h100-sxm-80gb", {"bandwidth": "150 GB/s", "latency": "3 us"}),
        (8, "NV8", "a100-sxm-80gb", {"bandwidth": "200 GB/s", "latency": "3 us"}),  # 7 x 8 > 12: through a switch
        (4, "PHB", "a100-pcie-40gb", "pcie4-x16"),
        (4, "SYS", "h100-pcie-80gb", "pcie5-x16"),
        (4, "NODE", "v100-sxm2-32gb", {"bandwidth": "15.7538 GB/s", "latency": "3 us"}),  # 8 GT/s x 16 x 128/130 / 8
    ],
)
def test_the_link_follows_from_matrix_and_part(folder: Path, gpus: int, kind: str, gpu: str, link: object) -> None:
    assert group(folder, {"topo": matrix(gpus, kind)}, gpu=gpu)["intra_node"] == link


def test_where_only_some_pairs_have_nvlink_the_slowest_pair_counts(folder: Path) -> None:
    text = "\tGPU0\tGPU1\tGPU2\nGPU0\tX\tNV12\tSYS\nGPU1\tNV12\tX\tSYS\nGPU2\tSYS\tSYS\tX\n"
    assert group(folder, {"topo": text}, gpu="a100-pcie-80gb")["intra_node"] == "pcie4-x16"


def test_cards_nearest_to_no_gpu_are_not_counted_and_told(folder: Path) -> None:
    files = {"topo": matrix(2, "NV18", nics=(0, 1), far=2)}
    found = draft(folder, files, gpu="h100-sxm-80gb", nic_bandwidth="400Gb/s")
    assert found.spec["node_groups"][0]["nics"] == {"count": 2, "bandwidth": "400 Gb/s", "kind": "infiniband"}
    assert any("mlx5_2, mlx5_3; --nics says otherwise" in remark for remark in found.remarks)


def test_the_nearest_card_of_each_gpu_is_written_where_each_has_one(folder: Path) -> None:
    """Cards next to GPUs 2, 0, 1: GPU 0 sends by the second."""
    crossed = group(folder, {"topo": matrix(3, "NV18", nics=(2, 0, 1))}, gpu="h100-sxm-80gb", nic_bandwidth="400Gb/s")
    assert crossed["nic_of_gpu"] == [1, 2, 0]
    shared = group(folder, {"topo": matrix(2, "NV18", nics=(0, 0, 1))}, gpu="h100-sxm-80gb", nic_bandwidth="400Gb/s")
    assert "nic_of_gpu" not in shared


def test_node_names_and_switches_from_slurm(folder: Path) -> None:
    files = {"topo": matrix(8, "NV18", nics=tuple(range(8))), "topology.conf": TREE}
    found = draft(folder, files, gpu="h100-sxm-80gb", nic_bandwidth="50 GB/s").spec
    assert found["node_groups"][0]["count"] == 4
    assert found["node_groups"][0]["names"] == "n[1-4]"
    assert found["node_groups"][0]["nics"]["bandwidth"] == "400 Gb/s"
    assert found["topology"]["switches"] == [
        {"name": "core", "switches": "leaf[1-2]"},
        {"name": "leaf1", "nodes": "n[1-2]"},
        {"name": "leaf2", "nodes": "n[3-4]"},
    ]


def test_blocks_without_a_tree_are_joined_by_one_switch_that_is_told(folder: Path) -> None:
    files = {"topo": matrix(8, "NV18", nics=tuple(range(8))), "topology.conf": BLOCKS}
    found = draft(folder, files, gpu="h100-sxm-80gb", nic_bandwidth="400Gb/s")
    assert found.spec["topology"]["switches"] == [
        {"name": "top", "switches": "b[1-2]"},
        {"name": "b1", "nodes": "n[1-2]"},
        {"name": "b2", "nodes": "n[3-4]"},
    ]
    assert any("switch top" in remark for remark in found.remarks)


def test_a_tree_that_leaves_nodes_out_is_no_topology(folder: Path) -> None:
    model = "switches: {s: {capacity_blocks: [a]}}\ncapacity_blocks: {a: {nodes: [n1]}, b: {nodes: [n2]}}\n"
    files = {"topo": matrix(8, "NV18", nics=tuple(range(8))), "model.yaml": model}
    found = draft(folder, files, gpu="h100-sxm-80gb", nic_bandwidth="400Gb/s")
    assert "topology" not in found.spec
    assert any("1 nodes are below no switch, e.g. n2" in remark for remark in found.remarks)


def test_a_switch_over_switches_and_nodes_gets_a_leaf_of_its_own(folder: Path) -> None:
    tree = "SwitchName=s0 Switches=s1,none Nodes=n1\nSwitchName=s1 Nodes=n2\nSwitchName=none\n"
    files = {"topo": matrix(8, "NV18", nics=tuple(range(8))), "t.conf": tree}
    assert draft(folder, files, gpu="h100-sxm-80gb", nic_bandwidth="400Gb/s").spec["topology"]["switches"] == [
        {"name": "s0", "switches": "s1,s0-nodes"},
        {"name": "s0-nodes", "nodes": "n1"},
        {"name": "s1", "nodes": "n2"},
    ]


def test_blocks_of_racks_are_nvlink_domains(folder: Path) -> None:
    """Two blocks of 2 nodes with 4 GPUs: domains of 8."""
    said: dict[str, Any] = {"gpu": "gb200-186gb", "gpus_per_node": 4, "nics": 4, "nic_bandwidth": "400Gb/s"}
    found = draft(folder, {"t.conf": BLOCKS}, **said).spec
    assert found["node_groups"][0]["intra_node"] == "nvlink5-nvl72"
    assert found["node_groups"][0]["nvlink_domain"] == 8
    assert "topology" not in found
    uneven = BLOCKS + "BlockName=b3 Nodes=n5\n"
    assert [key.split(":")[0] for key in refused(folder, {"t.conf": uneven}, **said)] == ["--nvlink-domain"]


def test_measured_pairs_go_into_a_table_that_loads(folder: Path) -> None:
    (folder / "pairs.json").write_text(PAIRS)
    wanted = Wanted(gpu="a100-sxm-40gb", gpus_per_node=8, intra_node="nvlink3-nvswitch")
    table, spec = write_import(import_files([folder / "pairs.json"], wanted), folder / "mine.yaml")
    assert (table.name, spec.name) == ("mine-bandwidth.csv", "mine.yaml")
    read = read_bandwidth_csv(table) / 1e9
    assert [read[0, 1], read[1, 0], read[2, 0], read[2, 1]] == [10, 12, 9, 15]
    assert "measured: {bandwidth_csv: mine-bandwidth.csv}" in spec.read_text()
    assert "names: n[1-3]" in spec.read_text()


def test_hosts_named_once_a_gpu_make_a_table_of_gpus(folder: Path) -> None:
    rows = [[0, 90, 5, 5], [91, 0, 5, 5], [5, 5, 0, 95], [5, 5, 94, 0]]
    text = f'{{"gpus": ["a", "a", "b", "b"], "bandwidth": {rows}}}'
    found = draft(folder, {"p.json": text}, gpu="a100-pcie-40gb", nics=1, nic_bandwidth="100Gb/s")
    assert found.spec["node_groups"][0]["gpus_per_node"] == 2
    assert found.spec["node_groups"][0]["intra_node"]["bandwidth"] == "95 GB/s"
    assert found.names == ("a", "b")


def test_galvatron_profiles_give_the_group_inside_a_node_and_the_group_of_all(folder: Path) -> None:
    files = {"allreduce_bandwidth_2nodes_8gpus_per_node.json": PROFILE}
    found = group(folder, files, gpu="a100-sxm-40gb")
    assert (found["count"], found["gpus_per_node"]) == (2, 8)
    assert found["intra_node"]["bandwidth"] == "150 GB/s"
    assert (found["nics"]["count"], found["nics"]["bandwidth"]) == (1, "45 GB/s")


def test_everything_that_no_file_tells_is_asked_for_at_once(folder: Path) -> None:
    asked = refused(folder, {"t.conf": TREE})
    assert [line.split(":")[0] for line in asked] == ["--gpu", "--gpus-per-node", "--nic-bandwidth", "--nics"]
    asked = refused(folder, {"t.conf": TREE}, gpu="h100-sxm-80gb", gpus_per_node=8, nics=8, nic_bandwidth="400Gb/s")
    assert asked == ["--intra-node: what joins the GPUs of a node? No file tells: e.g. --intra-node nvlink4-nvswitch"]


@pytest.mark.parametrize(
    ("files", "said", "message"),
    [
        ({"a": matrix(4, "NV12"), "b": matrix(8, "NV12")}, {}, "describes another node than"),
        ({"a": TREE, "b": BLOCKS.replace("n[3-4]", "n[3-5]")}, {}, "names other nodes than"),
        ({"a": TREE, "b": TREE}, {}, "holds a second tree of switches"),
        ({"a": TREE, "b": PAIRS}, {}, "names other nodes than"),
        ({"a": TREE}, {"nodes": 5}, "but the files name 4 nodes"),
        ({"a": TREE}, {"gpu": "h900"}, "is not in the catalogue"),
        ({"a": matrix(8, "NV18")}, {"gpu": "h100-sxm-80gb", "nic_bandwidth": "400"}, "no unit"),
        ({"a": matrix(8, "NV18")}, {"gpu": "h100-sxm-80gb", "intra_node": "nvlink9"}, "is not in the catalogue"),
        ({"a": matrix(4, "NV12"), "b": LOG.format(second=0).replace("40GB", "39GB")}, {}, "A100-SXM4-39GB"),
        ({"a": "nothing"}, {}, "is of no known kind"),
    ],
)
def test_contradictions_are_refused(folder: Path, files: dict[str, str], said: dict[str, Any], message: str) -> None:
    assert any(message in line for line in refused(folder, files, **said))


def test_options_stand_before_files_and_say_so(folder: Path) -> None:
    found = draft(folder, {"topo": matrix(8, "NV18")}, gpu="h100-sxm-80gb", gpus_per_node=4, nodes=1, name="mine")
    assert found.spec["name"] == "mine"
    assert found.spec["node_groups"][0]["gpus_per_node"] == 4
    assert any("--gpus-per-node 4, instead of 8" in remark for remark in found.remarks)


def test_a_written_spec_loads_as_the_cluster_that_the_files_describe(folder: Path) -> None:
    """8 cards of 400 Gb/s for 8 GPUs: 50 GB/s each; 18 x 25 GB/s of NVLink."""
    found = draft(
        folder,
        {"topo": matrix(8, "NV18", nics=tuple(range(8))), "t.conf": TREE},
        gpu="h200-sxm-141gb",
        nic_bandwidth="400Gb/s",
    )
    spec = {key: value for key, value in found.spec.items() if key in ClusterSpec.model_fields}
    spec["node_groups"] = [
        {key: value for key, value in each.items() if key in NodeGroupSpec.model_fields} for each in spec["node_groups"]
    ]
    cluster = load_cluster(spec)
    assert (cluster.gpus, cluster.gpu.name) == (32, "h200-sxm-141gb")
    assert (cluster.scale_up.bytes_per_second, cluster.scale_out.bytes_per_second) == (450e9, 50e9)
