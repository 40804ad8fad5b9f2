"""Patterns of a given period by CP-SAT: is there one within the caps, and which keeps least alive?

Time is counted in ticks, N to a period. On each device the round starts with F of its first chunk, at
A(d); every other lane of it starts q periods and r ticks later:

    start(l) = A(d) + N q(l) + r(l),    seconds(first) <= r(l) <= N - seconds(l)

so that no operation wraps around, and the round is an ordinary sequence:

1. edges (a, b):           start(b) >= start(a) + seconds(a) + lag
2. one at a time, o(i, j) true when i comes before j in the round of their device:
                           r(j) >= r(i) + seconds(i) if o(i, j),  r(i) >= r(j) + seconds(j) if not
   which implies           r(i) >= seconds(first) + sum over j of seconds(j) o(j, i)
   and                     r(i) + seconds(i) + sum over j of seconds(j) o(i, j) <= N
3. memory: the sum (6) of ``solvers.schedule.periodic`` is linear in q and o; it is at most the device's
   cap while each lane runs that acquires something
4. least memory: minimise the largest of (3) over the devices asked for, each in units of its chunks'
   activations together; or the sum of these over all devices

With g micro-batches together each lane has g copies, in turn: (5) of ``solvers.schedule.periodic``.

Starts are bounded without loss. Whole periods may be taken out of any wait, as this moves no operation
within its round: where all that waits for one operation could start a period sooner, what comes before
may be moved a period later and keeps less alive for it. Hence nothing on a chain of edges starts two
periods or more after it could (one, but for passes that meet at a barrier and need not all be late; and
one more where several micro-batches, which lie within a period of each other, are moved together).

Ticks and units are exact where the figures have a common one (``solvers.schedule.periodic_units``).
Otherwise seconds and lags are rounded down: the starts of a real pattern rounded down obey (1-2), so
that "there is none" remains proven, while the pattern found may take a little longer than the period
asked for; its true period is what ``pattern_of`` says.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from solvers.cpsat import run
from solvers.schedule.graph import OperationGraph
from solvers.schedule.periodic import Rounds, Row, repeated
from solvers.schedule.periodic_units import MOST_UNITS, Ticks, Units, ticks_of, units_of

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

Found = Literal["optimal", "feasible", "infeasible", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``value`` and ``bound``: of the memory minimised (0 without); ``rounds`` None where none was found."""

    found: Found
    rounds: Rounds | None
    value: float
    bound: float
    seconds: float
    branches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one run of CP-SAT; None: no limit."""

    seconds: float | None = None
    seed: int = 0
    workers: int = 1


def find_pattern(
    graph: OperationGraph,
    period: float,
    *,
    together: int = 1,
    caps: Sequence[float],
    least: Collection[int] = (),
    sum_of_peaks: bool = False,
    hint: Rounds | None = None,
    limits: Limits,
) -> Answer:
    """A pattern of ``together`` micro-batches in at most ``period`` seconds, within ``caps`` [devices] (inf: none).

    ``least``: the devices whose largest peak, in activations of all their chunks, is minimised, or the
    ``sum_of_peaks`` (none: any pattern will do). ``hint``: rounds to start from.
    """
    from ortools.sat.python import cp_model

    model = _PatternModel(graph, period, together)
    units = [units_of(graph, device, cap) for device, cap in enumerate(caps)]
    for device in range(graph.devices):
        model.add_round(device)
        model.add_cap(device, units[device])
    model.add_edges()
    scale = 1
    if least:
        scale = model.minimise({device: units[device] for device in least}, total=sum_of_peaks)
    if hint is not None:
        model.add_hint(hint)

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = limits.workers
    solver.parameters.random_seed = limits.seed
    if limits.seconds is not None:
        solver.parameters.max_time_in_seconds = max(limits.seconds, 0.0)
    status, interrupted = run(solver, model.model)
    if interrupted:
        raise KeyboardInterrupt
    names: dict[Any, Found] = {
        cp_model.OPTIMAL: "optimal",
        cp_model.FEASIBLE: "feasible",
        cp_model.INFEASIBLE: "infeasible",
    }
    found = names.get(status, "unknown")
    has = found in ("optimal", "feasible")
    bound = math.inf if found == "infeasible" else solver.best_objective_bound / scale if least else 0.0
    return Answer(
        found=found,
        rounds=model.rounds(solver) if has else None,
        value=(solver.objective_value / scale if least else 0.0) if has else math.inf,
        bound=bound,
        seconds=solver.wall_time,
        branches=solver.num_branches,
    )


class _PatternModel:
    """The variables A, q, r, o by device and lane, and the constraints (1-4)."""

    def __init__(self, graph: OperationGraph, period: float, together: int) -> None:
        from ortools.sat.python import cp_model

        self.graph, self.together, self.model = repeated(graph, together), together, cp_model.CpModel()
        self.ticks = ticks_of(self.graph, period)
        self.horizon = _horizon(graph, self.ticks, together)
        self.first = [min(lanes, key=lambda lane: (graph.lanes[lane].kind, lane)) for lanes in graph.lanes_of]
        self.start: dict[int, Any] = {}
        self.lap: dict[int, Any] = {}
        self.within: dict[int, Any] = {}
        self.precedes: dict[tuple[int, int], Any] = {}

    def add_round(self, device: int) -> None:
        """(2), and the start of the device's lanes in terms of A, q and r."""
        model, ticks, period = self.model, self.ticks.seconds, self.ticks.period
        first, *others = self._in_order(device)
        anchor = model.new_int_var(-self.horizon, self.horizon, f"A{device}") if device else 0
        self.start[first], self.lap[first], self.within[first] = anchor, 0, 0
        most = 2 * self.horizon // period + 1
        for lane in others:
            self.lap[lane] = model.new_int_var(-most, most, f"q{lane}")
            self.within[lane] = model.new_int_var(ticks[first], period - ticks[lane], f"r{lane}")
            self.start[lane] = anchor + period * self.lap[lane] + self.within[lane]
        model.add_no_overlap([model.new_fixed_size_interval_var(self.within[o], ticks[o], f"on{o}") for o in others])
        for one, other in combinations(others, 2):
            before = model.new_bool_var(f"o{one},{other}")
            self.precedes[one, other], self.precedes[other, one] = before, 1 - before
            model.add(self.within[other] >= self.within[one] + ticks[one]).only_enforce_if(before)
            model.add(self.within[one] >= self.within[other] + ticks[other]).only_enforce_if(~before)
        for lane in others:
            sooner = sum(ticks[one] * self.precedes[one, lane] for one in others if one != lane)
            later = sum(ticks[one] * self.precedes[lane, one] for one in others if one != lane)
            model.add(self.within[lane] >= ticks[first] + sooner)
            model.add(self.within[lane] + ticks[lane] + later <= period)
            self.precedes[first, lane], self.precedes[lane, first] = 1, 0

    def add_edges(self) -> None:
        """(1); barriers start whenever they may."""
        for lane in range(len(self.graph.lanes)):
            if lane not in self.start:
                self.start[lane] = self.model.new_int_var(-self.horizon, self.horizon, f"s{lane}")
        for edge, lag in zip(self.graph.edges, self.ticks.lags, strict=True):
            self.model.add(self.start[edge.after] >= self.start[edge.before] + self.ticks.seconds[edge.before] + lag)
        size = len(self.graph.lanes) // self.together
        for lane in range(size if self.together > 1 else 0):
            last = lane + size * (self.together - 1)
            self.model.add(self.start[lane] + self.ticks.period >= self.start[last] + self.ticks.seconds[last])

    def alive(self, device: int, units: Units) -> list[Any]:
        """(3) for each lane of the device that acquires something."""
        lanes = self.graph.lanes_of[device]
        acquired = dict(zip(lanes, units.acquired * self.together, strict=True))
        released = dict(zip(lanes, units.released * self.together, strict=True))
        found = []
        for running in lanes:
            if not acquired[running]:
                continue
            alive: Any = 0
            for lane in lanes:
                if released[lane]:
                    there = 1 if lane == running else self.precedes[running, lane]
                    alive += released[lane] * (self.lap[lane] + there)
                if acquired[lane]:
                    after = 0 if lane == running else self.precedes[running, lane]
                    alive -= acquired[lane] * (self.lap[lane] + after)
            found.append(alive)
        return found

    def add_cap(self, device: int, units: Units) -> None:
        if units.cap is not None:
            for alive in self.alive(device, units):
                self.model.add(alive <= units.cap)

    def minimise(self, units: Mapping[int, Units], *, total: bool) -> int:
        """(4) over the given devices that keep anything; returns how many units of the objective are one activation."""
        kept = {device: one for device, one in units.items() if one.whole}
        scale = math.lcm(*(one.whole for one in kept.values()))
        scale = scale if scale <= MOST_UNITS else 1000 * MOST_UNITS
        most = scale * self.together * (2 * self.horizon // self.ticks.period + 2)
        peaks = [self.model.new_int_var(0, most, f"peak{device}") for device in (kept if total else [-1])]
        for number, (device, one) in enumerate(kept.items()):
            for alive in self.alive(device, one):
                self.model.add(peaks[number if total else 0] >= alive * (scale // one.whole))
        self.model.minimize(sum(peaks))
        return scale

    def add_hint(self, rounds: Rounds) -> None:
        for device, row in enumerate(rounds):
            _, *others = rotated(row, self.first[device])
            for at, (lane, lap) in enumerate(others):
                self.model.add_hint(self.lap[lane], lap)
                for other, _ in others[at + 1 :]:
                    sooner, later = sorted((lane, other))
                    self.model.add_hint(self.precedes[sooner, later], lane < other)

    def rounds(self, solver: "cp_model.CpSolver") -> Rounds:
        """What waits for nothing as late, and what nothing waits for as early as whole periods allow: neither
        keeps more alive for it, and the ramps are shorter."""
        size = len(self.graph.lanes) // self.together
        shifts = [self._shift(range(lane, len(self.graph.lanes), size), solver) for lane in range(size)]
        found = []
        for device in range(self.graph.devices):
            first, *others = self._in_order(device)
            sooner = {
                lane: sum(solver.value(self.precedes[one, lane]) for one in others if one != lane) for lane in others
            }
            others.sort(key=sooner.__getitem__)
            row = [(lane, solver.value(self.lap[lane]) + shifts[lane % size]) for lane in others]
            found.append(((first, 0), *row))
        return tuple(found)

    def _shift(self, copies: Sequence[int], solver: "cp_model.CpSolver") -> int:
        """Periods by which all copies of a lane may be moved, memory no more."""
        base = copies[0]
        if self.graph.lanes[base].device < 0 or base in self.first:
            return 0
        size = len(self.graph.lanes) // self.together
        before = [edge for edge in self.graph.edges if edge.after in copies and edge.before % size != base]
        after = [edge for edge in self.graph.edges if edge.before in copies and edge.after % size != base]
        if before and after:
            return 0

        def start(lane: int) -> int:
            return int(solver.value(self.start[lane]))

        lag = {(edge.before, edge.after): lag for edge, lag in zip(self.graph.edges, self.ticks.lags, strict=True)}

        def time(lane: int, waiting: bool) -> int:
            """When a lane ends, or starts; a barrier, when the others let it."""
            if self.graph.lanes[lane].device >= 0:
                return start(lane) + (self.ticks.seconds[lane] if waiting else 0)
            near = self.graph.predecessors[lane] if waiting else self.graph.successors[lane]
            if waiting:
                return max(time(other, waiting) + lag[other, lane] for other, _ in near)
            return min(time(other, waiting) - lag[lane, other] for other, _ in near)

        if before:
            slack = min(start(e.after) - time(e.before, True) - lag[e.before, e.after] for e in before)
            return -(slack // self.ticks.period)
        if after:
            ends = self.ticks.seconds[base]
            slack = min(time(e.after, False) - lag[e.before, e.after] - start(e.before) - ends for e in after)
            return slack // self.ticks.period
        return 0

    def _in_order(self, device: int) -> list[int]:
        first = self.first[device]
        return [first, *(lane for lane in self.graph.lanes_of[device] if lane != first)]


def rotated(row: Row, first: int) -> Row:
    """The same round, begun at the lane ``first`` and counted from it."""
    at = next(place for place, (lane, _) in enumerate(row) if lane == first)
    shift = row[at][1]
    return tuple((lane, lap - shift) for lane, lap in row[at:]) + tuple(
        (lane, lap - shift - 1) for lane, lap in row[:at]
    )


def _horizon(graph: OperationGraph, ticks: Ticks, together: int) -> int:
    """Starts lie within this many ticks of each other."""
    wait = ticks.period * (2 if together == 1 else 3)
    length = [0] * len(graph.lanes)
    lag = {(edge.before, edge.after): one for edge, one in zip(graph.edges, ticks.lags, strict=False)}
    for lane in graph.upstream:
        for after, _ in graph.successors[lane]:
            length[after] = max(length[after], length[lane] + ticks.seconds[lane] + lag[lane, after] + wait)
    return max(length) + wait
