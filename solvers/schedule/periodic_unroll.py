"""From a pattern to the orders of a whole step: the ramps filled by list scheduling that cannot get stuck.

A list schedule goes through time and gives each idle device an operation that is ready. Which ones may
be chosen is bounded by orders known to work: at all times the operations that a device has not run yet,
in their given order, must fit its memory; an operation is run ahead of the others only where they still
do. As all that it waits for has run, the orders remain free of deadlock too, so every choice ends in
orders that work. In the ramps of a pattern this pulls forward passes ahead until the memory is full,
and puts weight gradients, lookups and other work that nothing waits for into what would be idle.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from solvers.schedule.graph import OperationGraph, Orders
from solvers.schedule.problem import Kind, Objective
from solvers.schedule.schedule import TOLERANCE, Schedule, timed


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``rank``: of the kinds ready at one time the least goes first, then as given; None: as given.
    ``patient``: nothing is run ahead of the next operation that would still run when that is ready."""

    rank: Mapping[Kind, int] | None = None
    patient: bool = True


_BACKWARD_FIRST = (Kind.T, Kind.S, Kind.B, Kind.I, Kind.F, Kind.IF, Kind.IB, Kind.W)
AS_GIVEN = Rule()
RULES = (AS_GIVEN, Rule(rank={kind: place for place, kind in enumerate(_BACKWARD_FIRST)}))

MOST_PASSES = 12


def justified(graph: OperationGraph, orders: Orders, objective: Objective = "makespan") -> Schedule:
    """The best schedule of list schedules forwards and backwards in time, in turn, from ``orders``.

    Each takes the orders of the one before, so that a pass forwards pulls everything as early as its
    devices and memory allow and a pass backwards as late: what is known as justification of schedules
    (Valls, Ballestín, Quintanilla 2005). Once for each of ``RULES`` in the first pass; ends when a pass both
    ways has gained nothing.
    """
    mirror = graph.reversed()
    best = timed(graph, orders, objective)
    for rule in RULES:
        current, value = orders, math.inf
        for turn in range(MOST_PASSES):
            current = list_scheduled(graph, current, rule if turn == 0 else AS_GIVEN)
            forwards = timed(graph, current, objective)
            back = list_scheduled(mirror, backwards(current, graph.microbatches), AS_GIVEN)
            current = backwards(back, graph.microbatches)
            both = min(forwards, timed(graph, current, objective), key=lambda one: one.value(objective))
            if both.value(objective) < best.value(objective):
                best = both
            if turn and both.value(objective) >= value:
                break
            value = both.value(objective)
    return best


def list_scheduled(graph: OperationGraph, orders: Sequence[Sequence[int]], rule: Rule) -> Orders:
    """The orders that ``rule`` makes of given ones, which must fit the caps and be free of deadlock.

    Raises ``ValueError`` where they are not free of it.
    """
    return _ListSchedule(graph, orders, rule).run()


class _ListSchedule:
    def __init__(self, graph: OperationGraph, orders: Sequence[Sequence[int]], rule: Rule) -> None:
        self.graph, self.orders, self.rule = graph, orders, rule
        m = graph.microbatches
        self.m = m
        self.position = [0] * len(graph)
        for order in orders:
            for place, operation in enumerate(order):
                self.position[operation] = place
        self.done = bytearray(len(graph))
        self.waits = [len(before) for before in graph.predecessors for _ in range(m)]
        self.ready = [0.0] * len(graph)
        self.next = [0] * len(graph.lanes)
        """[lanes] the micro-batch whose turn it is."""
        self.head = [0] * graph.devices
        self.alive = [0.0] * graph.devices
        self.cap = [cap * (1 + TOLERANCE) for cap in graph.cap]
        self.seconds = [lane.seconds for lane in graph.lanes]
        self.acquired = [lane.acquired for lane in graph.lanes]
        self.growth = [lane.acquired - lane.released for lane in graph.lanes]
        rank = rule.rank
        self.rank = [rank[lane.kind] if rank is not None and lane.device >= 0 else 0 for lane in graph.lanes]
        self.device = [lane.device for lane in graph.lanes]
        self.wake: list[tuple[float, int]] = []

    def run(self) -> Orders:
        found: list[list[int]] = [[] for _ in range(self.graph.devices)]
        free = [0.0] * self.graph.devices
        for lane, before in enumerate(self.graph.predecessors):
            if not before and self.device[lane] < 0:
                raise ValueError("a barrier waits for nothing")
        self.wake = [(0.0, device) for device in range(self.graph.devices)]
        while self.wake:
            now, device = heapq.heappop(self.wake)
            while self.wake and self.wake[0] == (now, device):
                heapq.heappop(self.wake)
            if free[device] > now:
                continue
            operation = self._choice(device, now)
            if operation < 0:
                continue
            lane = operation // self.m
            found[device].append(operation)
            self.done[operation] = 1
            self.next[lane] += 1
            self.alive[device] += self.growth[lane]
            order, head = self.orders[device], self.head[device]
            while head < len(order) and self.done[order[head]]:
                head += 1
            self.head[device] = head
            end = now + self.seconds[lane]
            free[device] = end
            heapq.heappush(self.wake, (end, device))
            self._release(operation, end)
        if sum(map(len, found)) < sum(map(len, self.orders)):
            raise ValueError("orders: the devices wait for each other for ever")
        return tuple(map(tuple, found))

    def _release(self, operation: int, end: float) -> None:
        """What waits for an operation that ends then."""
        lane, microbatch = divmod(operation, self.m)
        for after, lag in self.graph.successors[lane]:
            other = after * self.m + microbatch
            if end + lag > self.ready[other]:
                self.ready[other] = end + lag
            self.waits[other] -= 1
            if not self.waits[other]:
                if self.device[after] < 0:
                    self._release(other, self.ready[other])
                else:
                    heapq.heappush(self.wake, (self.ready[other], self.device[after]))

    def _choice(self, device: int, now: float) -> int:
        """What the device runs now; -1: nothing."""
        order, head = self.orders[device], self.head[device]
        if head == len(order):
            return -1
        first = order[head]
        best, best_key = -1, (0, 0)
        due = now if not self.waits[first] and self.ready[first] <= now else None
        if due is not None and self.rule.rank is None:
            return first
        for lane in self.graph.lanes_of[device]:
            if self.next[lane] == self.m:
                continue
            operation = lane * self.m + self.next[lane]
            if self.waits[operation] or self.ready[operation] > now:
                continue
            key = (self.rank[lane], self.position[operation])
            if best >= 0 and key >= best_key:
                continue
            if operation != first and not self._may_go_ahead(device, operation, lane, now, due is None):
                continue
            best, best_key = operation, key
        return best

    def _may_go_ahead(self, device: int, operation: int, lane: int, now: float, waiting: bool) -> bool:
        order, head = self.orders[device], self.head[device]
        first = order[head]
        if waiting and self.rule.patient and not self.waits[first] and now + self.seconds[lane] > self.ready[first]:
            return False
        growth, cap = self.growth[lane], self.cap[device]
        alive = self.alive[device]
        if alive + self.acquired[lane] > cap:
            return False
        if growth <= 0:
            return True
        for place in range(head, self.position[operation]):
            other = order[place]
            if not self.done[other]:
                other_lane = other // self.m
                if alive + self.acquired[other_lane] + growth > cap:
                    return False
                alive += self.growth[other_lane]
        return True


def backwards(orders: Sequence[Sequence[int]], microbatches: int) -> Orders:
    """Orders of a graph as those of the one reversed in time, and the other way round."""
    return tuple(
        tuple(operation + microbatches - 1 - 2 * (operation % microbatches) for operation in reversed(order))
        for order in orders
    )
