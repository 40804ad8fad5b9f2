"""The space against rules written again by hand, and what it says of what it leaves out."""

from itertools import product

import pytest

from costmodels.configuration import RECOMPUTE_LEVELS, Configuration, Job
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


@pytest.mark.parametrize(
    ("pins", "message"),
    [
        ({"tpp": 2}, "no such degree"),
        ({"tp": 0}, "whole number of 1"),
        ({"zero": 4}, "of 0 to 3"),
        ({"recompute": "some"}, "one of none, selective, full"),
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
    for level in RECOMPUTE_LEVELS:
        job = Job(global_batch=8, sequence_length=2048, attention="unfused")
        space = enumerate_space(cluster(1, 2), dense_model(), job, {"recompute": level})
        assert {space.columns.row(i).recompute for i in range(len(space.columns))} == {level}
