"""Fewest copies of a token: enumeration of small layers, exchanges of two experts beyond.

Let c[u, g] be the experts (and the home) of route u on GPU g. Moving e from g to h alone changes D(u) of its
routes by [c[u, h] = 0] - [c[u, g] = 1], and exchanging e and f by the sum of both moves, except for routes with
both, which an exchange leaves as they are. With

    A[e, h] = sum over u with e of w_u ([c[u, h] = 0] - [c[u, g_e] = 1]),
    P[e, f] = sum over u with e and f of w_u [c[u, g_e] = 1],

an exchange changes the distinct GPUs by A[e, g_f] + A[f, g_e] + P[e, f] + P[f, e]: all exchanges are priced
from two tables, which only the routes of e and f change. Nodes in the same way, where e and f differ in node.
The best exchange is made until none gains (the descent); then some experts are exchanged at random and the
descent repeated, and kept when better.
"""

import time

import numpy as np

from solvers.experts.traffic import Floats, Integers, Traffic
from solvers.experts.traffic_bounds import traffic_lower_bound
from solvers.experts.transitions_exact import all_assignments, representatives, state_counts
from solvers.solution import Solution, Status, Stop
from solvers.stop import MaxEvaluations, StoppingRule

ENUMERATED = 5_000_000  # routes times classes of assignments
STATES = 100_000  # assignments listed at most
EXCHANGES_BY_DEFAULT = 40  # for each expert
KICKED = 0.1
OPTIMAL = 1e-9


def place_for_traffic(
    problem: Traffic, *, stop: StoppingRule | None = None, seed: int = 0, start: Integers | None = None
) -> Solution[Integers]:
    """``gpu_of_expert`` [experts] with the fewest copies found, and a bound.

    Exact where routes times assignments (one of each class of like GPUs) stay within ``ENUMERATED``. ``stop`` is
    asked with the exchanges made; by default 40 for each expert. ``start``: begin there, not with experts in a row.
    """
    began = time.perf_counter()
    per_node = problem.gpus_per_node if problem.home is None else 0
    states, classes = state_counts(problem.experts, problem.gpus, per_node)
    exact = states <= STATES and classes * (len(problem.routes) + 1000) <= ENUMERATED  # an evaluation has its own cost
    counts: dict[str, int] = {}
    why: Stop = "exhausted"
    if exact:
        choice = _enumerate(problem, per_node)
        value = bound = problem.value(choice)
    else:
        search = _Exchanges(problem, stop or MaxEvaluations(EXCHANGES_BY_DEFAULT * problem.experts), seed, start)
        why = search.run()
        choice, counts = search.best, {"exchanges": search.made}
        value, bound = problem.value(choice), max(0.0, traffic_lower_bound(problem))
    status: Status = "optimal" if value <= bound + OPTIMAL * abs(bound) else "feasible"
    return Solution(
        value=value,
        lower_bound=min(bound, value) if status == "optimal" else bound,
        status=status,
        stop=why,
        choice=choice,
        seconds=time.perf_counter() - began,
        seed=None if exact else seed,
        counts=counts,
    )


def _enumerate(problem: Traffic, per_node: int) -> Integers:
    options = np.unique(
        representatives(all_assignments(problem.experts, problem.gpus), problem.gpus, per_node)[0], axis=0
    )
    return np.asarray(min(options, key=problem.value))


class _Exchanges:
    """One run; ``best`` [experts] and ``made``, the exchanges so far."""

    def __init__(self, problem: Traffic, stop: StoppingRule, seed: int, start: Integers | None) -> None:
        self.problem = problem
        self.made = 0
        self._stop = stop
        self._random = np.random.default_rng(seed)
        in_a_row = np.arange(problem.experts) // problem.slots
        self.best: Integers = (in_a_row if start is None else start).astype(np.intp)
        member = np.argsort(problem.routes.ravel(), kind="stable") // problem.routes.shape[1]
        ends = np.cumsum(np.bincount(problem.routes.ravel(), minlength=problem.experts))[:-1]
        self._routes_of = np.split(member, ends)

    def run(self) -> Stop:
        value = np.inf
        placed = self.best.copy()
        if self.problem.gpus == 1:
            return "exhausted"
        while True:
            why = self._descend(placed)
            reached = self.problem.value(placed)
            if reached < value:
                value, self.best = reached, placed.copy()
            if why:
                return why
            placed = self.best.copy()
            some = self._random.choice(len(placed), max(2, int(KICKED * len(placed))), replace=False)
            placed[some] = placed[np.roll(some, 1)]

    def _descend(self, placed: Integers) -> Stop | None:
        """The best exchange again and again, in place; None when none gains."""
        problem = self.problem
        everything = np.arange(len(problem.routes))
        gain = self._tables(placed, everything)
        while True:
            self.made += 1
            if why := self._stop(self.made):
                return why
            change = self._changes(placed, *gain)
            e, f = np.unravel_index(int(change.argmin()), change.shape)
            if change[e, f] >= -1e-9 * float(problem.tokens.sum()):
                return None
            touched = np.union1d(self._routes_of[e], self._routes_of[f])
            before = self._tables(placed, touched)
            placed[[e, f]] = placed[[f, e]]
            after = self._tables(placed, touched)
            gain = tuple(old - gone + new for old, gone, new in zip(gain, before, after, strict=True))

    def _changes(self, placed: Integers, *tables: Floats) -> Floats:
        """What exchanging e and f adds to the weighted sum, [experts, experts]."""
        problem = self.problem
        result = np.zeros((problem.experts, problem.experts))
        levels = ((placed, problem.weights[0]), (placed // problem.gpus_per_node, problem.weights[1]))
        for k, (place, weight) in enumerate(levels):
            moved = tables[2 * k][:, place] + tables[2 * k + 1]
            result += weight * np.where(place[:, None] != place, moved + moved.T, 0.0)
        return result

    def _tables(self, placed: Integers, routes: Integers) -> tuple[Floats, ...]:
        """A and P of the GPUs, then of the nodes, from some of the routes."""
        problem = self.problem
        experts = problem.routes[routes]
        homes = None if problem.home is None else problem.home[routes]
        weight = problem.tokens[routes]
        result: list[Floats] = []
        for places, per_place in ((problem.gpus, 1), (problem.nodes, problem.gpus_per_node)):
            where = placed[experts] // per_place
            held = np.zeros((len(routes), places))
            row = np.arange(len(routes))
            for column in where.T:
                held[row, column] += 1
            if homes is not None:
                held[row, homes // per_place] += 1
            alone = np.take_along_axis(held, where, axis=1) == 1
            absent = (held == 0) * weight[:, None]
            single = alone * weight[:, None]
            moves = np.zeros((problem.experts, places))
            shared = np.zeros((problem.experts, problem.experts))
            for i, mine in enumerate(experts.T):
                np.add.at(moves, mine, absent - single[:, i, None])
                for j, other in enumerate(experts.T):
                    if i != j:
                        np.add.at(shared, (mine, other), single[:, i])
            result += [moves, shared]
        return tuple(result)
