"""The cluster of a plan: what joins its nodes in short form, and nothing of it where nothing is known."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from costmodels.attained import Attained
from costmodels.hardware import Cluster
from planner.plan import PlanError
from planner.plan.cluster import ClusterInput
from planner.plan.document import Plan
from planner.specs import load_cluster
from tests.planner.plan import samples
from tests.planner.specs.test_topology import TREE, spec


def joined() -> Cluster:
    tree = {**copy.deepcopy(TREE), "rails": True}
    degraded = [{"node": "srv2", "bandwidth": "100 GB/s"}, {"nodes": ["srv2", "srv3"], "bandwidth": "10 GB/s"}]
    given = spec(topology=tree, degraded=degraded)
    given["node_groups"][0]["nic_of_gpu"] = [0, 1, 2, 3, 4, 5, 6, 7]
    return load_cluster(given)


def test_a_topology_is_written_in_hostlists_and_read_back() -> None:
    cluster = joined()
    written = ClusterInput.of(cluster).model_dump(mode="json")
    assert written["topology"]["nodes"][0]["names"] == "srv[1-4]"
    assert [switch.get("switches") for switch in written["topology"]["switches"]] == [None, None, "leaf[1-2]"]
    assert "uplink_bytes_per_second" not in written["topology"]["switches"][2]
    assert written["topology"]["degraded"][1] == {"names": "srv[2-3]", "bytes_per_second": 10e9}
    assert ClusterInput.model_validate_json(ClusterInput.of(cluster).model_dump_json()).cluster() == cluster
    racks = load_cluster("gb200-nvl72-64", exclude=["node20"])
    assert ClusterInput.of(racks).cluster() == racks


def test_a_cluster_of_plain_figures_is_written_as_before() -> None:
    """The keys that plans had before there were topologies."""
    keys = ["name", "gpu", "nodes", "gpus_per_node", "domain_gpus", "scale_up", "scale_out", "reserve_bytes"]
    assert list(samples.interleaved_dense().to_json()["inputs"]["cluster"]) == keys


def test_a_measured_table_is_held_by_its_digest() -> None:
    cluster = joined()
    assert cluster.topology is not None
    matrix = np.full((4, 4), 300e9)
    held = []
    for figure in (300e9, 299e9):
        table = matrix.copy()
        table[0, 1] = figure
        measured = replace(cluster, topology=replace(cluster.topology, attained=Attained(matrix=table)))
        held.append(ClusterInput.of(measured).model_dump(mode="json")["topology"]["measured"])
        assert ClusterInput.of(measured).cluster() == cluster
    assert (held[0]["rows"], held[0]["of"]) == (4, "nodes")
    assert held[0]["digest"] != held[1]["digest"]
    assert held[0]["digest"].startswith("sha256:")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"names": "srv[1-3]"}, "there is no node srv4|no such node|hang on no switch"),
        ({"names": "srv[1-"}, "has a '\\[' without its"),
        ({"names": "srv[1-4],srv1"}, "the same name"),
        ({"gpus": 4}, "fewer than 8 GPUs"),
        ({"cards_bytes_per_second": -1.0}, "greater than or equal to 0"),
        ({"gpu": 8}, "unknown key"),
    ],
)
def test_a_topology_that_does_not_fit_together_is_refused(change: dict[str, Any], expected: str) -> None:
    document = samples.interleaved_dense().to_json()
    document["inputs"]["cluster"] |= {"nodes": 4}
    document["inputs"]["cluster"]["topology"] = ClusterInput.of(joined()).model_dump(mode="json")["topology"]
    Plan.from_json(document)
    document["inputs"]["cluster"]["topology"]["nodes"][0] |= change
    with pytest.raises(PlanError, match=expected):
        Plan.from_json(document)


def test_a_topology_of_other_nodes_is_refused() -> None:
    document = samples.interleaved_dense().to_json()
    document["inputs"]["cluster"]["topology"] = ClusterInput.of(joined()).model_dump(mode="json")["topology"]
    with pytest.raises(PlanError, match="topology has 4 nodes, the cluster 8"):
        Plan.from_json(document)
