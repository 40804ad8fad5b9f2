"""Experts placed for training: hand-made loads, brute force over placements, and exhaustive pricing of small spaces."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.configuration import Job
from costmodels.hardware import Cluster
from planner.expert_training import ExpertLoads, load_expert_loads, priced_model, renumber, renumber_all
from planner.exports import export
from planner.exports.experts import read_experts
from planner.plan import Plan, coordinates, experts, groups
from planner.predict import predict
from planner.pricing import Pricing
from planner.solve import SolveOptions, solve
from planner.space import enumerate_space
from planner.specs.errors import SpecError
from planner.validate import validate
from tests.machines import cluster, moe_model
from tests.oracles.configurations import legal_configurations

HAND = [[6.0, 5.0, 1.0, 2.0], [4.0, 0.0, 0.0, 4.0], [1.0, 1.0, 1.0, 1.0]]


def test_experts_of_a_rank_by_hand() -> None:
    """Layer 0: 14 tokens on two ranks of 7: 6 + 1 and 5 + 2, against 11 and 3 in order. The others are even as they
    are: 4 and 4, 2 and 2; their numbers stay."""
    found = renumber(np.array(HAND), 2)
    assert [{frozenset(row[:2]), frozenset(row[2:])} for row in found.new_to_old[:1]] == [
        {frozenset({0, 2}), frozenset({1, 3})}
    ]
    assert found.new_to_old[1:] == ((0, 1, 2, 3), (0, 1, 2, 3))
    assert found.imbalance == (1.0, 1.0, 1.0)
    assert found.contiguous == (11 / 7, 1.0, 1.0)
    assert found.lower_bound == (1.0, 1.0, 1.0)


def test_one_rank_and_an_expert_each_have_nothing_to_place() -> None:
    """By hand: with four ranks the hottest expert is 6 of a mean of 3.5."""
    alone, each = renumber(np.array(HAND), 1), renumber(np.array(HAND), 4)
    assert alone.imbalance == (1.0, 1.0, 1.0)
    assert each.imbalance == (6 / 3.5, 2.0, 1.0) == each.contiguous == each.lower_bound
    assert alone.new_to_old == each.new_to_old == ((0, 1, 2, 3),) * 3


def test_bound_of_a_rank_with_the_hottest_expert() -> None:
    """By hand: 10 beside the lightest expert, 1, of 20 tokens on two ranks."""
    assert renumber(np.array([[10.0, 1.0, 4.0, 5.0]]), 2).lower_bound == (1.1,)


@pytest.mark.parametrize("ep", [2, 3])
def test_no_other_permutation_of_six_experts_is_better(ep: int) -> None:
    """Oracle: all 720 orders."""
    rng = np.random.default_rng(5)
    loads = rng.lognormal(0.0, 0.8, (12, 6))
    found = renumber(loads, ep)
    orders = np.array(list(permutations(range(6))))
    for layer, row in enumerate(loads):
        best = row[orders].reshape(-1, ep, 6 // ep).sum(axis=2).max(axis=1).min() / row.sum() * ep
        assert found.imbalance[layer] == pytest.approx(max(best, 1.0), rel=1e-12)
        assert found.lower_bound[layer] <= best * (1 + 1e-12)
        counted = row[list(found.new_to_old[layer])].reshape(ep, -1).sum(axis=1).max() / row.sum() * ep
        assert counted == pytest.approx(found.imbalance[layer], rel=1e-12)


# -- in the search --------------------------------------------------------------------------

_MODEL = moe_model(4, experts=4, dense_prefix=1)
MODEL = replace(_MODEL, kinds=_MODEL.kinds[:2])  # without the prediction layer's
LOADS = ExpertLoads(tokens=np.array(HAND), layers=(1, 2, 3))
UNEVEN = ExpertLoads(
    tokens=np.array([[8.0, 3.0, 11.0, 4.5], [9.0, 2.0, 1.0, 7.0], [3.0, 10.0, 5.0, 6.0]]), layers=(1, 2, 3)
)
"""No layer of which two ranks can share evenly."""
PINS: dict[str, int | str] = {"recompute": "none", "mbs": 1, "cp": 1}


def machine(gigabytes: float = 80.0) -> Cluster:
    return cluster(2, 2, memory_bytes=gigabytes * 1e9)


def solved(gigabytes: float = 80.0, loads: ExpertLoads = LOADS, **pins: int) -> Plan:
    found = solve(
        machine(gigabytes),
        MODEL,
        Job(global_batch=8, sequence_length=2048),
        options=SolveOptions(pins={**PINS, **pins}),
        expert_loads=loads,
    ).plan
    assert found is not None
    return found


@pytest.mark.parametrize("gigabytes", [80.0, 4.5])
def test_solve_finds_the_fastest_of_all_configurations_each_priced_with_its_own_placement(gigabytes: float) -> None:
    """Oracle: nested loops over all configurations, each placed, cut and priced in full."""
    job = Job(global_batch=8, sequence_length=2048)
    plan = solved(gigabytes)
    prices = {}
    for configuration in legal_configurations(machine(gigabytes), MODEL, job):
        if (configuration.recompute, configuration.mbs, configuration.cp) == ("none", 1, 1):
            found = predict(machine(gigabytes), MODEL, job, configuration, expert_loads=LOADS)
            prices[configuration] = found.step_seconds if found.feasible else np.inf
    assert len(prices) == 95
    assert len({configuration.ep for configuration in prices}) == 3
    assert plan.certificate.value == pytest.approx(min(prices.values()), rel=1e-12)
    assert plan.certificate.status == "optimal"
    assert validate(plan) == []


def test_bounds_stay_below_prices_with_loads_of_their_own() -> None:
    """Every candidate of a space: coarse bound <= refined bound <= price."""
    job = Job(global_batch=8, sequence_length=2048)
    columns = enumerate_space(machine(), MODEL, job, {"recompute": "none", "mbs": 1}).columns
    placed = renumber_all(LOADS, columns.ep.tolist())
    assert sorted(placed) == [1, 2, 4]
    pricing = Pricing(machine(), priced_model(MODEL, placed), job, load_calibration(machine().gpu), columns)
    coarse = pricing.coarse_bounds()
    refined = pricing.refine(np.arange(len(columns)))
    values = np.array([pricing.evaluate(i).value for i in range(len(columns))])
    assert (coarse <= values * (1 + 1e-12)).all()
    assert (refined <= values * (1 + 1e-12)).all()


def test_loads_placed_evenly_cost_what_even_routing_does_and_others_more() -> None:
    """With ep 2 every layer of ``HAND`` can be even; with ep 4 the hottest expert shows."""
    job = Job(global_batch=8, sequence_length=2048)
    options = [SolveOptions(pins={**PINS, "ep": ep}) for ep in (2, 4)]
    without = [solve(machine(), MODEL, job, options=some).plan for some in options]
    even, hot = solved(ep=2), solved(ep=4)
    assert without[0] is not None
    assert without[1] is not None
    assert even.prediction.step_seconds == without[0].prediction.step_seconds
    assert hot.prediction.step_seconds > without[1].prediction.step_seconds
    assert hot.prediction.peak_memory_bytes > without[1].prediction.peak_memory_bytes


def test_a_plan_says_where_every_expert_stands() -> None:
    plan = solved(ep=2, etp=2, tp=2, pp=1)
    assert Plan.loads(plan.text()) == plan
    placed = plan.experts
    assert placed is not None
    assert plan.inputs.expert_loads is not None
    assert plan.inputs.expert_loads.tokens == tuple(tuple(int(x) for x in row) for row in HAND)
    assert placed.group.model_dump() == {"size": 2, "stride": 2, "ranks_per_domain": 1, "domains": 2}
    assert groups(plan, "ep", 0) == (0, 2)  # one rank of each node
    for rank in range(4):
        held = experts(plan, 1, rank)
        assert held == placed.new_to_old[0][2 * coordinates(plan, rank).ep :][:2]
    assert set(experts(plan, 1, 0)) | set(experts(plan, 1, 2)) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="layer 0: the model has no experts there"):
        experts(plan, 0, 0)


def test_without_loads_a_plan_has_no_section_and_experts_are_dealt_out_in_order() -> None:
    job = Job(global_batch=8, sequence_length=2048)
    plan = solve(machine(), MODEL, job, options=SolveOptions(pins={**PINS, "ep": 2})).plan
    assert plan is not None
    assert "experts" not in plan.to_json()
    assert "expert_loads" not in plan.to_json()["inputs"]
    for rank in range(4):
        first = 2 * coordinates(plan, rank).ep
        assert experts(plan, 2, rank) == (first, first + 1)


def test_megatron_gets_the_permutation() -> None:
    plan = solved(ep=2, pp=1)
    assert plan.experts is not None
    files = export(plan, "megatron")
    found = read_experts(files["megatron-experts.json"].encode(), "megatron")
    assert (found.rows, found.gpus, found.layer_ids) == (plan.experts.new_to_old, 2, (1, 2, 3))
    assert "megatron-experts.json" in files["megatron.json"]


def test_an_infeasible_job_is_explained_with_loads_too() -> None:
    job = Job(global_batch=8, sequence_length=2048)
    found = solve(machine(2.9), MODEL, job, options=SolveOptions(pins={**PINS, "ep": 2}), expert_loads=LOADS)
    assert found.status == "infeasible"
    assert found.infeasibility is not None
    assert found.infeasibility.remedies


# -- from files, and what is refused --------------------------------------------------------


def saved(folder: Path, array: object) -> Path:
    np.save(folder / "loads.npy", np.array(array))
    return folder / "loads.npy"


def test_rows_are_the_layers_with_experts_or_all_with_dense_ones_empty(tmp_path: Path) -> None:
    assert load_expert_loads(saved(tmp_path, HAND), MODEL).layers == (1, 2, 3)
    assert load_expert_loads(saved(tmp_path, [[0.0] * 4, *HAND]), MODEL).tokens.tolist() == HAND
    predicting = moe_model(4, experts=4, dense_prefix=1, mtp=1)
    assert load_expert_loads(saved(tmp_path, [*HAND, [1.0] * 4]), predicting).layers == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (HAND[:2], "has 2 layers; .* has 3 with experts"),
        ([[1.0] * 6] * 3, "has 6 experts; layer 1 of .* has 4"),
        ([[0.0] * 4, *HAND[1:]], "layer 1: no token"),
        ([[9.0, 1.0, 1.0, 1.0], *HAND[1:]], r"layer 1, expert 0: 75.0% of the tokens; .* at most 50.0%"),
    ],
)
def test_loads_that_are_not_the_models_are_refused(tmp_path: Path, array: object, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        load_expert_loads(saved(tmp_path, array), MODEL)


def test_loads_beside_a_stated_imbalance_are_refused() -> None:
    job = Job(global_batch=8, sequence_length=2048, expert_imbalance=1.5)
    with pytest.raises(SpecError, match=r"expert_imbalance: 1\.5: is what the expert loads tell"):
        solve(machine(), MODEL, job, expert_loads=LOADS)
