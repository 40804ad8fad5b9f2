"""``--exclude``: plans without some nodes, and what that costs; clusters of which something is lost."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from planner import Outcome, SolveOptions
from planner.cli.inputs import Asked
from planner.cli.ways import cost_of_excluding
from planner.plan import Plan
from tests.planner.cli.conftest import Run
from tests.planner.plan import samples

JOB = ["--model", "llama-3.1-8b", "--global-batch", "64", "--seq-len", "4096", "--pin", "tp=2,recompute=full,cp=1"]
PREDICTED = [*JOB[:-2], "--config", "tp=2,mbs=1"]


@pytest.fixture
def seven(tmp_path: Path) -> Path:
    """Four nodes of eight GPUs, one of which has lost one."""
    nics = {"count": 8, "bandwidth": "400 Gb/s", "kind": "infiniband"}
    group = {"count": 4, "gpu": "h100-sxm-80gb", "gpus_per_node": 8, "intra_node": "nvlink4-nvswitch", "nics": nics}
    given: dict[str, Any] = {"name": "seven", "node_groups": [group], "degraded": [{"node": "node2", "gpus": 7}]}
    path = tmp_path / "seven.json"
    path.write_text(json.dumps(given))
    return path


def step_seconds(run: Run, *arguments: str) -> float:
    return float(json.loads(run("solve", *arguments, "--json").stdout)["prediction"]["step_seconds"])


def test_a_plan_without_a_node_is_that_of_a_cluster_without_it(run: Run) -> None:
    one, two = (step_seconds(run, f"dgx-h100-{nodes}", *JOB) for nodes in (1, 2))
    result = run("solve", "dgx-h100-2", *JOB, "--exclude", "node0")
    assert result.exit_code == 0, result.stderr
    line = next(line for line in result.stdout.splitlines() if line.startswith("Excluded"))
    longer = f"{one / two - 1:.2%}".replace("%", " %")
    assert line == (
        f"Excluded       node0; step {one:.4g} s, {longer} longer than with all 2 nodes ({two:.4g} s, proven)"
    )


def test_json_stays_the_plan_alone(run: Run) -> None:
    result = run("solve", "dgx-h100-2", *JOB, "--exclude", "node0", "--json")
    assert json.loads(result.stdout)["inputs"]["cluster"]["topology"]["nodes"][0]["names"] == "node1"
    assert "Excluded       node0; step" in result.stderr


def test_all_nodes_are_those_of_the_cluster_and_used_the_best_way(run: Run, seven: Path) -> None:
    """Of four nodes node2 has lost a GPU: with all, its seven GPUs cannot be used beside eight of the others where one
    pipeline takes a node; without node0, neither. Second method: the clusters of three and of two whole nodes."""
    batch = [*JOB[:3], "48", *JOB[4:6], "--pin", "tp=8,pp=1,cp=1,recompute=full"]
    result = run("solve", seven, *batch, "--exclude", "node0")
    three, two = (step_seconds(run, seven, *batch, "--exclude", left) for left in ("node2", "node[0,2]"))
    line = next(line for line in result.stdout.splitlines() if line.startswith("Excluded"))
    assert f"step {two:.4g} s, " in line
    assert line.endswith(
        f"than with all 4 nodes ({three:.4g} s, proven; 3 x 8 GPUs: node2 left out, 7 GPUs stay unused)"
    )
    assert "with node0: 4 x 7 GPUs: 3 GPUs stay unused: nothing fits" in result.stderr


def test_no_time_left_for_all_nodes_is_said() -> None:
    """A limit of one second that began two seconds ago."""
    asked = Asked(
        cluster="dgx-h100-2",
        model="llama-3.1-8b",
        global_batch=64,
        seq_len=4096,
        precision=None,
        job_file=None,
        settings=(),
        exclude="node0",
    )
    outcome = Outcome(status="optimal", plan=samples.interleaved_dense())
    limited = SolveOptions(time_limit_seconds=1.0)
    line = cost_of_excluding(asked, outcome, limited, None, time.monotonic() - 2.0)
    assert "node0; what it costs is not known: no time is left" in line


def test_a_prediction_without_a_node(run: Run) -> None:
    one, two = (
        float(json.loads(run("predict", f"dgx-h100-{nodes}", *PREDICTED, "--json").stdout)["step_seconds"])
        for nodes in (1, 2)
    )
    result = run("predict", "dgx-h100-2", *PREDICTED, "--exclude", "node[1]")
    assert f"Excluded       node[1]; step {one:.4g} s" in result.stdout
    assert f"with all 2 nodes ({two:.4g} s, modelled)" in result.stdout


def test_a_configuration_that_only_fewer_nodes_can_run(run: Run) -> None:
    """64 sequences in eight replicas of dp; pinned to that, sixteen GPUs of tp 1 are one too many."""
    result = run("predict", "dgx-h100-2", *PREDICTED[:-1], "tp=1,dp=8,mbs=1,recompute=full", "--exclude", "node1")
    assert result.exit_code == 0, result.stderr
    assert "with all 2 nodes this configuration is none" in result.stdout


@pytest.mark.parametrize(
    ("names", "expected"),
    [("node9", "--exclude: 'node9': there is no such node in dgx-h100-2.yaml"), ("node[", "has a '[' without its ']'")],
)
def test_names_that_are_none_are_refused(run: Run, names: str, expected: str) -> None:
    result = run("solve", "dgx-h100-2", *JOB, "--exclude", names)
    assert result.exit_code in (1, 2)
    assert expected in result.stderr


def test_a_node_that_lost_a_gpu_is_planned_both_ways(run: Run, seven: Path, tmp_path: Path) -> None:
    """168 sequences: in 28 replicas of seven GPUs a node, or in 24 of the nodes with eight; more GPUs are faster."""
    path = tmp_path / "plan.json"
    batch = [*JOB[:3], "168", *JOB[4:6], "--pin", "tp=1,recompute=full,cp=1"]
    result = run("solve", seven, *batch, "-o", path)
    assert result.exit_code == 0, result.stderr
    plan = Plan.load(path)
    assert (plan.cluster().nodes, plan.cluster().gpus_per_node, plan.ranks.world_size) == (4, 7, 28)
    assert "4 x 7 GPUs: 3 GPUs stay unused: step" in result.stderr
    told = "3 x 8 GPUs: node2 left out, 7 GPUs stay unused: no step below "
    line = next(line for line in result.stderr.splitlines() if line.startswith(told))
    bound = float(line.removeprefix(told).removesuffix(" s"))
    searched = step_seconds(run, seven, *batch, "--exclude", "node2")
    assert plan.prediction.step_seconds < bound <= float(f"{searched:.4g}")  # as many digits as the line has
    assert run("validate", path, "--cluster", seven).exit_code == 0


def test_the_way_that_fits_wins(run: Run, seven: Path, tmp_path: Path) -> None:
    """With tp 8 and one stage 28 GPUs hold no whole number of replicas."""
    path = tmp_path / "plan.json"
    batch = [*JOB[:3], "48", *JOB[4:6], "--pin", "tp=8,pp=1,cp=1,recompute=full"]
    result = run("solve", seven, *batch, "-o", path)
    assert result.exit_code == 0, result.stderr
    assert "3 GPUs stay unused: nothing fits" in result.stderr
    assert Plan.load(path).ranks.world_size == 24
    assert run("validate", path, "--cluster", seven).exit_code == 0
