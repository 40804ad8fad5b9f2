"""A problem as the compiled search reads it."""

from typing import NamedTuple

import numpy as np

from solvers.skip.decoder import STUCK, Floats, Ints
from solvers.skip.kernels import allowed
from solvers.skip.problem import SkipProblem


class Machine(NamedTuple):
    """What the decoder needs: seconds [3, nodes] by kind, links and caps."""

    seconds: Floats
    link: Floats
    cap: Ints
    loss: int
    serial: int


class Limits(NamedTuple):
    """What sets of paths and arrangements must keep."""

    forced_last: int
    swaps: Ints
    stage_load: Ints
    visit_load: Ints
    start_load: Ints
    waves: int
    copy_factor: float
    copy_limit: float


def machine_of(problem: SkipProblem) -> Machine:
    link = np.minimum(np.array(problem.link_seconds, dtype=float), STUCK)
    first = problem.rules.ends == "first"
    seconds = np.array([problem.forward_seconds, problem.loss, problem.backward_seconds], dtype=float)
    cap = np.array(problem.memory_cap, dtype=np.int64)
    return Machine(seconds, link, cap, int(first), int(problem.rules.serial_links))


def limits_of(problem: SkipProblem) -> Limits:
    rules, swaps = problem.rules, problem.rules.swaps
    jump = problem.stages if swaps.forward_jump is None else swaps.forward_jump
    visits = problem.memory_cap if rules.visits_per_wave else (problem.wave_size,) * problem.nodes
    return Limits(
        forced_last=problem.stages - 1 if rules.ends == "both" else 0,
        swaps=np.array([swaps.count, swaps.furthest, swaps.total_distance, jump], dtype=np.int64),
        stage_load=np.array([problem.stage_load(s) for s in range(problem.stages)], dtype=np.int64),
        visit_load=np.array(visits, dtype=np.int64),
        start_load=np.array(problem.start_load(), dtype=np.int64),
        waves=problem.waves,
        copy_factor=float(problem.copy_link_factor),
        copy_limit=min(float(problem.copy_link_limit_seconds), STUCK),
    )


def keeps_rules(problem: SkipProblem, stage_of_node: Ints, paths: Ints) -> bool:
    """Whether the paths keep the rules of the problem in this arrangement (memory in flight apart)."""
    limits, machine = limits_of(problem), machine_of(problem)
    return bool(allowed(paths, stage_of_node, machine.link, *limits[:6]))
