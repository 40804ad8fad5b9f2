import pytest

from solvers.schedule.graph import operation_graph
from solvers.schedule.problem import Kind
from tests.solvers.schedule.instances import linear, passes, placed


def test_every_chunk_has_its_operations_and_every_operation_its_links() -> None:
    graph = operation_graph(linear(3, 5, p2p=2.0))
    assert len(graph) == 3 * 3 * 5
    number = graph.number
    edges = {(edge.before, edge.after): edge.lag for edge in graph.edges}
    assert edges == {
        (number[Kind.F, 0], number[Kind.F, 1]): 2.0,
        (number[Kind.F, 1], number[Kind.F, 2]): 2.0,
        (number[Kind.F, 2], number[Kind.I, 2]): 0.0,
        (number[Kind.I, 2], number[Kind.I, 1]): 2.0,
        (number[Kind.I, 1], number[Kind.I, 0]): 2.0,
        **{(number[Kind.I, c], number[Kind.W, c]): 0.0 for c in range(3)},
    }
    assert graph.acquired.sum() == graph.released.sum() == 15.0


def test_edges_between_operations_keep_to_one_microbatch() -> None:
    graph = operation_graph(linear(2, 3))
    assert (graph.microbatch[graph.before] == graph.microbatch[graph.after]).all()
    assert len(graph.before) == 3 * len(graph.edges)


def test_a_whole_backward_pass_takes_and_frees_what_its_halves_do() -> None:
    graph = operation_graph(linear(2, 1, whole=True))
    backward = graph.lanes[graph.number[Kind.B, 1]]
    assert (backward.seconds, backward.released, len(graph)) == (20.0, 1.0, 4)


@pytest.mark.parametrize(("method", "barriers"), [("vocab-1", 3), ("vocab-2", 2)])
def test_vocabulary_passes_stand_between_barriers(method: str, barriers: int) -> None:
    graph = operation_graph(placed(range(2), 4, vocabulary=passes(2, method, 1.0, 2.0, barrier=3.0, kept=0.5)))
    assert sum(lane.kind is Kind.BARRIER for lane in graph.lanes) == barriers
    turn = graph.number[Kind.I, 1]
    waits_for = {graph.lanes[before].kind for before, _ in graph.predecessors[turn]}
    assert waits_for == {Kind.F, Kind.BARRIER}
    behind = next(before for before, _ in graph.predecessors[turn] if graph.lanes[before].kind is Kind.BARRIER)
    feeding = {graph.lanes[before].kind for before, _ in graph.predecessors[behind]}
    assert feeding == ({Kind.T} if method == "vocab-1" else {Kind.S})
    assert dict(graph.predecessors[turn])[behind] == 3.0


def test_lanes_come_in_an_order_that_respects_what_they_wait_for() -> None:
    graph = operation_graph(placed([0, 1, 1, 0], 2, vocabulary=passes(2, "vocab-1", 1.0, 1.0)))
    place = {lane: at for at, lane in enumerate(graph.upstream)}
    assert len(place) == len(graph.lanes)
    assert all(place[edge.before] < place[edge.after] for edge in graph.edges)


def test_an_order_with_an_operation_that_does_not_exist_is_refused() -> None:
    graph = operation_graph(linear(2, 2))
    with pytest.raises(ValueError, match=r"device 1: there is no operation F of chunk 1, micro-batch 2"):
        graph.orders([[(Kind.F, 0, 0)], [(Kind.F, 1, 2)]])
