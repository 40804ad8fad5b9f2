"""Skipping in a whole plan: the section that is written, and what refuses it."""

import pytest

from costmodels.configuration import Job
from planner import SolveOptions, load_cluster, load_model, solve
from planner.exports import TARGETS, ExportRefused, export
from planner.plan import Plan, with_hosts
from planner.skip_pins import skip_pins
from planner.skip_plan import problem_of, with_skipping
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


@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if not target.only_places])
def test_every_target_refuses_skipped_stages_by_name(plan: Plan, target: str) -> None:
    with pytest.raises(ExportRefused) as error:
        export(plan, target)
    (reason,) = error.value.reasons
    assert reason.startswith("skip: ")
    assert "through all 4 stages in one order; here each runs 3" in reason


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
