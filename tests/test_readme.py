"""What the README shows, runs."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.main import group
from planner.published import PredictedRow
from planner.published.markdown import BEGIN, END, accuracy_markdown
from planner.published.report import make_report
from planner.published.residuals import coverage, time_residuals

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


def test_the_python_example_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (script,) = blocks("python")
    names: dict[str, object] = {}
    exec(script, names)
    assert (tmp_path / "plan.json").stat().st_size > 0
    assert getattr(names["outcome"], "status") == "optimal"  # noqa: B009


def test_the_experts_example_prints_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the line with the seconds that it took."""
    from click.testing import CliRunner

    from planner.cli.main import group

    monkeypatch.chdir(Path(__file__).parents[1])
    after = TEXT.split("cat > experts.yaml <<'EOF'\n")[1]
    keys, shown = after.split("EOF\n")[0], after.split("```\n")[2]
    (tmp_path / "experts.yaml").write_text(keys.replace("cases/", f"{Path.cwd()}/cases/"))
    result = CliRunner().invoke(
        group, ["experts", str(tmp_path / "experts.yaml"), "--export", "sglang", "-o", str(tmp_path / "out.json")]
    )

    def timeless(text: str) -> list[str]:
        return [line for line in text.strip().splitlines() if not line.startswith("Method")]

    assert timeless(result.stdout) == timeless(shown)
    assert (tmp_path / "out.json").stat().st_size > 0


def test_the_skip_examples_are_problems_and_the_shown_page_is_of_this_one(tmp_path: Path) -> None:
    """A search that ends at a time limit differs from run to run; what it is of, and what it is held against, not."""
    from planner.skip import plan_skip
    from planner.skip_problem import load_skip

    (example,) = blocks("json")
    (tmp_path / "own.json").write_text(example)
    own = plan_skip(load_skip(tmp_path / "own.json"), time_limit_seconds=2.0)
    assert (own.path_length, own.value is not None) == (3, True)
    arguments = re.findall(r"^plan (skip .*?) --time-limit 60 -o schedule.json$", TEXT, flags=re.MULTILINE)[0].split()
    arguments[1] = str(Path(__file__).parents[1] / arguments[1])
    found = CliRunner().invoke(group, [*arguments, "--time-limit", "3", "-o", str(tmp_path / "out.json")])
    shown = TEXT.split("-o schedule.json\n```\n\n```\n")[1]
    fixed = [line for line in found.stdout.splitlines() if line.startswith(("instance_20_nodes: ", "Bound over"))]
    assert len(fixed) == 2
    assert all(line in shown.splitlines() for line in fixed)
    assert re.search(r"^SkipPipe's paths +76.45 .* 77.72$", shown, flags=re.MULTILINE)
    assert re.search(r"^SkipPipe's paths +76.45 .* 77.72$", found.stdout, flags=re.MULTILINE)


def test_the_cluster_example_is_a_cluster(tmp_path: Path) -> None:
    from planner import load_cluster

    (text,) = (block for block in blocks("yaml") if block.startswith("name: 64 x DGX H100"))
    (tmp_path / "cluster.yaml").write_text(text)
    rows = [",".join("0" if i == j else "45" for j in range(64)) for i in range(64)]
    (tmp_path / "bandwidth.csv").write_text("\n".join(rows))
    found = load_cluster(tmp_path / "cluster.yaml")
    assert (found.gpus, found.scale_out.bytes_per_second) == (512, 45e9 / 8)  # 64 x 8; a node's 45 GB/s over its 8


def test_the_example_of_switches_goes_with_the_cluster_example(tmp_path: Path) -> None:
    """61 nodes are left, 60 with eight GPUs; the degraded link's 10 GB/s over eight GPUs are the slowest share."""
    from planner.specs import load_machines

    (text,) = (block for block in blocks("yaml") if "topology:" in block)
    nodes = re.search(r"    gpu: .*?nics: [^\n]*\n", TEXT, flags=re.DOTALL)
    assert nodes is not None
    (tmp_path / "cluster.yaml").write_text("name: mine\n" + re.sub(r"    # gpu, .*\n", nodes[0], text))
    machines = load_machines(tmp_path / "cluster.yaml")
    found = [(way.cluster.nodes, way.cluster.gpus_per_node) for way in machines.alternatives]
    assert found == [(60, 8), (61, 7)]
    assert machines.groups[0].scale_out.bytes_per_second == 10e9 / 8
    assert machines.groups[0].scale_out.latency_seconds == pytest.approx(8e-6)


def test_the_pipeline_example_gives_the_printed_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the seconds it took, and the sequences, as there are several best ones."""
    monkeypatch.setenv("COLUMNS", "120")
    (text,) = (block for block in blocks("yaml") if block.startswith("devices: 4"))
    (tmp_path / "pipeline.yaml").write_text(text)
    result = CliRunner().invoke(group, ["schedule", str(tmp_path / "pipeline.yaml")])
    assert result.exit_code == 0
    printed = TEXT[TEXT.index("pipeline: 4 chunks") :].split("```")[0]
    (heading, times, _, _, named), old = result.stdout.split("\n\n"), printed.split("\n\n")
    assert heading == old[0]
    assert times.splitlines()[:-1] == old[1].splitlines()[:-1]
    assert named == old[4]


def test_every_key_of_the_job_is_documented_with_its_default() -> None:
    from planner.specs import JobSpec

    for name, field in JobSpec.model_fields.items():
        row = next((line for line in TEXT.splitlines() if line.startswith("|") and f"`{name}`" in line), "")
        assert row, name
        if not field.is_required():
            assert f"| `{str(field.default).lower() if isinstance(field.default, bool) else field.default}` |" in row


def test_the_accuracy_table_is_what_the_bundled_rows_give(published: list[PredictedRow]) -> None:
    """Stale? ``python -m tools.update_accuracy`` writes it anew. A last digit may differ by rounding."""
    kept = TEXT.split(BEGIN)[1].split(END)[0].split()
    fresh = accuracy_markdown(make_report(published), coverage(time_residuals(published))).split()
    number = re.compile(r"[-+]?\d+(\.\d+)?")
    assert [number.sub("#", word) for word in kept] == [number.sub("#", word) for word in fresh]
    for old, new in zip(kept, fresh, strict=True):
        if found := number.search(old):
            again = number.search(new)
            assert again is not None
            assert float(again[0]) == pytest.approx(float(found[0]), abs=0.11 if "." in old else 1e-9), (old, new)


def test_the_map_example_prints_what_is_shown_and_its_keys_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value, proof and pipelines' times; not the seconds it took, nor which of equally good orders."""
    import yaml

    from planner.mapping_problem import load_mapping

    monkeypatch.chdir(Path(__file__).parents[1])
    section = TEXT.split("## Mapping to real links\n")[1]
    shown = section.split("```\n")[2]
    result = CliRunner().invoke(group, ["map", "cases/mapping/hosts_16_pp4.json", "-o", str(tmp_path / "order.json")])
    told = result.stdout.split("\n\n")
    assert told[0] == shown.split("\n\n")[0]
    assert told[1].splitlines()[:2] == shown.split("\n\n")[1].splitlines()[:2]
    keys = section.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "own.yaml").write_text(keys)
    (tmp_path / "links.csv").write_text("\n".join(",".join(["20"] * 5) for _ in range(5)))
    problem = load_mapping(tmp_path / "own.yaml")
    assert set(yaml.safe_load(keys)) >= {"gpus", "bandwidth", "shared", "fixed", "excluded", "blocks"}
    assert (problem.pipelines, problem.fixed, problem.excluded) == (2, {(0, 1): 3}, {4})
