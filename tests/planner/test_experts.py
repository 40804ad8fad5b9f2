"""``plan_experts`` on cases whose figures are known: by hand, from papers, or by brute force."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.expert_figures import derive, objective_value
from planner.expert_problem import ExpertProblem, Rows, load_experts
from planner.experts import CONTIGUOUS, CURRENT, EPLB, plan_experts, served_placement
from planner.exports.experts import export_experts, read_experts
from planner.plan.experts_result import ExpertsResult, PlacementFigures
from planner.specs.errors import SpecError
from planner.validate.experts import check_experts
from tests.planner.expert_problems import DEEPSEEK, EXFLOW, balance, mixtral, transitions


def baseline(result: ExpertsResult, name: str) -> PlacementFigures:
    return next(one for one in result.baselines if one.name == name)


def every_row(experts: int, gpus: int, slots: int) -> list[tuple[int, ...]]:
    """All rows that hold every expert."""
    rows = itertools.product(range(experts), repeat=gpus * slots)
    return [row for row in rows if len(set(row)) == experts]


def test_balance_equals_brute_force() -> None:
    """Two layers against every row of six slots that holds all experts."""
    problem = load_experts(balance())
    result = plan_experts(problem)
    rows = every_row(4, 2, 3)
    least = [min(_max_over_mean(loads, row) for row in rows) for loads in ([6, 2, 2, 2], [1, 1, 1, 9])]
    assert [layer.max_over_mean for layer in result.per_layer] == pytest.approx(least)
    assert result.value == pytest.approx(sum(least) / 2)
    assert result.worst_max_over_mean == pytest.approx(max(least))


def _max_over_mean(loads: list[int], row: tuple[int, ...]) -> float:
    gpus = [sum(loads[e] / row.count(e) for e in row[g * 3 : g * 3 + 3]) for g in range(2)]
    return max(gpus) / (sum(loads) / 2)


def test_transitions_by_hand() -> None:
    """Experts 0 and 1 change places between the layers 0 and 1: 2 of 20 tokens leave there, none after; of 30."""
    result = plan_experts(load_experts(transitions()))
    assert (result.status, result.value, result.gap) == ("optimal", pytest.approx(2 / 30), 0.0)
    assert [layer.transition_share_leaving_gpu for layer in result.per_layer] == [pytest.approx(0.1), 0.0, None]
    assert baseline(result, CONTIGUOUS).value == pytest.approx(18 / 30)


def test_weights_price_nodes_on_top() -> None:
    """Every GPU its own node: each of the 2 leaving tokens of 30 costs 1 + 3."""
    result = plan_experts(load_experts(transitions(gpus_per_node=1, weights={"gpu": 1.0, "node": 3.0})))
    assert result.value == pytest.approx(2 * 4 / 30)
    assert result.transition_share_leaving_node == pytest.approx(2 / 30)


def test_the_tail_counts_the_busiest_pair_of_each_step() -> None:
    """One of the two directions carries the 2, none the rest: 2 + 0."""
    result = plan_experts(load_experts(transitions(tail=True)))
    assert result.value == pytest.approx(2.0)


def test_copies_by_hand() -> None:
    """Tokens use {0, 1} (4) and {2, 3} (4) and {0, 3} (2): the first two on a GPU each, 12 distinct GPUs for 10
    tokens, of which a home spread over 2 GPUs saves half."""
    pairs = [[[0, 4, 0, 2], [4, 0, 0, 0], [0, 0, 0, 4], [2, 0, 4, 0]]]
    result = plan_experts(
        load_experts({"loads": [[6, 4, 4, 6]], "coactivation": pairs, "gpus": 2, "objective": "traffic"})
    )
    assert (result.status, result.value) == ("optimal", pytest.approx(1.2 / 2))
    assert result.gpu_copies_per_token == pytest.approx(0.6)
    assert baseline(result, CONTIGUOUS).gpu_copies_per_token == pytest.approx(0.6)


def test_mixtral_on_four_gpus_is_proven_and_published_placements_evaluate_as_published() -> None:
    """0.6626 proven by a trial programme of its own; ExFlow's placement 0.711, contiguous 0.754 on these counts."""
    problem = load_experts({"transitions": mixtral("gsm8k", "humaneval"), "gpus": 4, "objective": "transitions"})
    result = plan_experts(problem)
    assert result.status == "optimal"
    assert result.value == pytest.approx(0.6626, abs=5e-5)
    assert baseline(result, CONTIGUOUS).value == pytest.approx(0.754, abs=5e-4)
    gpu_of = json.loads(Path(EXFLOW).read_text())["gpu_of_expert"]["4"]
    published = tuple(tuple(int(e) for e in np.argsort(layer, kind="stable")) for layer in gpu_of)
    assert objective_value(problem, derive(problem, problem.traces, published)) == pytest.approx(0.711, abs=5e-4)


def test_gains_on_held_out_counts_are_a_third_of_those_in_sample() -> None:
    """Fitted on one data set: 13 to 17 % in sample, 4 to 5 % on the other (page of known results)."""
    result = plan_experts(
        load_experts(
            {
                "transitions": mixtral("gsm8k"),
                "holdout": {"transitions": mixtral("humaneval")},
                "gpus": 4,
                "objective": "transitions",
            }
        )
    )
    assert result.verdict is not None
    assert result.verdict.worth_it
    assert 0.13 < result.verdict.gain < 0.17
    assert result.verdict.held_out_gain is not None
    assert 0.04 < result.verdict.held_out_gain < 0.05
    assert result.held_out is not None
    assert [one.name for one in result.held_out.figures] == ["this placement", CONTIGUOUS]


def test_a_load_like_deepseek_r1_is_balanced_beside_eplb() -> None:
    """288 slots on 32 GPUs: 1.0006 with exchanges, EPLB 1.0064 mean and 1.0111 worst (page of known results)."""
    result = plan_experts(load_experts({"loads": DEEPSEEK, "model": "deepseek-v3", "gpus": 32, "slots_per_gpu": 9}))
    assert result.value == pytest.approx(1.0006, abs=1e-4)
    eplb = baseline(result, EPLB)
    assert (eplb.max_over_mean, eplb.worst_max_over_mean) == (
        pytest.approx(1.0064, abs=5e-5),
        pytest.approx(1.0111, abs=5e-5),
    )
    assert (result.layer_ids[0], result.hidden_layers) == (3, 61)
    rows = read_experts(export_experts(served_placement(result), "sglang"), "sglang").rows
    assert (len(rows), rows[3:]) == (61, result.physical_to_logical)


def test_held_out_transitions_are_reported_for_a_balanced_placement() -> None:
    """One expert a GPU, contiguous: 3 of 4 held-out tokens leave."""
    result = plan_experts(
        load_experts({"loads": [[1, 1], [1, 1]], "gpus": 2, "holdout": {"transitions": [[[1, 3], [0, 0]]]}})
    )
    assert result.held_out is not None
    contiguous = result.held_out.figures[1]
    assert (contiguous.name, contiguous.transition_share_leaving_gpu) == (CONTIGUOUS, pytest.approx(0.75))


def test_a_uniform_load_is_not_worth_a_table() -> None:
    result = plan_experts(load_experts({"loads": np.full((3, 8), 5).tolist(), "gpus": 4}))
    assert (result.status, result.value) == ("optimal", 1.0)
    assert result.verdict is not None
    assert not result.verdict.worth_it
    assert "not worth it: only 0.0 % better than contiguous" in result.verdict.text


def test_a_gain_that_does_not_carry_over_is_said_to_be_none() -> None:
    """Held-out loads are the mirror image: what was heavy is light."""
    loads = [[9, 8, 1, 2, 1, 1, 1, 1]] * 4
    result = plan_experts(load_experts({"loads": loads, "gpus": 4, "holdout": [[5, 5, 5, 5, 5, 5, 5, 5]] * 4}))
    assert result.verdict is not None
    assert result.verdict.gain > 0.1
    assert not result.verdict.worth_it
    assert "does not carry over" in result.verdict.text


def test_groups_stay_on_their_nodes_and_beat_the_hierarchical_policy() -> None:
    """288 slots on four nodes: EPLB's hierarchical policy reaches 1.0505 and 1.144 (page of known results)."""
    keys = {"loads": DEEPSEEK, "gpus": 32, "gpus_per_node": 8, "slots_per_gpu": 9, "expert_groups": 8}
    result = plan_experts(load_experts(keys))
    eplb = baseline(result, EPLB)
    assert (eplb.value, eplb.worst_max_over_mean) == (pytest.approx(1.0505, abs=5e-5), pytest.approx(1.144, abs=5e-4))
    assert result.value is not None
    assert result.value < 1.0505
    row = np.array(result.physical_to_logical[0]).reshape(4, 72) // 32
    assert sorted(np.concatenate([np.unique(node) for node in row]).tolist()) == list(range(8))


def test_the_worst_of_two_traces(tmp_path: Path) -> None:
    """Two traces that want opposite neighbours: by brute force over the placements of four experts on two GPUs."""
    traces = [[[8, 4, 4, 0]], [[0, 4, 1, 7]]]
    for name, loads in zip("ab", traces, strict=True):
        np.save(tmp_path / f"{name}.npy", loads)
    files = [str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    result = plan_experts(load_experts({"loads": files, "gpus": 2, "robust": "worst"}))
    least = min(
        max(max(sum(w[e] for e in row[:2]), sum(w[e] for e in row[2:])) / (sum(w) / 2) for (w,) in traces)
        for row in itertools.permutations(range(4))
    )
    assert result.value == pytest.approx(least)


def test_the_worst_of_two_data_sets_is_between_bound_and_the_pooled_placement() -> None:
    keys: dict[str, Any] = {"transitions": mixtral("gsm8k", "humaneval"), "gpus": 8, "objective": "transitions"}
    worst = plan_experts(load_experts({**keys, "robust": "worst"}))
    pooled = plan_experts(load_experts(keys))
    assert worst.value is not None
    assert worst.lower_bound is not None
    robust = load_experts({**keys, "robust": "worst"})
    of_pooled = objective_value(robust, derive(robust, robust.traces, pooled.physical_to_logical))
    assert of_pooled is not None
    assert worst.lower_bound <= worst.value <= of_pooled
    assert pooled.value == pytest.approx(0.8108, abs=5e-5)  # proven by matchings (page of known results)


def current_file(folder: Path, rows: list[list[int]]) -> str:
    (folder / "now.json").write_text(json.dumps(rows))
    return str(folder / "now.json")


def test_moves_are_counted_after_renaming_alike_gpus(tmp_path: Path) -> None:
    """The optimum 0 3 | 1 2 in another order of GPUs and slots: nothing moves."""
    now = current_file(tmp_path, [[2, 1, 3, 0]])
    result = plan_experts(load_experts({"loads": [[4, 3, 2, 1]], "gpus": 2, "current": now, "expert_bytes": "10 MB"}))
    assert result.moves is not None
    assert (result.moves.slots, result.moves.bytes, result.physical_to_logical) == (0, 0.0, ((2, 1, 3, 0),))


def test_a_limit_of_moves_is_kept(tmp_path: Path) -> None:
    """Two layers each need one exchange, two slots; two moves mend one of them, the worse."""
    now = current_file(tmp_path, [[0, 1, 2, 3]] * 2)
    keys = {"loads": [[4, 4, 1, 1], [4, 3, 2, 1]], "gpus": 2, "current": now}
    limited = plan_experts(load_experts({**keys, "move_limit": 2}))
    assert limited.moves is not None
    assert limited.moves.slots == 2
    assert [layer.max_over_mean for layer in limited.per_layer] == [pytest.approx(1.0), pytest.approx(1.4)]
    free = plan_experts(load_experts(keys))
    assert free.moves is not None
    assert (free.value, free.moves.slots) == (pytest.approx(1.0), 4)
    assert free.verdict is not None
    assert free.verdict.baseline == CURRENT


def test_slots_are_shared_out_where_they_help() -> None:
    """One expert of layer 0 carries half of it; layer 1 is even: the spare slots belong to layer 0."""
    loads = [[6, 2, 2, 2], [3, 3, 3, 3]]
    result = plan_experts(load_experts({"loads": loads, "gpus": 2, "total_slots_per_gpu": 5}))
    assert result.slots_per_gpu == (3, 2)
    assert [len(row) for row in result.physical_to_logical] == [6, 4]
    assert result.value == pytest.approx(1.0)


def test_replicas_set_apart_can_be_exported_where_a_device_holds_an_expert_once() -> None:
    """Set apart the placement is as good to the third decimal."""
    keys = {"loads": DEEPSEEK, "gpus": 32, "slots_per_gpu": 9}
    free = plan_experts(load_experts(keys))
    found = plan_experts(load_experts({**keys, "replicas_apart": True}))
    assert export_experts(served_placement(found), "omni-infer")
    assert found.value == pytest.approx(free.value, abs=1e-3)


def test_more_slots_than_experts_cannot_be_set_apart() -> None:
    with pytest.raises(SpecError, match="slots_per_gpu: 3 slots of a GPU cannot all hold different experts"):
        plan_experts(load_experts({"loads": [[3, 1]], "gpus": 2, "slots_per_gpu": 3, "replicas_apart": True}))


def test_a_load_limit_that_nothing_meets_is_infeasible() -> None:
    result = plan_experts(load_experts(transitions(load_limit=1.05)))
    assert (result.status, result.value, result.physical_to_logical) == ("infeasible", None, ())
    assert "no placement keeps every GPU within 1.05 of the mean" in result.reasons[0]


def test_an_objective_that_nothing_solves_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from planner import expert_methods

    monkeypatch.delitem(expert_methods.METHODS, "balance")
    with pytest.raises(SpecError, match="objective: balance: cannot be planned yet"):
        plan_experts(load_experts(balance()))


def test_the_same_seed_gives_the_same_placement() -> None:
    problem = load_experts({"loads": DEEPSEEK, "gpus": 64, "slots_per_gpu": 5})
    assert plan_experts(problem, seed=3).physical_to_logical == plan_experts(problem, seed=3).physical_to_logical


def test_an_interrupt_leaves_the_best_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    from planner import expert_methods

    def interrupted(problem: ExpertProblem, effort: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setitem(expert_methods.METHODS, "balance", interrupted)
    result = plan_experts(load_experts({"loads": DEEPSEEK, "gpus": 32, "slots_per_gpu": 9}))
    assert (result.status, result.stop, result.method) == ("feasible", "interrupted", EPLB)
    assert result.value == pytest.approx(1.0064, abs=5e-5)


def test_an_asked_stop_ends_the_descent_with_what_it_has() -> None:
    random = np.random.default_rng(0)
    counts = random.integers(0, 50, size=(5, 16, 16)).tolist()
    problem = load_experts({"transitions": counts, "gpus": 4, "objective": "transitions"})
    result = plan_experts(problem, stop=lambda evaluations: "interrupted")
    assert (result.status, result.stop) == ("feasible", "interrupted")
    contiguous = baseline(result, CONTIGUOUS).value
    assert contiguous is not None
    assert result.value is not None
    assert result.value <= contiguous


def test_array_figures_and_counted_ones_agree_with_replicas() -> None:
    """Two derivations of everything, on random replicated rows with transitions: ``check_experts`` finds nothing,
    and finds something as soon as a row is another."""
    from dataclasses import replace

    random = np.random.default_rng(7)
    keys = {
        "loads": random.integers(0, 90, size=(3, 6)).tolist(),
        "transitions": random.integers(0, 9, size=(2, 6, 6)).tolist(),
        "gpus": 4,
        "gpus_per_node": 2,
        "slots_per_gpu": 2,
    }
    problem = load_experts(keys)
    result = plan_experts(problem)
    assert check_experts(problem, problem.traces, result, price=problem.cost.tolist()) == []
    other: Rows = tuple(row[::-1] for row in result.physical_to_logical[:1]) + result.physical_to_logical[1:]
    findings = check_experts(
        problem, problem.traces, replace(result, physical_to_logical=other), price=problem.cost.tolist()
    )
    assert {finding.rule for finding in findings} & {"experts.transition_share_leaving_gpu", "experts.share"}
