"""Small layers exactly: every choice of replica counts, every packing, cut off where it cannot be better.

Experts by falling load get their counts; each must bring its share below the best largest load, and leave as
many slots as the others need for that. Then, with two slots per GPU, the largest replica joins the smallest and so on;
else replicas, largest first, go to every GPU with a slot left, once for GPUs alike in load and slots.
"""

import math

import numpy as np

from solvers.experts.problem import Floats, Integers

SMALLER = 1 - 1e-12


class _OutOfBudgetError(Exception):
    pass


class _Search:
    def __init__(self, loads: list[float], gpus: int, slots: int, best: float, enough: float, budget: int) -> None:
        self.loads, self.gpus, self.slots = loads, gpus, slots
        self.best, self.enough, self.budget = best, enough, budget
        self.found: list[list[int]] | None = None

    def spend(self) -> None:
        self.budget -= 1
        if self.budget < 0:
            raise _OutOfBudgetError

    def needed(self, load: float) -> int:
        """The fewest replicas with a share below the best largest load."""
        return math.floor(load / (self.best * SMALLER)) + 1 if load > 0 else 1

    def choose_counts(self, counts: list[int], left: int) -> None:
        self.spend()
        k = len(counts)
        if k == len(self.loads):
            if left == 0:
                replicas = [
                    (w / r, e) for e, (w, r) in enumerate(zip(self.loads, counts, strict=True)) for _ in range(r)
                ]
                replicas.sort(key=lambda replica: -replica[0])
                if self.slots == 2:
                    self.pair(replicas)
                else:
                    self.pack(replicas, 0, [0.0] * self.gpus, [[] for _ in range(self.gpus)])
            return
        others = sum(self.needed(load) for load in self.loads[k + 1 :])
        for count in range(self.needed(self.loads[k]), left - others + 1):
            if self.best <= self.enough:
                return
            if k + 1 < len(self.loads) or count == left:
                self.choose_counts([*counts, count], left - count)

    def pair(self, replicas: list[tuple[float, int]]) -> None:
        """Largest with smallest, which is best (``pairing``)."""
        pairs = list(zip(replicas[: self.gpus], reversed(replicas), strict=False))
        largest = max(one[0] + other[0] for one, other in pairs)
        if largest < self.best * SMALLER:
            self.best, self.found = largest, [[one[1], other[1]] for one, other in pairs]

    def pack(self, replicas: list[tuple[float, int]], k: int, load: list[float], held: list[list[int]]) -> None:
        self.spend()
        if k == len(replicas):
            largest = max(load)
            if largest < self.best * SMALLER:
                self.best, self.found = largest, [list(gpu) for gpu in held]
            return
        share, expert = replicas[k]
        seen = set()
        for gpu in sorted(range(self.gpus), key=load.__getitem__):
            alike = (load[gpu], len(held[gpu]))
            if len(held[gpu]) == self.slots or alike in seen:
                continue
            seen.add(alike)
            before = load[gpu]
            if before + share >= self.best * SMALLER:
                break
            load[gpu] = before + share
            held[gpu].append(expert)
            self.pack(replicas, k + 1, load, held)
            held[gpu].pop()
            load[gpu] = before
            if self.best <= self.enough:
                return


def improve_exactly(
    loads: Floats, gpus: int, slots_per_gpu: int, *, best: float, enough: float, budget: int
) -> tuple[Integers | None, float, bool]:
    """A placement [gpus, slots] below ``best`` with the least largest load, or None; that load; whether proven.

    ``loads`` is [experts], ``best`` a largest load known to be reachable, ``enough`` one that cannot be
    beaten, ``budget`` the number of choices to try: without finishing, the last entry is False.
    """
    if best <= enough or best == 0:
        return None, best, True
    order = np.argsort(-loads, kind="stable")
    search = _Search(loads[order].tolist(), gpus, slots_per_gpu, best, enough, budget)
    try:
        search.choose_counts([], gpus * slots_per_gpu)
        proven = True
    except _OutOfBudgetError:
        proven = False
    placed = None if search.found is None else order[np.array(search.found)]
    return placed, search.best, proven
