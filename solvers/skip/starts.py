"""First sets of paths and first arrangements."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from solvers.skip.arrays import keeps_rules
from solvers.skip.path_graph import least_walk, stage_graph
from solvers.skip.path_program import node_visits
from solvers.skip.paths import Ints, nodes_of_stages, stage_sequences
from solvers.skip.problem import SkipProblem

MOST_SEQUENCES = 20_000
"""Listed; where there are more, they are drawn one by one."""
DRAWS = 20
"""Of each micro-batch of a wave, at most."""
NOISE = 0.01
"""Of the micro-batches that a stage serves: decides among stages that serve as many."""
TRIES = 20


def random_arrangement(problem: SkipProblem, rng: np.random.Generator) -> Ints:
    """[nodes] stages, any that ``group_sizes`` allows."""
    return rng.permutation(np.repeat(np.arange(problem.stages, dtype=np.int64), problem.group_sizes))


def balanced_paths(problem: SkipProblem, stage_of_node: Sequence[int], rng: np.random.Generator) -> Ints | None:
    """[micro-batches, K] random paths that keep the rules; None where none are found."""
    for attempt in range(TRIES):
        stages = _by_quota(problem, rng) if attempt < TRIES - 1 else _by_programme(problem, rng)
        if stages is None:
            continue
        paths = _on_nodes(problem, stage_of_node, stages, rng)
        if paths is not None and keeps_rules(problem, np.asarray(stage_of_node, dtype=np.int64), paths):
            return paths
    return None


def _by_quota(problem: SkipProblem, rng: np.random.Generator) -> Ints | None:
    """Stages of each micro-batch: those with most left to serve, in increasing order."""
    free = np.array([s for s in range(problem.stages) if s not in problem.forced_stages], dtype=np.int64)
    wanted = problem.path_length - len(problem.forced_stages)
    rows = []
    for _ in range(problem.waves):
        left = np.zeros(len(free))
        for _ in range(problem.wave_size):
            taken = np.lexsort((rng.random(len(free)), left))[:wanted]
            left[taken] += 1
            rows.append(np.sort(np.concatenate([list(problem.forced_stages), free[taken]])))
    if any(problem.why_illegal([int(stage) for stage in row]) for row in rows):
        return None
    return np.array(rows, dtype=np.int64)


def _by_programme(problem: SkipProblem, rng: np.random.Generator) -> Ints | None:
    """Stage sequences of one wave by an integer programme of random costs."""
    sequences = _listed(problem)
    if sequences is None:
        return _drawn(problem, rng)
    if not len(sequences):
        return None
    serves = np.zeros((problem.stages, len(sequences)))
    for column in sequences.T:
        serves[column, np.arange(len(sequences))] = 1
    loads = np.array([problem.stage_load(s) for s in range(problem.stages)])
    found = milp(
        rng.random(len(sequences)),
        constraints=[
            LinearConstraint(serves, loads[:, 0], loads[:, 1]),
            LinearConstraint(np.ones((1, len(sequences))), problem.wave_size, problem.wave_size),
        ],
        integrality=np.ones(len(sequences)),
        bounds=Bounds(0, np.inf),
        options={"time_limit": 2.0},
    )
    if found.x is None:
        return None
    wave = np.repeat(sequences, np.round(found.x).astype(int), axis=0)
    return np.concatenate([rng.permutation(wave) for _ in range(problem.waves)])


@lru_cache(maxsize=4)
def _listed(problem: SkipProblem) -> Ints | None:
    """Every sequence of stages; None: more than ``MOST_SEQUENCES``."""
    found = list(islice(stage_sequences(problem), MOST_SEQUENCES + 1))
    return None if len(found) > MOST_SEQUENCES else np.array(found, dtype=np.int64)


def _drawn(problem: SkipProblem, rng: np.random.Generator) -> Ints | None:
    """Stage sequences of one wave, each through the stages that the others serve least, drawn again one by one until
    the loads are kept: every draw minimises the sum of squares of the loads over one sequence. None: they are not."""
    graph = stage_graph(problem)
    if graph is None or not len(graph.node):
        return None
    loads = np.array([problem.stage_load(s) for s in range(problem.stages)])
    served, rows = np.zeros(problem.stages), list[list[int]]()
    for _ in range(DRAWS * problem.wave_size):
        if len(rows) == problem.wave_size:
            if (served >= loads[:, 0]).all() and (served <= loads[:, 1]).all():
                break
            served[rows.pop(0)] -= 1
        rows.append(least_walk(graph, served + NOISE * rng.random(problem.stages)))
        served[rows[-1]] += 1
    wave = np.array(rows, dtype=np.int64)
    return np.concatenate([rng.permutation(wave) for _ in range(problem.waves)])


def _on_nodes(
    problem: SkipProblem, stage_of_node: Sequence[int], stages: Ints, rng: np.random.Generator
) -> Ints | None:
    """A copy for every stage of every path: the one with most room left in its wave."""
    _, most = node_visits(problem, stage_of_node)
    groups = nodes_of_stages(problem, stage_of_node)
    paths = np.zeros_like(stages)
    size = problem.wave_size
    for wave in range(problem.waves):
        left = most / problem.waves
        spread = np.zeros(problem.nodes)
        for k in range(wave * size, (wave + 1) * size):
            for i, stage in enumerate(stages[k]):
                open_nodes = [n for n in groups[stage] if left[n] > 0 and problem.memory_cap[n] > 0]
                if not open_nodes:
                    return None
                node = min(open_nodes, key=lambda n: (spread[n], rng.random()))
                paths[k, i] = node
                left[node] -= 1
                spread[node] += 1
    return paths
