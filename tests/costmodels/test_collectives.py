"""Collective times: by hand with round figures, against published measurements, and what must hold."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from costmodels import collectives
from costmodels.calibration import load_calibration
from costmodels.collectives import Seconds
from costmodels.groups import Group, group_shape
from costmodels.hardware import Cluster, Gpu, Link


def cluster(name: str, up_gb: float, out_gb: float, nodes: int) -> Cluster:
    gpu = Gpu(
        name=name,
        architecture="any",
        memory_bytes=80e9,
        memory_bytes_per_second=1e12,
        peak_flops={"bf16": 1e15},
    )
    return Cluster(
        name=name,
        gpu=gpu,
        nodes=nodes,
        gpus_per_node=8,
        domain_gpus=8,
        scale_up=Link(bytes_per_second=up_gb * 1e9, latency_seconds=3e-6),
        scale_out=Link(bytes_per_second=out_gb * 1e9, latency_seconds=5e-6),
    )


H100 = cluster("h100", 400, 50, 16)
ROUND = load_calibration(H100.gpu).adjusted(
    kind="assumed",
    source="round figures",
    scale_up_fraction=0.5,  # 200 GB/s
    scale_out_fraction=0.8,  # 40 GB/s
    own_part_fraction=0.0,
    in_network_fraction=0.0,
    collective_launch_seconds=10e-6,
    scale_up_step_factor=2.0,  # steps of 6 us
    low_latency_fraction=0.1,  # 40 GB/s
    low_latency_launch_seconds=4e-6,
    low_latency_step_seconds=1e-6,
    all_to_all_fraction=0.5,
)
NODE, PAIR, FOUR_NODES, RAIL = (group_shape(size, stride, 8) for size, stride in ((8, 1), (2, 1), (32, 1), (4, 8)))


def test_all_gather_by_hand() -> None:
    # 7/8 of 16 MB at 200 GB/s beside seven steps of 6 us; launch
    seconds = collectives.all_gather_seconds(16e6, NODE, H100, ROUND)
    assert seconds == pytest.approx(math.hypot(70e-6, 42e-6) + 10e-6)
    # 8 rails x 40 = 320 > 200 GB/s of NVLink: 31/32 at 200 beside 7 x 6 us; 3 x 5 us
    seconds = collectives.all_gather_seconds(32e6, FOUR_NODES, H100, ROUND)
    assert seconds == pytest.approx(math.hypot(155e-6, 42e-6) + 25e-6)
    # one rank a node: 3/4 at 40 GB/s; 3 x 5 us
    assert collectives.all_gather_seconds(1.6e9, RAIL, H100, ROUND) == pytest.approx(30e-3 + 25e-6)


def test_small_messages_run_another_protocol_by_hand() -> None:
    # 7/8 of 64 kB at 40 GB/s, seven steps of 1 us, launch; twice round for an all-reduce
    assert collectives.all_gather_seconds(64e3, NODE, H100, ROUND) == pytest.approx(1.4e-6 + 7e-6 + 4e-6)
    assert collectives.all_reduce_seconds(64e3, NODE, H100, ROUND) == pytest.approx(2 * (1.4e-6 + 7e-6) + 4e-6)
    # between nodes they were not measured: 3/4 of 64 kB at 40 GB/s as large ones, 3 x 5 us
    assert collectives.all_gather_seconds(64e3, RAIL, H100, ROUND) == pytest.approx(1.2e-6 + 15e-6 + 10e-6)


def test_beyond_eight_ranks_of_a_domain_a_ring_adds_a_step_per_doubling() -> None:
    rack = replace(H100, gpus_per_node=64, domain_gpus=64)
    # seven steps for three doublings, so fourteen for 64 = 2^6 ranks: 63/64 of 64 MB at 200 GB/s
    seconds = collectives.all_gather_seconds(64e6, group_shape(64, 1, 64), rack, ROUND)
    assert seconds == pytest.approx(math.hypot(315e-6, 14 * 6e-6) + 10e-6)


def test_reduce_scatter_mirrors_all_gather() -> None:
    for group in (NODE, PAIR, FOUR_NODES, RAIL):
        gathered = collectives.all_gather_seconds(1e9, group, H100, ROUND)
        assert collectives.reduce_scatter_seconds(1e9, group, H100, ROUND) == gathered


def test_all_reduce_by_hand() -> None:
    # in a node: 2 x 7/8 x 16 MB / 200 GB/s, beside a tree of three steps of 6 us, up and down
    seconds = collectives.all_reduce_seconds(16e6, NODE, H100, ROUND)
    assert seconds == pytest.approx(math.hypot(140e-6, 36e-6) + 10e-6)
    # four nodes: 2 x 31/32 x 32/200 = 310 us by ring or tree, the tree beside 2 x 18 us, and 2 x 2 x 5 us
    seconds = collectives.all_reduce_seconds(32e6, FOUR_NODES, H100, ROUND)
    assert seconds == pytest.approx(math.hypot(310e-6, 36e-6) + 30e-6)
    # switches that reduce at 160 GB/s: inside 9/8 x 32/160 = 225 us, across 2 x 3/4 x 32/320 = 150 us
    switched = ROUND.adjusted(kind="assumed", source="NVLS", in_network_fraction=0.4)
    seconds = collectives.all_reduce_seconds(32e6, FOUR_NODES, H100, switched)
    assert seconds == pytest.approx(math.hypot(225e-6, 36e-6) + 30e-6)


def test_tensor_groups_over_two_a100_nodes_get_their_rails_once() -> None:
    """vTrain's 16-rank tensor groups (arXiv 2312.12391, 8 NICs of 12.5 GB/s a node): steps of 10.6 s
    against 5.0 s at 8 ranks leave no room for more than the ring's bus bandwidth, 8 rails."""
    machine = cluster("a100", 300, 12.5, 2)
    figures = load_calibration(machine.gpu)
    group = group_shape(16, 1, 8)
    seconds = float(collectives.all_reduce_seconds(4e8, group, machine, figures))
    bus = 2 * 15 / 16 * 4e8 / seconds
    assert bus == pytest.approx(8 * 12.5e9 * figures.scale_out_fraction, rel=0.1)


def test_switches_that_reduce_speed_up_a_full_node_but_not_a_pair() -> None:
    switched = ROUND.adjusted(kind="assumed", source="NVLS", in_network_fraction=0.4)  # 160 GB/s
    # 9/8 x 1.6 / 160 = 11.25 ms < 14 ms; for two ranks 3/2 x 1.6/160 = 15 ms > 8 ms; steps are hidden
    node, pair = (collectives.all_reduce_seconds(1.6e9, group, H100, switched) for group in (NODE, PAIR))
    assert node == pytest.approx(11.25e-3 + 10e-6, rel=1e-4)
    assert pair == pytest.approx(8e-3 + 10e-6, rel=1e-4)


def test_the_part_a_rank_keeps_costs_a_copy() -> None:
    copying = ROUND.adjusted(kind="assumed", source="copy", own_part_fraction=0.5)
    # (1 + 0.5)/2 of 1.6 GB at 200 GB/s
    assert collectives.all_gather_seconds(1.6e9, PAIR, H100, copying) == pytest.approx(6e-3 + 10e-6)


def test_all_to_all_by_hand() -> None:
    # in a node: 7/8 of 1.6 GB at 200 GB/s, half as fast as the links
    assert collectives.all_to_all_seconds(1.6e9, NODE, H100, ROUND) == pytest.approx(14e-3 + 13e-6)
    # four nodes: 24/32 of 1.6 GB leave at the rank's own 40 GB/s: no bonus for rails
    assert collectives.all_to_all_seconds(1.6e9, FOUR_NODES, H100, ROUND) == pytest.approx(60e-3 + 15e-6)


def test_copies_to_one_domain_cross_once() -> None:
    # top-8 over four nodes: 3 x (1 - (3/4)^8) = 2.7 copies leave instead of 6
    plain = collectives.all_to_all_seconds(1.6e9, FOUR_NODES, H100, ROUND)
    merged = collectives.all_to_all_seconds(1.6e9, FOUR_NODES, H100, ROUND, merged_copies=8)
    assert (merged - 15e-6) / (plain - 15e-6) == pytest.approx(2.6997 / 6, rel=1e-4)


def test_copies_to_one_rank_are_sent_once() -> None:
    # top-8 over a node of eight: 7 x (1 - (7/8)^8) = 4.595 copies move instead of 7
    plain = collectives.all_to_all_seconds(1.6e9, NODE, H100, ROUND)
    merged = collectives.all_to_all_seconds(1.6e9, NODE, H100, ROUND, merged_copies=8)
    assert (merged - 13e-6) / (plain - 13e-6) == pytest.approx(4.5948 / 7, rel=1e-3)


def test_broadcast_and_send_by_hand() -> None:
    assert collectives.broadcast_seconds(1.6e9, NODE, H100, ROUND) == pytest.approx(8e-3 + 10e-6, rel=1e-4)
    near, far = collectives.send_seconds(0.8e9, [False, True], H100, ROUND)
    assert near == pytest.approx(4e-3 + 13e-6)
    assert far == pytest.approx(20e-3 + 15e-6)


def test_a_ring_through_more_ranks_of_a_node_uses_more_nics() -> None:
    """Galvatron's A100 profile, two nodes: all-reduce bus bandwidth 8.13 GB/s with one rank in each,
    16.22 with two, so twice."""
    wide, narrow = group_shape(4, 4, 8), group_shape(2, 8, 8)
    size = 1e12
    bus = [
        2 * (n - 1) / n * size / collectives.all_gather_seconds(2 * size, group, H100, ROUND)
        for n, group in ((4, wide), (2, narrow))
    ]
    assert bus[0] / bus[1] == pytest.approx(16.22 / 8.13, rel=0.01)


@pytest.mark.parametrize(
    ("machine", "collective", "ranks", "mebibytes", "measured_us", "within"),
    [
        # vTrain, nccl-tests on 8 x A100 (trace/a100/AR_GPU*_LUT); no part of the fit
        (cluster("a100", 300, 12.5, 1), "all_reduce", 8, 1024, 8193.0, 0.15),
        (cluster("a100", 300, 12.5, 1), "all_reduce", 8, 64, 579.9, 0.15),
        (cluster("a100", 300, 12.5, 1), "all_reduce", 2, 1024, 5442.8, 0.10),
        (cluster("a100", 300, 12.5, 1), "all_reduce", 4, 512, 3720.0, 0.10),
        # aiconfigurator-core 0.12.0, NCCL 2.29 (2.27 on A100), one node
        (cluster("h100", 450, 50, 1), "all_gather", 8, 512, 1401.5, 0.05),
        (cluster("h100", 450, 50, 1), "all_gather", 2, 512, 1038.6, 0.05),
        (cluster("h100", 450, 50, 1), "reduce_scatter", 8, 64, 200.8, 0.05),
        (cluster("h100", 450, 50, 1), "all_reduce", 8, 512, 2111.1, 0.07),
        (cluster("b200", 900, 50, 1), "all_gather", 8, 512, 761.4, 0.05),
        (cluster("b200", 900, 50, 1), "all_reduce", 2, 512, 1005.3, 0.15),
        # small messages of the same NCCL
        (cluster("h100", 450, 50, 1), "all_gather", 8, 1 / 64, 11.2, 0.10),
        (cluster("h100", 450, 50, 1), "all_reduce", 8, 1 / 64, 19.0, 0.15),
        (cluster("h100", 450, 50, 1), "all_reduce", 2, 1 / 64, 7.3, 0.15),
        (cluster("h100", 450, 50, 1), "reduce_scatter", 4, 1, 11.6, 0.20),
        (cluster("b200", 900, 50, 1), "all_gather", 2, 2, 15.8, 0.15),
        (cluster("b200", 900, 50, 1), "all_reduce", 8, 1 / 4, 28.3, 0.10),
        (cluster("a100", 300, 12.5, 1), "all_gather", 8, 1 / 64, 15.8, 0.10),
        # S. Bekman's ML Engineering book, AWS P6-B200, one node and four over EFA
        (cluster("b200", 900, 50, 1), "all_reduce", 8, 512, 1363.6, 0.15),
        (cluster("b200", 900, 50, 4), "all_reduce", 32, 4096, 22053.0, 0.25),
        # a user's log of 2 x A3 Mega (8 x 200 Gb/s a node)
        (cluster("h100", 450, 25, 2), "all_reduce", 16, 8192, 47743.0, 0.05),
        (cluster("h100", 450, 25, 2), "all_reduce", 16, 1024, 6737.4, 0.15),
    ],
)
def test_messages_take_what_was_measured(
    machine: Cluster, collective: str, ranks: int, mebibytes: float, measured_us: float, within: float
) -> None:
    price = getattr(collectives, f"{collective}_seconds")
    seconds = price(mebibytes * 2**20, group_shape(ranks, 1, 8), machine, load_calibration(machine.gpu))
    assert 1e6 * seconds == pytest.approx(measured_us, rel=within)


Collective = Callable[[ArrayLike, Group, Cluster], Seconds]
BUNDLED = load_calibration(H100.gpu)
COLLECTIVES: dict[str, Collective] = {
    "all_gather": lambda s, g, c: collectives.all_gather_seconds(s, g, c, BUNDLED),
    "reduce_scatter": lambda s, g, c: collectives.reduce_scatter_seconds(s, g, c, BUNDLED),
    "all_reduce": lambda s, g, c: collectives.all_reduce_seconds(s, g, c, BUNDLED),
    "broadcast": lambda s, g, c: collectives.broadcast_seconds(s, g, c, BUNDLED),
    "all_to_all": lambda s, g, c: collectives.all_to_all_seconds(s, g, c, BUNDLED),
    "merged": lambda s, g, c: collectives.all_to_all_seconds(s, g, c, BUNDLED, merged_copies=8),
    "send": lambda s, g, c: collectives.send_seconds(s, g.domains > 1, c, BUNDLED),
}
GROUPS = st.builds(group_shape, st.integers(2, 600), st.integers(1, 32), st.sampled_from([4, 8, 72]))


def changed(up: float = 1, out: float = 1, up_latency: float = 1, out_latency: float = 1) -> Cluster:
    def scaled(link: Link, bandwidth: float, latency: float) -> Link:
        return Link(
            bytes_per_second=bandwidth * link.bytes_per_second,
            latency_seconds=latency * link.latency_seconds,
        )

    return replace(
        H100, scale_up=scaled(H100.scale_up, up, up_latency), scale_out=scaled(H100.scale_out, out, out_latency)
    )


@pytest.mark.parametrize("collective", COLLECTIVES.values(), ids=COLLECTIVES)
@given(size=st.floats(1, 1e12), more=st.floats(1, 10), group=GROUPS)
def test_time_is_positive_and_never_falls_with_size(
    collective: Collective, size: float, more: float, group: Group
) -> None:
    assert 0 < collective(size, group, H100) <= collective(size * more, group, H100)


@pytest.mark.parametrize("collective", COLLECTIVES.values(), ids=COLLECTIVES)
@given(size=st.floats(1, 1e12), factor=st.floats(1, 10), group=GROUPS)
def test_better_links_never_take_longer(collective: Collective, size: float, factor: float, group: Group) -> None:
    seconds = collective(size, group, H100)
    assert collective(size, group, changed(up=factor)) <= seconds
    assert collective(size, group, changed(out=factor)) <= seconds
    assert collective(size, group, changed(up_latency=factor)) >= seconds
    assert collective(size, group, changed(out_latency=factor)) >= seconds


@pytest.mark.parametrize("name", sorted(COLLECTIVES))
def test_alone_or_without_bytes_nothing_is_sent(name: str) -> None:
    assert COLLECTIVES[name](0.0, NODE, H100) == 0
    if name != "send":
        assert COLLECTIVES[name](1e9, group_shape(1, 1, 8), H100) == 0


@pytest.mark.parametrize("collective", COLLECTIVES.values(), ids=COLLECTIVES)
def test_columns_give_what_each_group_gives(collective: Collective) -> None:
    sizes, ranks = np.array([1e6, 1e8, 0.0]), np.array([8, 32, 16])
    together = collective(sizes, group_shape(ranks, 1, 8), H100)
    alone = [float(collective(s, group_shape(r, 1, 8), H100)) for s, r in zip(sizes, ranks, strict=True)]
    assert together.tolist() == alone
