"""The steady state of a pipeline: a few micro-batches' operations, repeated each period.

A *pattern* gives each device a *round*: every lane of the device once for each of ``together``
micro-batches, in a fixed order. With g micro-batches together, copy j of lane l stands for the
micro-batches g k + j; in round n it runs the one of k = n - lap(l, j). With period P it starts at

    start(l, j) + k P,                                                                            (1)

and a pattern admits P just when starts exist with (i a lane and its copy)

    start(b) >= start(a) + seconds(a) + lag                       for each edge (a, b), each copy, (2)
    start(b) - P lap(b) >= start(a) - P lap(a) + seconds(a)       for b next after a in a round,   (3)
    start(first) - P lap(first) + P >= start(last) - P lap(last) + seconds(last)  in each round,   (4)
    start(l, j + 1) >= start(l, j) + seconds(l),  start(l, 0) + P >= start(l, g - 1) + seconds(l). (5)

(5) keeps a lane's micro-batches in turn. Every cycle of (2-5) asks P * (its rounds) >= (its seconds), so
a pattern that admits P admits every longer period, and its least period is the largest ratio of seconds
to rounds over all cycles: found from the busiest device's work by raising P to the ratio of a cycle that
is violated, until none is.

Memory depends on the rounds alone. Let [b >= e] be 1 where b is e or comes after it in the round: while
e runs, the device keeps

    sum over its lanes and copies of  released(b) (lap(b) + [b >= e]) - acquired(b) (lap(b) + [b > e])  (6)

alive, since released and acquired add up to the same over a device. Nothing here depends on the number
of micro-batches: a first or last few of them keep less alive, as the order stays that of the rounds.

``together`` is a restriction: where memory binds, rounds of more micro-batches can do better than any of
fewer. Where the period is the busiest device's work, no schedule has a higher rate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import numpy as np

from solvers.schedule.graph import Edge, Floats, Hold, Index, OperationGraph, Orders

Row = tuple[tuple[int, int], ...]
"""A device's round: its lanes (copy j of lane l is number j * lanes + l) in order, each with its lap."""

Rounds = tuple[Row, ...]

CLOSE = 1e-9
"""Of a period: what rounding may add up to along a cycle."""


def repeated(graph: OperationGraph, together: int) -> OperationGraph:
    """``together`` copies of each lane and edge, and the first half of (5) as further edges: copy j of lane
    l is lane j * lanes + l."""
    lanes = len(graph.lanes)
    edges = [Edge(e.before + j * lanes, e.after + j * lanes, e.lag) for j in range(together) for e in graph.edges]
    edges += [Edge(one, one + lanes, 0.0) for one in range(lanes * (together - 1))]
    return OperationGraph(
        devices=graph.devices,
        microbatches=1,
        lanes=graph.lanes * together,
        edges=tuple(edges),
        holds=tuple(
            Hold(hold.first + j * lanes, hold.last + j * lanes, hold.amount)
            for j in range(together)
            for hold in graph.holds
        ),
        cap=graph.cap,
        upstream=tuple(lane + j * lanes for j in range(together) for lane in graph.upstream),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pattern:
    """``rounds`` per device of ``together`` micro-batches, their least ``period`` in seconds, ``start``
    [together * lanes] of the first round's in seconds (the earliest is 0), and ``peak_memory`` [devices] in
    the caps' unit."""

    rounds: Rounds
    together: int
    period: float
    start: Floats
    peak_memory: tuple[float, ...]

    @property
    def seconds_per_microbatch(self) -> float:
        return self.period / self.together

    def orders(self, graph: OperationGraph) -> Orders:
        """The device orders of (1) for the micro-batches of ``graph``, whose lanes are the pattern's."""
        m, lanes, together = graph.microbatches, len(graph.lanes), self.together
        found = []
        for row in self.rounds:
            laps = [lap for _, lap in row]
            operations = []
            for turn in range(min(laps), -(-m // together) + max(laps)):
                for number, lap in row:
                    copy, lane = divmod(number, lanes)
                    microbatch = together * (turn - lap) + copy
                    if 0 <= microbatch < m:
                        operations.append(lane * m + microbatch)
            found.append(tuple(operations))
        return tuple(found)


def pattern_of(graph: OperationGraph, rounds: Rounds, together: int = 1) -> Pattern:
    """The pattern of given ``rounds``, repeated as fast as it goes.

    Raises ``ValueError`` where a round is not the device's lanes, each once, and where a round waits
    for a later one: then no period will do.
    """
    copies = repeated(graph, together)
    for device, row in enumerate(rounds):
        lanes = copies.lanes_of[device]
        if sorted(lane for lane, _ in row) != list(lanes):
            raise ValueError(f"rounds[{device}]: {row} are not the device's lanes {lanes}, each once")
    arcs = _arcs(copies, rounds, together)
    period = busiest_work(copies)
    while True:
        start, cycle = _longest_paths(len(copies.lanes), arcs, period)
        if not cycle:
            break
        seconds, turns = float(arcs.seconds[cycle].sum()), -int(arcs.rounds[cycle].sum())
        if turns <= 0:
            raise ValueError("rounds: the devices wait for each other for ever")
        period = seconds / turns
    return Pattern(
        rounds=rounds,
        together=together,
        period=period,
        start=start - start.min(),
        peak_memory=tuple(peak_of(copies, row) for row in rounds),
    )


def together_from_one(graph: OperationGraph, rounds: Rounds, together: int) -> Rounds:
    """The same orders as ``rounds`` of one micro-batch, read ``together`` rounds at a time."""
    lanes = len(graph.lanes)

    def entry(lane: int, ahead: int) -> tuple[int, int]:
        copy = ahead % together
        return copy * lanes + lane, (copy - ahead) // together

    return tuple(tuple(entry(lane, turn - lap) for turn in range(together) for lane, lap in row) for row in rounds)


def busiest_work(graph: OperationGraph) -> float:
    """Seconds of one micro-batch's operations on the busiest device: no period is shorter."""
    return max(sum(graph.lanes[lane].seconds for lane in lanes) for lanes in graph.lanes_of)


def peak_of(graph: OperationGraph, row: Sequence[tuple[int, int]]) -> float:
    """The largest of (6) over the lanes of a device's round; ``graph`` has the copies."""
    lanes = [graph.lanes[lane] for lane, _ in row]
    alive = sum(lap * (one.released - one.acquired) for one, (_, lap) in zip(lanes, row, strict=True))
    alive += sum(one.released - one.acquired for one in lanes)
    peak = 0.0
    for one in lanes:
        alive += one.acquired
        peak = max(peak, alive)
        alive -= one.released
    return peak


@dataclass(frozen=True, slots=True)
class _Arcs:
    """start(after) >= start(before) + seconds + rounds * P, each [arcs]."""

    before: Index
    after: Index
    seconds: Floats
    rounds: Index


def _arcs(graph: OperationGraph, rounds: Rounds, together: int) -> _Arcs:
    rows = [(e.before, e.after, graph.lanes[e.before].seconds + e.lag, 0) for e in graph.edges]
    for row in rounds:
        for (one, lap), (other, other_lap) in pairwise(row):
            rows.append((one, other, graph.lanes[one].seconds, other_lap - lap))
        (one, lap), (other, other_lap) = row[-1], row[0]
        rows.append((one, other, graph.lanes[one].seconds, other_lap - lap - 1))
    size = len(graph.lanes) // together
    last = size * (together - 1)
    rows += [(last + lane, lane, graph.lanes[lane].seconds, -1) for lane in range(size)]
    before, after, seconds, turns = zip(*rows, strict=True)
    return _Arcs(np.array(before), np.array(after), np.array(seconds), np.array(turns))


def _longest_paths(nodes: int, arcs: _Arcs, period: float) -> tuple[Floats, list[int]]:
    """Earliest starts, and the arcs of a cycle that asks for a longer period (none: empty)."""
    start, by = np.zeros(nodes), np.full(nodes, -1)
    length = arcs.seconds + arcs.rounds * period
    slack = CLOSE * period
    for turn in count(1):
        reached = start[arcs.before] + length
        late = np.flatnonzero(reached > start[arcs.after] + slack)
        if not len(late):
            break
        late = late[np.argsort(reached[late], kind="stable")]  # the largest is written last
        start[arcs.after[late]] = reached[late]
        by[arcs.after[late]] = late
        cycle = _cycle(arcs, by) if turn % 8 == 0 else []
        if cycle:
            return start, cycle
    return start, []


def _cycle(arcs: _Arcs, by: Index) -> list[int]:
    """The arcs of a cycle of ``by`` [nodes], the arc that last raised each node's start."""
    state = np.zeros(len(by), dtype=np.int8)
    for root in range(len(by)):
        path, node = [], root
        while by[node] >= 0 and state[node] == 0:
            state[node] = 1
            path.append(node)
            node = int(arcs.before[by[node]])
        if state[node] == 1 and by[node] >= 0:
            at = path.index(node)
            return [int(by[one]) for one in path[at:]]
        for one in path:
            state[one] = 2
        state[node] = 2
    return []
