"""The paths that a problem's rules allow, and what a micro-batch needs on one by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
from numpy.typing import NDArray

from solvers.skip.problem import SkipProblem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def stage_sequences(problem: SkipProblem) -> Iterator[tuple[int, ...]]:
    """Every sequence of stages that a path may take, in lexicographic order."""
    swaps, length, last = problem.rules.swaps, problem.path_length, problem.stages - 1
    both = problem.rules.ends == "both"

    def further(taken: tuple[int, ...], frontier: int, count: int, distance: int) -> Iterator[tuple[int, ...]]:
        if len(taken) == length:
            if not both or taken[-1] == last:
                yield taken
            return
        for stage in range(max(1, frontier - swaps.furthest), problem.stages):
            if stage in taken:
                continue
            if stage > frontier:
                # ahead there must be room for the steps left, but for those that swaps can make up
                room = last - stage + swaps.count - count
                jump = swaps.forward_jump is None or stage - frontier <= swaps.forward_jump
                if jump and room >= length - len(taken) - 1:
                    yield from further((*taken, stage), stage, count, distance)
            elif count < swaps.count and distance + frontier - stage <= swaps.total_distance:
                yield from further((*taken, stage), frontier, count + 1, distance + frontier - stage)

    yield from further((0,), 0, 0, 0)


def nodes_of_stages(problem: SkipProblem, stage_of_node: Sequence[int]) -> list[list[int]]:
    return [[n for n in range(problem.nodes) if stage_of_node[n] == s] for s in range(problem.stages)]


def every_path(problem: SkipProblem, stage_of_node: Sequence[int], most: int) -> Ints | None:
    """[paths, K] nodes of every legal path over finite links and nodes with memory; None: more than ``most``."""
    groups = [[n for n in group if problem.memory_cap[n] > 0] for group in nodes_of_stages(problem, stage_of_node)]
    found = (path for stages in stage_sequences(problem) for path in product(*(groups[s] for s in stages)))
    rows = list(islice(found, most + 1))
    if len(rows) > most:
        return None
    paths = np.array(rows, dtype=np.int64).reshape(len(rows), problem.path_length)
    return paths[np.isfinite(times_alone(problem, paths).trip)] if len(rows) else paths


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimesAlone:
    """Seconds of micro-batches alone on [paths, K] nodes: ``head`` before the start of F on the i-th node, ``stay``
    from that to the end of B there, ``tail`` after it; ``trip`` [paths] all of it."""

    head: Floats
    stay: Floats
    tail: Floats
    trip: Floats


def times_alone(problem: SkipProblem, paths: Ints) -> TimesAlone:
    links = np.array(problem.link_seconds)
    forward, backward = np.array(problem.forward_seconds), np.array(problem.backward_seconds)
    head, stay, tail = (np.zeros(paths.shape) for _ in range(3))
    last = paths[:, -1]
    stay[:, -1] = forward[last] + backward[last]
    if problem.rules.ends == "first":
        first = paths[:, 0]
        stay[:, -1] += links[last, first] + np.array(problem.loss)[first] + links[first, last]
    for i in range(paths.shape[1] - 2, -1, -1):
        here, there = paths[:, i], paths[:, i + 1]
        stay[:, i] = forward[here] + links[here, there] + stay[:, i + 1] + links[there, here] + backward[here]
    for i in range(1, paths.shape[1]):
        before, here = paths[:, i - 1], paths[:, i]
        head[:, i] = head[:, i - 1] + forward[before] + links[before, here]
        tail[:, i] = tail[:, i - 1] + backward[before] + links[here, before]
    return TimesAlone(head=head, stay=stay, tail=tail, trip=stay[:, 0].copy())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeastTimes:
    """``head``, ``stay`` and ``tail`` [nodes] of ``TimesAlone``, the least of any path through each node; inf: none."""

    head: Floats
    stay: Floats
    tail: Floats

    @staticmethod
    def none(nodes: int) -> "LeastTimes":
        return LeastTimes(head=np.full(nodes, np.inf), stay=np.full(nodes, np.inf), tail=np.full(nodes, np.inf))

    def take(self, nodes: Ints, head: Floats, stay: Floats, tail: Floats) -> None:
        """Takes in paths through ``nodes`` (any shape, as the seconds)."""
        for mine, seconds in ((self.head, head), (self.stay, stay), (self.tail, tail)):
            np.minimum.at(mine, nodes.ravel(), seconds.ravel())


def least_times_of(nodes: int, paths: Ints, times: TimesAlone) -> LeastTimes:
    """Over the given paths."""
    least = LeastTimes.none(nodes)
    least.take(paths, times.head, times.stay, times.tail)
    return least
