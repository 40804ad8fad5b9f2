"""The commands that read plans: validate, explain, diff."""

import json
from pathlib import Path

from click.testing import Result

from planner.plan import Plan, with_hosts
from tests.planner.cli.conftest import Run
from tests.planner.plan import samples


def test_a_fresh_plan_is_clean(run: Run, solved: tuple[Result, Path]) -> None:
    result = run("validate", solved[1])
    assert (result.exit_code, result.stderr) == (0, "")
    assert run("validate", solved[1], "--cluster", "dgx-h100-1").exit_code == 0


def test_another_cluster_and_a_changed_figure_are_findings(
    run: Run, solved: tuple[Result, Path], tmp_path: Path
) -> None:
    assert run("validate", solved[1], "--cluster", "dgx-h100-2").exit_code == 1
    document = json.loads(solved[1].read_text())
    document["prediction"]["step_seconds"] *= 1.01
    (tmp_path / "plan.json").write_text(json.dumps(document))
    result = run("validate", tmp_path / "plan.json", "--format", "json")
    assert result.exit_code == 1
    assert any("step_seconds" in finding["path"] for finding in json.loads(result.stdout)["findings"])


def test_explain_shows_the_summary_of_solve_and_what_binds(run: Run, solved: tuple[Result, Path]) -> None:
    result = run("explain", solved[1])
    assert result.exit_code == 0
    assert result.stdout.startswith(solved[0].stdout.rstrip())
    fullest = min(Plan.load(solved[1]).stages, key=lambda stage: stage.memory.free_bytes)
    assert f"stage {fullest.stage} is fullest" in result.stdout


def test_explain_says_where_experts_lie(run: Run, solved: tuple[Result, Path], tmp_path: Path) -> None:
    """By hand: 16 ranks a stage, ep 8 with etp 1 in nodes of eight; nothing of the kind for a dense model."""
    samples.experts_and_prediction_layer().save(tmp_path / "experts.json")
    shown = run("explain", tmp_path / "experts.json").stdout
    assert "folded over tp=2 x cp=1 x dp=8 (each expert group in one NVLink domain)" in shown
    told = json.loads(run("explain", tmp_path / "experts.json", "--json").stdout)
    assert told["expert_groups"] == {"ep": 8, "etp": 1, "edp": 2, "folded": True, "domains": 1}
    assert "expert_groups" not in json.loads(run("explain", solved[1], "--json").stdout)


def test_explain_shows_the_hosts(run: Run, solved: tuple[Result, Path], tmp_path: Path) -> None:
    with_hosts(Plan.load(solved[1]), ["dgx-3"], [7, 6, 5, 4, 3, 2, 1, 0]).save(tmp_path / "plan.json")
    assert "hosts in the order of ranks: dgx-3\n" in run("explain", tmp_path / "plan.json").stdout
    ranks = json.loads(run("explain", tmp_path / "plan.json", "--json").stdout)["ranks"]
    assert (ranks["hosts"], ranks["local_gpus"]) == (["dgx-3"], [7, 6, 5, 4, 3, 2, 1, 0])
    assert run("validate", tmp_path / "plan.json").exit_code == 0


def test_explain_shows_the_cut_beside_rules_and_where_bubbles_are(run: Run, job: list[str], tmp_path: Path) -> None:
    """By hand: 1F1B on two stages keeps two micro-batches and one; the second starts late, ends early."""
    run("solve", *job, "--pin", "pp=2,vp=1", "-o", tmp_path / "plan.json")
    text = run("explain", tmp_path / "plan.json").stdout
    for rule in ("this plan", "even", "megatron", "redis", "min-max"):
        assert f"\n{rule} " in text
    found = json.loads(run("explain", tmp_path / "plan.json", "--json").stdout)
    first, second = found["stages"]
    assert first["alive"] == {"0": [0, 1]}
    assert second["alive"] == {"1": [0]}
    assert first["fill_seconds"] == first["drain_seconds"] == 0 < min(second["fill_seconds"], second["drain_seconds"])
    step = found["prediction"]["step_seconds"]
    assert all(cut["step_seconds"] >= step * (1 - 1e-12) for cut in found["cuts"] if cut["boundaries"])
    assert any(cut["boundaries"] for cut in found["cuts"])


def test_why_not_compares_with_the_best_plan_of_that_kind(
    run: Run, solved: tuple[Result, Path], job: list[str]
) -> None:
    pinned = json.loads(run("solve", *job, "--pin", "tp=8", "--json").stdout)["prediction"]["step_seconds"]
    result = run("explain", solved[1], "--why-not", "tp=8", "--json")
    found = json.loads(result.stdout)
    assert found["why_not"]["prediction"]["step_seconds"] == pinned  # second method: solve with the pin
    best = found["prediction"]["step_seconds"]
    text = run("explain", solved[1], "--why-not", "tp=8").stdout
    assert f"{(pinned / best - 1) * 100:.2f} % slower" in text


def test_an_empty_why_not_is_wrong_usage(run: Run, solved: tuple[Result, Path]) -> None:
    assert run("explain", solved[1], "--why-not", "").exit_code == 2


def test_diff_tells_plans_apart(run: Run, solved: tuple[Result, Path], job: list[str], tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    run("solve", *job, "--pin", "tp=8", "-o", other)
    assert run("diff", solved[1], other).exit_code == 0
    assert run("diff", solved[1], other, "--exit-code").exit_code == 1
    assert run("diff", solved[1], solved[1], "--exit-code").exit_code == 0
    changes = json.loads(run("diff", solved[1], other, "--json").stdout)["changes"]
    assert "/parallelism/tp" in {change["path"] for change in changes}
