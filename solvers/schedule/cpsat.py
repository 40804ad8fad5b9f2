"""The exact model of a schedule for CP-SAT, whole or with some devices only.

Variables, integers in a common unit of time: start s(l, k) of every operation (lane l, micro-batch k), of
length t(l); the value z. With H the best known value:

1. head(l, k) <= s(l, k) <= H - tail(l, k) - t(l)                          heads and tails: relaxation.py
2. s(b, k) >= s(a, k) + t(a) + lag                                         edge (a, b, lag) of the graph
3. s(l, k + 1) >= s(l, k) + t(l)                                           micro-batches are alike
4. s(x, k) >= s(r, k - n) + t(r)                                           window (r, x, n) that a cap forces
5. the operations of one device do not overlap
6. sum of q over holds (a, b, q) of d with s(a, k) <= time < s(b, k) + t(b) is at most cap(d), at all times
7. makespan: z >= s(l, k) + t(l) + tail(l, k);   span: z >= last end - first start of each device
8. z >= a known lower bound;  minimise z

1, 4 and 8 are implied by the others and there to make proofs short. With ``devices`` given, 5 and 6 are
asked of these only and the operations of all others become lags: a relaxation, whose bound holds for the
whole and is often the same, as the device short of memory decides.

Units. Figures that have a common unit are exact. Else times are rounded down to 1/1,000,000 of H, which
keeps the bound valid, and memory to 1/100,000,000 of the cap; the order found is timed, and its
memory counted, with the true figures.
"""

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from solvers.schedule.graph import Edge, OperationGraph, Orders
from solvers.schedule.problem import Objective
from solvers.schedule.relaxation import memory_windows, relaxed
from solvers.schedule.schedule import TOLERANCE, Schedule, memory_of

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

MOST_UNITS = 100_000_000
ROUNDED_UNITS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``orders`` of the best schedule (None: none found, or only some devices were asked); ``lower_bound`` in
    seconds, valid for the true figures; ``solved``: the search came to its end; ``interrupted``: by Ctrl-C."""

    orders: Orders | None
    lower_bound: float
    solved: bool
    interrupted: bool
    branches: int


def solve_model(
    graph: OperationGraph,
    *,
    objective: Objective,
    best: float,
    lower_bound: float,
    seconds: float,
    seed: int,
    workers: int,
    devices: Sequence[int] | None = None,
    hint: Schedule | None = None,
    on_solution: Callable[[float, float], None] | None = None,
) -> Outcome:
    """Minimises the objective over all schedules no worse than ``best`` seconds, the value of a known one, for
    at most ``seconds``. ``on_solution`` is told value and bound, in seconds, of each solution."""
    from ortools.sat.python import cp_model

    unit = common_unit(graph, best)
    model = _Model(graph, unit, objective, best, lower_bound, devices)
    if hint is not None:
        model.hint(hint)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.interleave_search = workers > 1
    solver.parameters.random_seed = seed
    solver.parameters.catch_sigint_signal = False
    solver.parameters.max_time_in_seconds = max(seconds, 0.01)
    status, interrupted = _run(solver, model.model, _teller(on_solution, unit))
    if status == cp_model.MODEL_INVALID:
        raise AssertionError(f"the model of the schedule is not one: {model.model.validate()}")
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE) and devices is None
    orders = model.orders(solver) if found else None
    if orders is not None and any(
        peak > cap * (1 + TOLERANCE) for peak, cap in zip(memory_of(graph, orders), graph.cap, strict=True)
    ):
        orders = None  # memory was rounded, and the order needs a trifle too much
    bound = lower_bound
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.UNKNOWN):
        bound = max(bound, solver.best_objective_bound * unit.seconds)
    return Outcome(
        orders=orders,
        lower_bound=min(bound, best),
        solved=status in (cp_model.OPTIMAL, cp_model.INFEASIBLE),
        interrupted=interrupted,
        branches=int(solver.num_branches),
    )


class Unit(NamedTuple):
    """``seconds`` of one integer; whether all figures are multiples of it."""

    seconds: float
    exact: bool


def common_unit(graph: OperationGraph, horizon: float) -> Unit:
    """The largest unit of which all lengths and lags are multiples, if ``horizon`` has at most ``MOST_UNITS``."""
    figures = {lane.seconds for lane in graph.lanes} | {edge.lag for edge in graph.edges}
    unit = _greatest_divisor(figure for figure in figures if figure)
    if unit and horizon / float(unit) <= MOST_UNITS:
        return Unit(float(unit), True)
    return Unit(max(horizon, 1e-300) / ROUNDED_UNITS, False)


def _greatest_divisor(figures: Iterable[float]) -> Fraction:
    """Of the decimal numbers that the floats are written as; 0 where there are none."""
    divisor = Fraction(0)
    for figure in figures:
        exact = Fraction(repr(float(figure)))
        below = math.lcm(divisor.denominator, exact.denominator)
        divisor = Fraction(math.gcd(int(divisor * below), int(exact * below)), below)
    return divisor


def _in_units(graph: OperationGraph, unit: Unit) -> OperationGraph:
    def whole(figure: float) -> float:
        return float(round(figure / unit.seconds) if unit.exact else math.floor(figure / unit.seconds))

    return replace(
        graph,
        lanes=tuple(replace(lane, seconds=whole(lane.seconds)) for lane in graph.lanes),
        edges=tuple(Edge(edge.before, edge.after, whole(edge.lag)) for edge in graph.edges),
    )


class _Model:
    """The numbered constraints of the module, in their order."""

    def __init__(
        self,
        graph: OperationGraph,
        unit: Unit,
        objective: Objective,
        best: float,
        lower_bound: float,
        devices: Sequence[int] | None,
    ) -> None:
        from ortools.sat.python import cp_model

        self.model = cp_model.CpModel()
        self.graph, self.unit, self.objective = graph, unit, objective
        self.scaled = _in_units(graph, unit)
        self.microbatches = graph.microbatches
        self.devices = range(graph.devices) if devices is None else devices
        lanes = range(len(graph.lanes))
        self.lanes = [lane for lane in lanes if devices is None or graph.lanes[lane].device in devices]
        self.length = [int(lane.seconds) for lane in self.scaled.lanes]
        self.most = math.floor(best / unit.seconds * (1 + TOLERANCE) + TOLERANCE)
        self.horizon = self.most if objective == "makespan" else 3 * self.most
        self._starts_between_heads_and_tails()
        self._edges()
        self._microbatches_in_turn()
        self._windows_of_memory()
        self._one_operation_at_a_time()
        self._memory()
        self._objective()
        least = lower_bound / unit.seconds * (1 - TOLERANCE) - TOLERANCE
        self.model.add(self.value >= (math.ceil(least) if unit.exact else math.floor(least)))
        self.model.minimize(self.value)

    def _starts_between_heads_and_tails(self) -> None:
        self.relaxed = relaxed(self.scaled)
        heads, tails = self.relaxed.heads.astype(int).tolist(), self.relaxed.tails.astype(int).tolist()
        self.start = {}
        for lane in self.lanes:
            for k in range(self.microbatches):
                latest = self.horizon - tails[lane][k] - self.length[lane]
                # where the true figures are rounded, a known schedule may be out of reach: the model is infeasible
                domain = (heads[lane][k], max(latest, heads[lane][k]))
                self.start[lane, k] = self.model.new_int_var(*domain, f"s{lane},{k}")

    def _edges(self) -> None:
        for before, after, lag in _kept_edges(self.scaled, set(self.lanes)):
            for k in range(self.microbatches):
                self.model.add(self.start[after, k] >= self.start[before, k] + self.length[before] + int(lag))

    def _microbatches_in_turn(self) -> None:
        for lane in self.lanes:
            for k in range(self.microbatches - 1):
                self.model.add(self.start[lane, k + 1] >= self.start[lane, k] + self.length[lane])

    def _windows_of_memory(self) -> None:
        for last, first, count in memory_windows(self.graph):
            if self.graph.lanes[first].device in self.devices:
                for k in range(count, self.microbatches):
                    self.model.add(self.start[first, k] >= self.start[last, k - count] + self.length[last])

    def _one_operation_at_a_time(self) -> None:
        for device in self.devices:
            self.model.add_no_overlap(
                self.model.new_fixed_size_interval_var(self.start[lane, k], self.length[lane], f"i{lane},{k}")
                for lane in self.graph.lanes_of[device]
                for k in range(self.microbatches)
            )

    def _memory(self) -> None:
        for device in self.devices:
            cap = self.graph.cap[device]
            holds = [hold for hold in self.graph.holds if self.graph.lanes[hold.first].device == device]
            if self.microbatches * sum(hold.amount for hold in holds) <= cap * (1 + TOLERANCE):
                continue
            byte = float(_greatest_divisor(hold.amount for hold in holds))
            exact = cap / byte <= MOST_UNITS
            byte = byte if exact else cap / MOST_UNITS
            intervals, demands = [], []
            for hold in holds:
                demand = round(hold.amount / byte) if exact else math.floor(hold.amount / byte)
                for k in range(self.microbatches):
                    end = self.start[hold.last, k] + self.length[hold.last]
                    size = self.model.new_int_var(0, self.horizon, "")
                    intervals.append(self.model.new_interval_var(self.start[hold.first, k], size, end, ""))
                    demands.append(demand)
            self.model.add_cumulative(intervals, demands, math.floor(cap / byte * (1 + TOLERANCE) + TOLERANCE))

    def _objective(self) -> None:
        last = self.microbatches - 1
        self.value = self.model.new_int_var(0, self.most, "value")
        if self.objective == "makespan":
            for lane in self.lanes:
                tail = int(self.relaxed.tails[lane][last])
                self.model.add(self.value >= self.start[lane, last] + self.length[lane] + tail)
            return
        for device in self.devices:
            first = self.model.new_int_var(0, self.horizon, f"first{device}")
            for lane in self.graph.lanes_of[device]:
                self.model.add(first <= self.start[lane, 0])
                self.model.add(self.value >= self.start[lane, last] + self.length[lane] - first)

    def hint(self, schedule: Schedule) -> None:
        starts = schedule.start.reshape(len(self.graph.lanes), self.microbatches) / self.unit.seconds
        for (lane, k), variable in self.start.items():
            self.model.add_hint(variable, round(float(starts[lane, k])))

    def orders(self, solver: "cp_model.CpSolver") -> Orders:
        """Operations by start; of equal ones those without length first, as they wait for each other."""
        rank = {lane: at for at, lane in enumerate(self.graph.upstream)}

        def place(operation: tuple[int, int]) -> tuple[int, int, int, int]:
            lane, k = operation
            start = solver.value(self.start[lane, k])
            return start, start + self.length[lane], k, rank[lane]

        found = []
        for device in range(self.graph.devices):
            operations = [(lane, k) for lane in self.graph.lanes_of[device] for k in range(self.microbatches)]
            found.append(tuple(lane * self.microbatches + k for lane, k in sorted(operations, key=place)))
        return tuple(found)


def _kept_edges(graph: OperationGraph, kept: set[int]) -> list[tuple[int, int, float]]:
    """Edges between kept lanes: the graph's own, and the longest paths through the lanes left out."""
    found: dict[tuple[int, int], float] = {}
    for lane in kept:
        lags = dict[int, float]()
        for after, lag in graph.successors[lane]:
            lags[after] = max(lag, lags.get(after, lag))
        for other in graph.upstream:
            if other in lags and other not in kept:
                for after, lag in graph.successors[other]:
                    far = lags[other] + graph.lanes[other].seconds + lag
                    lags[after] = max(far, lags.get(after, far))
        found.update({(lane, after): lag for after, lag in lags.items() if after in kept})
    return [(before, after, lag) for (before, after), lag in sorted(found.items())]


def _run(solver: "cp_model.CpSolver", model: "cp_model.CpModel", teller: Any) -> tuple[Any, bool]:
    """The status, and whether Ctrl-C ended the search: the solver runs in a thread of its own, so that
    Python hears it. An event tells its end: ``Thread.join`` takes a thread for dead once it is interrupted."""
    statuses: list[Any] = []
    done = threading.Event()

    def solve() -> None:
        try:
            statuses.append(solver.solve(model, teller))
        finally:
            done.set()

    threading.Thread(target=solve, daemon=True).start()
    interrupted = False
    while not done.is_set():
        try:
            done.wait(0.2)
        except KeyboardInterrupt:
            interrupted = True
            solver.stop_search()
    return statuses[0], interrupted


def _teller(on_solution: Callable[[float, float], None] | None, unit: Unit) -> Any:
    if on_solution is None:
        return None
    tell = on_solution
    from ortools.sat.python import cp_model

    class Teller(cp_model.CpSolverSolutionCallback):
        def on_solution_callback(self) -> None:
            tell(self.objective_value * unit.seconds, self.best_objective_bound * unit.seconds)

    return Teller()
