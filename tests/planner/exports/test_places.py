"""Where ranks run: every file is parsed and says of every rank what the plan says."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from planner.exports import TARGETS, export
from planner.plan import Plan, coordinates, groups, with_hosts, with_order
from planner.plan.expand import GroupKind
from tests.planner.exports import plans
from tests.planner.plan import samples

NAMES = ["n3", "n1", "n4", "n2"]
ORDERS = {"n4": (7, 6, 5, 4, 0, 1, 2, 3), "n1": (1, 0, 2, 3, 4, 5, 6, 7)}


def mapped() -> Plan:
    """32 ranks on four hosts that are in no order."""
    return with_hosts(samples.experts_and_prediction_layer(), NAMES, ORDERS)


def hosts(plan: Plan) -> list[str | None]:
    return [coordinates(plan, rank).host for rank in range(plan.ranks.world_size)]


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_hostfile_gives_every_rank_its_host() -> None:
    """Read as DeepSpeed does: NAME slots=N, comments left out; ranks fill one host after the other."""
    found = []
    for line in lines(export(mapped(), "hostfile")["hostfile"]):
        match = re.search(r"^(\S+)\s+slots=(\d+)$", line)
        assert match
        found += [match[1]] * int(match[2])
    assert found == hosts(mapped())


def test_a_hostfile_says_what_torchrun_does_to_its_order() -> None:
    comments = export(mapped(), "hostfile")["hostfile"]
    assert "c10d hosts are sorted and --node-rank is ignored" in comments
    assert "--rdzv-backend=static --node-rank=LINE --master-addr=n3" in comments
    assert "cuda-visible-devices" in comments
    assert "cuda-visible-devices" not in export(with_hosts(plans.llama_plan(), "n[1-8]"), "hostfile")["hostfile"]


def test_slurm_runs_task_i_on_the_host_of_line_i() -> None:
    files = export(mapped(), "slurm")
    assert files["slurm.hostfile"].splitlines() == hosts(mapped())


def test_the_srun_line_runs(tmp_path: Path) -> None:
    """A stand-in for srun writes down what it was called with."""
    for name, text in export(mapped(), "slurm").items():
        (tmp_path / name).write_text(text)
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\necho "$SLURM_HOSTFILE"\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    command = ["sh", str(tmp_path / "srun.sh"), "python", "train.py", "a b"]
    done = subprocess.run(
        command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    where, *words = done.stdout.splitlines()
    assert Path(where).read_text().splitlines() == hosts(mapped())
    assert words == ["--nodes=4", "--ntasks=32", "--distribution=arbitrary", "python", "train.py", "a b"]


def test_a_rankfile_gives_every_rank_its_host_and_a_slot_of_its_own() -> None:
    found: dict[int, tuple[str, int]] = {}
    for line in lines(export(mapped(), "openmpi-rankfile")["rankfile"]):
        match = re.fullmatch(r"rank (\d+)=(\S+) slot=(\d+)", line)
        assert match
        found[int(match[1])] = (match[2], int(match[3]))
    assert [found[rank][0] for rank in range(32)] == hosts(mapped())
    assert len(set(found.values())) == 32


@pytest.mark.parametrize("gpus", [None, (3, 2, 1, 0, 7, 6, 5, 4), ORDERS])
def test_every_local_rank_sees_its_gpu_first_among_its_own(tmp_path: Path, gpus: Any) -> None:
    """Device l of CUDA_VISIBLE_DEVICES is the GPU of local rank l, by the script and by the table."""
    plan = with_hosts(samples.experts_and_prediction_layer(), NAMES, gpus)
    files = export(plan, "cuda-visible-devices")
    table = json.loads(files["cuda_visible_devices.json"])
    script = tmp_path / "cuda.sh"
    script.write_text(files["cuda_visible_devices.sh"])
    for node, host in enumerate(NAMES):
        expected = ",".join(str(coordinates(plan, rank).local_gpu) for rank in range(8 * node, 8 * node + 8))
        assert table["hosts"].get(host, table["default"]) == expected
        for name in (host, f"{host}.cluster"):
            told = f"set -- {name}; . {script}; sh -c 'echo $CUDA_VISIBLE_DEVICES'"
            done = subprocess.run(["sh", "-c", told], capture_output=True, text=True, check=True)
            assert done.stdout.strip() == expected


def test_gpus_without_names_of_hosts_are_the_same_everywhere() -> None:
    plan = samples.experts_and_prediction_layer()
    assert json.loads(export(plan, "cuda-visible-devices")["cuda_visible_devices.json"]) == {
        "default": "0,1,2,3,4,5,6,7",
        "hosts": {},
    }


def lines_of(mesh: Any, path: tuple[int, ...] = ()) -> dict[int, tuple[int, ...]]:
    """By rank, where it stands in nested lists."""
    if isinstance(mesh, int):
        return {mesh: path}
    return {rank: place for i, part in enumerate(mesh) for rank, place in lines_of(part, (*path, i)).items()}


@pytest.mark.parametrize(
    "plan",
    [
        samples.interleaved_dense(),
        with_order(plans.llama_plan(cp=2, dp=4), "tp-cp-pp-dp"),
        samples.experts_and_prediction_layer(),
        samples.folded_experts(),
        samples.folded_experts(ep=2),
    ],
)
def test_lines_of_a_device_mesh_are_the_groups_of_the_plan(plan: Plan) -> None:
    document = json.loads(export(plan, "device-mesh")["device_mesh.json"])
    assert ("experts" in document) == plan.model().is_moe
    for part in {"dense", "experts"} & set(document):
        axes, places = document[part]["mesh_dim_names"], lines_of(document[part]["mesh"])
        assert sorted(places) == list(range(plan.ranks.world_size))
        at = {place: rank for rank, place in places.items()}
        for rank, place in places.items():
            for i, axis in enumerate(axes):
                count = plan.ranks.sizes[axis]
                kind: GroupKind = axis
                line = tuple(at[(*place[:i], k, *place[i + 1 :])] for k in range(count))
                assert groups(plan, kind, rank) == line


def test_files_that_say_where_ranks_run_do_not_mind_what_they_run() -> None:
    """A vocabulary split over the stages is refused by runtimes."""
    places = ("hostfile", "slurm", "openmpi-rankfile", "cuda-visible-devices", "device-mesh")
    plan = with_hosts(plans.split_vocabulary_plan(), "n[1-8]")
    assert all(tuple(export(plan, name)) == TARGETS[name].files for name in places)
