"""``plan_skip``: results that are checked, the curve, and the loss of a node."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cases
from planner.cli.output import plain
from planner.exports.skip import export_skip
from planner.skip import bound_over, curve_lengths, plan_skip
from planner.skip_problem import SkipChoices, load_skip
from planner.validate.skip import check_skip
from tests.planner.skip_schedules import CHAIN, GROUPS

SECONDS = 2.0


def test_a_result_is_checked_and_carries_the_contract() -> None:
    request = load_skip(CHAIN)
    result = plan_skip(request, time_limit_seconds=SECONDS, seed=3)
    assert not check_skip(request.problem, result)
    assert result.status in ("optimal", "feasible")
    assert result.value == result.makespan_seconds
    assert result.lower_bound is not None
    assert result.value is not None
    assert result.lower_bound <= result.value
    assert (result.seed, result.micro_batches, result.stages, result.path_length) == (3, 4, 4, 3)
    assert result.partitions == ((0,), (1,), (2,), (3,))
    assert "this arrangement" in result.bound_over
    assert {len(path) for path in result.paths} == {3}
    json.dumps(plain(result), allow_nan=False)


def test_the_full_pipeline_is_what_all_stages_take() -> None:
    """As many stages as there are leave no choice of paths; the baseline of a shorter path is not below its bound."""
    full = plan_skip(load_skip(CHAIN | {"path_length": 4}), time_limit_seconds=SECONDS)
    assert set(full.paths) == {(0, 1, 2, 3)}
    skipping = plan_skip(load_skip(CHAIN), time_limit_seconds=SECONDS)
    assert full.lower_bound is not None
    assert skipping.full_pipeline_makespan_seconds is not None
    assert skipping.full_pipeline_makespan_seconds >= full.lower_bound - 1e-9
    assert skipping.value is not None
    assert skipping.greedy_makespan_seconds is not None
    assert skipping.value <= skipping.greedy_makespan_seconds + 1e-9
    assert skipping.fifo_makespan_seconds is not None
    assert skipping.lower_bound is not None
    assert skipping.fifo_makespan_seconds >= skipping.lower_bound - 1e-9


def test_a_free_arrangement_is_bounded_over_all_of_them() -> None:
    request = load_skip(GROUPS)
    assert "every arrangement" in bound_over(request.problem)
    result = plan_skip(request, time_limit_seconds=SECONDS)
    assert not check_skip(request.problem, result)
    assert sorted(node for held in result.partitions for node in held) == list(range(6))
    kept = load_skip(GROUPS, SkipChoices(keep_arrangement=True))
    assert plan_skip(kept, time_limit_seconds=SECONDS).partitions == ((0, 5), (1, 2), (3,), (4,))


def test_the_curve_runs_from_every_stage_to_half_of_them() -> None:
    request = load_skip(CHAIN)
    assert curve_lengths(request) == [4, 3, 2]
    result = plan_skip(request, time_limit_seconds=3 * SECONDS, curve=True)
    assert [(p.path_length, p.skip_ratio) for p in result.curve] == [(4, 0.0), (3, 0.25), (2, 0.5)]
    own = result.curve[1]
    assert (own.value, own.lower_bound, own.status) == (result.value, result.lower_bound, result.status)
    # node 0 runs 4 x (2 + 4) s of every micro-batch, however many stages are skipped
    first, last = result.curve[0].value, result.curve[-1].value
    assert first is not None
    assert last is not None
    assert first > last >= 24


def test_the_loss_of_every_node_is_planned_anew() -> None:
    """Stages 2 and 3 have one node: where they are lost the others take over; stage 0 has two."""
    request = load_skip(GROUPS)
    result = plan_skip(request, time_limit_seconds=3 * SECONDS, survive_one_failure=True)
    found = result.survival
    assert found is not None
    assert found.survives
    assert [one.node for one in found.losses] == list(range(6))
    worst = max(one.makespan_seconds or 0.0 for one in found.losses)
    assert found.worst is not None
    assert found.worst.makespan_seconds == worst
    assert result.lower_bound is not None
    assert all(one.replanning_seconds > 0 for one in found.losses)


def test_every_loss_is_repaired_and_planning_anew_is_no_slower() -> None:
    """Micro-batches of stages 2 and 3, of one node each, take other paths."""
    result = plan_skip(load_skip(GROUPS), time_limit_seconds=3 * SECONDS, survive_one_failure=True)
    found = result.survival
    assert found is not None
    assert found.repairable
    for one in found.losses:
        assert one.moved == sum(one.node in path for path in result.paths)
        assert one.makespan_seconds is not None
        assert one.repaired_makespan_seconds is not None
        assert one.makespan_seconds <= one.repaired_makespan_seconds
    single = {held[0] for held in result.partitions if len(held) == 1}
    assert {one.node for one in found.losses if one.repair == "other paths"} >= single


PARTNERS: dict[str, Any] = {
    "group_sizes": [2, 2],
    "fwd_time_s": [1, 3, 1, 3],
    "loss_over_fwd": 2,
    "link_time_s": [[0, None, 1, 1], [None, 0, 1, 1], [1, 1, 0, None], [1, 1, None, 0]],
    "memory_per_node": 4,
    "memory_rule": "in-flight",
    "micro_batches": 4,
    "path_length": 2,
}
"""Losses are computed quickest on nodes 0 and 2; there each node has but one partner, and its loss is fatal. With 0 and
1, or 2 and 3, in stage 0 every node has two."""


def test_an_arrangement_in_which_every_loss_leaves_paths_is_preferred() -> None:
    free = plan_skip(load_skip(PARTNERS), time_limit_seconds=2 * SECONDS)
    assert free.partitions[0] == (0, 2)
    result = plan_skip(load_skip(PARTNERS), time_limit_seconds=4 * SECONDS, survive_one_failure=True)
    assert result.partitions[0] in ((0, 1), (2, 3))
    assert free.value is not None
    assert result.value is not None
    assert result.value > free.value
    assert result.lower_bound is not None
    assert result.lower_bound <= free.value + 1e-9
    assert result.survival is not None
    assert result.survival.survives
    assert result.survival.repairable
    (note,) = (one for one in result.notes if "was left for one in which every loss leaves a set of paths" in one)
    assert "stage 1 would be left to" in note


def test_where_no_arrangement_survives_stage_and_remedy_are_named() -> None:
    """One node in a stage that every path needs; five nodes in a ring, of which three start
    and two of these have but one partner each, however they are arranged."""
    fixed = plan_skip(
        load_skip(PARTNERS | {"group_sizes": [1, 3]}), time_limit_seconds=SECONDS, survive_one_failure=True
    )
    assert fixed.reasons[0].endswith(
        "stage 0 has no other node, and every path needs it; give that stage a second node"
    )
    ring = [[0 if a == b else 1 if (a - b) % 5 in (1, 4) else None for b in range(5)] for a in range(5)]
    given = PARTNERS | {"fwd_time_s": 1, "link_time_s": ring, "micro_batches": 6}
    given |= {"group_sizes": [3, 2], "partitions": [[0, 2, 4], [1, 3]]}
    kept = SkipChoices(keep_arrangement=True)
    assert plan_skip(load_skip(given, kept), time_limit_seconds=SECONDS).value is not None
    for choices in (kept, SkipChoices(keep_arrangement=False)):
        result = plan_skip(load_skip(given, choices), time_limit_seconds=3 * SECONDS, survive_one_failure=True)
        assert result.survival is not None
        assert not result.survival.survives
        lost = next(one for one in result.survival.losses if one.makespan_seconds is None)
        assert "give it one more node with memory and links to and from those of the other stages" in lost.reason
    assert any(one.startswith("no arrangement was found in which every loss leaves") for one in result.notes)


def test_a_loss_that_nothing_survives_is_infeasible_and_says_what_would_help() -> None:
    result = plan_skip(load_skip(CHAIN), time_limit_seconds=SECONDS, survive_one_failure=True)
    assert (result.status, result.value) == ("infeasible", None)
    assert result.reasons[0] == (
        "the loss of node 0 (0) is not survived: stage 0 has no other node, and every path needs it; "
        "give that stage a second node"
    )


def test_more_visits_than_memory_counts_are_infeasible_and_say_by_how_many() -> None:
    """4 micro-batches of 2 further stages over 3 stages: at least 2 visits each; a memory of 1 takes 1."""
    request = load_skip(GROUPS | {"memory_per_node": 1}, SkipChoices(keep_arrangement=True))
    result = plan_skip(request, time_limit_seconds=SECONDS)
    assert (result.status, result.value) == ("infeasible", None)
    assert [reason.partition(";")[0] for reason in result.reasons] == [
        f"memory_per_node: stage {stage} is visited 2 times in a wave, its nodes may be 1 times: 1 short"
        for stage in (2, 3)
    ]
    alive = load_skip(GROUPS | {"memory_per_node": 1, "memory_rule": "in-flight"}, SkipChoices(keep_arrangement=True))
    found = plan_skip(alive, time_limit_seconds=SECONDS)
    assert found.value is not None
    assert max(found.peak_in_flight) == 1


def test_the_curve_leaves_out_visits_that_no_full_pipeline_can_keep() -> None:
    """Four stages: every stage is visited 4 times, stages 2 and 3 by one node with a memory of 3."""
    result = plan_skip(load_skip(GROUPS), time_limit_seconds=2 * SECONDS, curve=True)
    assert [(point.path_length, point.value is not None) for point in result.curve] == [(4, True), (3, True), (2, True)]


def test_links_that_no_path_can_use_are_proven_infeasible() -> None:
    """Node 3 is reached from node 2 alone, but half of the micro-batches skip it: 1 and 2 serve two each."""
    link = [list(map(float, row)) for row in CHAIN["link_time_s"]]
    link[1][3] = link[3][1] = float("inf")
    given = CHAIN | {"link_time_s": [[None if x == float("inf") else x for x in row] for row in link]}
    result = plan_skip(load_skip(given), time_limit_seconds=SECONDS)
    assert (result.status, result.value) == ("infeasible", None)
    assert result.reasons[0].startswith("no set of paths keeps every rule")


def test_a_result_that_fails_its_check_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    module = import_module("planner.skip")
    real = module.solve_skip

    def early(*arguments: object, **keys: object) -> object:
        solved = real(*arguments, **keys)
        choice = replace(solved.solution.choice, makespan=solved.solution.choice.makespan / 2)
        return replace(solved, solution=replace(solved.solution, choice=choice))

    monkeypatch.setattr(module, "solve_skip", early)
    with pytest.raises(RuntimeError, match="fails its check"):
        plan_skip(load_skip(CHAIN), time_limit_seconds=SECONDS)


def test_the_same_seed_gives_the_same_schedule(tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    path.write_text(json.dumps(CHAIN | {"micro_batches": 2}))
    one, two = (plan_skip(load_skip(path), time_limit_seconds=SECONDS, seed=1) for _ in range(2))
    assert (one.paths, one.order) == (two.paths, two.order)


def test_waves_alike_take_the_same_paths_and_can_be_exported() -> None:
    """Two waves of four: what SkipPipe's executor runs; planned freely the same problem is refused or alike by luck."""
    request = load_skip(GROUPS | {"waves": 2, "memory_per_node": 2, "memory_rule": "in-flight", "waves_alike": True})
    result = plan_skip(request, time_limit_seconds=SECONDS)
    assert result.paths[:4] == result.paths[4:]
    assert result.fifo_makespan_seconds == result.makespan_seconds
    assert json.loads(export_skip(result, "skippipe", request.problem.memory_cap))["ours-sends"] == 4


def test_skippipes_own_paths_in_our_simulator_and_its_own() -> None:
    """77.72, 79.89 and 165.39 s are its published figures; every plan is below its paths, from which it may start."""
    request = load_skip(cases.case_path("skip", "instance_20_nodes.json"), SkipChoices(keep_arrangement=True))
    result = plan_skip(request, time_limit_seconds=3 * SECONDS)
    found = {one.name: one for one in result.baselines}
    assert round(found["SkipPipe's paths"].published_seconds or 0, 2) == 77.72
    assert round(found["SkipPipe's paths without collision avoidance"].published_seconds or 0, 2) == 79.89
    assert round(found["full pipeline"].published_seconds or 0, 2) == 165.39
    ours = found["SkipPipe's paths"].makespan_seconds
    assert ours == pytest.approx(77.72, rel=0.05)  # two simulators of the same paths
    assert ours is not None
    assert result.value is not None
    assert result.value <= ours
    assert {frozenset(link.names) for link in result.outlier_links} == {frozenset(("NL", "London"))}
    assert not any(link.used for link in result.outlier_links)
    assert request.problem.stage_of_node == request.stage_of_node
    assert result.partitions[1] == (8, 10, 11)


@pytest.mark.parametrize(("length", "best_found"), [(6, 76.6), (5, 68.81), (4, 59.79)])
def test_a_chain_reaches_what_was_found_before(length: int, best_found: float) -> None:
    """``results`` in the bundled file, from an independent search; 2 % for the short time."""
    request = load_skip(cases.case_path("skip", "chain_8.json"), SkipChoices(micro_batches=8, path_length=length))
    result = plan_skip(request, time_limit_seconds=3 * SECONDS)
    assert result.value is not None
    assert result.value <= best_found * 1.02
    assert result.full_pipeline_makespan_seconds == pytest.approx(101.43, rel=0.01)
