"""Block-coordinate descent along the layers, for sizes beyond enumeration.

Given its neighbours, one layer is a transportation problem and ``cheapest_layer`` solves it exactly. Sweeps
forward and backward over the layers end in a local optimum; from there windows of a few layers are kicked (some
experts of one layer exchanged at random, its neighbours followed, the window swept) and kept when better.
Small layers also exchange experts between two GPUs in all layers jointly (``exchange``, exact). For the
tail, which is no sum over experts, the sweeps or even loads give a start and two GPUs exchange experts over a window of
layers at a time, exactly (``best_path`` over the splits).

With a load limit a layer that breaks it is mended by exchanges, which is a heuristic; exchanges obey it exactly.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from solvers.experts.transitions import Floats, Integers, Transitions
from solvers.experts.transitions_chain import best_path, step_costs, within_load
from solvers.experts.transitions_exchange import exchange, free_experts, most_freed, splits_of, twins
from solvers.experts.transitions_start import cheapest_layer, first_assignment, within_cap
from solvers.solution import Stop
from solvers.stop import StoppingRule

STARTS = 3
SWEEPS = 12
WINDOW = 5
TAIL_WINDOW = 8
EVEN = 1.1  # max over mean of a start for the tail, which even loads favour
KICKED = 4  # one in so many experts of a layer


class LayerSearch:
    """One run: the incumbent ``best`` [layers, experts] (None: none found within the load limits) improves
    until ``stop``, asked with the layer problems solved so far, says why to end."""

    def __init__(self, problem: Transitions, stop: StoppingRule, seed: int) -> None:
        self.problem = problem
        self.solved = 0
        self.best: Integers | None = None
        self._stop = stop
        self._random = np.random.default_rng(seed)
        self._caps = problem.load_cap()

    def run(self) -> Stop:
        problem = self.problem
        why: Stop | None = None
        value = np.inf
        for turn in range(STARTS):
            even = problem.objective == "tail" and turn > 0 and problem.max_over_mean > EVEN
            start = first_assignment(replace(problem, max_over_mean=EVEN) if even else problem, self._random)
            self.solved += problem.layers
            if start is not None:
                if not even:
                    self._sweep(start, 0, problem.layers, SWEEPS)
                reached = problem.value(start)
                if reached < value:
                    value, self.best = reached, start
            if why := self._stop(self.solved):
                break
        if problem.gpus == 1 or self.best is None:
            return why or "exhausted"
        turn = 0
        while why is None:
            if problem.objective == "tail":
                self._exchange_tail(self.best)
            elif most_freed(problem.slots) == problem.slots and turn % 4 == 0:
                self._exchange_all(self.best)
            else:
                self._kick(self.best)
            turn += 1
            why = self._stop(self.solved)
        return why

    def _prices(self, placed: Integers, layer: int) -> Floats:
        """What each expert of the layer costs on each GPU, [experts, gpus]."""
        problem = self.problem
        result = np.zeros((problem.experts, problem.gpus))
        if layer:
            result += problem.counts[layer - 1].T @ problem.cost[placed[layer - 1]]
        if layer < problem.layers - 1:
            result += problem.counts[layer] @ problem.cost.T[placed[layer + 1]]
        return result

    def _improve(self, placed: Integers, layer: int, *, anyway: bool = False) -> bool:
        """Solves the layer again; keeps the answer where it is better (or ``anyway``). Tells a change."""
        self.solved += 1
        prices = self._prices(placed, layer)
        cheapest = cheapest_layer(prices, self.problem.gpus)
        found = self._mended(cheapest, layer)
        if found is None:
            return False
        row = np.arange(self.problem.experts)
        gain = float(prices[row, placed[layer]].sum() - prices[row, found].sum())
        if gain <= 1e-9 * max(1.0, float(prices.max())) and not anyway:
            return False
        changed = bool((placed[layer] != found).any())
        placed[layer] = found
        return changed

    def _mended(self, assignment: Integers, layer: int) -> Integers | None:
        """The assignment [experts] within the layer's load limit; None where that fails."""
        if not self.problem.limited:
            return assignment
        return within_cap(self.problem.loads[layer], assignment, self.problem.gpus, float(self._caps[layer]))

    def _sweep(self, placed: Integers, begin: int, end: int, rounds: int) -> None:
        """Improves the layers ``begin`` ... ``end`` - 1 in place, to and fro, until none changes."""
        for turn in range(rounds):
            layers = range(begin, end) if turn % 2 == 0 else range(end - 1, begin - 1, -1)
            changed = 0
            for layer in layers:
                changed += self._improve(placed, layer)
                if self._stop(self.solved):
                    return
            if not changed:
                return

    def _window_value(self, placed: Integers, begin: int, end: int) -> float:
        steps = range(max(begin - 1, 0), min(end, self.problem.layers - 1))
        counts, cost = self.problem.counts, self.problem.cost
        return float(sum((counts[k] * cost[placed[k]][:, placed[k + 1]]).sum() for k in steps))

    def _kick(self, best: Integers) -> None:
        problem, random = self.problem, self._random
        width = min(WINDOW, problem.layers)
        begin = int(random.integers(0, problem.layers - width + 1))
        end = begin + width
        layer = int(random.integers(begin, end))
        trial = best.copy()
        some = random.choice(problem.experts, max(2, problem.experts // KICKED), replace=False)
        trial[layer, some] = trial[layer, random.permutation(some)]
        mended = self._mended(trial[layer], layer)
        if mended is None:
            return
        trial[layer] = mended
        for away in range(1, width):
            for neighbour in (layer - away, layer + away):
                if begin <= neighbour < end:
                    self._improve(trial, neighbour, anyway=True)
        self._sweep(trial, begin, end, SWEEPS // 2)
        if self._window_value(trial, begin, end) <= self._window_value(best, begin, end):
            best[:] = trial

    def _exchange_all(self, best: Integers) -> None:
        problem = self.problem
        drawn = self._random.permutation(problem.gpus)
        pairs = drawn[: problem.gpus // 2 * 2].reshape(-1, 2).astype(np.intp)
        if not all(twins(problem.cost, g, h) for g, h in pairs):
            pairs = pairs[:1]
        free = free_experts(best, pairs, problem.slots, self._random)
        best[:] = exchange(problem, best, pairs, free)
        self.solved += problem.layers

    def _exchange_tail(self, best: Integers) -> None:
        """Splits some experts of two GPUs again in a window of layers, exactly."""
        problem, random = self.problem, self._random
        begin = int(random.integers(0, problem.layers))
        end = min(begin + TAIL_WINDOW, problem.layers)
        step = min(begin, problem.layers - 2)
        here = np.eye(problem.gpus)[best[step : step + 2]]
        priced = problem.cost * (here[0].T @ problem.counts[step] @ here[1])
        one = int(random.choice(np.array(np.unravel_index(int(priced.argmax()), priced.shape))))  # of the busiest pair
        pair = np.array([one, random.choice(np.delete(np.arange(problem.gpus), one))])
        freed = min(problem.slots, 3)
        free = free_experts(best, pair[None].astype(np.intp), freed, random)[0]
        splits = splits_of(freed) > 0
        first, last = max(begin - 1, 0), min(end + 1, problem.layers)
        candidates = []
        for layer in range(first, last):
            if begin <= layer < end:
                options = np.repeat(best[layer][None], len(splits), axis=0)
                options[:, free[layer]] = np.where(splits, pair[0], pair[1])
            else:
                options = best[layer][None]
            candidates.append(options)
        starts = [within_load(problem, first + k, options) for k, options in enumerate(candidates)]
        steps = [
            step_costs(problem, first + k, before, after, pair)
            for k, (before, after) in enumerate(pairwise(candidates))
        ]
        _, path = best_path(starts, steps)
        for k, chosen in enumerate(path):
            best[first + k] = candidates[k][chosen]
        self.solved += end - begin
