"""Files of ``plan skip`` to problems: SkipPipe's keys, chains, tables, clusters, and what is wrong with them."""

import json
from pathlib import Path
from typing import Any

import pytest

import cases
from planner.readers.latency_bandwidth_csv import read_pairs
from planner.skip_problem import NO_LIMIT, SkipChoices, describe_outliers, load_skip, path_length_of
from planner.specs.errors import SpecError
from planner.specs.skip import SkipSpec
from tests.planner.skip_schedules import CHAIN, GROUPS


def wrong(given: dict[str, Any], choices: SkipChoices | None = None) -> dict[str, str]:
    """The problems of a spec: key to message."""
    with pytest.raises(SpecError) as error:
        load_skip(given, choices)
    return {problem.key: problem.message for problem in error.value.problems}


def test_skippipes_keys_give_skippipes_rules() -> None:
    """Two nodes of stage 0 x 2 micro-batches x 2 waves are 8; backward 1.5 and loss 0.25 of a forward pass of 2 s."""
    found = load_skip(GROUPS | {"waves": 2})
    problem = found.problem
    assert (problem.microbatches, problem.waves, problem.path_length, found.skip_ratio) == (8, 2, 3, 0.25)
    assert (problem.backward_seconds, problem.loss_seconds) == ((3.0,) * 6, (0.5,) * 6)
    assert (problem.rules.ends, problem.rules.visits_per_wave, problem.rules.serial_links) == ("first", True, False)
    swaps = problem.rules.swaps
    assert (swaps.count, swaps.furthest, swaps.total_distance, swaps.forward_jump) == (2, 1, 2, 4)
    assert problem.stage_of_node is None
    assert found.stage_of_node == (0, 1, 1, 2, 3, 0)
    assert found.names[2] == "NL"


def test_a_chain_keeps_its_order_under_forced_ends() -> None:
    found = load_skip(CHAIN)
    assert found.problem.stage_of_node == (0, 1, 2, 3)
    assert (found.problem.rules.ends, found.problem.rules.swaps.count) == ("both", 0)
    assert (found.problem.memory_cap, found.problem.loss_seconds) == ((2,) * 4, ())
    assert not found.problem.rules.visits_per_wave
    assert load_skip(CHAIN, SkipChoices(keep_arrangement=False)).problem.stage_of_node is None
    assert load_skip(CHAIN | {"arrangement": "free"}).problem.stage_of_node is None


def test_the_command_line_stands_before_the_file() -> None:
    choices = SkipChoices(micro_batches=6, path_length=2, profile="forced-ends", keep_arrangement=True)
    found = load_skip(GROUPS | {"waves": 2}, choices)
    assert (found.problem.microbatches, found.problem.path_length, found.problem.rules.ends) == (6, 2, "both")
    assert found.problem.stage_of_node == (0, 1, 1, 2, 3, 0)
    assert found.problem.rules.swaps.count == 0


def test_what_a_file_may_say_beside() -> None:
    given = GROUPS | {
        "memory_per_node": [3, 2, 2, 3, 3, 3],
        "memory_rule": "in-flight",
        "serial_links": True,
        "loss_over_fwd": 0,
        "bwd_time_s": [4, 4, 4, 4, 4, 5],
        "copy_link_factor": 2,
        "copy_link_limit_s": "1500 ms",
        "swap_rules": {"count_swaps_max": 1, "max_forward_jump_from_frontier": None},
    }
    problem = load_skip(given).problem
    assert problem.memory_cap == (3, 2, 2, 3, 3, 3)
    assert (problem.rules.visits_per_wave, problem.rules.serial_links) == (False, True)
    assert (problem.loss_seconds, problem.backward_seconds[5]) == ((), 5.0)
    assert (problem.copy_link_factor, problem.copy_link_limit_seconds) == (2.0, 1.5)
    assert (problem.rules.swaps.count, problem.rules.swaps.forward_jump) == (1, None)


@pytest.mark.parametrize(
    ("ratio", "profile", "length"),
    [
        (0.0, "skippipe", 8),
        (0.25, "skippipe", 6),
        (0.5, "skippipe", 4),
        (0.99, "skippipe", 1),
        (0.99, "forced-ends", 2),
    ],
)
def test_a_skip_ratio_is_the_nearest_count_of_stages(ratio: float, profile: str, length: int) -> None:
    assert path_length_of(ratio, 8, profile) == length


def test_links_of_regions_are_those_of_skippipes_instance() -> None:
    """SkipPipe's own matrix, a second way to the same figures: 3.6591242236024843 from Australia to Belgium,
    0.36662500000000003 inside a region, 132.31 between NL and London."""
    given = {
        "nodes": ["Australia", "Belgium", "Australia", "NL", "London"],
        "network": "gcp12",
        "msg_bytes": 33554432,
        "fixed_overhead_s": 0.35,
        "fwd_time_s": 1.76,
        "micro_batches": 4,
        "path_length": 3,
    }
    found = load_skip(given)
    link = found.problem.link_seconds
    assert link[0][1] == pytest.approx(3.6591242236024843, rel=1e-15)
    assert link[0][2] == pytest.approx(0.36662500000000003, rel=1e-15)
    assert link[3][3] == 0.0
    assert found.problem.memory_cap == (NO_LIMIT,) * 5
    assert describe_outliers(found.outliers, found.names) == [
        "link NL - London (nodes 3 to 4, 4 to 3) takes 132.3 s a message, over 10 times the 0.9642 s of a relay over "
        "another: is it right?"
    ]


def test_square_tables_and_a_table_of_ones_own(tmp_path: Path) -> None:
    """1e9 bytes over 10 GB/s and 100 ms: 0.2 s; over 8 Gbps and 1 s: 2 s."""
    (tmp_path / "latency.csv").write_text("0,100\n100,0\n")
    (tmp_path / "bandwidth.csv").write_text("0,10\n10,0\n")
    (tmp_path / "mine.csv").write_text("a,b,latency_s,bandwidth_Gbps\nA,B,1,8\n")
    common = {"msg_bytes": "1 GB", "fwd_time_s": 1, "micro_batches": 2, "path_length": 2}
    for network, seconds in (
        ({"latency_csv": "latency.csv", "bandwidth_csv": "bandwidth.csv"}, 0.2),
        ("mine.csv", 2.0),
    ):
        path = tmp_path / "problem.json"
        path.write_text(json.dumps(common | {"network": network}))
        assert load_skip(path).problem.link_seconds[0][1] == pytest.approx(seconds)


def test_nodes_links_and_memory_of_a_cluster() -> None:
    """dgx-h100-8: eight nodes of 8 x 80 GB with 8 x 400 Gb/s: 400 GB/s a node; 1 TB of activations holds none, 100 GB
    six times in 8 x 85.9 GB less the reserve."""
    given = {"cluster": "dgx-h100-8", "msg_bytes": 4e9, "fwd_time_s": 0.1, "micro_batches": 8, "path_length": 4}
    found = load_skip(given | {"activation_bytes": "100 GB"})
    assert found.problem.nodes == 8
    assert found.problem.link_seconds[0][7] == pytest.approx(0.01, rel=1e-2)  # and some microseconds
    assert set(found.problem.memory_cap) == {6}
    assert "activation_bytes" in wrong(given | {"activation_bytes": "1 TB"})


def test_links_are_those_of_the_clusters_switches_and_of_what_was_measured(tmp_path: Path) -> None:
    """Two nodes a region, 5 GB/s and 20 ms between regions: 1 GB takes 0.2 s and 20 ms more than the fabric's 5 us."""
    nics = {"count": 1, "bandwidth": "100 Gb/s", "kind": "ethernet"}
    group = {"count": 4, "gpu": "a100-sxm-80gb", "gpus_per_node": 8, "intra_node": "nvlink3-nvswitch", "nics": nics}
    regions = [{"name": "us", "nodes": "node[0-1]"}, {"name": "eu", "nodes": "node[2-3]"}]
    wide = {"name": "wan", "switches": "us,eu", "uplink": "5 GB/s", "latency": "20 ms"}
    cluster = {"name": "far", "node_groups": [group], "topology": {"switches": [*regions, wide]}}
    (tmp_path / "far.json").write_text(json.dumps(cluster))
    (tmp_path / "bw.csv").write_text("0,2,4,8\n2,0,4,8\n4,4,0,8\n8,8,8,0\n")
    measured = {**cluster, "measured": {"bandwidth_csv": "bw.csv"}}
    (tmp_path / "measured.json").write_text(json.dumps(measured))
    given = {"msg_bytes": 1e9, "fwd_time_s": 0.1, "micro_batches": 8, "path_length": 3, "fixed_overhead_s": 0.0}
    for file, expected in (("far", [0.0, 0.08, 0.22, 0.22]), ("measured", [0.0, 0.5, 0.27, 0.145])):
        (tmp_path / "skip.json").write_text(json.dumps(given | {"cluster": f"{file}.json"}))
        assert load_skip(tmp_path / "skip.json").problem.link_seconds[0] == pytest.approx(expected, abs=1e-5)


def test_everything_wrong_is_said_at_once_with_its_place() -> None:
    given = CHAIN | {
        "link_time_s": [[0, 1, 2, -3], [1, 0, 1], [2, 1, 0, 1], [3, 2, 1, 5]],
    }
    assert wrong(given) == {
        "link_time_s[0][3]": "must be at least 0 seconds; null where there is no link",
        "link_time_s[1]": "has 3 values, but there are 4 rows: the table must be square",
        "link_time_s[3][3]": "from a node to itself must be 0",
    }
    given = CHAIN | {
        "fwd_time_s": [1, 2],
        "bwd_time_s": [1, 2, 3],
        "memory_per_node": [1, 1],
        "group_sizes": [1, 2],
        "path_length": 9,
        "partitions": [[0, 0], [7, 1]],
        "nodes": ["A"],
    }
    found = wrong(given)
    assert set(found) == {
        "fwd_time_s", "bwd_time_s", "memory_per_node", "group_sizes", "path_length", "partitions[0]",
        "partitions[1]", "nodes",
    }  # fmt: skip
    assert found["fwd_time_s"] == "has 2 figures for 4 nodes: give one for all, or 4"
    assert "from 2 to 2" in found["path_length"]


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"path_length": 5}, "path_length", "must be from 2 to 4, the stages there are"),
        ({"path_length": None}, "path_length", "missing"),
        ({"skip_ratio": 0.5}, "path_length", "beside skip_ratio"),
        ({"micro_batches": None}, "micro_batches", "missing: --micro-batches M"),
        ({"waves": 3}, "micro_batches", "must be a multiple of the 3 waves"),
        ({"network": "gcp12"}, "network", "beside link_time_s"),
        ({"link_time_s": None}, "link_time_s", "missing: seconds of a message"),
        ({"link_time_s": None, "network": "gcp12"}, "msg_bytes", "missing: bytes of a message"),
        ({"link_time_s": None, "network": "gpc12", "msg_bytes": 1}, "network", "gcp12"),
        ({"loss_over_fwd": 0.25}, "loss_over_fwd", "the last stage computes the loss in its own passes"),
        ({"group_sizes": [2, 0, 1, 1]}, "group_sizes[1]", "a stage needs a node"),
        ({"stages": 5}, "group_sizes", "give the nodes of each stage"),
        ({"arrangement": "keep", "group_sizes": [2, 1, 1]}, "partitions", "there is no arrangement to keep"),
        ({"stage_cap_per_wave": 1}, "stage_cap_per_wave", "visit every stage 2 times"),
        ({"fwd_time": 1}, "fwd_time", "did you mean 'fwd_time_s'?"),
        ({"memory_per_node": 0}, "memory_per_node", "at least 1"),
        ({"profile": "skip-pipe"}, "profile", "skippipe"),
    ],
)
def test_a_wrong_key_is_named_with_what_would_be_right(changes: dict[str, Any], key: str, message: str) -> None:
    given = {k: v for k, v in (CHAIN | changes).items() if v is not None}
    assert message in wrong(given)[key]


def test_a_node_without_links_is_unreachable() -> None:
    alone = [[0, None, None], [None, 0, 1], [None, 1, 0]]
    given = CHAIN | {"link_time_s": alone, "fwd_time_s": 1, "bwd_time_s": 2, "path_length": 2}
    assert "node 0 is unreachable" in " ".join(wrong(given).values())


def test_regions_that_the_table_lacks_are_named() -> None:
    given = {"nodes": ["Iowa", "Loss Angeles"], "network": "gcp12", "msg_bytes": 1, "fwd_time_s": 1}
    assert "is not in the table" in wrong(given | {"micro_batches": 1, "path_length": 2})["nodes[1]"]


def test_a_published_schedule_becomes_paths() -> None:
    """Hops of two micro-batches as SkipPipe writes them."""
    published = {"ca-paths": {"0": {"0": 1, "1": 3}, "1": {"5": 2, "2": 4}}, "ca-expected-time": 77.7}
    shipped = GROUPS["partitions"]
    given = {k: v for k, v in GROUPS.items() if k != "partitions"}
    found = load_skip(given | {"published_schedule": published, "partitions_shipped": shipped}).published
    assert found is not None
    assert found.paths == {"ca-paths": ((0, 1, 3), (5, 2, 4))}
    assert (found.seconds, found.full_seconds) == ({"ca-paths": 77.7}, None)
    assert found.stage_of_node == (0, 1, 1, 2, 3, 0)


@pytest.mark.parametrize(
    ("hops", "message"),
    [
        ({"0": {"0": 1, "1": 0}}, "0 nodes start it"),
        ({"0": {"0": 1, "2": 3}}, "2 nodes start it"),
        ({"0": {"0": 99}}, "no path of the nodes"),
        ({"1": {"0": 1}}, "numbered from 0"),
        ({"0": {"a": 1}}, "is no number"),
        ({"0": []}, "must be a mapping"),
    ],
)
def test_a_published_schedule_that_is_none_is_refused(hops: Any, message: str) -> None:
    assert message in wrong(GROUPS | {"published_schedule": {"ca-paths": hops}})["published_schedule"]


def test_every_key_of_the_spec_is_described() -> None:
    assert all(field.description for field in SkipSpec.model_fields.values())


def test_the_bundled_tables_are_named_in_the_spec() -> None:
    assert cases.region_tables() == ("dtfm_aws", "gcp12")
    assert all(read_pairs(cases.region_table_path(name)).names for name in cases.region_tables())
    with pytest.raises(KeyError):
        cases.region_table_path("gcp")
