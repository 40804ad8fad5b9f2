"""``plan solve``: summary, plan file and exit codes."""

import json
import signal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from planner.plan import Plan
from planner.pricing import Pricing
from tests.planner.cli.conftest import Run

SOLVING = import_module("planner.solve")


def test_a_proven_plan_exits_with_0_and_shows_what_to_act_on(solved: tuple[Result, Path]) -> None:
    result, path = solved
    assert result.exit_code == 0, result.stderr
    plan = Plan.load(path)
    assert plan.certificate.status == "optimal"
    for part in ("Step time", "tokens/s/GPU", "MFU", "Bubble", "Proof", "next best", "GB free", "recompute="):
        assert part in result.stdout
    assert f"tp={plan.parallelism.tp}" in result.stdout
    assert f"Plan written to {path}" in result.stderr
    assert str(path) not in result.stdout


def test_the_summary_names_every_alternative_and_every_reason_of_pruning(solved: tuple[Result, Path]) -> None:
    result, path = solved
    proof = Plan.load(path).certificate
    assert len(proof.alternatives) == 4  # --top-k 5, the best itself apart
    assert all(other.reason in result.stdout for other in proof.alternatives)
    assert all(reason in result.stdout for reason in proof.pruned)


def test_json_is_the_plan_file_itself(run: Run, solved: tuple[Result, Path], job: list[str]) -> None:
    result = run("solve", *job, "--json")
    assert result.stdout == solved[1].read_text()


def test_pins_and_forbidden_kinds_hold(run: Run, job: list[str]) -> None:
    result = run("solve", *job, "--pin", "tp=2,recompute=full", "--forbid", "pp,cp", "--json")
    parallel = json.loads(result.stdout)["parallelism"]
    assert (parallel["tp"], parallel["recompute"], parallel["pp"], parallel["cp"]) == (2, "full", 1, 1)


def test_schedules_are_searched_where_allowed(run: Run, job: list[str]) -> None:
    plain, allowed = (json.loads(run("solve", *job, *more, "--json").stdout) for more in ((), ("--allow", "schedule")))
    assert plain["inputs"]["options"]["allow"] == []
    assert allowed["inputs"]["options"]["allow"] == ["schedule"]
    counted = [document["certificate"]["searched"]["candidates"] for document in (plain, allowed)]
    assert counted[1] > counted[0]
    assert allowed["certificate"]["value"] <= plain["certificate"]["value"]
    pinned = json.loads(run("solve", *job, "--pin", "schedule=zb-h1,pp=2", "--json").stdout)
    assert (pinned["schedule"]["name"], pinned["schedule"]["placement"]) == ("zb-h1", "linear")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--allow", "shedule"), "'shedule' cannot be allowed; did you mean 'schedule'?"),
        (("--allow", "tp"), "'tp' cannot be allowed; one of recompute, schedule, vocabulary."),
        (("--allow", "schedule", "--pin", "schedule=zb-v"), "schedule: allowed, and also pinned or forbidden."),
        (("--pin", "schedule=zb"), "schedule=zb: one of 1f1b, zb-h1"),
    ],
)
def test_what_cannot_be_allowed_is_wrong_usage(
    run: Run, job: list[str], arguments: tuple[str, ...], message: str
) -> None:
    result = run("solve", *job, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_infeasible_exits_with_4_and_says_by_how_much(run: Run) -> None:
    """405B parameters need at least 16 bytes each over all GPUs (weights 2, gradients 2, optimizer 12),
    6.5 TB; eight A100-40GB have 0.34 TB."""
    arguments = ["dgx-a100-40gb-1", "--model", "llama-3.1-405b", "--global-batch", "64", "--seq-len", "2048"]
    result = run("solve", *arguments)
    assert result.exit_code == 4
    assert "GB short" in result.stdout
    as_json = run("solve", *arguments, "--json")
    assert as_json.exit_code == 4
    found = json.loads(as_json.stdout)
    assert found["status"] == "infeasible"
    assert found["infeasibility"]["short_bytes"] > 6.5e12 / 8 - 40e9  # by hand, see above
    assert all(remedy in result.stdout for remedy in found["infeasibility"]["remedies"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--pin", "tpp=8"], "did you mean 'tp'"),
        (["--pin", "tp=zero"], "whole number from 1"),
        (["--pin", "zero=4"], "from 0 to 3"),
        (["--pin", "tp"], "write tp=VALUE"),
        (["--pin", "tp=1,tp=2"], "twice"),
        (["--pin", "recompute=some"], "none, selective, full"),
        (["--forbid", "xp"], "unknown field 'xp'"),
        (["--forbid", "foldin"], "did you mean 'folding'"),
        (["--pin", "folding=1"], "unknown field 'folding'"),
        (["--pin", "tp=2", "--forbid", "tp,cp"], "tp: both pinned and forbidden"),
        (["--set", "gradients"], "write KEY=VALUE"),
        (["--set", "gradients=bf16,gradients=fp32"], "given twice"),
        (["--gap", "1.5"], "--gap"),
        (["--time-limit", "0"], "--time-limit"),
        (["--precision", "int8"], "--precision"),
        (["--top-k", "0"], "--top-k"),
    ],
)
def test_wrong_usage_exits_with_2_and_names_the_argument(
    run: Run, job: list[str], change: list[str], said: str
) -> None:
    result = run("solve", *job, *change)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-cluster", "--model", "llama-3.1-8b", "--global-batch", "8", "--seq-len", "512"], "no-such-cluster"),
        (["dgx-h100-1", "--model", "xyzzy", "--global-batch", "8", "--seq-len", "512"], "'plan cases list'"),
        (["dgx-h100-1", "--model", "lama-3.1-8b", "--global-batch", "8", "--seq-len", "512"], "llama-3.1-8b"),
        (["dgx-h100-1", "--model", "llama-3.1-8b", "--global-batch", "0", "--seq-len", "512"], "global_batch"),
        (["dgx-h100-1", "--model", "llama-3.1-8b", "--global-batch", "8", "--seq-len", "-1"], "sequence_length"),
        (["dgx-h100-1", "--model", "llama-3.1-8b", "--global-batch", "8", "--seq-len", "9" * 30], "must be at most"),
        (
            ["dgx-h100-1", "--model", "llama-3.1-8b", "--global-batch", "8", "--seq-len", "512", "--set", "gradient=x"],
            "gradient: unknown key; did you mean",
        ),
    ],
)
def test_bad_specs_exit_with_1_and_no_traceback(run: Run, arguments: list[str], said: str) -> None:
    result = run("solve", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert "internal error" not in result.stderr


def test_a_plan_that_cannot_be_written_is_an_error(run: Run, job: list[str], tmp_path: Path) -> None:
    """Found out before the search: no summary of a plan that is lost."""
    result = run("solve", *job, "-o", tmp_path / "missing" / "plan.json")
    assert result.exit_code == 1
    assert "No such file or directory" in result.stderr
    assert result.stdout == ""
    assert run("solve", *job, "-o", tmp_path).exit_code == 2


def test_every_key_of_the_job_is_reached_by_set_or_by_a_file(run: Run, job: list[str], tmp_path: Path) -> None:
    settings = "gradients=bf16,tensor_overlap=false,gradient_overlap=false,expert_imbalance=1,attention=unfused"
    by_set = run("solve", *job, "--set", settings, "--json")
    assert by_set.exit_code == 0, by_set.stderr
    found = json.loads(by_set.stdout)["inputs"]["job"]
    assert (found["gradients"], found["tensor_overlap"], found["attention"]) == ("bf16", False, "unfused")
    lines = [pair.replace("=", ": ") for pair in settings.split(",")]
    (tmp_path / "job.yaml").write_text("\n".join(["global_batch: 64", "sequence_length: 512", *lines]))
    by_file = run("solve", *job[:3], "--job", tmp_path / "job.yaml", "--seq-len", "4096", "--json")
    assert by_file.stdout == by_set.stdout  # --seq-len stands before the file's


def test_the_summary_names_what_is_unusual_about_the_job(run: Run, job: list[str]) -> None:
    text = run("solve", *job, "--set", "gradients=bf16,tensor_overlap=false", "--top-k", "1").stdout
    assert "bf16, tensor overlap off, gradients bf16\n" in text


def test_a_job_without_its_size_is_wrong_usage(run: Run, job: list[str]) -> None:
    result = run("solve", *job[:-2])
    assert result.exit_code == 2
    assert "--job FILE" in result.stderr


def test_mistakes_in_a_job_file_are_told_all_at_once(run: Run, job: list[str], tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("global_batch: 0\nseq_length: 4096\n")
    result = run("solve", *job[:3], "--job", tmp_path / "job.yaml")
    assert result.exit_code == 1
    assert "global_batch: 0: must be at least 1" in result.stderr
    assert "seq_length: unknown key; did you mean 'sequence_length'?" in result.stderr


def test_an_interrupt_while_the_plan_is_written_out_does_not_lose_it(
    run: Run, job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = SOLVING.build_plan

    def interrupted(*arguments: Any, **named: Any) -> Plan:
        signal.raise_signal(signal.SIGINT)
        return build(*arguments, **named)

    monkeypatch.setattr(SOLVING, "build_plan", interrupted)
    result = run("solve", *job, "-o", tmp_path / "plan.json")
    assert result.exit_code == 0
    assert "finishing the plan" in result.stderr
    assert Plan.load(tmp_path / "plan.json").certificate.status == "optimal"


def test_a_second_interrupt_gives_up(run: Run, job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **named: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(SOLVING, "build_plan", interrupted)
    result = run("solve", *job, "-o", tmp_path / "plan.json")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.parametrize(("place", "name"), [(SOLVING, "enumerate_space"), (Pricing, "coarse_bounds")])
def test_an_interrupt_before_the_search_ends_at_once(
    run: Run, job: list[str], monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    monkeypatch.setattr(place, name, lambda *arguments: signal.raise_signal(signal.SIGINT))
    result = run("solve", *job)
    assert (result.exit_code, result.stdout) == (130, "")
    assert "Aborted" not in result.stderr


def test_a_signal_during_the_search_keeps_what_was_found(
    run: Run, job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, calls = Pricing.evaluate, []

    def interrupted(self: Pricing, index: int) -> float:
        calls.append(index)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return evaluate(self, index)

    monkeypatch.setattr(Pricing, "evaluate", interrupted)
    run("solve", *job, "-o", tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json").certificate.searched.evaluated == 1


def test_an_interrupt_ends_the_search_with_the_best_plan_so_far(
    run: Run, job: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, calls = Pricing.evaluate, []

    def interrupted(self: Pricing, index: int) -> float:
        calls.append(index)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(self, index)

    monkeypatch.setattr(Pricing, "evaluate", interrupted)
    result = run("solve", *job, "-o", tmp_path / "plan.json")
    proof = Plan.load(tmp_path / "plan.json").certificate
    assert len(calls) == 3
    assert proof.searched.evaluated == 2
    assert result.exit_code == {"optimal": 0, "feasible": 3}[proof.status]


def test_a_time_limit_too_short_for_anything_still_gives_a_plan(run: Run, job: list[str], tmp_path: Path) -> None:
    result = run("solve", *job, "--time-limit", "1e-9", "-o", tmp_path / "plan.json")
    proof = Plan.load(tmp_path / "plan.json").certificate
    assert proof.searched.evaluated == 1
    assert result.exit_code == {"optimal": 0, "feasible": 3}[proof.status]


def test_problems_of_cluster_model_and_job_come_at_once(run: Run, tmp_path: Path) -> None:
    spec = tmp_path / "cluster.yaml"
    spec.write_text("name: x\nnode_groups: [{count: -1, gpu: h100-sxm-80gb}]\n")
    result = run("solve", spec, "--model", "llama-3.1-9b", "--global-batch", "0", "--seq-len", "4096")
    assert result.exit_code == 1
    for part in ("node_groups[0].count: -1", "llama-3.1-9b", "global_batch: 0"):
        assert part in result.stderr


def test_experts_are_placed_by_their_loads(run: Run, tmp_path: Path) -> None:
    """Counts of Mixtral-8x7B's 32 layers, made up: expert 0 has twice the tokens of the others."""
    loads = tmp_path / "loads.json"
    loads.write_text(json.dumps([[20, 10, 10, 10, 10, 10, 10, 10]] * 32))
    job = ("solve", "dgx-h100-8", "--model", "mixtral-8x7b", "--global-batch", "64", "--seq-len", "4096")
    pins = ("--pin", "tp=2,pp=4,ep=4,cp=1,mbs=1,vp=1")
    result = run(*job, *pins, "--expert-loads", str(loads), "-o", str(tmp_path / "plan.json"))
    assert result.exit_code == 0, result.stderr
    assert "32 layers placed by load on 4 ranks" in result.stdout
    assert "Busiest rank   1.333 of the mean rank" in result.stdout  # (20 + 10) of 90 / 4
    assert run("validate", str(tmp_path / "plan.json")).exit_code == 0
    again = run("explain", str(tmp_path / "plan.json"), "--why-not", "ep=8,tp=2,pp=4,cp=1,mbs=1,vp=1", "--json")
    other = json.loads(again.stdout)["why_not"]["prediction"]["step_seconds"]
    one = ("--config", "tp=2,pp=4,ep=8,cp=1,mbs=1", "--json", "--expert-loads", str(loads))
    assert other > 0
    assert run("predict", *job[1:], *one).exit_code in (0, 4)
    both = run(*job, "--expert-loads", str(loads), "--set", "expert_imbalance=1.2")
    assert both.exit_code == 1
    assert "expert_imbalance" in both.stderr
