"""Pipeline schedules by trying every order, on instances small enough for that.

Operations are appended to their devices one by one, each as early as it can start. What counts for the rest is
which operations are done, when each device is free and when the results still needed are there: of two ways
to do the same operations, one that is nowhere later is enough. Written from the problem's statement alone.
"""

import math
from collections.abc import Iterator
from itertools import pairwise, product

from solvers.schedule.problem import Kind, ScheduleProblem

Operation = tuple[Kind, int, int]
"""(kind, chunk or device of a vocabulary pass, micro-batch)."""


class Instance:
    """Per operation: device (None: a barrier), seconds, what it waits for, memory taken and given back."""

    def __init__(self, problem: ScheduleProblem) -> None:
        self.problem = problem
        self.device: dict[Operation, int | None] = {}
        self.seconds: dict[Operation, float] = {}
        self.waits: dict[Operation, list[tuple[Operation, float]]] = {}
        self.takes: dict[Operation, float] = {}
        self.gives: dict[Operation, float] = {}
        last = problem.chunks - 1
        back = Kind.I if problem.split_backward else Kind.B
        for k in range(problem.microbatches):
            for c in range(problem.chunks):
                d = problem.device_of_chunk[c]
                keeps, more = problem.activation[c], problem.released_by_input_grad[c]
                before = [((Kind.F, c - 1, k), problem.p2p_seconds[c - 1])] if c else []
                self.add((Kind.F, c, k), d, problem.forward_seconds[c], before, keeps, 0.0)
                before = [((back, c + 1, k), problem.p2p_seconds[c])] if c < last else [((Kind.F, c, k), 0.0)]
                i, w = problem.input_grad_seconds[c], problem.weight_grad_seconds[c]
                if problem.split_backward:
                    self.add((back, c, k), d, i, before, max(-more, 0.0), max(more, 0.0))
                    before = [((Kind.I, c, k), 0.0)]
                    self.add((Kind.W, c, k), d, w, before, 0.0, problem.released_by_weight_grad[c])
                else:
                    self.add((back, c, k), d, i + w, before, 0.0, keeps)
            if problem.vocabulary is None:
                continue
            v, devices = problem.vocabulary, range(problem.devices)
            kept = v.kept or [0.0] * problem.devices
            joined = {n: (Kind.BARRIER, n, k) for n in range(3)}
            for d in devices:
                self.add((Kind.IF, d, k), d, v.input_forward_seconds[d], [], 0.0, 0.0)
                self.add((Kind.S, d, k), d, v.s_seconds[d], [((Kind.F, last, k), v.broadcast_seconds)], kept[d], 0.0)
                self.add((Kind.T, d, k), d, v.t_seconds[d], [(joined[1], v.barrier_seconds)], 0.0, kept[d])
                self.add((Kind.IB, d, k), d, v.input_backward_seconds[d], [((back, 0, k), v.barrier_seconds)], 0.0, 0.0)
            self.add(joined[0], None, 0.0, [((Kind.IF, d, k), 0.0) for d in devices], 0.0, 0.0)
            self.add(joined[1], None, 0.0, [((Kind.S, d, k), 0.0) for d in devices], 0.0, 0.0)
            self.waits[Kind.F, 0, k].append((joined[0], v.barrier_seconds))
            if v.passes == "vocab-1":
                self.add(joined[2], None, 0.0, [((Kind.T, d, k), 0.0) for d in devices], 0.0, 0.0)
                self.waits[back, last, k].append((joined[2], v.barrier_seconds))
            else:
                self.waits[back, last, k].append((joined[1], v.barrier_seconds))

    def add(
        self,
        operation: Operation,
        device: int | None,
        seconds: float,
        waits: list[tuple[Operation, float]],
        takes: float,
        gives: float,
    ) -> None:
        self.device[operation], self.seconds[operation], self.waits[operation] = device, seconds, waits
        self.takes[operation], self.gives[operation] = takes, gives


def least_makespan(problem: ScheduleProblem, *, in_turn: bool = True) -> float:
    """inf where the caps allow no schedule. ``in_turn``: micro-batches pass every device in their order; else
    only the first chunk's forwards do, which is no more than naming them."""
    instance = Instance(problem)
    operations = list(instance.device)
    needed_by = {one: [other for other in operations if one in dict(instance.waits[other])] for one in operations}
    tail = _tails(instance, needed_by)
    frontier: dict[frozenset[Operation], list[tuple[dict[Operation, float], tuple[float, ...]]]] = {
        frozenset(): [({}, (0.0,) * problem.devices)]
    }
    best = math.inf
    for _ in range(len(operations)):
        following: dict[frozenset[Operation], list[tuple[dict[Operation, float], tuple[float, ...]]]] = {}
        for done, labels in frontier.items():
            for operation in _candidates(instance, done, in_turn):
                device = instance.device[operation]
                after = done | {operation}
                for ends, free in labels:
                    start = max((ends[one] + lag for one, lag in instance.waits[operation]), default=0.0)
                    if device is not None:
                        start = max(start, free[device])
                    end = start + instance.seconds[operation]
                    if end + tail[operation] >= best:
                        continue
                    new = {**ends, operation: end}
                    new = {one: at for one, at in new.items() if any(other not in after for other in needed_by[one])}
                    times = free if device is None else (*free[:device], end, *free[device + 1 :])
                    if len(after) == len(operations):
                        best = min(best, max(times))
                    else:
                        _keep(following.setdefault(after, []), (new, times))
        frontier = following
    return best


def _tails(instance: Instance, needed_by: dict[Operation, list[Operation]]) -> dict[Operation, float]:
    tail: dict[Operation, float] = {}

    def of(operation: Operation) -> float:
        if operation not in tail:
            tail[operation] = max(
                (
                    dict(instance.waits[after])[operation] + instance.seconds[after] + of(after)
                    for after in needed_by[operation]
                ),
                default=0.0,
            )
        return tail[operation]

    for operation in needed_by:
        of(operation)
    return tail


def _candidates(instance: Instance, done: frozenset[Operation], in_turn: bool) -> Iterator[Operation]:
    """What may be appended next; a barrier that is ready is, before anything else."""
    ready = [one for one in instance.device if one not in done and all(w in done for w, _ in instance.waits[one])]
    barriers = [one for one in ready if instance.device[one] is None]
    if barriers:
        yield barriers[0]
        return
    for kind, place, k in ready:
        if k and (in_turn or (kind, place) == (Kind.F, 0)) and (kind, place, k - 1) not in done:
            continue
        device = instance.device[kind, place, k]
        assert device is not None
        alive = sum(instance.takes[one] - instance.gives[one] for one in done if instance.device[one] == device)
        if alive + instance.takes[kind, place, k] <= instance.problem.memory_cap[device] + 1e-9:
            yield kind, place, k


def _keep(
    labels: list[tuple[dict[Operation, float], tuple[float, ...]]],
    new: tuple[dict[Operation, float], tuple[float, ...]],
) -> None:
    """Adds a way to do the same operations unless another is nowhere later; drops those that it beats."""

    def no_later(
        one: tuple[dict[Operation, float], tuple[float, ...]], other: tuple[dict[Operation, float], tuple[float, ...]]
    ) -> bool:
        return all(a <= b for a, b in zip(one[1], other[1], strict=True)) and all(
            at <= other[0][operation] for operation, at in one[0].items()
        )

    if any(no_later(label, new) for label in labels):
        return
    labels[:] = [label for label in labels if not no_later(new, label)]
    labels.append(new)


def least_span(problem: ScheduleProblem) -> float:
    """The least of the largest time between one device's first start and last end, over all device orders."""
    instance = Instance(problem)
    rows = [list(_device_orders(instance, device)) for device in range(problem.devices)]
    return min((_span(instance, orders) for orders in product(*rows)), default=math.inf)


def _device_orders(instance: Instance, device: int) -> Iterator[tuple[Operation, ...]]:
    operations = [one for one, where in instance.device.items() if where == device]

    def extend(order: tuple[Operation, ...], alive: float) -> Iterator[tuple[Operation, ...]]:
        if len(order) == len(operations):
            yield order
            return
        for one in operations:
            kind, place, k = one
            if one in order or (k and (kind, place, k - 1) not in order):
                continue
            if any(w not in order for w, _ in instance.waits[one] if instance.device[w] == device):
                continue
            if alive + instance.takes[one] <= instance.problem.memory_cap[device] + 1e-9:
                yield from extend((*order, one), alive + instance.takes[one] - instance.gives[one])

    return extend((), 0.0)


def _span(instance: Instance, orders: tuple[tuple[Operation, ...], ...]) -> float:
    """By bisection: starts exist for a span just when relaxing the differences comes to rest."""
    operations = list(instance.device)
    arcs = [(w, one, instance.seconds[w] + lag) for one in operations for w, lag in instance.waits[one]]
    for order in orders:
        arcs += [(a, b, instance.seconds[a]) for a, b in pairwise(order)]
    ends = [(order[-1], order[0], instance.seconds[order[-1]]) for order in orders]

    def possible(span: float) -> bool:
        at = dict.fromkeys(operations, 0.0)
        for _ in range(len(operations) + 1):
            moved = False
            for a, b, seconds in [*arcs, *((last, first, seconds - span) for last, first, seconds in ends)]:
                if at[a] + seconds > at[b] + 1e-9:
                    at[b], moved = at[a] + seconds, True
            if not moved:
                return True
        return False

    low, high = 0.0, 2.0 * sum(seconds for _, _, seconds in arcs) + 1.0
    if not possible(high):
        return math.inf
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if possible(middle) else (middle, high)
    return high
