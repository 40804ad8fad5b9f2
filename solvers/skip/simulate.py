"""Executions of given paths: first in, first out, or any weights of the decoder."""

from collections.abc import Sequence

import numpy as np

from solvers.skip.arrays import machine_of
from solvers.skip.decoder import STUCK, Floats, Ints, decode
from solvers.skip.problem import Kind, Path, SkipProblem
from solvers.skip.schedule import Order, SkipSchedule, timed

FIRST_IN_FIRST_OUT = np.array([1.0, 0.0, 0.0])


def first_in_first_out(
    problem: SkipProblem, stage_of_node: Sequence[int], paths: Sequence[Path]
) -> SkipSchedule | None:
    """What a runtime without a planned order does: a free node runs what arrived first (of ties, the lower
    micro-batch), forward passes only while its memory allows. None: nodes wait for each other for ever."""
    taken = np.array(paths, dtype=np.int64)
    start = np.zeros((len(taken), problem.operations_per_microbatch))
    zeros = np.zeros(len(taken))
    makespan = decode(*machine_of(problem), taken, FIRST_IN_FIRST_OUT, zeros, start.copy(), start, zeros.copy())
    if makespan >= STUCK:
        return None
    return schedule_of_starts(problem, stage_of_node, taken, start)


def schedule_of_starts(
    problem: SkipProblem, stage_of_node: Sequence[int] | Ints, paths: Ints, start: Floats
) -> SkipSchedule:
    """The schedule in the order of the starts [micro-batches, operations], each operation as early as it can."""
    rows: list[list[tuple[float, float, int, int, Kind]]] = [[] for _ in range(problem.nodes)]
    tuples = [tuple(map(int, path)) for path in paths]
    for k, path in enumerate(tuples):
        for j, (kind, node) in enumerate(problem.sequence(path)):
            begin = float(start[k, j])
            rows[node].append((begin, begin + problem.seconds(kind, node), j, k, kind))
    orders: list[Order] = [tuple((kind, k) for _, _, _, k, kind in sorted(row)) for row in rows]
    return timed(problem, [int(stage) for stage in stage_of_node], tuples, orders)
