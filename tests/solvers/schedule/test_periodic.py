"""Patterns: their period, their memory and the orders they unroll to."""

import pytest

from solvers.schedule.graph import operation_graph
from solvers.schedule.periodic import pattern_of, together_from_one
from solvers.schedule.problem import Kind
from solvers.schedule.schedule import memory_of, timed
from tests.solvers.schedule.instances import linear, one_forward_one_backward


def one_forward_one_backward_rounds(devices: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Lane d is F, lane devices + d is B of chunk d."""
    return tuple(((d, 0), (devices + d, devices - 1 - d)) for d in range(devices))


@pytest.mark.parametrize(("devices", "microbatches"), [(1, 3), (2, 4), (4, 3), (4, 9)])
def test_the_rounds_of_1f1b_unroll_to_1f1b(devices: int, microbatches: int) -> None:
    """Its period is F + B = 30, and device d keeps p - d micro-batches alive (Narayanan et al. 2019)."""
    graph = operation_graph(linear(devices, microbatches, whole=True))
    pattern = pattern_of(graph, one_forward_one_backward_rounds(devices))
    assert pattern.period == 30
    assert pattern.peak_memory == tuple(range(devices, 0, -1))
    assert pattern.orders(graph) == graph.orders(one_forward_one_backward(devices, microbatches))


def test_without_laps_a_period_is_the_whole_way_there_and_back() -> None:
    """F and B of two devices in turn: 10 + 10 + 20 + 20, and 1 second for either link."""
    pattern = pattern_of(operation_graph(linear(2, 1, 1.0, whole=True)), (((0, 0), (2, 0)), ((1, 0), (3, 0))))
    assert pattern.period == pytest.approx(62)
    assert pattern.peak_memory == (1, 1)


def test_a_lap_more_on_the_way_halves_it() -> None:
    """62 seconds in two rounds."""
    pattern = pattern_of(operation_graph(linear(2, 1, 1.0, whole=True)), (((0, 0), (2, 1)), ((1, 0), (3, 0))))
    assert pattern.period == pytest.approx(31)


def test_read_several_rounds_at_a_time_a_pattern_stays_what_it_is() -> None:
    graph = operation_graph(linear(4, 9, whole=True))
    rounds = one_forward_one_backward_rounds(4)
    one, three = pattern_of(graph, rounds), pattern_of(graph, together_from_one(graph, rounds, 3), 3)
    assert three.seconds_per_microbatch == one.period
    assert three.peak_memory == one.peak_memory
    assert three.orders(graph) == one.orders(graph)


def test_the_starts_keep_to_the_edges_and_to_one_operation_at_a_time() -> None:
    graph = operation_graph(linear(4, 1, 1.0))
    rounds = tuple(((d, 0), (4 + d, 3 - d), (8 + d, 3 - d)) for d in range(4))
    pattern = pattern_of(graph, rounds)
    for edge in graph.edges:
        assert pattern.start[edge.after] >= pattern.start[edge.before] + graph.lanes[edge.before].seconds + edge.lag
    for row in rounds:
        busy = sorted((pattern.start[lane] % pattern.period, graph.lanes[lane].seconds) for lane, _ in row)
        ends = [start + seconds for start, seconds in busy]
        assert all(end <= start + 1e-6 for end, (start, _) in zip(ends, busy[1:], strict=False))
        assert ends[-1] <= busy[0][0] + pattern.period + 1e-6


def test_long_runs_take_a_period_more_for_each_micro_batch() -> None:
    """31.5 seconds: 4 F, 4 B and 6 links of 1 second, 126 there and back, in four rounds."""
    short, long = (operation_graph(linear(4, m, 1.0, whole=True)) for m in (60, 80))
    pattern = pattern_of(short, one_forward_one_backward_rounds(4))
    assert pattern.period == pytest.approx(31.5)
    more = timed(long, pattern.orders(long)).makespan - timed(short, pattern.orders(short)).makespan
    assert more == pytest.approx(20 * pattern.period)
    assert memory_of(short, pattern.orders(short)) == pattern.peak_memory


def test_rounds_that_wait_for_later_ones_are_refused() -> None:
    graph = operation_graph(linear(2, 1, whole=True))
    with pytest.raises(ValueError, match="wait for each other for ever"):
        pattern_of(graph, (((2, 0), (0, 1)), ((1, 0), (3, 0))))


def test_rounds_that_miss_a_lane_are_refused() -> None:
    graph = operation_graph(linear(2, 1, whole=True))
    assert graph.lanes[2].kind is Kind.B
    with pytest.raises(ValueError, match=r"rounds\[0\].*each once"):
        pattern_of(graph, (((0, 0),), ((1, 0), (3, 0))))
