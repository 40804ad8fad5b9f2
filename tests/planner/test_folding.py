"""Searches with parallel folding against searches without, in the same cost model."""

from functools import lru_cache
from typing import Literal

import pytest

from costmodels.architecture import Attention, LayerKind, Model, Moe
from costmodels.configuration import Configuration, Job
from costmodels.hardware import Cluster
from planner.plan import Plan
from planner.predict import predict
from planner.solve import SolveOptions, solve
from planner.space import enumerate_space
from planner.validate import validate
from tests.machines import cluster, moe_model
from tests.oracles.configurations import legal_configurations

Parts = tuple[Cluster, Model, Job]
Case = Literal["small", "few replicas"]
SMALL: Parts = (cluster(2, 2), moe_model(layers=2, experts=4), Job(global_batch=4, sequence_length=2048))
WIDE = LayerKind(
    name="wide experts",
    attention=Attention(heads=48, kv_heads=8, head_dim=128, value_dim=128),
    block=Moe(experts=8, top_k=2, ffn=16384),
    norm_parameters=2 * 6144,
)
FEW_REPLICAS: Parts = (
    cluster(2, 8),
    Model(
        name="four wide layers",
        hidden=6144,
        vocabulary=32000,
        kinds=(WIDE,),
        layers=(0,) * 4,
        final_norm_parameters=6144,
    ),
    Job(global_batch=4, sequence_length=8192),
)
"""Four sequences on 16 GPUs, layers as wide as Mixtral 8x22B's: attention needs tp or cp, and experts, spread over the
replicas alone, would be cut over tp as well."""


CASES: dict[Case, Parts] = {"small": SMALL, "few replicas": FEW_REPLICAS}


@lru_cache
def solved(case: Case, *, folding: bool) -> Plan:
    forbid = frozenset[str]() if folding else frozenset({"folding"})
    plan = solve(*CASES[case], options=SolveOptions(forbid=forbid, top_k=3)).plan
    assert plan is not None
    return plan


@pytest.mark.parametrize("case", CASES)
def test_the_folded_space_holds_the_unfolded_one_and_is_never_slower(case: Case) -> None:
    def space(forbid: set[str]) -> set[Configuration]:
        columns = enumerate_space(*CASES[case], forbid=forbid).columns
        return {columns.row(i) for i in range(len(columns))}

    assert space({"folding"}) < space(set())
    free, kept = solved(case, folding=True), solved(case, folding=False)
    assert free.certificate.status == kept.certificate.status == "optimal"
    assert free.certificate.value <= kept.certificate.value
    assert not kept.configuration().folded
    assert not any(other.configuration().folded for other in kept.certificate.alternatives)


def test_the_unfolded_optimum_is_that_of_brute_force() -> None:
    """Second method: plain loops over all legal configurations, those that fold left out, every price full."""
    kept = [c for c in legal_configurations(*SMALL) if c.etp == c.tp and c.dp % c.ep == 0 and 1 in (c.cp, c.ep)]
    found = [predict(*SMALL, c) for c in kept]
    best = min(prediction.step_seconds for prediction in found if prediction.feasible)
    assert solved("small", folding=False).certificate.value == pytest.approx(best, rel=1e-12)


def test_folding_wins_where_attention_needs_more_ranks_a_sequence_than_experts() -> None:
    """With few sequences the ranks of a sequence hold different experts, whole, instead of cuts of the same: the
    winner folds, and alone, priced without a search, is faster than the best that does not."""
    free, kept = solved("few replicas", folding=True), solved("few replicas", folding=False)
    assert free.configuration().folded
    assert free.certificate.value < 0.99 * kept.certificate.lower_bound
    assert predict(*FEW_REPLICAS, free.configuration()).step_seconds < kept.certificate.lower_bound


def test_a_plan_without_folding_says_so_and_validates() -> None:
    plan = solved("few replicas", folding=False)
    assert plan.inputs.options.forbid == ("folding",)
    assert "no folding" in plan.certificate.scope
    assert validate(plan) == []
    folded = solved("few replicas", folding=True).text().replace('"forbid": []', '"forbid": ["folding"]')
    assert {finding.rule for finding in validate(Plan.loads(folded))} >= {"parallelism.legal"}


def test_a_folded_configuration_is_predicted_all_the_same() -> None:
    """A demand on a search says nothing of one given configuration."""
    assert predict(*FEW_REPLICAS, Configuration(tp=2, sp=1, dp=4, pp=2, ep=8, etp=1)).step_seconds > 0
