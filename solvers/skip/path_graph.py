"""All legal paths of an arrangement as walks through one graph, however many they are.

A state is what the rules ask about a path so far: how many nodes it has, its last node, its frontier (the furthest
stage), which of the stages that a swap can still reach are on it, how many swaps it has made and over what distance.
An arc appends a node. Walks of K states from a start are the paths that ``solvers.skip.paths.every_path`` lists, but
for those whose last node has no link to the first and back where ``ends`` is "first".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.skip.paths import Floats, Ints, LeastTimes, nodes_of_stages
from solvers.skip.problem import SkipProblem

MOST_ARCS = 400_000
"""Of a graph that is built."""

State = tuple[int, int, int, int, int]
"""Last node, frontier, swap targets already taken (bit d: the stage d + 1 behind the frontier), swaps, distance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathGraph:
    """``node`` [states]; states [``layer[i]``, ``layer[i + 1]``) have i + 1 nodes, those of layer 0 are the starts.
    The arcs of state s are ``to[first_arc[s]:first_arc[s + 1]]``. From every state a walk of K states can be ended.
    """

    node: Ints
    layer: Ints
    first_arc: Ints
    to: Ints

    @property
    def starts(self) -> range:
        return range(int(self.layer[1]))

    def arcs(self, step: int) -> tuple[Ints, Ints]:
        """States before and after of the arcs that leave layer ``step``."""
        low, high = self.layer[step], self.layer[step + 1]
        begins = self.first_arc[low : high + 1]
        return np.repeat(np.arange(low, high), np.diff(begins)), self.to[begins[0] : begins[-1]]


def path_graph(problem: SkipProblem, stage_of_node: Sequence[int], most_arcs: int = MOST_ARCS) -> PathGraph | None:
    """None: it has more than ``most_arcs`` arcs. Without any legal path it has no states."""
    groups = [[n for n in group if problem.memory_cap[n] > 0] for group in nodes_of_stages(problem, stage_of_node)]
    links = np.array(problem.link_seconds)
    return _graph(problem, groups, np.isfinite(links + links.T), most_arcs)


def stage_graph(problem: SkipProblem, most_arcs: int = MOST_ARCS) -> PathGraph | None:
    """The same over stages, as if each had one node (its number the stage's) and all were linked."""
    stages = problem.stages
    return _graph(problem, [[stage] for stage in range(stages)], np.ones((stages, stages), dtype=bool), most_arcs)


def _graph(
    problem: SkipProblem, groups: Sequence[Sequence[int]], linked: NDArray[np.bool_], most_arcs: int
) -> PathGraph | None:
    layers: list[dict[State, int]] = [{(n, 0, 0, 0, 0): i for i, n in enumerate(groups[0])}]
    arcs: list[list[tuple[int, int]]] = []
    total = 0
    for step in range(problem.path_length - 1):
        following: dict[State, int] = {}
        found: list[tuple[int, int]] = []
        for state, number in layers[-1].items():
            for after in _after(problem, groups, state, step + 2 == problem.path_length):
                if linked[state[0], after[0]]:
                    found.append((number, following.setdefault(after, len(following))))
            if total + len(found) > most_arcs:
                return None
        total += len(found)
        layers.append(following)
        arcs.append(found)
    if problem.path_length == 1 and problem.rules.ends == "both" and problem.stages > 1:
        layers[0] = {}
    return _completable(layers, arcs)


def _after(problem: SkipProblem, groups: Sequence[Sequence[int]], state: State, last: bool) -> Iterator[State]:
    """States with one node more, by the rules of ``SkipProblem.why_illegal``."""
    swaps = problem.rules.swaps
    _, frontier, taken, count, distance = state
    window = min(swaps.furthest, swaps.total_distance) if swaps.count else 0
    furthest = problem.stages - 1
    if swaps.forward_jump is not None:
        furthest = min(furthest, frontier + swaps.forward_jump)
    ends_last = last and problem.rules.ends == "both"
    for stage in range(frontier + 1, furthest + 1):
        if ends_last and stage != problem.stages - 1:
            continue
        jump = stage - frontier
        behind = ((taken << jump) | (1 << (jump - 1))) & ((1 << window) - 1)
        for node in groups[stage]:
            yield node, stage, behind, count, distance
    if count == swaps.count or ends_last:
        return
    for back in range(1, min(window, frontier - 1, swaps.total_distance - distance) + 1):
        bit = 1 << (back - 1)
        if not taken & bit:
            for node in groups[frontier - back]:
                yield node, frontier, taken | bit, count + 1, distance + back


def _completable(layers: list[dict[State, int]], arcs: list[list[tuple[int, int]]]) -> PathGraph:
    """Only the states from which all K nodes can be had, numbered layer after layer."""
    kept = [np.ones(len(layers[-1]), dtype=bool)]
    for layer, found in zip(reversed(layers[:-1]), reversed(arcs), strict=True):
        useful = np.zeros(len(layer), dtype=bool)
        for before, after in found:
            useful[before] |= kept[0][after]
        kept.insert(0, useful)
    sizes = [int(one.sum()) for one in kept]
    layer_ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    number = [low + np.cumsum(one) - 1 for low, one in zip(layer_ends, kept, strict=False)]
    node = np.array([s[0] for layer, one in zip(layers, kept, strict=True) for s, i in layer.items() if one[i]])
    rows = [
        (number[step][before], number[step + 1][after])
        for step, found in enumerate(arcs)
        for before, after in found
        if kept[step][before] and kept[step + 1][after]
    ]
    table = np.array(rows, dtype=np.int64).reshape(len(rows), 2)
    table = table[np.argsort(table[:, 0], kind="stable")]
    counts = np.bincount(table[:, 0], minlength=len(node))
    first_arc = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return PathGraph(node=node.astype(np.int64), layer=layer_ends, first_arc=first_arc, to=table[:, 1].copy())


def closing(problem: SkipProblem, first: int) -> Floats:
    """[nodes]: seconds from the end of F on the last node of a path from ``first`` to the start of B there."""
    if problem.rules.ends == "both":
        return np.zeros(problem.nodes)
    links = np.array(problem.link_seconds)
    seconds: Floats = links[:, first] + problem.loss[first] + links[first, :]
    return seconds


def least_times(problem: SkipProblem, graph: PathGraph) -> LeastTimes:
    """Over all paths of the graph."""
    links = np.array(problem.link_seconds)
    forward, backward = np.array(problem.forward_seconds), np.array(problem.backward_seconds)
    states, length, node = len(graph.node), problem.path_length, graph.node
    least = LeastTimes.none(problem.nodes)
    steps = [graph.arcs(step) for step in range(length - 1)]
    for start in graph.starts:
        stay, head, tail = (np.full(states, np.inf) for _ in range(3))
        last = node[graph.layer[-2] :]
        stay[graph.layer[-2] :] = (forward + backward + closing(problem, int(node[start])))[last]
        for before, after in reversed(steps):
            here, there = node[before], node[after]
            through = forward[here] + links[here, there] + stay[after] + links[there, here] + backward[here]
            np.minimum.at(stay, before, through)
        if not np.isfinite(stay[start]):
            continue
        head[start] = tail[start] = 0.0
        for before, after in steps:
            here, there = node[before], node[after]
            np.minimum.at(head, after, head[before] + forward[here] + links[here, there])
            np.minimum.at(tail, after, tail[before] + backward[here] + links[there, here])
        whole = np.isfinite(stay) & np.isfinite(head)
        least.take(node[whole], head[whole], stay[whole], tail[whole])
    return least


def least_walk(graph: PathGraph, cost: Floats) -> list[int]:
    """The nodes of a path of least sum of ``cost`` [nodes]."""
    steps = len(graph.layer) - 1
    value = np.full(len(graph.node), np.inf)
    value[graph.layer[-2] :] = cost[graph.node[graph.layer[-2] :]]
    for step in range(steps - 2, -1, -1):
        before, after = graph.arcs(step)
        np.minimum.at(value, before, value[after] + cost[graph.node[before]])
    state = int(np.argmin(value[: graph.layer[1]]))
    walk = [state]
    for _ in range(steps - 1):
        ahead = graph.to[graph.first_arc[state] : graph.first_arc[state + 1]]
        state = int(ahead[np.argmin(value[ahead])])
        walk.append(state)
    return [int(graph.node[s]) for s in walk]
