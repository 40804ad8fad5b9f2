"""Files of real clusters, where ``MESHWRIGHT_SHARED`` names the folder that holds them (``data/samples``).

Figures are counted by hand in the files; small files of the same layouts stand in the tests of each reader.
"""

import os
from pathlib import Path

import pytest

from planner.importing import Wanted, import_files
from planner.readers.nccl_tests import read_nccl_log
from planner.readers.slurm_topology import read_slurm_topology
from planner.readers.topo_m import read_topo_m
from planner.readers.topograph import read_topograph

SAMPLES = Path(os.environ.get("MESHWRIGHT_SHARED", "/nowhere")) / "data" / "samples"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="MESHWRIGHT_SHARED names no folder with data/samples")


def test_eight_h200_with_eight_cards() -> None:
    (matrix,) = read_topo_m(SAMPLES / "topo_m_h200_8gpu_8nic.txt")
    assert [set(matrix.nvlinks(gpu).values()) for gpu in matrix.gpus] == [{18}] * 8
    nearest = [matrix.nearest_nics(gpu) for gpu in matrix.gpus]
    assert nearest == [(f"NIC{i}",) for i in (4, 1, 0, 3, 6, 7, 5, 2)]
    assert list(matrix.numa.values()) == [0] * 4 + [1] * 4
    assert matrix.notes == ()


def test_five_matrices_of_users_and_one_of_another_tool() -> None:
    matrices = read_topo_m(SAMPLES / "topo_m_litgpt_fixtures.txt")
    assert [(len(m.gpus), len(m.nics)) for m in matrices] == [(4, 0), (4, 0), (4, 0), (8, 10), (2, 0)]
    assert [m.links["GPU0", "GPU1"] for m in matrices] == ["NV12", "NV1", "PHB", "NV12", "NV1"]
    assert matrices[1].links["GPU0", "GPU2"] == "SYS"
    assert matrices[3].nearest_nics("GPU7") == ("NIC4", "NIC5")
    assert [note.line for note in matrices[-1].notes] == [103, 104, 105]


def test_logs_are_read_to_the_last_line() -> None:
    """34 and 34 lines of results, 2 and 5 of them of no bytes."""
    (reduce,) = read_nccl_log(SAMPLES / "superbench_nccl_allreduce.log")
    (exchange,) = read_nccl_log(SAMPLES / "superbench_nccl_alltoall.log")
    assert [(len(run.timings), len(run.empty_lines), run.other_lines) for run in (reduce, exchange)] == [
        (32, 2, (16,)),
        (29, 5, ()),
    ]
    assert [(run.collective, run.gpus, run.gpu_names) for run in (reduce, exchange)] == [
        ("all_reduce", 8, ("A100-SXM4-40GB",)),
        ("all_to_all", 8, ("A100-SXM4-40GB",)),
    ]
    assert [run.timings[-1].seconds for run in (reduce, exchange)] == [pytest.approx(0.063896), pytest.approx(0.033508)]


def test_a_tree_and_blocks_of_96_nodes_and_a_model_of_72() -> None:
    tree = read_slurm_topology(SAMPLES / "slurm_topology_oci_tree.conf")
    blocks = read_slurm_topology(SAMPLES / "slurm_topology_dra_block.conf")
    assert (len(tree.switches), len(tree.nodes), tree.notes) == (19, 96, ())
    assert (len(blocks.blocks), blocks.block_sizes, blocks.nodes) == (12, (8, 16, 32), tree.nodes)
    model = read_topograph(SAMPLES / "topograph_model_nvl72.yaml")
    assert (len(model.switches), [len(block.nodes) for block in model.blocks]) == (7, [18] * 4)
    assert [block.domain for block in model.blocks] == ["nvl-1-1", "nvl-1-2", "nvl-2-1", "nvl-2-2"]


def test_a_cluster_of_h200_from_matrix_and_tree() -> None:
    files = [SAMPLES / "topo_m_h200_8gpu_8nic.txt", SAMPLES / "slurm_topology_oci_tree.conf"]
    cluster = import_files(files, Wanted(gpu="h200-sxm-141gb", nic_bandwidth="400 Gb/s")).cluster
    assert cluster is not None
    (group,) = cluster.spec["node_groups"]
    assert (group["count"], group["intra_node"], group["nics"]["count"]) == (96, "nvlink4-nvswitch", 8)
    assert group["nic_of_gpu"] == [4, 1, 0, 3, 6, 7, 5, 2]
    assert len(cluster.spec["topology"]["switches"]) == 19
