"""Skipping in a whole plan: the section that is written, and what refuses it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from costmodels.configuration import Job
from planner import SolveOptions, load_cluster, load_model, solve
from planner.cli.main import group
from planner.exports import ExportRefused, export
from planner.exports.skipping import NO_SKIPPING
from planner.plan import Plan, operations, with_hosts
from planner.skip_pins import skip_pins
from planner.skip_plan import problem_of, with_skipping
from planner.skip_use import skip_uses
from planner.specs.errors import SpecError
from planner.validate import validate
from tests.planner.exports.plans import llama_plan

SECONDS = 2.0


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Four stages, eight micro-batches of each pipeline, a quarter of the stages skipped."""
    return with_skipping(llama_plan(), 0.25, seconds=SECONDS)


def test_the_problem_is_the_plans_own_pipeline() -> None:
    """1f1b keeps 4, 3, 2 and 1 micro-batches alive (min(m, p - i)); a message over two stages takes the slower step."""
    whole = llama_plan()
    problem = problem_of(whole, 0.25)
    assert (problem.stages, problem.path_length, problem.microbatches) == (4, 3, 8)
    assert problem.memory_cap == (4, 3, 2, 1)
    chunk = whole.stages[1].chunks[0]
    assert problem.forward_seconds[1] == chunk.forward_seconds
    assert problem.backward_seconds[1] == chunk.input_grad_seconds + chunk.weight_grad_seconds
    sends = [stage.send_seconds for stage in whole.stages]
    assert problem.link_seconds[0][2] == max(sends[0], sends[1]) > 0
    assert problem.link_seconds[2][0] == problem.link_seconds[0][2]
    assert problem.stage_of_node == (0, 1, 2, 3)


def test_the_section_is_consistent_and_validated(plan: Plan) -> None:
    skip = plan.skip
    assert skip is not None
    assert not validate(plan)
    assert (skip.path_length, skip.skip_ratio) == (3, 0.25)
    assert sorted(k for path in skip.paths for k in path.microbatches) == list(range(8))
    assert {len(path.stages) for path in skip.paths} == {3}
    found = plan.prediction
    assert skip.full_pipeline_seconds == found.pipeline_seconds
    assert skip.step_seconds == found.step_seconds - found.pipeline_seconds + skip.makespan_seconds
    # no schedule is below the work of a stage that every micro-batch runs
    chunk = plan.stages[0].chunks[0]
    least = 8 * (chunk.forward_seconds + chunk.input_grad_seconds + chunk.weight_grad_seconds)
    assert skip.makespan_seconds >= least
    assert skip.makespan_seconds < found.pipeline_seconds


def test_a_plan_with_the_section_survives_a_file_and_one_without_has_no_key(plan: Plan) -> None:
    assert Plan.loads(plan.text()) == plan
    assert "skip" not in llama_plan().to_json()
    assert list(plan.to_json()).index("skip") == list(plan.to_json()).index("schedule") + 1


def test_where_ranks_run_is_exported_whatever_they_skip(plan: Plan) -> None:
    assert export(with_hosts(plan, "n[1-8]"), "slurm") == export(with_hosts(llama_plan(), "n[1-8]"), "slurm")


@pytest.mark.parametrize("target", sorted(NO_SKIPPING))
def test_every_runtime_refuses_skipped_stages_by_name(plan: Plan, target: str) -> None:
    with pytest.raises(ExportRefused) as error:
        export(plan, target)
    (reason,) = error.value.reasons
    assert reason.startswith("skip: ")
    assert "through all 4 stages in one order; here each runs 3" in reason


def test_operations_are_the_sections(plan: Plan) -> None:
    """Oracle: every operation as early as its predecessor on its path, with the message, and the one before it on its
    stage; by longest paths over both, repeated until nothing moves."""
    skip = plan.skip
    assert skip is not None
    problem, path_of = problem_of(plan, 0.25), skip.path_of()
    orders = [[(token[0], int(token[1:])) for token in text.split()] for text in skip.order]
    ends = {(op, k, stage): 0.0 for stage, row in enumerate(orders) for op, k in row}
    seconds = {"F": problem.forward_seconds, "B": problem.backward_seconds}
    sequence = {k: [("F", s) for s in path] + [("B", s) for s in reversed(path)] for k, path in path_of.items()}
    moved = True
    while moved:
        before = dict(ends)
        for stage, row in enumerate(orders):
            for position, (op, k) in enumerate(row):
                j = sequence[k].index((op, stage))
                from_path = 0.0
                if j:
                    previous, other = sequence[k][j - 1]
                    from_path = ends[previous, k, other] + problem.link_seconds[other][stage]
                from_stage = ends[(*row[position - 1], stage)] if position else 0.0
                ends[op, k, stage] = max(from_path, from_stage) + seconds[op][stage]
        moved = ends != before
    for stage in range(4):
        found = operations(plan, stage)
        assert [(one.kind[0].upper(), one.microbatch) for one in found] == orders[stage]
        assert {one.chunk for one in found} == {stage}
        for one in found:
            letter = one.kind[0].upper()
            assert one.end_seconds == pytest.approx(ends[letter, one.microbatch, stage])
            assert one.end_seconds - one.start_seconds == pytest.approx(seconds[letter][stage])
    assert max(ends.values()) == pytest.approx(skip.makespan_seconds)


def test_the_trace_shows_the_sections_schedule(plan: Plan) -> None:
    """Read back: the operations, and where a stage keeps as many micro-batches as its plan allows, the same bytes."""
    skip = plan.skip
    assert skip is not None
    found = json.loads(export(plan, "chrome-trace")["trace.json"])["traceEvents"]
    full = 0
    for stage in plan.stages:
        runs = [event for event in found if event["ph"] == "X" and event["pid"] == stage.stage]
        wanted = operations(plan, stage.stage)
        assert [event["name"] for event in runs] == [f"{one.kind[0].upper()}{one.microbatch}" for one in wanted]
        for event, one in zip(runs, wanted, strict=True):
            assert event["ts"] == pytest.approx(1e6 * one.start_seconds)
            assert event["ts"] + event["dur"] == pytest.approx(1e6 * one.end_seconds)
        peak = max(event["args"]["bytes"] for event in found if event["ph"] == "C" and event["pid"] == stage.stage)
        alive = most = 0
        for one in wanted:
            alive += 1 if one.kind == "forward" else -1
            most = max(most, alive)
        if most == stage.memory.in_flight:
            full += 1
            assert peak == pytest.approx(stage.memory.activations_bytes)
        else:
            assert peak < stage.memory.activations_bytes
    assert full > 0


def test_uses_of_the_stages_fill_the_makespan(plan: Plan) -> None:
    """First and last stage serve all 8 micro-batches, the others half of the 8 x 1 visits that are left."""
    skip = plan.skip
    assert skip is not None
    uses = skip_uses(plan)
    assert [use.microbatches for use in uses] == [8, 4, 4, 8]
    problem = problem_of(plan, 0.25)
    for use in uses:
        work = problem.forward_seconds[use.stage] + problem.backward_seconds[use.stage]
        assert use.busy_seconds == pytest.approx(use.microbatches * work)
        assert use.busy_seconds + use.idle_seconds == pytest.approx(skip.makespan_seconds)
        assert 1 <= use.in_flight <= problem.memory_cap[use.stage]
    assert uses[0].fill_seconds == 0.0 < uses[3].fill_seconds
    assert skip_uses(llama_plan()) == ()


def test_explain_shows_the_bubbles_that_skipping_leaves(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan.save(path)
    text = CliRunner().invoke(group, ["explain", str(path)]).stdout
    assert "skipping  micro-batches" in text
    found = json.loads(CliRunner().invoke(group, ["explain", str(path), "--json"]).stdout)
    assert [use["microbatches"] for use in found["skip"]] == [8, 4, 4, 8]


def test_one_stage_and_interleaved_chunks_are_refused() -> None:
    with pytest.raises(SpecError, match=r"skip_ratio: the plan has one stage \(pp=1\): nothing can be skipped"):
        with_skipping(llama_plan((0, 34), pp=1, dp=32), 0.25)
    with pytest.raises(SpecError, match="interleaves 2 chunks a stage: pin vp=1"):
        with_skipping(llama_plan((0, 5, 9, 13, 17, 21, 25, 29, 34), vp=2), 0.25)


def test_pins_that_skipping_needs_are_added_or_contradicted() -> None:
    assert skip_pins({"tp": 2}) == {"vp": 1, "vocabulary": "whole", "tp": 2}
    with pytest.raises(SpecError) as error:
        skip_pins({"vp": 2, "pp": 1})
    assert [problem.message for problem in error.value.problems] == [
        "skipped stages need vp=1, but vp=2 is pinned",
        "pp=1 is pinned: the only stage cannot be skipped; pin pp=2 or more",
    ]


def test_solve_searches_plans_that_can_skip() -> None:
    options = SolveOptions(pins={"pp": 4}, skip_ratio=0.25, skip_seconds=SECONDS)
    job = Job(global_batch=64, sequence_length=4096)
    outcome = solve(load_cluster("dgx-h100-1"), load_model("llama-3.1-8b"), job, options=options)
    plan = outcome.plan
    assert plan is not None
    assert plan.skip is not None
    assert outcome.status == plan.skip.status
    assert plan.inputs.options.pins == {"pp": 4, "vp": 1, "vocabulary": "whole"}
    assert not validate(plan)
