"""Lists to schedules: every device runs, of what is ready and may start, the operation of least key.

A simulation of events: a device that falls idle, or whose next operation becomes ready, looks at the
first operation left of each of its lanes. One may start if its memory is there and the rest can still
drain: with micro-batches completed one after another, the oldest first, each finds the memory that its
remaining operations need (the banker's rule; Dijkstra 1965). Memory is each device's own and the order of
micro-batches the same on all, so it is enough that each device keeps to it: the oldest micro-batch can
always go on, and no choice of keys ends in a deadlock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from solvers.schedule.graph import OperationGraph, Orders
from solvers.schedule.schedule import TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``keys`` [operations]: least first. ``gates``: lane -> (lane, limit): an operation of the first
    starts only while fewer than ``limit`` of its kind lack their counterpart in the second. ``patience``
    [lanes]: an operation is put off while one of a lesser key becomes ready within that share of its length."""

    keys: Sequence[float]
    gates: dict[int, tuple[int, int]] = field(default_factory=dict)
    patience: Sequence[float] = ()


class Ledger:
    """What one device keeps alive, and which operations leave the rest able to drain.

    ``states[k]`` has a bit for every lane of the device that acquires or releases memory, set once its
    operation of micro-batch k is done. Raises ``ValueError`` for a cap below one micro-batch.
    """

    def __init__(self, graph: OperationGraph, device: int) -> None:
        lanes = [lane for lane in graph.upstream if graph.lanes[lane].device == device]
        self.lanes = [lane for lane in lanes if graph.lanes[lane].acquired or graph.lanes[lane].released]
        self.bit = {lane: 1 << at for at, lane in enumerate(self.lanes)}
        self.full = (1 << len(self.lanes)) - 1
        self.acquired = {lane: graph.lanes[lane].acquired for lane in self.lanes}
        self.released = {lane: graph.lanes[lane].released for lane in self.lanes}
        self.cap = graph.cap[device] * (1 + TOLERANCE)
        self.alive = 0.0
        self.states = [0] * graph.microbatches
        self.oldest, self.newest = 0, -1
        self.most_needed = sum(self.acquired.values())
        self.known: dict[int, tuple[float, float]] = {}
        if self.outlook(0)[0] > self.cap:
            raise ValueError(
                f"memory_cap[{device}]: {graph.cap[device]} is less than the {self.outlook(0)[0]} of one micro-batch"
            )

    def outlook(self, state: int) -> tuple[float, float]:
        """Of a micro-batch in ``state``: the memory that its remaining operations need, one after another
        as they depend on each other, and what it holds now."""
        if state not in self.known:
            held = more = most = 0.0
            for lane, bit in self.bit.items():
                if state & bit:
                    held += self.acquired[lane] - self.released[lane]
                else:
                    most = max(most, more + self.acquired[lane])
                    more += self.acquired[lane] - self.released[lane]
            self.known[state] = most, held
        return self.known[state]

    def admits(self, lane: int, microbatch: int) -> bool:
        """Whether the operation may start: it fits, and after it all micro-batches can still drain."""
        acquired = self.acquired[lane]
        if self.alive + acquired > self.cap:
            return False
        free = self.cap - self.alive - acquired + self.released[lane]
        after = self.states[microbatch] | self.bit[lane]
        for k in range(self.oldest, max(self.newest, microbatch) + 1):
            if free >= self.most_needed:
                return True
            need, held = self.outlook(after if k == microbatch else self.states[k])
            if need > free:
                return False
            free += held
        return True

    def run(self, lane: int, microbatch: int) -> None:
        self.alive += self.acquired[lane] - self.released[lane]
        self.states[microbatch] |= self.bit[lane]
        self.newest = max(self.newest, microbatch)
        while self.oldest < len(self.states) and self.states[self.oldest] == self.full:
            self.oldest += 1


def dispatch(graph: OperationGraph, rules: Rules) -> Orders:
    """Device orders within the caps, each lane in the order of its micro-batches.

    Raises ``ValueError`` for a cap below one micro-batch.
    """
    m, lanes, successors = graph.microbatches, graph.lanes, graph.successors
    keys, gates = rules.keys, rules.gates
    patience = rules.patience or [0.0] * len(lanes)
    seconds = [lane.seconds for lane in lanes]
    device_of = [lane.device for lane in lanes]
    ledgers = [Ledger(graph, device) for device in range(graph.devices)]
    acquires = [lane.acquired > 0 and graph.cap[lane.device] < math.inf for lane in lanes]
    books = [lane.device >= 0 and lane_number in ledgers[lane.device].bit for lane_number, lane in enumerate(lanes)]
    waits = [len(before) for before in graph.predecessors for _ in range(m)]
    ready = [0.0] * len(graph)
    following = [0] * len(lanes)
    free_at = [0.0] * graph.devices
    orders: list[list[int]] = [[] for _ in range(graph.devices)]
    events = [(0.0, device) for device in range(graph.devices)]

    def finish(lane: int, microbatch: int, end: float) -> None:
        for after, lag in successors[lane]:
            operation = after * m + microbatch
            if end + lag > ready[operation]:
                ready[operation] = end + lag
            waits[operation] -= 1
            if not waits[operation]:
                if device_of[after] < 0:
                    finish(after, microbatch, ready[operation])
                elif following[after] == microbatch:
                    heappush(events, (ready[operation], device_of[after]))

    while events:
        now, device = heappop(events)
        if free_at[device] > now:
            continue
        best, best_key, soon = -1, math.inf, []
        for lane in graph.lanes_of[device]:
            microbatch = following[lane]
            operation = lane * m + microbatch
            if microbatch == m or waits[operation]:
                continue
            key = keys[operation]
            if ready[operation] > now:
                soon.append((ready[operation], key))
                continue
            if key >= best_key:
                continue
            if lane in gates:
                counterpart, limit = gates[lane]
                if microbatch - following[counterpart] >= limit:
                    continue
            if acquires[lane] and not ledgers[device].admits(lane, microbatch):
                continue
            best, best_key = lane, key
        horizon = now + patience[best] * seconds[best]
        if best < 0 or any(key < best_key and at < horizon for at, key in soon):
            if soon:
                heappush(events, (min(soon)[0], device))
            continue
        microbatch = following[best]
        following[best] += 1
        if books[best]:
            ledgers[device].run(best, microbatch)
        orders[device].append(best * m + microbatch)
        end = free_at[device] = now + seconds[best]
        heappush(events, (end, device))
        finish(best, microbatch, end)
    return tuple(map(tuple, orders))
