"""``plan import``: data on stdout, what was not read on stderr, what is missing by the name of its option."""

import json
from pathlib import Path

import pytest
import yaml

from planner.cli.import_ import KINDS, NIC_KINDS
from planner.importing import KINDS as KNOWN
from planner.specs.cluster import NicsSpec
from planner.specs.machines import load_cluster
from planner.specs.model import load_model
from tests.planner.cli.conftest import Run

TOPO = "GPU inventory\n\tGPU0\tGPU1\tmlx5_0\nGPU0\t X \tNV12\tPIX\nGPU1\tNV12\t X \tPXB\n"
CONFIG = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "vocab_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 128,
}


@pytest.fixture
def topo(tmp_path: Path) -> Path:
    path = tmp_path / "topo.txt"
    path.write_text(TOPO)
    return path


def test_the_choices_are_those_of_readers_and_specs() -> None:
    """Written twice so that help needs no import; the two must agree."""
    assert set(KINDS) == KNOWN.keys()
    assert NicsSpec.model_json_schema()["properties"]["kind"]["enum"] == NIC_KINDS


def test_the_spec_on_stdout_loads_and_unread_lines_are_on_stderr(run: Run, topo: Path) -> None:
    result = run("import", topo, "--gpu", "a100-sxm-40gb")
    assert (result.exit_code, result.stderr.strip()) == (
        0,
        f"not read: {topo}:1: GPU inventory: is no part of a matrix: passed over",
    )
    spec = yaml.safe_load(result.stdout)
    assert load_cluster(spec).scale_up.bytes_per_second == 300e9  # 12 links of 25 GB/s
    assert "# intra_node: 12 NVLinks a GPU" in result.stdout


def test_what_no_file_tells_is_asked_for_by_the_option(run: Run, topo: Path) -> None:
    result = run("import", topo)
    assert result.exit_code == 1
    assert "--gpu" in result.stderr
    assert result.stdout == ""


def test_a_written_file_is_named_and_solvable(run: Run, topo: Path) -> None:
    out = topo.with_name("cluster.yaml")
    result = run("import", topo, "--gpu", "a100-sxm-40gb", "-o", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"wrote {out}" in result.stderr
    assert load_cluster(out).gpus == 2


def test_json_tells_specs_sources_and_what_was_not_read(run: Run, topo: Path) -> None:
    result = run("import", topo, "--gpu", "a100-sxm-40gb", "--json")
    told = json.loads(result.stdout)
    assert told["files"] == {str(topo): "topo-m"}
    assert told["cluster"]["spec"]["node_groups"][0]["gpu"] == "a100-sxm-40gb"
    assert (len(told["cluster"]["sources"]), len(told["unread"]), told["models"]) == (5, 1, [])


def test_a_config_becomes_a_model_spec_alone_or_beside_its_cluster(run: Run, topo: Path) -> None:
    config = topo.with_name("Tiny-1B.json")
    config.write_text(json.dumps(CONFIG))
    alone = run("import", config)
    assert load_model(yaml.safe_load(alone.stdout)) == load_model(config)
    both = run("import", topo, config, "--gpu", "a100-sxm-40gb", "-o", topo.with_name("c.yaml"))
    assert both.exit_code == 0
    assert load_model(topo.with_name("c-Tiny-1B.yaml")) == load_model(config)
    assert load_cluster(topo.with_name("c.yaml")).gpus == 2


def test_a_table_of_bandwidths_needs_a_place_to_go(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    path.write_text('{"gpus": ["a", "b"], "bandwidth": [[0, 20], [25, 0]]}')
    said = ["--gpu", "a100-sxm-40gb", "--gpus-per-node", "8", "--intra-node", "nvlink3-nvswitch"]
    assert "options: -o: missing" in run("import", path, *said).stderr
    assert run("import", path, *said, "-o", tmp_path / "c.yaml").exit_code == 0
    spec = yaml.safe_load((tmp_path / "c.yaml").read_text())
    assert spec["measured"] == {"bandwidth_csv": "c-bandwidth.csv"}
    told = json.loads(run("import", path, *said, "--json").stdout)
    assert told["cluster"]["bandwidth_bytes_per_second"] == [[None, 20e9], [25e9, None]]


def test_a_kind_that_is_given_is_taken(run: Run, topo: Path) -> None:
    result = run("import", topo, "--kind", "slurm")
    assert (result.exit_code, "names no switch and no block" in result.stderr) == (1, True)
