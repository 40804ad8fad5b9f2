"""The space against rules written again by hand, and what it says of what it leaves out."""

from itertools import product

import numpy as np
import pytest

from costmodels.configuration import Configuration, Job
from planner.space import IllegalConfiguration, check, describe, enumerate_space, interleavings
from tests.machines import cluster, dense_model, gqa, moe_model
from tests.oracles.configurations import legal_configurations

CASES = [
    (cluster(1, 4), dense_model(layers=4), Job(global_batch=8, sequence_length=2048)),
    (cluster(1, 4), dense_model(layers=3), Job(global_batch=6, sequence_length=2048, attention="unfused")),
    (
        cluster(1, 6),
        dense_model(layers=5, attention=gqa(heads=6, kv_heads=2)),
        Job(global_batch=6, sequence_length=3072),
    ),
    (cluster(2, 2), moe_model(layers=3, experts=6), Job(global_batch=4, sequence_length=2048)),
]


@pytest.mark.parametrize(("machine", "model", "job"), CASES)
def test_the_space_is_what_nested_loops_find(machine, model, job) -> None:  # type: ignore[no-untyped-def]
    """Second method: every combination in plain loops, legality written out again."""
    space = enumerate_space(machine, model, job)
    found = [space.columns.row(i) for i in range(len(space.columns))]
    assert len(found) == len(set(found))
    assert set(found) == set(legal_configurations(machine, model, job))
    for configuration in found:
        check(machine, model, job, configuration)


def test_everything_left_out_is_counted_by_reason() -> None:
    space = enumerate_space(cluster(1, 8), dense_model(layers=4), Job(global_batch=6, sequence_length=2048))
    assert space.pruned["global batch 6 is not divisible by dp x mbs"] > 0
    assert all(count > 0 for count in space.pruned.values())


def test_pins_and_forbidden_degrees_hold_for_every_candidate() -> None:
    machine, job = cluster(1, 8), Job(global_batch=8, sequence_length=2048)
    space = enumerate_space(machine, dense_model(), job, {"tp": 2, "recompute": "full"}, {"cp", "zero"})
    assert len(space.columns)
    for i in range(len(space.columns)):
        row = space.columns.row(i)
        assert (row.tp, row.recompute, row.cp, row.zero) == (2, "full", 1, 0)


FOLDABLE = (cluster(2, 4), moe_model(layers=3, experts=8), Job(global_batch=8, sequence_length=4096))
"""8 GPUs, 8 experts."""


def test_without_folding_experts_keep_to_the_attentions_groups() -> None:
    """Second method: of all legal configurations, found by plain loops, those whose groups, counted rank by rank of a
    stage, are such: expert-tensor groups the tensor groups, expert groups within data-parallel ones."""

    def keeps(c: Configuration) -> bool:
        ranks = np.arange(c.tp * c.cp * c.dp)
        dense, experts = ranks.reshape(c.dp, c.cp, c.tp), ranks.reshape(c.edp, c.ep, c.etp)
        replicas = [set(dense[:, i, j]) for i in range(c.cp) for j in range(c.tp)]
        spread = [set(experts[i, :, j]) for i in range(c.edp) for j in range(c.etp)]
        within = all(any(group <= one for one in replicas) for group in spread)
        return within and dense.reshape(-1, c.tp).tolist() == experts.reshape(-1, c.etp).tolist()

    legal = set(legal_configurations(*FOLDABLE))
    kept = {c for c in legal if keeps(c)}
    space = enumerate_space(*FOLDABLE, forbid={"folding"})
    assert {space.columns.row(i) for i in range(len(space.columns))} == kept
    assert {c for c in legal if not c.folded} == kept
    assert 0 < len(kept) < len(legal)
    assert any(reason.startswith("folding is forbidden") for reason in space.pruned)


def test_a_dense_model_has_nothing_to_fold() -> None:
    """tp = 2 with etp = 1 is no folding where there are no experts."""
    machine, job = cluster(1, 4), Job(global_batch=8, sequence_length=2048)
    free = enumerate_space(machine, dense_model(), job)
    held = enumerate_space(machine, dense_model(), job, forbid={"folding"})
    assert len(held.columns) == len(free.columns)
    assert held.pruned == free.pruned


@pytest.mark.parametrize(
    ("degrees", "folded"),
    [
        ({"tp": 2, "sp": 1, "pp": 8, "dp": 8, "ep": 4, "etp": 2}, False),  # MCore of Table 3
        ({"tp": 2, "sp": 1, "pp": 8, "dp": 8, "ep": 8, "etp": 1}, True),  # MCore with folding
        ({"tp": 2, "sp": 1, "cp": 4, "pp": 8, "dp": 2, "ep": 1, "etp": 2}, False),
        ({"tp": 2, "sp": 1, "cp": 4, "pp": 8, "dp": 2, "ep": 8, "etp": 2}, True),  # over cp as well
        ({"tp": 2, "sp": 1, "cp": 4, "pp": 8, "dp": 2, "ep": 2, "etp": 2}, True),  # neighbours of the same replica
        ({"dp": 4, "ep": 3}, True),  # not part of four replicas
        ({"tp": 2, "sp": 1, "dp": 4}, True),  # experts whole, attention cut
    ],
)
def test_what_counts_as_folded(degrees: dict[str, int], folded: bool) -> None:
    """Mixtral 8x22B on 128 GPUs as arXiv 2504.14960, Table 3, has it; others by hand."""
    assert Configuration(**degrees).folded is folded  # type: ignore[arg-type]


def test_folding_is_a_demand_and_no_degree_to_pin() -> None:
    job = Job(global_batch=8, sequence_length=2048)
    with pytest.raises(IllegalConfiguration, match="folding: no such degree"):
        enumerate_space(cluster(), dense_model(), job, {"folding": 1})
    with pytest.raises(IllegalConfiguration, match=r"fold: no such degree; one of tp.*folding"):
        enumerate_space(cluster(), dense_model(), job, forbid={"fold"})


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ({"tpp": 2}, "no such degree"),
        ({"tp": 0}, "whole number of 1"),
        ({"zero": 4}, "of 0 to 3"),
        ({"recompute": "some"}, "one of none, selective, full, full:N"),
        ({"recompute": "moe_act+layernorm"}, r"write layernorm\+moe_act"),
        ({"tp": "two"}, "whole number"),
    ],
)
def test_a_pin_that_means_nothing_is_refused(pins: dict[str, int | str], message: str) -> None:
    with pytest.raises(IllegalConfiguration, match=message):
        enumerate_space(cluster(), dense_model(), Job(global_batch=8, sequence_length=2048), pins)


def test_a_configuration_that_breaks_rules_hears_all_of_them() -> None:
    job = Job(global_batch=8, sequence_length=2048)
    wrong = Configuration(tp=3, sp=1, dp=5, ep=4, mbs=3)
    with pytest.raises(IllegalConfiguration) as refused:
        check(cluster(1, 8), moe_model(experts=6), job, wrong)
    text = str(refused.value)
    for part in ("8 GPUs", "attention heads", "6 experts is not divisible by ep", "dp x mbs", "under sp"):
        assert part in text
    assert describe(wrong) in text


@pytest.mark.parametrize(("level", "message"), [("some", "one of none"), ("moe+mlp", r"write mlp\+moe")])
def test_a_level_of_recompute_that_means_nothing_is_refused(level: str, message: str) -> None:
    with pytest.raises(IllegalConfiguration, match=message):
        check(cluster(), dense_model(), Job(global_batch=8, sequence_length=2048), Configuration(dp=8, recompute=level))


def test_six_experts_do_not_spread_over_four_ranks() -> None:
    """Real frameworks accept this and lose experts."""
    job = Job(global_batch=8, sequence_length=2048)
    with pytest.raises(IllegalConfiguration, match="6 experts is not divisible by ep"):
        check(cluster(1, 4), moe_model(experts=6), job, Configuration(dp=4, ep=4))


@pytest.mark.parametrize(("layers", "pp"), list(product([3, 7, 61, 126], [2, 3, 16])))
def test_interleavings_cover_every_size_of_the_largest_chunk(layers: int, pp: int) -> None:
    """Every other legal vp has a listed one with chunks as small and no more of them."""
    listed = interleavings(layers, pp)
    for vp in range(1, (layers + 2) // pp + 1):
        for items in (layers, layers + 2):
            size = -(-items // (vp * pp))
            assert any(other <= vp and -(-items // (other * pp)) <= size for other in listed)


def test_levels_of_recompute_are_pinned_by_name() -> None:
    for level in ("none", "selective", "full", "layernorm+moe_act"):
        job = Job(global_batch=8, sequence_length=2048, attention="unfused")
        space = enumerate_space(cluster(1, 2), dense_model(), job, {"recompute": level})
        assert {space.columns.row(i).recompute for i in range(len(space.columns))} == {level}


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        (Configuration(pp=2, vp=4, dp=4), "more chunks than the 6 items"),  # 8 chunks for 4 layers and two ends
        (Configuration(pp=8, vp=1), "more chunks than the 6 items"),
        (Configuration(dp=8, vp=2), "vp > 1 interleaves stages"),
        (Configuration(pp=2, vp=2, dp=4, mbs=2), "in multiples of pp"),  # one micro-batch, two stages
        (Configuration(cp=8), None),
        (Configuration(pp=2, vp=3, dp=4), None),  # 6 chunks of one item
        (Configuration(dp=8, ep=2), "need a mixture of experts"),
        (Configuration(dp=8, etp=2), "need a mixture of experts"),
        (Configuration(dp=8, sp=1), "it needs tp > 1"),
        (Configuration(dp=4), "is not the cluster's 8 GPUs"),
        (Configuration(tp=8), None),  # 4 key/value heads, 8 ranks: two share one
    ],
)
def test_one_configuration_breaks_one_rule(configuration: Configuration, reason: str | None) -> None:
    """By hand: 8 GPUs, 4 layers, 8 heads, 8 sequences of 2,048."""
    parts = (cluster(1, 8), dense_model(layers=4), Job(global_batch=8, sequence_length=2048))
    if reason is None:
        check(*parts, configuration)
        return
    with pytest.raises(IllegalConfiguration) as refused:
        check(*parts, configuration)
    assert len(refused.value.reasons) == 1
    assert reason in refused.value.reasons[0]


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        (Configuration(tp=2, dp=4), "need sequence parallelism"),
        (Configuration(dp=8, ep=4, etp=4), "does not divide the tp x cp x dp ranks"),
        (Configuration(tp=2, sp=1, dp=4, ep=4, etp=2), None),
        (Configuration(pp=2, dp=4, ep=8), "does not divide the tp x cp x dp ranks"),
    ],
)
def test_one_configuration_of_experts_breaks_one_rule(configuration: Configuration, reason: str | None) -> None:
    """By hand: 8 GPUs, 8 experts."""
    parts = (cluster(1, 8), moe_model(layers=4), Job(global_batch=8, sequence_length=2048))
    if reason is None:
        check(*parts, configuration)
        return
    with pytest.raises(IllegalConfiguration, match=reason):
        check(*parts, configuration)


def test_values_that_each_degree_can_take() -> None:
    """By hand from the module's docstring: 8 GPUs in domains of 4, 8 experts, 4,096 tokens: tp and etp
    inside a domain, cp down to 1,024 tokens a rank, micro-batches of powers of two up to the batch."""
    machine, job = cluster(2, 4), Job(global_batch=24, sequence_length=4096)
    columns = enumerate_space(machine, moe_model(layers=6, experts=8), job).columns
    found = {name: sorted({int(v) for v in getattr(columns, name)}) for name in ("tp", "cp", "ep", "etp", "mbs")}
    assert found == {"tp": [1, 2, 4], "cp": [1, 2, 4], "ep": [1, 2, 4, 8], "etp": [1, 2, 4], "mbs": [1, 2, 4, 8]}
    assert sorted({int(v) for v in columns.pp}) == [1, 2, 4, 8]
    assert (columns.gpus == 8).all()


def test_a_degree_is_not_both_pinned_and_forbidden() -> None:
    with pytest.raises(IllegalConfiguration, match="both pinned and forbidden"):
        enumerate_space(cluster(), dense_model(), Job(global_batch=8, sequence_length=2048), {"tp": 2}, {"tp"})


def test_a_pinned_number_of_replicas_holds() -> None:
    space = enumerate_space(cluster(1, 8), dense_model(), Job(global_batch=8, sequence_length=2048), {"dp": 2})
    assert {int(d) for d in space.columns.dp} == {2}
    assert space.pruned["dp is pinned to another value"] > 0


def test_a_pin_lets_a_redundant_choice_through() -> None:
    """Selective recompute saves nothing with FlashAttention and ZeRO nothing without replicas: left out,
    unless asked for."""
    job = Job(global_batch=8, sequence_length=2048)
    free = enumerate_space(cluster(1, 1), dense_model(), job)
    assert {free.columns.row(i).recompute for i in range(len(free.columns))} == {"none", "mlp", "full"}
    assert set(free.columns.zero.tolist()) == {0}
    asked = enumerate_space(cluster(1, 1), dense_model(), job, {"zero": 2, "recompute": "selective"})
    assert {(row.zero, row.recompute) for row in map(asked.columns.row, range(len(asked.columns)))} == {
        (2, "selective")
    }
