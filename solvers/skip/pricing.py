"""The path of least reduced cost among all walks of a path graph, without listing them.

Prices charge a path n_1 ... n_K ``fixed``_n for each node n, and ``rate``_n for each second of its stay there (from
its F to its B on n, path_program.py). With D_i = ``base`` + rate_n_1 + ... + rate_n_i, what the first i nodes pay for
a second that the way beyond them takes, the cost of a path is

    sum_i fixed_n_i + D_i (F + B)_n_i + D_i (links there and back)_i,i+1 + D_K closing.

So the rest of a path from a state costs a + D b, linear in what came before (D), and of all rests only those on the
lower hull of the points (b, a) can be the cheapest. ``suffixes`` finds these hulls from the last layer to the first.
A hull of more than ``MOST_LABELS`` points is thinned: two neighbours become a point no dearer than either, so that the
least cost found stays a bound.
"""

from dataclasses import dataclass

import numpy as np

from solvers.compiled import compiled
from solvers.skip.path_graph import PathGraph, closing
from solvers.skip.paths import Floats, Ints
from solvers.skip.problem import SkipProblem

MOST_LABELS = 32
MOST_PATHS = 200
"""Paths returned at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prices:
    """``fixed`` and ``rate`` [nodes] and ``base`` of the module's cost; rate and base are not negative."""

    fixed: Floats
    rate: Floats
    base: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Priced:
    """``least``: no legal path costs less (inf: there is none). ``paths`` [paths, K]: the cheapest through each of many
    states, without repetition, those that seem cheapest first."""

    least: float
    paths: Ints


def _thin(a: Floats, b: Floats, chosen: Ints, count: int, most: int) -> int:
    """Merges neighbours, from the first, until ``most`` are left, or once each: (least a, least b), the rest of the
    cheaper a."""
    excess = count - most
    kept = 0
    i = 0
    while i < count:
        if excess > 0 and i + 1 < count:
            a[kept], b[kept], chosen[kept] = a[i + 1], b[i], chosen[i + 1]
            excess -= 1
            i += 2
        else:
            a[kept], b[kept], chosen[kept] = a[i], b[i], chosen[i]
            i += 1
        kept += 1
    return kept


thin = compiled(_thin)


def _lower_hull(a: Floats, b: Floats, count: int, chosen: Ints) -> int:
    """Of points (b, a), the first ``count``, those of least a + D b for some D >= 0, by growing b: their numbers."""
    order = np.argsort(b[:count], kind="mergesort")
    kept = 0
    for place in range(count):
        p = order[place]
        if kept and b[chosen[kept - 1]] == b[p]:
            if a[p] >= a[chosen[kept - 1]]:
                continue
            kept -= 1
        if kept and a[p] >= a[chosen[kept - 1]]:
            continue
        while kept > 1:
            x, y = chosen[kept - 2], chosen[kept - 1]
            # y lies on or above the line from x to p
            if (a[x] - a[y]) * (b[p] - b[x]) > (a[x] - a[p]) * (b[y] - b[x]):
                break
            kept -= 1
        chosen[kept] = p
        kept += 1
    return kept


lower_hull = compiled(_lower_hull)


def _suffixes(
    node: Ints,
    first_arc: Ints,
    to: Ints,
    first_final: int,
    busy: Floats,
    between: Floats,
    at_end: Floats,
    fixed: Floats,
    rate: Floats,
    count: Ints,
    a: Floats,
    b: Floats,
    onward: Ints,
) -> None:
    """Fills the hulls of all states: ``count`` [states]; ``a``, ``b`` and ``onward`` [states, labels], the latter the
    state that the rest goes to and its label, as one number: state * labels + label.

    ``busy`` [nodes] F + B, ``between`` [nodes, nodes] links there and back, ``at_end`` [nodes] closing seconds.
    """
    states, most = a.shape
    widest = 1
    for s in range(states):
        widest = max(widest, first_arc[s + 1] - first_arc[s])
    some_a, some_b = np.empty(widest * most), np.empty(widest * most)
    ways, chosen = np.empty(widest * most, np.int64), np.empty(widest * most, np.int64)
    for s in range(states - 1, -1, -1):
        count[s] = 0
        if s >= first_final:
            if np.isfinite(at_end[node[s]]):
                a[s, 0], b[s, 0], onward[s, 0], count[s] = 0.0, at_end[node[s]], -1, 1
            continue
        found = 0
        for arc in range(first_arc[s], first_arc[s + 1]):
            t = to[arc]
            n = node[t]
            for label in range(count[t]):
                some_a[found] = fixed[n] + a[t, label] + rate[n] * (busy[n] + b[t, label])
                some_b[found] = between[node[s], n] + busy[n] + b[t, label]
                ways[found] = t * most + label
                found += 1
        kept = lower_hull(some_a, some_b, found, chosen)
        hull_a, hull_b, hull_ways = some_a[chosen[:kept]], some_b[chosen[:kept]], ways[chosen[:kept]]
        while kept > most:
            kept = thin(hull_a, hull_b, hull_ways, kept, most)
        for label in range(kept):
            a[s, label], b[s, label], onward[s, label] = hull_a[label], hull_b[label], hull_ways[label]
        count[s] = kept


suffixes = compiled(_suffixes)


def _through(
    start: int,
    node: Ints,
    first_arc: Ints,
    to: Ints,
    busy: Floats,
    between: Floats,
    fixed: Floats,
    rate: Floats,
    base: float,
    count: Ints,
    a: Floats,
    b: Floats,
    cost: Floats,
    before: Ints,
    rest: Ints,
) -> None:
    """Fills [states]: ``cost`` of a cheap path from ``start`` through each (inf: none; ``start``'s own is the least of
    all), the state ``before`` it there, and the label of the ``rest``."""
    states = node.shape[0]
    so_far, paid = np.empty(states), np.empty(states)
    cost[:] = np.inf
    n = node[start]
    paid[start] = base + rate[n]
    so_far[start] = fixed[n] + paid[start] * busy[n]
    for label in range(count[start]):
        value = so_far[start] + a[start, label] + paid[start] * b[start, label]
        if value < cost[start]:
            cost[start], rest[start] = value, label
    before[start] = -1
    for s in range(start, states):
        if cost[s] == np.inf:
            continue
        for arc in range(first_arc[s], first_arc[s + 1]):
            t = to[arc]
            n = node[t]
            rates = paid[s] + rate[n]
            value = so_far[s] + paid[s] * between[node[s], n] + rates * busy[n] + fixed[n]
            for label in range(count[t]):
                whole = value + a[t, label] + rates * b[t, label]
                if whole < cost[t]:
                    cost[t], rest[t], before[t] = whole, label, s
                    so_far[t], paid[t] = value, rates


through = compiled(_through)


class Pricing:
    """Prices the paths of one graph again and again."""

    def __init__(self, problem: SkipProblem, graph: PathGraph) -> None:
        self.graph = graph
        links = np.array(problem.link_seconds)
        self.between = links + links.T
        self.busy = np.add(problem.forward_seconds, problem.backward_seconds)
        states = len(graph.node)
        self.count = np.zeros(states, np.int64)
        self.a, self.b = np.zeros((states, MOST_LABELS)), np.zeros((states, MOST_LABELS))
        self.onward = np.zeros((states, MOST_LABELS), np.int64)
        self.cost, self.before, self.rest = np.zeros(states), np.zeros(states, np.int64), np.zeros(states, np.int64)
        self.first_only = problem.rules.ends == "first"
        self.at_end = {s: closing(problem, int(graph.node[s])) for s in graph.starts}

    def cheapest(self, prices: Prices) -> Priced:
        """At most ``MOST_PATHS`` of each start."""
        graph, least, rows = self.graph, np.inf, list[tuple[int, ...]]()
        lists = (graph.node, graph.first_arc, graph.to)
        for start in graph.starts:
            if self.first_only or start == 0:
                suffixes(
                    *lists,
                    graph.layer[-2],
                    self.busy,
                    self.between,
                    self.at_end[start],
                    prices.fixed,
                    prices.rate,
                    self.count,
                    self.a,
                    self.b,
                    self.onward,
                )
            labels = (self.count, self.a, self.b, self.cost, self.before, self.rest)
            through(start, *lists, self.busy, self.between, prices.fixed, prices.rate, prices.base, *labels)
            least = min(least, float(self.cost[start]))
            rows += self._paths()
        paths = np.array(list(dict.fromkeys(rows)), dtype=np.int64).reshape(-1, len(graph.layer) - 1)
        return Priced(least=least, paths=paths)

    def _paths(self) -> list[tuple[int, ...]]:
        """Walks of what ``through`` left behind, the cheapest first."""
        node, found = self.graph.node, dict[tuple[int, ...], None]()
        for state in np.argsort(self.cost, kind="stable"):
            if np.isinf(self.cost[state]) or len(found) >= MOST_PATHS:
                break
            walk, s = list[int](), int(state)
            while s >= 0:
                walk.insert(0, int(node[s]))
                s = int(self.before[s])
            way = int(self.onward[state, self.rest[state]])
            while way >= 0:
                s, label = divmod(way, MOST_LABELS)
                walk.append(int(node[s]))
                way = int(self.onward[s, label])
            found.setdefault(tuple(walk))
        return list(found)
