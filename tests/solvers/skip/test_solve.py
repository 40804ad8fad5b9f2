"""The solver against trying everything, its bounds, limits and refusals."""

import dataclasses
import math

import numpy as np
import pytest

from solvers.schedule.solve import solve_schedule
from solvers.skip.baselines import baselines, full_pipeline
from solvers.skip.bounds import bound_over_arrangements, bound_over_paths
from solvers.skip.failure import losses, without_node
from solvers.skip.paths import every_path
from solvers.skip.pipeline import pipeline_of
from solvers.skip.problem import FORCED_ENDS, SKIPPIPE, SkipProblem
from solvers.skip.solve import Hint, SkipResult, solve_skip
from tests.oracles.skip import arrangements, broken_rules, least_makespan, least_value, path_sets
from tests.solvers.skip.instances import chain, published_paths, read, twenty_nodes
from tests.solvers.skip.random_problems import random_problem
from tests.solvers.skip.test_problem import LINE

SHORT = 2.0


def _checked(result: SkipResult) -> SkipResult:
    """Every rule of the schedule by the slow checker; value and bound in order."""
    solution, choice = result.solution, result.solution.choice
    if choice is not None:
        assert broken_rules(choice.problem, choice.stage_of_node, choice.paths, choice.operations) == []
        last = max(o.end for row in choice.operations for o in row)
        assert solution.value == pytest.approx(last + choice.copy_seconds)
        assert solution.lower_bound <= solution.value
    return result


def _until(problem: SkipProblem, value: float) -> SkipResult:
    """Solved until ``value`` is reached, within a minute."""
    stages = problem.stage_of_node
    bound = bound_over_arrangements(problem).seconds
    if stages is not None:
        bound = bound_over_paths(problem, stages, every_path(problem, stages, 60_000)).seconds
    return solve_skip(problem, time_limit_seconds=60, gap=max(1e-6, 1 - bound / value))


@pytest.mark.parametrize("tenth", range(10))
def test_small_problems_are_solved_as_by_trying_everything(tenth: int) -> None:
    """200 random problems of up to 5 stages and 4 micro-batches, all rules drawn: the least value over all
    arrangements, paths and orders, or none."""
    solved = 0
    for seed in range(20 * tenth, 20 * tenth + 20):
        problem = random_problem(seed)
        wanted = least_value(problem)
        result = _checked(solve_skip(problem, time_limit_seconds=SHORT, seed=seed))
        assert result.solution.value == pytest.approx(wanted), f"seed {seed}"
        assert result.solution.lower_bound <= wanted + 1e-6, f"seed {seed}"
        assert (result.solution.status == "infeasible") == math.isinf(wanted), f"seed {seed}"
        solved += math.isfinite(wanted)
    assert solved > 10


def test_bounds_are_below_every_schedule() -> None:
    """Before any search: the path programme's over paths and orders, the other over arrangements too. Tight in some."""
    tight = 0
    for seed in range(60):
        problem = random_problem(1000 + seed)
        least = np.inf
        for stages in arrangements(problem):
            paths = every_path(problem, stages, 10_000)
            bound = bound_over_paths(problem, stages, paths).seconds
            fixed = least_value(dataclasses.replace(problem, stage_of_node=stages))
            assert bound <= fixed + 1e-6, f"seed {seed}"
            tight += bound == pytest.approx(fixed)
            least = min(least, fixed)
        assert bound_over_arrangements(problem).seconds <= least + 1e-6, f"seed {seed}"
    assert tight >= 20


def test_certificate_over_the_orders_of_the_best_paths() -> None:
    """A bound over orders is no more than what trying all orders of these paths gives."""
    problem = dataclasses.replace(random_problem(3), copy_link_factor=0.0)
    result = _checked(solve_skip(chain("chain_8", 8, 4), time_limit_seconds=5 * SHORT, certificate=True))
    bounds = {b.over: b.seconds for b in result.bounds}
    assert bounds["orders"] <= result.solution.value + 1e-6
    assert bounds["orders"] >= bounds["paths and orders"] - 1e-6
    stages = problem.stage_of_node
    assert stages is not None
    paths = next(path_sets(problem, stages))
    assert least_makespan(problem, paths) >= bound_over_arrangements(problem).seconds


def test_skippipes_configuration() -> None:
    """At most 68.5 s in its own arrangement and 66.0 s in any (SkipPipe: 77.7 s), far below greedy skipping's; the
    bound over its arrangement is above the 54.47 s of the plain relaxation."""
    fixed = _checked(_until(twenty_nodes(), 68.5))
    assert fixed.solution.value <= 68.5
    assert fixed.solution.lower_bound >= 54.47
    free = _checked(_until(twenty_nodes(fixed=False), 66.0))
    assert free.solution.value <= 66.0
    assert free.solution.lower_bound >= 41.0


@pytest.mark.parametrize("case", read("chain_8")["results"], ids=lambda c: f"M{c['micro_batches']}K{c['path_length']}")
def test_chains_of_eight_stages(case: dict[str, float]) -> None:
    """Within a hundredth of what trials found before, at once (the benchmark: at or below all of them in a minute);
    bounds over all paths near those for their paths, or above."""
    problem = chain("chain_8", int(case["micro_batches"]), int(case["path_length"]))
    result = _checked(_until(problem, 1.01 * case["best_found"]))
    assert result.solution.value <= 1.01 * case["best_found"]
    assert result.solution.lower_bound >= 0.95 * case["bound_with_paths_fixed"]
    assert result.solution.counts["paths"] == math.comb(6, problem.path_length - 2)


def test_a_long_chain_keeps_its_bound() -> None:
    """P = 20, M = 64, K = 10: at least the 281.60 s of 64 micro-batches on the first node, without any search."""
    problem = chain("chain_20", 64, 10)
    assert bound_over_arrangements(problem).seconds == pytest.approx(64 * 4.40)


@pytest.mark.parametrize(("name", "micro"), [("chain_8", 8), ("chain_8", 12)])
def test_all_stages_are_the_pipeline_schedulers_problem(name: str, micro: int) -> None:
    problem = full_pipeline(chain(name, micro, 8))
    pipeline = pipeline_of(problem, range(8))
    assert pipeline is not None
    wanted = solve_schedule(pipeline, time_limit_seconds=20)
    found = _checked(solve_skip(problem, time_limit_seconds=20))
    assert wanted.status == found.solution.status == "optimal"
    assert found.solution.value == pytest.approx(wanted.value)


def test_less_memory_and_more_work_are_never_quicker() -> None:
    """Bounds of the relaxed programme, exact orders of small problems."""
    for seed in range(20):
        problem = random_problem(2000 + seed)
        stages = next(arrangements(problem))
        base = dataclasses.replace(problem, stage_of_node=stages)
        slower = dataclasses.replace(base, forward_seconds=tuple(f + 1 for f in base.forward_seconds))
        tighter = dataclasses.replace(base, memory_cap=tuple(max(1, c - 1) for c in base.memory_cap))
        value = least_value(base)
        for harder in (slower, tighter):
            found = solve_skip(harder, time_limit_seconds=SHORT).solution
            assert found.value >= value - 1e-6, f"seed {seed}"


def test_memory_too_small_for_any_path_is_proven_infeasible() -> None:
    result = solve_skip(dataclasses.replace(LINE, memory_cap=(2, 2, 0)), time_limit_seconds=SHORT)
    assert result.solution.status == "infeasible"
    assert result.solution.choice is None
    assert "no legal path" in result.bounds[0].reason


def test_loads_that_no_paths_keep_are_proven_infeasible() -> None:
    """Three stages of a node each and a cap of one visit a wave, but two micro-batches through the last stage."""
    rules = dataclasses.replace(FORCED_ENDS, visits_per_wave=True)
    result = solve_skip(dataclasses.replace(LINE, memory_cap=(2, 2, 1), rules=rules), time_limit_seconds=SHORT)
    assert result.solution.status == "infeasible"
    assert result.solution.lower_bound == np.inf


def test_hints_that_break_a_rule_are_left_out() -> None:
    """SkipPipe's collision-aware paths visit one node four times a wave, its others keep the cap of three."""
    stages = twenty_nodes().stage_of_node
    assert stages is not None
    hints = [Hint(stage_of_node=stages, paths=published_paths(key)) for key in ("ca-paths", "non-ca-paths")]
    counts = solve_skip(twenty_nodes(), time_limit_seconds=0, hints=hints).solution.counts
    assert (counts["hints"], counts["hints_left_out"]) == (2, 1)
    free = dataclasses.replace(SKIPPIPE, visits_per_wave=False)
    counts = solve_skip(twenty_nodes(rules=free), time_limit_seconds=0, hints=hints).solution.counts
    assert (counts["hints"], counts["hints_left_out"]) == (2, 0)


def test_no_time_still_gives_a_schedule_and_a_bound() -> None:
    result = _checked(solve_skip(twenty_nodes(), time_limit_seconds=0))
    assert result.solution.choice is not None
    assert 0 < result.solution.lower_bound <= result.solution.value
    with pytest.raises(ValueError, match="time_limit_seconds: -1 must not be negative"):
        solve_skip(LINE, time_limit_seconds=-1)


def test_baselines_of_a_chain() -> None:
    """The full pipeline's 101.43 s stands in the instance; what skips is quicker."""
    full, drawn, greedy = baselines(chain("chain_8", 8, 4), tuple(range(8)))
    assert full.makespan == pytest.approx(101.43)
    assert greedy.makespan < full.makespan
    assert drawn.makespan < full.makespan
    for one in (drawn, greedy):
        assert one.schedule is not None
        problem = one.schedule.problem
        assert broken_rules(problem, tuple(range(8)), one.schedule.paths, one.schedule.operations) == []


def test_loss_of_a_copy_is_survived_and_that_of_a_needed_stage_is_not() -> None:
    """Stages of 2, 1 and 2 nodes, forced ends: without the one of the middle all skip it (K = 2)."""
    problem = dataclasses.replace(
        LINE,
        forward_seconds=(1.0,) * 5,
        backward_seconds=(2.0,) * 5,
        link_seconds=tuple(tuple(float(a != b) for b in range(5)) for a in range(5)),
        memory_cap=(2,) * 5,
        group_sizes=(2, 1, 2),
        stage_of_node=(0, 0, 1, 2, 2),
        microbatches=4,
    )
    found = losses(problem, (0, 0, 1, 2, 2), time_limit_seconds=1.0)
    assert [loss.reason for loss in found] == [None] * 5
    assert all(loss.makespan >= found[2].makespan for loss in found)
    smaller = without_node(problem, (0, 0, 1, 2, 2), 2)
    assert (smaller.group_sizes, smaller.stage_of_node) == ((2, 2), (0, 0, 1, 1))
    alone = losses(LINE, (0, 1, 2), time_limit_seconds=1.0)
    assert [loss.makespan == np.inf for loss in alone] == [True, False, True]
    assert alone[0].reason == "node 0: stage 0 has no other node, and every path needs it"
