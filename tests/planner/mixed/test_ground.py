"""Bundles laid on machines: which link carries what, share by share."""

from dataclasses import replace

import pytest

from costmodels.configuration import Configuration, Job
from costmodels.hardware import Link
from planner.mixed.baselines import dealt_in_order, mean_cluster, slowest_cluster
from planner.mixed.ground import Lane, ground_of
from planner.mixed.hosts import hosts_in_rank_order
from planner.mixed.islands import Islands, Trunk
from tests.machines import cluster
from tests.planner.mixed.machines import group, islands

SHARE = Link(bytes_per_second=1e9, latency_seconds=2e-5)


def test_an_edge_across_is_shared_by_the_gpus_of_the_stage() -> None:
    """Two GPUs of 2 pipelines send at once: 4 share 2 GB/s, less than the 1 GB/s that each one's card has."""
    where = islands(group("a", 8), group("b", 8), link=SHARE, together=2e9)
    lane = Lane(chain=((1, 2), (0, 1)), pipelines=2, microbatches=4)
    ground = ground_of(where, Configuration(tp=2, pp=3, dp=2), [lane])
    own, across = where.groups[1].scale_out, Link(bytes_per_second=0.5e9, latency_seconds=2e-5)
    assert ground.rows[0].edges == (own, across)
    assert ground.rows[0].machines == (1, 1, 0)
    assert ground.states == (own, own, where.groups[0].scale_out)
    assert [machine.nodes for machine in ground.machines] == [12, 12]  # of the whole job, a GPU a node


def test_gradients_of_bundles_side_by_side_cross_the_trunk_together() -> None:
    """Rings of 2 tensor ranks x 2 stages, one rank of each in a domain of two GPUs: 4 share 2 GB/s."""
    where = islands(group("a", 8), group("b", 8), link=SHARE, together=2e9)
    lanes = [Lane(chain=((g, 2),), pipelines=2, microbatches=4) for g in (0, 1)]
    ground = ground_of(where, Configuration(tp=2, pp=2, dp=4), lanes)
    assert ground.states == (Link(bytes_per_second=0.5e9, latency_seconds=2e-5),) * 2
    assert [row.edges for row in ground.rows] == [(where.groups[g].scale_out,) for g in (0, 1)]


def test_cards_alone_limit_a_trunk_without_a_bound_of_its_own() -> None:
    assert Trunk(link=SHARE).share(1000) == SHARE


def test_ranks_dealt_in_order_straddle_groups_where_stages_do() -> None:
    """One stage over both groups: its replicas reduce over the trunk. Two stages: each inside a group."""
    where, job = islands(group("a", 4), group("b", 4), link=SHARE), Job(global_batch=8, sequence_length=2048)
    one = dealt_in_order(where, Configuration(dp=8), job)
    assert one.states == (SHARE,)
    assert [(row.replicas, row.machines) for row in one.rows] == [(4, (0,)), (4, (1,))]
    two = dealt_in_order(where, Configuration(pp=2, dp=4), job)
    assert two.states == (where.groups[0].scale_out, where.groups[1].scale_out)
    assert [(row.replicas, row.machines, row.edges) for row in two.rows] == [(4, (0, 1), (SHARE,))]


def test_the_mean_of_all_gpus_and_the_slowest_of_all() -> None:
    where = islands(group("a", 6, 1.0, 80e9), group("b", 2, 0.5, 40e9), link=SHARE)
    mean, slowest = mean_cluster(where), slowest_cluster(where, 1)
    assert mean.gpu.peak_flops["bf16"] == pytest.approx((6 + 2 * 0.5) / 8 * 989e12)
    assert mean.gpu.memory_bytes == pytest.approx(70e9)
    assert mean.scale_out == where.groups[0].scale_out
    assert (slowest.gpus, slowest.gpu.memory_bytes, slowest.scale_out) == (8, 40e9, SHARE)
    assert slowest.gpu.peak_flops["bf16"] == pytest.approx(0.5 * 989e12)


def test_groups_that_do_not_suit_are_refused_with_all_that_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"GPUs a node.*; .*same name"):
        Islands.joined((cluster(2, 8), cluster(2, 4)), Trunk(link=SHARE))
    with pytest.raises(ValueError, match="2 x 2"):
        Islands(groups=(group("a", 1), group("b", 1)), between=())


def test_hosts_come_in_the_order_of_ranks() -> None:
    """By hand: stage 0 has a pipeline of two nodes' GPUs on b, then one of two on a; stage 1 the groups' next."""
    where = replace(islands(group("a", 4), group("b", 4)), nodes=(("a1", "a2", "a3", "a4"), ("b1", "b2", "b3", "b4")))
    lanes = [Lane(chain=((g, 2),), pipelines=1, microbatches=4) for g in (1, 0)]
    found = hosts_in_rank_order(where, Configuration(tp=2, pp=2, dp=2), lanes)
    assert found == ("b1", "b2", "a1", "a2", "b3", "b4", "a3", "a4")
    chained = [Lane(chain=((1, 1), (0, 2)), pipelines=2, microbatches=4)]
    assert hosts_in_rank_order(where, Configuration(pp=3, dp=2), chained) == ("b1", "b2", "a1", "a2", "a3", "a4")
    assert hosts_in_rank_order(islands(group("a", 4), group("b", 4)), Configuration(pp=3, dp=2), chained) is None


def test_a_node_of_ranks_apart_gives_no_order_of_hosts() -> None:
    """Nodes of two GPUs, of which each stage has one on either group: no node holds ranks that follow one another."""
    pairs = tuple(replace(cluster(1, 2), name=name) for name in "ab")
    where = replace(Islands.joined(pairs, Trunk(link=SHARE)), nodes=(("a1",), ("b1",)))
    lanes = [Lane(chain=((g, 2),), pipelines=1, microbatches=4) for g in (0, 1)]
    assert hosts_in_rank_order(where, Configuration(pp=2, dp=2), lanes) is None
