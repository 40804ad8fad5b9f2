"""Configurations on hosts, against every rank and every group walked one by one."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.attained import Attained
from costmodels.configuration import Configuration, Job
from costmodels.ground import Ground
from costmodels.hardware import Cluster, Link
from costmodels.host_grid import host_grid
from costmodels.host_ground import ground_on_hosts
from costmodels.host_network import HostNetwork
from costmodels.switch_tree import Switch
from costmodels.topology import Degraded, Nodes, Topology
from tests.machines import cluster

GPUS = 4
NODES = 8


def measured(seed: int, nodes: int = NODES) -> Cluster:
    """Every pair of nodes with a bandwidth of its own."""
    random = np.random.default_rng(seed)
    matrix = random.uniform(1e9, 9e9, (nodes, nodes))
    matrix = np.minimum(matrix, matrix.T)
    np.fill_diagonal(matrix, np.inf)
    return with_topology(nodes, attained=Attained(matrix=matrix, of_gpus=False))


def with_topology(nodes: int = NODES, **more: object) -> Cluster:
    names = tuple(f"n{i}" for i in range(nodes))
    own = Nodes(names=names, gpus=GPUS, cards=GPUS, cards_bytes_per_second=10e9)
    topology = Topology(nodes=(own,), latency_seconds=5e-6, **more)  # type: ignore[arg-type]
    return replace(cluster(nodes=nodes, gpus_per_node=GPUS), topology=topology)


SHAPES = [
    Configuration(tp=4, sp=1, pp=4, dp=2),
    Configuration(tp=2, sp=1, pp=2, dp=8),
    Configuration(tp=2, sp=1, pp=4, dp=4, ep=8),
    Configuration(tp=1, pp=2, dp=16, ep=16),
    Configuration(tp=4, sp=1, cp=2, pp=2, dp=2),
    Configuration(tp=4, sp=1, cp=2, pp=2, dp=2, ep=4, etp=4),
    Configuration(tp=1, pp=16, dp=2),
    Configuration(tp=4, sp=1, pp=2, dp=4, vp=2),
    Configuration(tp=1, pp=1, dp=32),
    Configuration(tp=1, pp=1, dp=32, ep=8),
    Configuration(tp=4, sp=1, pp=2, dp=4, ep=8),
]


def ground(machine: Cluster, configuration: Configuration, order: list[int]) -> Ground:
    """Hosts in the order of ranks."""
    grid = host_grid(configuration, GPUS)
    assert grid is not None
    job = Job(global_batch=8 * configuration.dp, sequence_length=2048)
    table = np.array(order).reshape(grid.columns, grid.rows).T
    return ground_on_hosts(machine, HostNetwork.of(machine), configuration, job, grid, table)


def slowest(machine: Cluster, order: list[int], pairs: list[tuple[int, int]]) -> float:
    """Share of a GPU of the slowest link between the hosts of pairs of ranks; infinite where all are on one."""
    assert machine.topology is not None
    rates = machine.topology.pair_bandwidth()
    hosts = [(order[a // GPUS], order[b // GPUS]) for a, b in pairs]
    return min((float(min(rates[a, b], rates[b, a])) / GPUS for a, b in hosts if a != b), default=float("inf"))


def closed(ranks: list[int]) -> list[tuple[int, int]]:
    return [*zip(ranks, ranks[1:] + ranks[:1], strict=True)]


@pytest.mark.parametrize("configuration", SHAPES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_links_are_those_of_the_ranks_that_use_them(configuration: Configuration, seed: int) -> None:
    """Ranks by Megatron's order, tp fastest, then cp, dp, pp; those of a stage hold etp, ep, edp, etp fastest."""
    machine, c = measured(seed), configuration
    order = np.random.default_rng(seed).permutation(NODES).tolist()
    found = ground(machine, c, order)
    inner, stage = c.tp * c.cp, c.tp * c.cp * c.dp
    edges = []
    for replica in range(c.dp):
        ranks = [[s * stage + replica * inner + i for i in range(inner)] for s in range(c.pp)]
        following = range(1, c.pp + 1 if c.vp > 1 else c.pp)
        edges.append([slowest(machine, order, [*zip(ranks[s - 1], ranks[s % c.pp], strict=True)]) for s in following])
    within = [[edge for edge in row if np.isfinite(edge)] for row in edges]
    crossing = [i for i, edge in enumerate(edges[0]) if np.isfinite(edge)]
    rows = [[row.edges[i].bytes_per_second for i in crossing] for row in found.rows]
    assert all(any(np.all(np.array(row) <= np.array(own) * (1 + 1e-12)) for row in rows) for own in within)
    assert all(any(np.allclose(row, own, rtol=1e-12) for own in within) for row in rows)
    assert sum(row.replicas for row in found.rows) == c.dp
    for s in range(c.pp):
        own = range(s * stage, (s + 1) * stage)
        dense = [[r for r in own if (r - s * stage) % c.tp == t] for t in range(c.tp)]
        size = c.ep * c.etp
        experts = [[r for r in own if (r - s * stage) % size == t] for t in range(size)] if size > GPUS else []
        # on one host after the other: the ring of ranks goes round the hosts
        least = min(slowest(machine, order, closed(group)) for group in dense + experts)
        if np.isfinite(least):
            assert found.states[s].bytes_per_second == pytest.approx(least, rel=1e-12)


def test_exchanges_are_as_fast_as_their_slowest_pair_carries_its_part_or_the_cards_carry_all() -> None:
    """By hand: two groups of two hosts; one other host to talk to, so all goes over that link."""
    machine, c = measured(3), Configuration(tp=4, sp=1, pp=2, dp=4, ep=8)
    assert machine.topology is not None
    rates = machine.topology.pair_bandwidth()
    order = [3, 1, 4, 0, 5, 2, 7, 6]
    found = ground(machine, c, order)
    pairs = [[(3, 1), (5, 2)], [(4, 0), (7, 6)]]  # rows 0-1 and 2-3 of both stages
    expected = {tuple(float(rates[pair]) / GPUS for pair in stages) for stages in pairs}
    shares = {tuple(found.machines[k].scale_out.bytes_per_second for k in row.machines) for row in found.rows}
    assert shares <= expected
    assert shares


def test_of_four_hosts_each_sends_a_third_over_every_link() -> None:
    """By hand: so three times the slowest pair's bandwidth, at most what a node's cards carry (its best pair's)."""
    machine, c = measured(5), Configuration(tp=4, sp=1, pp=2, dp=4, ep=16)
    assert machine.topology is not None
    rates = machine.topology.pair_bandwidth()
    np.fill_diagonal(rates, 0)
    found = ground(machine, c, [*range(8)])
    for stage, hosts in enumerate(([0, 1, 2, 3], [4, 5, 6, 7])):
        pairs = [rates[a, b] for a in hosts for b in hosts if a != b]
        expected = min(3 * min(pairs), *(rates[a].max() for a in hosts)) / GPUS
        machines = {found.machines[row.machines[stage]].scale_out.bytes_per_second for row in found.rows}
        assert [*machines] == pytest.approx([expected], rel=1e-12)


def test_pipelines_that_share_an_uplink_share_what_it_carries() -> None:
    """By hand: two leaves of four nodes behind uplinks of 8 GB/s, half of what four nodes' cards carry; all four
    hand-overs cross at once, 2 GB/s a node, 0.5 a GPU; rings stay in a leaf at 2.5 a GPU."""
    names = [f"n{i}" for i in range(NODES)]
    leaves = tuple(
        Switch(name=f"leaf{i}", nodes=tuple(names[4 * i : 4 * i + 4]), uplink_bytes_per_second=8e9) for i in range(2)
    )
    spine = Switch(name="spine", switches=("leaf0", "leaf1"))
    machine = with_topology(switches=(*leaves, spine))
    c = Configuration(tp=4, sp=1, pp=2, dp=4)
    found = ground(machine, c, [*range(8)])
    assert [edge.bytes_per_second for row in found.rows for edge in row.edges] == [0.5e9]
    assert [link.bytes_per_second for link in found.states] == [2.5e9, 2.5e9]
    crossed = ground(machine, c, [0, 4, 1, 5, 2, 6, 3, 7])
    assert [edge.bytes_per_second for row in crossed.rows for edge in row.edges] == [2.5e9]
    # a stage's ring crosses four times, twice each way, and both stages' do at once
    assert [link.bytes_per_second for link in crossed.states] == [8e9 / 4 / GPUS] * 2


def test_a_degraded_link_is_felt_by_who_uses_it_alone() -> None:
    slow = Degraded(names=("n0", "n4"), bytes_per_second=1e9)
    machine, c = with_topology(degraded=(slow,)), Configuration(tp=4, sp=1, pp=2, dp=4)
    found = ground(machine, c, [*range(8)])  # n0 hands over to n4
    assert [row.replicas for row in found.rows] == [4]
    assert found.rows[0].edges == (Link(bytes_per_second=0.25e9, latency_seconds=5e-6),)
    better = ground(machine, c, [0, 1, 2, 3, 5, 4, 6, 7])
    assert [edge.bytes_per_second for row in better.rows for edge in row.edges] == [2.5e9]
    assert [link.bytes_per_second for link in better.states] == [2.5e9] * 2


def test_parts_that_straddle_hosts_have_no_grid() -> None:
    assert host_grid(Configuration(tp=2, pp=3, dp=1), 4) is None  # six ranks
    assert host_grid(Configuration(tp=3, pp=4, dp=2), 4) is None  # stages of six
    assert host_grid(Configuration(tp=3, cp=2, pp=2, dp=2), 4) is None  # pipelines of six in stages of twelve
    assert host_grid(Configuration(tp=2, pp=3, dp=2), 4) is not None


@pytest.mark.parametrize("configuration", SHAPES)
def test_even_networks_are_even_ground(configuration: Configuration) -> None:
    """All links alike: one row, every link a GPU's share of the cards."""
    machine = with_topology()
    assert HostNetwork.of(machine).even()
    found = ground(machine, configuration, [*range(NODES)])
    links = {link.bytes_per_second for link in (*found.states, *found.rows[0].edges)}
    links |= {own.scale_out.bytes_per_second for own in found.machines if host_grid(configuration, GPUS).group > 1}  # type: ignore[union-attr]
    assert links == {2.5e9}
    assert len(found.rows) == 1


def test_hosts_are_nvlink_domains_where_these_span_nodes() -> None:
    """Two domains of four nodes: every node to its like, the slowest pair of nodes for each."""
    random = np.random.default_rng(1)
    matrix = random.uniform(1e9, 9e9, (NODES, NODES))
    np.fill_diagonal(matrix, np.inf)
    machine = replace(with_topology(attained=Attained(matrix=matrix, of_gpus=False)), domain_gpus=16)
    network = HostNetwork.of(machine)
    both = np.minimum(matrix, matrix.T)[:4, 4:]
    assert network.bandwidth[0, 1] == network.bandwidth[1, 0] == 4 * both.min()
    assert network.names == (("n0", "n1", "n2", "n3"), ("n4", "n5", "n6", "n7"))
    assert not any(np.isfinite(network.bandwidth[i, i]) for i in range(2))
    assert [*itertools.chain(*network.names)] == [f"n{i}" for i in range(NODES)]
