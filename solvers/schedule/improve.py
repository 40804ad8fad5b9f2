"""Better schedules from a good one: scheduled again backwards in time, then forwards.

The ends of a schedule's operations, the last first, rank those of the reversed graph; scheduled by these,
everything moves to the end as far as it can; the starts of that rank the operations of the graph itself,
and everything moves back. No gap that both passes could close stays (Li and Willis 1992, Tormos and Lova 2001, for
projects with limited resources). Some noise on the ranks, of lanes and of single operations, leads
elsewhere when nothing more is gained.
"""

from collections.abc import Iterator

import numpy as np

from solvers.schedule.dispatch import Rules, dispatch
from solvers.schedule.graph import Floats, OperationGraph, Orders
from solvers.schedule.problem import Objective
from solvers.schedule.schedule import Schedule, timed

NOISE = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Of a mean operation's length, standard deviation; a choice at random each time."""

PATIENCE = (0.0, 0.5, 1.0, 3.0)


def improved(graph: OperationGraph, schedule: Schedule, objective: Objective, seed: int) -> Iterator[Schedule]:
    """Schedules within the caps without end, each made from the best of those before or an equal one."""
    generator = np.random.default_rng(seed)
    backwards = graph.reversed()
    length = float(np.mean([lane.seconds for lane in graph.lanes if lane.device >= 0]))
    current, noise, patience = schedule, 0.0, 0.0
    while True:
        for found in _there_and_back(graph, backwards, current, generator, noise * length, patience):
            candidate = timed(graph, found, objective)
            yield candidate
            if candidate.value(objective) <= current.value(objective) or generator.random() < 0.02:
                current = candidate
        noise, patience = float(generator.choice(NOISE)), float(generator.choice(PATIENCE))


def _there_and_back(
    graph: OperationGraph,
    backwards: OperationGraph,
    schedule: Schedule,
    generator: np.random.Generator,
    noise: float,
    patience: float,
) -> Iterator[Orders]:
    m, lanes = graph.microbatches, len(graph.lanes)

    def ranked(times: Floats) -> list[float]:
        if noise:
            times = times + generator.normal(0.0, noise, (lanes, 1)) + generator.normal(0.0, noise / 2, (lanes, m))
        return list(np.sort(times, axis=1).ravel().tolist())

    ends = (schedule.start + graph.seconds).reshape(lanes, m)
    waits = [patience] * lanes
    reverse = dispatch(backwards, Rules(keys=ranked((ends.max() - ends)[:, ::-1]), patience=waits))
    orders = tuple(tuple(m - 1 - 2 * (one % m) + one for one in reversed(row)) for row in reverse)
    yield orders
    starts = timed(graph, orders).start.reshape(lanes, m)
    yield dispatch(graph, Rules(keys=ranked(starts), patience=waits))
