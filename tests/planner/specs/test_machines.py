"""Cluster specs: shares of the network are worked by hand from data-sheet figures."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import cases
from costmodels.catalogue import load_catalogue
from planner.specs import ClusterSpec, load_cluster
from planner.specs.errors import SpecError
from planner.specs.machines import load_machines

SPEC: dict[str, Any] = {
    "name": "64 x DGX H100",
    "node_groups": [
        {
            "count": 64,
            "gpu": "h100-sxm-80gb",
            "gpus_per_node": 8,
            "intra_node": "nvlink4-nvswitch",
            "nics": {"count": 8, "bandwidth": "400 Gb/s", "kind": "infiniband"},
        }
    ],
    "fabric": {"latency": "5 us", "oversubscription": 2.0},
    "reserve": {"memory_per_gpu": "4 GiB"},
}
INLINE_GPU = {
    "name": "mine",
    "architecture": "hopper",
    "memory": "80 GB",
    "memory_bandwidth": "3.35 TB/s",
    "peak_flops": {"bf16": "989 TFLOP/s"},
}


def changed(*path: str | int, to: object, spec: dict[str, Any] = SPEC) -> dict[str, Any]:
    """The spec with one value replaced or added."""
    result = copy.deepcopy(spec)
    place: Any = result
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = to
    return result


def group(key: str, to: object) -> dict[str, Any]:
    return changed("node_groups", 0, key, to=to)


def problems(spec: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_cluster(spec)
    return [str(problem) for problem in caught.value.problems]


def test_a_gpu_gets_its_share_of_the_cards_after_oversubscription() -> None:
    cluster = load_cluster(SPEC)
    assert (cluster.nodes, cluster.gpus_per_node, cluster.domain_gpus, cluster.gpus) == (64, 8, 8, 512)
    assert cluster.scale_up.bytes_per_second == 450e9
    assert cluster.scale_out.bytes_per_second == pytest.approx(8 * 50e9 / 8 / 2)
    assert cluster.scale_out.latency_seconds == pytest.approx(5e-6)
    assert cluster.reserve_bytes == 4 * 2**30


def test_a_cards_own_latency_adds_to_the_fabrics() -> None:
    nics = {"count": 4, "bandwidth": "50 GB/s", "kind": "roce", "latency": "1 us"}
    cluster = load_cluster(group("nics", nics))
    assert cluster.scale_out.latency_seconds == pytest.approx(6e-6)
    assert cluster.scale_out.bytes_per_second == pytest.approx(4 * 50e9 / 8 / 2)


def test_a_gpu_and_a_link_may_be_written_out() -> None:
    spec = group("gpu", INLINE_GPU)
    spec["node_groups"][0]["intra_node"] = {"bandwidth": "450 GB/s", "latency": "3 us"}
    cluster = load_cluster(spec)
    assert cluster.gpu.memory_bytes == 80e9
    assert dict(cluster.gpu.peak_flops) == {"bf16": 989e12}
    assert cluster.scale_up.latency_seconds == pytest.approx(3e-6)


def test_names_are_forgiving_about_case_and_punctuation() -> None:
    assert load_cluster(group("gpu", "H100 SXM 80GB")).gpu.name == "h100-sxm-80gb"


@pytest.mark.parametrize(
    ("gpu", "precision", "figure"),
    [
        (INLINE_GPU, "bf16", "1979 TFLOP/s"),
        (INLINE_GPU, "fp8", "3958 TFLOP/s"),
        ({**INLINE_GPU, "architecture": "blackwell"}, "fp4", "18 PFLOP/s"),
        ({**INLINE_GPU, "architecture": "ampere"}, "bf16", "624 TFLOP/s"),
        ({**INLINE_GPU, "name": "h100-pcie-80gb"}, "bf16", "1513 TFLOP/s"),
        ({**INLINE_GPU, "name": "RTX 4090 24GB", "architecture": "ada"}, "bf16", "330 TFLOP/s"),
    ],
)
def test_a_sparse_peak_is_refused(gpu: dict[str, Any], precision: str, figure: str) -> None:
    (problem,) = problems(group("gpu", {**gpu, "peak_flops": {precision: figure}}))
    assert f"node_groups[0].gpu.peak_flops.{precision}" in problem
    assert "sparse figures are twice the dense ones" in problem


def test_the_dense_peaks_of_the_catalogue_pass_their_own_check() -> None:
    for part in load_catalogue().gpus.values():
        peaks = {p: f"{flops / 1e12} TFLOP/s" for p, flops in part.peak_flops.items()}
        gpu = {**INLINE_GPU, "name": part.name, "architecture": part.architecture, "peak_flops": peaks}
        assert load_cluster(group("gpu", gpu)).gpu.peak_flops == pytest.approx(dict(part.peak_flops))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            group("gpu", "h100-sxm-80"),
            "node_groups[0].gpu: 'h100-sxm-80': is not in the catalogue; did you mean 'h100-sxm",
        ),
        (group("gpu", INLINE_GPU | {"peak_flops": {}}), "needs at least one precision"),
        (group("gpu", INLINE_GPU | {"peak_flops": {"bf61": "1 TFLOP/s"}}), "unknown key; did you mean 'bf16'?"),
        (group("gpu", INLINE_GPU | {"memory": 80}), "node_groups[0].gpu.memory: 80: no unit"),
        (group("intra_node", "nvlink4"), "did you mean 'nvlink4-nvswitch'?"),
        (group("intra_node", "nvlink5-nvl72"), "nvlink_domain: missing"),
        (group("nvlink_domain", 12), "must be a multiple of gpus_per_node, 8"),
        (group("gpus_per_nodes", 8), "node_groups[0].gpus_per_nodes: unknown key; did you mean 'gpus_per_node'?"),
        (group("count", 0), "node_groups[0].count: 0: "),
        (group("count", -1), "node_groups[0].count: -1: "),
        (group("count", 1.5), "node_groups[0].count: 1.5: "),
        (group("count", True), "node_groups[0].count: True: "),
        (group("nics", None), "node_groups[0].nics: missing"),
        (changed("node_groups", to=[]), "node_groups: []: "),
        (changed("fabric", "oversubscription", to=0.5), "fabric.oversubscription: 0.5: "),
        (changed("fabric", "oversubscription", to=float("nan")), "fabric.oversubscription: nan: "),
        (changed("fabric", "latency", to="-5 us"), "fabric.latency: '-5 us': must be at least zero"),
        (changed("reserve", "memory_per_gpu", to="90 GB"), "leaves nothing of h100-sxm-80gb"),
        (changed("measure", to={}), "measure: unknown key; did you mean 'measured'?"),
        (
            changed("node_groups", 0, "nics", "bandwidth", to="400"),
            "node_groups[0].nics.bandwidth: '400': no unit; write",
        ),
        (changed("node_groups", 0, "nics", "kind", to="pigeon"), "node_groups[0].nics.kind: 'pigeon': "),
    ],
)
def test_a_mistake_is_named_with_key_value_and_remedy(spec: dict[str, Any], expected: str) -> None:
    (problem,) = problems(spec)
    assert expected in problem


def test_a_missing_key_says_what_belongs_there() -> None:
    spec = copy.deepcopy(SPEC)
    del spec["node_groups"][0]["gpus_per_node"]
    assert problems(spec) == ["cluster: node_groups[0].gpus_per_node: missing: GPUs in a node"]


def test_all_problems_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "name: c\nnode_groups:\n  - count: 0\n    gpu: h100-sxm-80gb\n    gpus_per_node: 8\n"
        "    intra_node: nvlink4-nvswitch\n    nics: {count: 8, bandwidth: 400, kind: infiniband}\nfabrik: {}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_cluster(path)
    assert [(p.line, p.key) for p in caught.value.problems] == [
        (3, "node_groups[0].count"),
        (7, "node_groups[0].nics.bandwidth"),
        (8, "fabrik"),
    ]
    assert len(str(caught.value).splitlines()) == 3
    assert str(caught.value).startswith(f"{path}:3: node_groups[0].count: 0: ")


def test_unknown_hardware_names_are_reported_together() -> None:
    spec = group("gpu", "h1000")
    spec["node_groups"][0]["intra_node"] = "string"
    assert len(problems(spec)) == 2


def test_equal_groups_are_one_cluster_and_unlike_ones_are_refused() -> None:
    spec = copy.deepcopy(SPEC)
    spec["node_groups"].append({**spec["node_groups"][0], "count": 2})
    assert load_cluster(spec).nodes == 66
    spec["node_groups"][1]["gpu"] = "a100-sxm-80gb"
    (problem,) = problems(spec)
    assert problem.startswith("cluster: node_groups[1]: its hardware differs from node_groups[0]")


def test_one_node_needs_no_network() -> None:
    spec = group("count", 1)
    del spec["node_groups"][0]["nics"]
    assert load_cluster(spec).gpus == 8


def test_a_domain_may_span_nodes() -> None:
    cluster = load_cluster("gb200-nvl72-64")
    assert (cluster.nodes, cluster.gpus_per_node, cluster.domain_gpus) == (64, 4, 64)


def table(tmp_path: Path, size: int, figures: dict[tuple[int, int], float], usual: float) -> dict[str, Any]:
    """A spec of two nodes that points at a measured table."""
    rows = [[figures.get((i, j), usual) for j in range(size)] for i in range(size)]
    (tmp_path / "bw.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    spec = group("count", 2)
    spec["measured"] = {"bandwidth_csv": "bw.csv"}
    (tmp_path / "cluster.json").write_text(json.dumps(spec))
    return spec


def test_the_slowest_pair_of_nodes_sets_the_share(tmp_path: Path) -> None:
    table(tmp_path, 2, {(1, 0): 320.0}, 380.0)
    cluster = load_cluster(tmp_path / "cluster.json")
    assert cluster.scale_out.bytes_per_second == pytest.approx(320e9 / 8)
    assert cluster.scale_up.bytes_per_second == 450e9


def test_pairs_of_gpus_set_both_links(tmp_path: Path) -> None:
    across = {(i, j): 45.0 for i in range(16) for j in range(16) if i // 8 != j // 8}
    table(tmp_path, 16, {**across, (3, 12): 41.0, (9, 10): 333.0}, 400.0)
    cluster = load_cluster(tmp_path / "cluster.json")
    assert cluster.scale_out.bytes_per_second == pytest.approx(41e9)
    assert cluster.scale_up.bytes_per_second == pytest.approx(333e9)


def test_a_table_of_another_size_is_refused(tmp_path: Path) -> None:
    table(tmp_path, 3, {}, 100.0)
    with pytest.raises(SpecError, match="is 3 x 3, but there are 2 nodes and 16 GPUs"):
        load_cluster(tmp_path / "cluster.json")


def test_an_unknown_cluster_name_brings_the_nearest() -> None:
    with pytest.raises(SpecError, match="neither a spec file nor a bundled cluster; did you mean 'dgx-h100-256'"):
        load_cluster("dgx-h100-265")


@pytest.mark.parametrize("name", cases.cluster_names())
def test_every_bundled_cluster_loads(name: str) -> None:
    assert sum(group.gpus for group in load_machines(name).groups) >= 8


def test_a_catalogue_of_the_users_own_is_used(tmp_path: Path) -> None:
    path = tmp_path / "hw.yaml"
    path.write_text(
        "gpus:\n  my-gpu:\n    architecture: hopper\n    memory_bytes: 1.0e+11\n    memory_bytes_per_second: 3.0e+12\n"
        "    peak_flops: {bf16: 9.0e+14}\n    source: measured\n"
    )
    assert load_cluster(group("gpu", "my-gpu"), load_catalogue(path)).gpu.memory_bytes == 1e11


def test_the_schema_shows_every_key_as_people_write_it() -> None:
    schema = ClusterSpec.model_json_schema()
    assert set(schema["properties"]) == {
        *("name", "node_groups", "fabric", "measured", "reserve"),
        *("topology", "degraded", "exclude"),
    }
    assert schema["$defs"]["NicsSpec"]["properties"]["bandwidth"]["type"] == "string"
