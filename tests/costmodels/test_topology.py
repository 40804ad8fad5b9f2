"""Fabrics small enough to work out by hand, and random ones against shortest paths of networkx."""

from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costmodels.attained import Attained
from costmodels.switch_tree import Switch, faults
from costmodels.topology import Degraded, Domain, Nodes, Topology

GB = 1e9


def nodes(*names: str, gpus: int = 8, cards: float = 400 * GB, latency: float = 0.0) -> Nodes:
    return Nodes(names=names, gpus=gpus, cards=8, cards_bytes_per_second=cards, card_latency_seconds=latency)


def two_leaves(**more: Any) -> Topology:
    """Two leaves of two nodes with cards of 400 GB/s; each leaf's uplink carries half of its nodes' cards."""
    return Topology(
        nodes=(nodes("a", "b", "c", "d"),),
        latency_seconds=5e-6,
        switches=(
            Switch(name="l0", nodes=("a", "b"), uplink_bytes_per_second=400 * GB, latency_seconds=1e-6),
            Switch(name="l1", nodes=("c", "d"), uplink_bytes_per_second=400 * GB, latency_seconds=1e-6),
            Switch(name="spine", switches=("l0", "l1"), latency_seconds=2e-6),
        ),
        **more,
    )


def test_one_pair_alone_fills_its_cards_on_an_oversubscribed_fabric() -> None:
    found = two_leaves().pair_bandwidth() / GB
    assert np.isinf(found.diagonal()).all()
    assert (found[~np.eye(4, dtype=bool)] == 400).all()


def test_a_thin_uplink_limits_pairs_across_it_only() -> None:
    fabric = two_leaves()
    thin = tuple(replace(s, uplink_bytes_per_second=50 * GB) if s.name == "l1" else s for s in fabric.switches)
    found = replace(fabric, switches=thin).pair_bandwidth() / GB
    assert (found[0, 1], found[2, 3], found[0, 2], found[3, 1]) == (400, 400, 50, 50)


def test_latency_is_that_of_every_switch_on_the_way() -> None:
    found = two_leaves().pair_latency()
    assert found[0, 1] == pytest.approx(5e-6 + 1e-6)
    assert found[0, 2] == pytest.approx(5e-6 + 1e-6 + 2e-6 + 1e-6)
    assert found[2, 2] == 0.0
    assert two_leaves().worst_latency() == pytest.approx(9e-6)


def test_the_slower_of_two_cards_counts_and_the_later_one() -> None:
    mixed = Topology(
        nodes=(nodes("fast", latency=1e-6), nodes("slow", cards=100 * GB, latency=3e-6)), latency_seconds=5e-6
    )
    assert mixed.pair_bandwidth()[0, 1] == 100 * GB
    assert mixed.pair_latency()[0, 1] == pytest.approx(8e-6)


def test_flows_over_one_uplink_share_it() -> None:
    """a to c and b to d both climb from l0 (400 GB/s): 200 each; the way back has its own 400."""
    fabric = two_leaves()
    for share in ("equal", "max-min"):
        assert (fabric.bandwidth_under([(0, 2), (1, 3)], share=share) / GB).tolist() == [200, 200]
        assert (fabric.bandwidth_under([(0, 2), (3, 1)], share=share) / GB).tolist() == [400, 400]
        assert (fabric.bandwidth_under([(0, 1), (2, 3)], share=share) / GB).tolist() == [400, 400]


def test_max_min_gives_to_others_what_a_flow_cannot_use() -> None:
    """b sends to a and to c: 200 each by its cards. a to d climbs with b to c over 400: 200 by either rule; with
    b's cards at 100 its flows stop at 50, and a, of whom equal share still takes 200, gets 350 by max-min."""
    fabric = two_leaves()
    flows = [(1, 0), (1, 2), (0, 3)]
    assert (fabric.bandwidth_under(flows) / GB).tolist() == [200, 200, 200]
    slow = two_leaves(degraded=(Degraded(names=("b",), bytes_per_second=100 * GB),))
    assert (slow.bandwidth_under(flows) / GB).tolist() == [50, 50, 200]
    assert (slow.bandwidth_under(flows, share="max-min") / GB).tolist() == pytest.approx([50, 50, 350])


def test_shared_links_are_the_tight_uplinks_and_every_nodes_cards() -> None:
    cuts = two_leaves().shared_links
    assert [(cut.name, cut.members, cut.bytes_per_second / GB) for cut in cuts[:3]] == [
        ("uplink of l0", (0, 1), 400),
        ("uplink of l1", (2, 3), 400),
        ("cards of a", (0,), 400),
    ]
    assert len(cuts) == 6
    assert cuts[1].mask(4).tolist() == [False, False, True, True]
    full = two_leaves().switches
    full = tuple(replace(s, uplink_bytes_per_second=2 * s.uplink_bytes_per_second) for s in full)
    assert [cut.name for cut in replace(two_leaves(), switches=full).shared_links] == [f"cards of {n}" for n in "abcd"]


def test_the_slowest_share_is_of_the_uplink_or_of_what_is_degraded() -> None:
    assert two_leaves().slowest_share() == 200 * GB
    pair = (Degraded(names=("a", "c"), bytes_per_second=10 * GB),)
    assert two_leaves(degraded=pair).slowest_share() == 10 * GB
    one = (Degraded(names=("d",), bytes_per_second=100 * GB),)
    assert two_leaves(degraded=one).slowest_share() == 100 * GB


def test_a_link_stays_shared_when_a_node_behind_it_is_degraded() -> None:
    """Uplink 10 for cards of 6 and 6. b's nine flows and a's one share it: 1 each by equal share, and no more for a
    when b's cards drop to 3 and the uplink would carry all that is left."""
    fabric = Topology(
        nodes=(nodes("a", "b", "c", "d", cards=6.0),),
        latency_seconds=0.0,
        switches=(
            Switch(name="l0", nodes=("a", "b"), uplink_bytes_per_second=10.0),
            Switch(name="l1", nodes=("c", "d")),
            Switch(name="s", switches=("l0", "l1")),
        ),
    )
    flows = [(0, 2), *[(1, 3)] * 9]
    worse = replace(fabric, degraded=(Degraded(names=("b",), bytes_per_second=3.0),))
    assert fabric.bandwidth_under(flows)[0] == worse.bandwidth_under(flows)[0] == 1.0


def test_three_regions_meet_over_their_wide_links() -> None:
    """Two nodes a region; 5 GB/s up from each region, 1 GB/s from the far one, 20 ms through the wide area."""
    far = Topology(
        nodes=(nodes("u1", "u2", "e1", "e2", "a1", "a2", cards=25 * GB),),
        latency_seconds=10e-6,
        switches=(
            Switch(name="us", nodes=("u1", "u2"), uplink_bytes_per_second=5 * GB),
            Switch(name="eu", nodes=("e1", "e2"), uplink_bytes_per_second=5 * GB),
            Switch(name="asia", nodes=("a1", "a2"), uplink_bytes_per_second=1 * GB, latency_seconds=30e-3),
            Switch(name="wan", switches=("us", "eu", "asia"), latency_seconds=20e-3),
        ),
    )
    rates, seconds = far.pair_bandwidth() / GB, far.pair_latency()
    assert (rates[0, 1], rates[0, 2], rates[0, 4], rates[4, 5]) == (25, 5, 1, 25)
    assert (seconds[0, 2], seconds[3, 5]) == (pytest.approx(20.01e-3), pytest.approx(50.01e-3))
    assert far.slowest_share() == 0.5 * GB
    flows = [(0, 2), (1, 3), (0, 4), (1, 5)]
    assert far.bandwidth_under(flows).tolist() == [1.25 * GB, 1.25 * GB, 0.5 * GB, 0.5 * GB]
    assert far.bandwidth_under(flows, share="max-min").tolist() == pytest.approx([2 * GB, 2 * GB, 0.5 * GB, 0.5 * GB])
    assert far.classes().tolist() == [0, 0, 1, 1, 2, 2]


def railed() -> Topology:
    return Topology(
        nodes=(nodes("a", "b", "c", "d"),),
        latency_seconds=5e-6,
        switches=(
            Switch(name="r0", nodes=("a", "b"), uplink_bytes_per_second=200 * GB, rails=True),
            Switch(name="r1", nodes=("c", "d"), uplink_bytes_per_second=200 * GB, rails=True),
            Switch(name="spine", switches=("r0", "r1"), latency_seconds=2e-6),
        ),
    )


def test_traffic_of_one_rail_stays_in_the_leaf_and_the_rest_climbs() -> None:
    fabric = railed()
    same, across = fabric.pair_bandwidth() / GB, fabric.pair_bandwidth(across_rails=True) / GB
    assert (same[0, 1], across[0, 1], same[0, 2], across[0, 2]) == (400, 200, 200, 200)
    assert fabric.pair_latency()[0, 1] == pytest.approx(5e-6)
    assert fabric.pair_latency(across_rails=True)[0, 1] == pytest.approx(7e-6)
    found = fabric.bandwidth_under([(0, 1), (0, 1)], across_rails=[False, True]) / GB
    assert found.tolist() == [200, 200]
    found = fabric.bandwidth_under([(0, 1), (1, 0), (0, 2)], across_rails=[True, True, False]) / GB
    third = 200 / 3  # three flows climb from r0, two come down to it
    assert found.tolist() == pytest.approx([third, third, third])


def test_nodes_of_one_nvlink_domain_use_no_cards() -> None:
    """Four trays of 4 GPUs in two NVL8 domains, 900 GB/s a GPU; one card of 50 GB/s a GPU."""
    racks = Topology(
        nodes=(nodes("t0", "t1", "t2", "t3", gpus=4, cards=200 * GB),),
        latency_seconds=5e-6,
        domains=tuple(
            Domain(names=names, bytes_per_second=900 * GB, latency_seconds=3e-6)
            for names in (("t0", "t1"), ("t2", "t3"))
        ),
    )
    rates, seconds = racks.pair_bandwidth() / GB, racks.pair_latency()
    assert (rates[0, 1], rates[0, 2]) == (3600, 200)
    assert (seconds[0, 1], seconds[0, 2]) == (pytest.approx(3e-6), pytest.approx(5e-6))
    flows = [(0, 1), (0, 2), (0, 3)]
    assert (racks.bandwidth_under(flows) / GB).tolist() == [3600, 100, 100]
    assert (racks.bandwidth_under([(0, 1), (0, 1)]) / GB).tolist() == [1800, 1800]
    assert racks.slowest_share() == 200 * GB
    assert racks.classes().tolist() == [0, 0, 1, 1]
    assert replace(racks, domains=(replace(racks.domains[0], names=racks.names),)).slowest_share() == np.inf


def test_a_measured_pair_takes_the_place_of_the_nominal_figure_and_a_degraded_one_stays_degraded() -> None:
    matrix = np.full((4, 4), 320 * GB)
    np.fill_diagonal(matrix, np.inf)
    matrix[0, 2], matrix[1, 2], matrix[0, 1] = 90 * GB, 500 * GB, 330 * GB
    fabric = two_leaves(
        attained=Attained(matrix=matrix),
        degraded=(Degraded(names=("d",), bytes_per_second=64 * GB), Degraded(names=("a", "b"), bytes_per_second=40e9)),
    )
    found = fabric.pair_bandwidth() / GB
    assert (found[0, 2], found[2, 0], found[0, 3], found[3, 0]) == (90, 320, 64, 64)
    assert (found[0, 1], found[1, 0]) == (40, 40)
    assert found[1, 2] == 500  # more than the cards' nominal 400: as measured
    assert fabric.cards_bytes_per_second.tolist() == [330 * GB, 500 * GB, 500 * GB, 64 * GB]
    assert fabric.classes().tolist() == [0, 1, 2, 3]


def test_pairs_of_gpus_make_pairs_of_nodes_by_the_slowest() -> None:
    """Two nodes of two GPUs: 10, 20, 30, 40 GB/s across, so 2 x 10 from node to node."""
    matrix = np.array([[np.inf, 99, 10, 20], [99, np.inf, 30, 40], [50, 50, np.inf, 99], [60, 70, 99, np.inf]]) * GB
    two = Topology(
        nodes=(nodes("a", "b", gpus=2, cards=80 * GB),),
        latency_seconds=0,
        attained=Attained(matrix=matrix, of_gpus=True),
    )
    assert two.pair_bandwidth()[0, 1] == 20 * GB
    assert two.pair_bandwidth()[1, 0] == 80 * GB  # 2 x 50 is more than the cards carry
    assert (two.cards_bytes_per_second == 80 * GB).all()
    assert two.without(["a"]).attained == Attained(matrix=matrix[2:, 2:], of_gpus=True)


def test_nvlink_under_two_switches_crosses_no_uplink() -> None:
    """b and c share a domain of 10 GB/s a GPU though they hang on unlike leaves; a to d has l0's uplink to itself."""
    domain = Domain(names=("b", "c"), bytes_per_second=10 * GB, latency_seconds=1e-6)
    found = two_leaves(domains=(domain,)).bandwidth_under([(1, 2), (0, 3)])
    assert found.tolist() == [80 * GB, 400 * GB]


def test_the_worst_of_what_is_said_of_a_node_or_link_counts() -> None:
    twice = (Degraded(names=("a", "b"), bytes_per_second=10 * GB), Degraded(names=("b", "a"), bytes_per_second=20 * GB))
    assert two_leaves(degraded=twice).pair_bandwidth()[0, 1] == 10 * GB
    lost = (Degraded(names=("a",), gpus=6), Degraded(names=("a",), gpus=7))
    assert two_leaves(degraded=lost).gpus.tolist() == [6, 8, 8, 8]


def test_a_lost_gpu_leaves_the_others() -> None:
    fabric = two_leaves(degraded=(Degraded(names=("b",), gpus=7),))
    assert fabric.gpus.tolist() == [8, 7, 8, 8]
    assert len(set(fabric.classes().tolist())) == 3  # a, b, and c with d
    assert fabric.classes()[2] == fabric.classes()[3]


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ((Switch(name="l", nodes=("a", "b")),), ("nodes", "c, d", "hang on no switch")),
        ((Switch(name="l", nodes=("a", "b", "c", "d", "x")),), ("nodes", "x", "no such node")),
        (
            (Switch(name="l", nodes=("a", "b", "c", "d")), Switch(name="s", switches=("l", "m"))),
            ("switches", "m", "no such switch"),
        ),
        (
            (
                Switch(name="l", nodes=("a", "b", "c")),
                Switch(name="m", nodes=("c", "d")),
                Switch(name="s", switches=("l", "m")),
            ),
            ("nodes", "c", "also hangs on switch l"),
        ),
        ((Switch(name="l", nodes=("a", "b", "c", "d", "d")),), ("nodes", "d", "named twice")),
        (
            (
                Switch(name="l", nodes=("a", "b", "c", "d")),
                Switch(name="s", switches=("l",)),
                Switch(name="t", switches=("l", "s")),
            ),
            ("switches", "l", "also hangs on switch s"),
        ),
        (
            (
                Switch(name="l", nodes=("a", "b", "c", "d")),
                Switch(name="s", switches=("t",)),
                Switch(name="t", switches=("s",)),
            ),
            ("switches", "s", "circle of s, t"),
        ),
        (
            (Switch(name="l", nodes=("a", "b")), Switch(name="m", nodes=("c", "d"))),
            ("switches", "l, m", "hang on no other switch"),
        ),
        (
            (Switch(name="l", nodes=("a", "b", "c", "d")), Switch(name="s", switches=("l",), nodes=())),
            None,
        ),
        ((Switch(name="l", nodes=("a", "b", "c", "d")), Switch(name="l", switches=("l",))), ("name", "l", "this name")),
        (
            (
                Switch(name="s0", nodes=("a", "b", "c", "d")),
                *(Switch(name=f"s{i}", switches=(f"s{i - 1}",)) for i in range(1, 17)),
            ),
            ("name", "s0", "more than 16 levels deep"),
        ),
        (
            (
                Switch(name="s0", nodes=("a", "b", "c", "d")),
                *(Switch(name=f"s{i}", switches=(f"s{i - 1}",)) for i in range(1, 16)),
            ),
            None,
        ),
        ((Switch(name="l", nodes=("a", "b", "c", "d")), Switch(name="e")), ("name", "e", "either nodes or switches")),
    ],
)
def test_what_is_no_tree_is_named(switches: tuple[Switch, ...], expected: tuple[str, str, str] | None) -> None:
    found = list(faults(("a", "b", "c", "d"), switches))
    if expected is None:
        assert not found
        return
    assert any((f.key, f.value) == expected[:2] and expected[2] in f.message for f in found), found
    with pytest.raises(ValueError, match=expected[2]):
        Topology(nodes=(nodes("a", "b", "c", "d"),), latency_seconds=0.0, switches=switches)


def test_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="the same name"):
        Topology(nodes=(nodes("a", "a"),), latency_seconds=0.0)
    with pytest.raises(ValueError, match="no node x"):
        two_leaves(degraded=(Degraded(names=("x",), gpus=7),))
    with pytest.raises(ValueError, match="attained bandwidths are of 3, not 4"):
        two_leaves(attained=Attained(matrix=np.ones((3, 3))))
    with pytest.raises(KeyError):
        two_leaves().without(["x"])


@st.composite
def fabrics(draw: st.DrawFn) -> Topology:
    """Random trees of up to three levels, with unequal cards, latencies and a few degraded nodes and links."""
    leaves = [[f"n{i}-{j}" for j in range(draw(st.integers(1, 3)))] for i in range(draw(st.integers(1, 5)))]
    names = [name for leaf in leaves for name in leaf]
    rate = st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, 13.0])
    switches = [
        Switch(
            name=f"leaf{i}",
            nodes=tuple(leaf),
            uplink_bytes_per_second=draw(rate),
            latency_seconds=draw(rate),
            rails=draw(st.booleans()),
        )
        for i, leaf in enumerate(leaves)
    ]
    top = [switch.name for switch in switches]
    while len(top) > 1:
        size = draw(st.integers(2, len(top)))
        name = f"s{len(switches)}"
        switches.append(
            Switch(
                name=name, switches=tuple(top[:size]), uplink_bytes_per_second=draw(rate), latency_seconds=draw(rate)
            )
        )
        top = [*top[size:], name]
    half = draw(st.integers(1, len(names)))
    kinds = [Nodes(names=tuple(names[:half]), gpus=2, cards=1, cards_bytes_per_second=draw(rate))]
    if names[half:]:
        kinds.append(Nodes(names=tuple(names[half:]), gpus=4, cards=1, cards_bytes_per_second=draw(rate)))
    degraded = [
        Degraded(names=tuple(picked), bytes_per_second=draw(rate))
        for picked in draw(st.lists(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True), max_size=3))
    ]
    return Topology(nodes=tuple(kinds), latency_seconds=0.5, switches=tuple(switches), degraded=tuple(degraded))


def by_graph(fabric: Topology, first: str, second: str, across: bool) -> tuple[float, float]:
    """Bandwidth and latency along the path that networkx finds in the tree."""
    graph = nx.Graph()
    named = {switch.name: switch for switch in fabric.switches}
    cards = {name: kind.cards_bytes_per_second for kind in fabric.nodes for name in kind.names}
    for switch in fabric.switches:
        graph.add_node(switch.name)
        graph.add_edges_from((switch.name, name, {"rate": cards[name]}) for name in switch.nodes)
        graph.add_edges_from(
            (switch.name, name, {"rate": named[name].uplink_bytes_per_second}) for name in switch.switches
        )
    path = nx.shortest_path(graph, first, second)
    edges = [graph.edges[edge]["rate"] for edge in nx.utils.pairwise(path)]
    passed = path[1:-1]
    if across and len(passed) == 1 and named[passed[0]].rails:
        above = [s for s in fabric.switches if passed[0] in s.switches]
        if above:
            edges.append(named[passed[0]].uplink_bytes_per_second)
            passed = [passed[0], above[0].name, passed[0]]
    limits = [one.bytes_per_second for one in fabric.degraded if set(one.names) <= {first, second}]
    limits = [limit for limit in limits if limit is not None]
    return min([*edges, *limits]), 0.5 + sum(named[name].latency_seconds for name in passed)


@given(fabrics(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_pairs_are_as_fast_as_their_path_in_a_graph(fabric: Topology, across: bool) -> None:
    rates = fabric.pair_bandwidth(across_rails=across)
    seconds = fabric.pair_latency(across_rails=across)
    for i, first in enumerate(fabric.names):
        for j, second in enumerate(fabric.names):
            if i != j:
                assert (rates[i, j], seconds[i, j]) == pytest.approx(by_graph(fabric, first, second, across))
    if len(fabric.names) > 1 and not across:
        assert fabric.worst_latency() == pytest.approx(seconds.max())


def flows_of(data: st.DataObject, count: int) -> list[tuple[int, int]]:
    end = st.integers(0, count - 1)
    return data.draw(st.lists(st.tuples(end, end), min_size=1, max_size=12))


@given(fabrics(), st.data())
@settings(max_examples=60, deadline=None)
def test_no_link_carries_more_than_it_can_and_max_min_is_never_below_equal_share(
    fabric: Topology, data: st.DataObject
) -> None:
    flows = flows_of(data, len(fabric.names))
    equal, most = fabric.bandwidth_under(flows), fabric.bandwidth_under(flows, share="max-min")
    alone = fabric.bandwidth_between([a for a, _ in flows], [b for _, b in flows])
    assert (equal <= most * (1 + 1e-9)).all()
    assert (most <= alone * (1 + 1e-9)).all()
    for cut in fabric.shared_links:
        inside = cut.mask(len(fabric.names))
        for way in (1, -1):
            carried = sum(rate for rate, flow in zip(most, flows, strict=True) if leaves(inside, flow[::way]))
            assert carried <= cut.bytes_per_second * (1 + 1e-9)


def leaves(inside: Any, flow: tuple[int, ...]) -> bool:
    return bool(inside[flow[0]] and not inside[flow[1]])


@given(fabrics(), st.data())
@settings(max_examples=60, deadline=None)
def test_what_is_degraded_never_makes_a_flow_faster(fabric: Topology, data: st.DataObject) -> None:
    names = st.lists(st.sampled_from(fabric.names), min_size=1, max_size=2, unique=True)
    more = Degraded(names=tuple(data.draw(names)), bytes_per_second=data.draw(st.sampled_from([0.5, 2.0, 20.0])))
    worse = replace(fabric, degraded=(*fabric.degraded, more))
    assert (worse.pair_bandwidth() <= fabric.pair_bandwidth()).all()
    flows = flows_of(data, len(fabric.names))
    assert (worse.bandwidth_under(flows) <= fabric.bandwidth_under(flows)).all()
    assert worse.slowest_share() <= fabric.slowest_share()


@given(fabrics(), st.data())
@settings(max_examples=60, deadline=None)
def test_without_some_nodes_the_rest_is_as_it_was(fabric: Topology, data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.sampled_from(fabric.names), max_size=len(fabric.names) - 1))
    left = fabric.without(gone)
    kept = fabric.index([name for name in fabric.names if name not in gone])
    assert left.names == tuple(fabric.names[i] for i in kept)
    assert (left.pair_bandwidth() == fabric.pair_bandwidth()[np.ix_(kept, kept)]).all()
    assert left.pair_latency() == pytest.approx(fabric.pair_latency()[np.ix_(kept, kept)])
    assert left.slowest_share() >= fabric.slowest_share()


@given(fabrics())
@settings(max_examples=40, deadline=None)
def test_nodes_of_one_class_can_trade_places(fabric: Topology) -> None:
    classes, rates = fabric.classes(), fabric.pair_bandwidth()
    for i in range(len(classes)):
        for j in np.flatnonzero(classes[:i] == classes[i]):
            order = np.arange(len(classes))
            order[[i, j]] = order[[j, i]]
            assert (rates[np.ix_(order, order)] == rates).all()


def test_two_thousand_nodes_are_arrays() -> None:
    """32 nodes a leaf, four spines: figures of the first row by hand."""
    names = tuple(f"n{i}" for i in range(2048))
    leaves = [
        Switch(name=f"l{i}", nodes=names[32 * i : 32 * i + 32], uplink_bytes_per_second=3200 * GB) for i in range(64)
    ]
    spines = [
        Switch(
            name=f"s{i}", switches=tuple(s.name for s in leaves[16 * i : 16 * i + 16]), uplink_bytes_per_second=100 * GB
        )
        for i in range(4)
    ]
    core = Switch(name="core", switches=tuple(s.name for s in spines))
    big = Topology(nodes=(nodes(*names),), latency_seconds=0.0, switches=(*leaves, *spines, core))
    row = big.pair_bandwidth()[0] / GB
    assert [int((row == rate).sum()) for rate in (400, 100)] == [511, 1536]
    assert [len(cut.members) for cut in big.shared_links[:5]] == [512, 512, 512, 512, 32]
    assert big.slowest_share() == 100 * GB / 512
    assert len(set(big.classes().tolist())) == 64
