"""Paths by an integer programme over columns, and its linear relaxation as a bound over all paths.

Columns are the legal paths p of an arrangement, listed (paths.py) or generated (generation.py); x_p is how many
micro-batches take it, T the makespan. Minimise T + ``trip_weight`` * sum_p x_p trip_p subject to, for stages s and
nodes n,

1. sum_p x_p = M;
2. the loads of stages, the starts of the nodes of stage 0 and the visits of other nodes, as the problem's rules say;
3. work:      sum_p x_p work_pn + idle_n + head_n + tail_n <= T;
4. in flight: sum_p x_p stay_pn <= cap_n (T - head_n - tail_n): a node holds at most cap_n micro-batches, each at
   least for the time it needs alone from its F to its B there.

head_n and tail_n, the least of any path through n, hold where n must serve a micro-batch, else they are 0. idle_n:
between the first F of n and its first B it can do no more than the F and L of cap_n micro-batches, yet that takes as
long as one micro-batch is away; between the last F and the last B likewise. Where n serves more than cap_n, both
spans are apart and both count, else the longer. Rules 3 and 4 are relaxations (of any order), so with trip_weight 0
the relaxed optimum is a bound on the makespan of all paths and orders in this arrangement; a sum over waves relaxes
the loads of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from solvers.skip.paths import Floats, Ints, LeastTimes, TimesAlone, least_times_of, nodes_of_stages, times_alone
from solvers.skip.problem import SkipProblem

MOST_INTEGER = 3000
"""Columns of an integer programme; of more, those of least reduced cost in the relaxed one. As many can be listed for
20 nodes in 6 stages, where it is solved in a second."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PathRows:
    """Coefficients [rows, columns] over ``paths`` and bounds of rules 2 to 4; ``on_makespan`` [rows] that of T;
    ``microbatches`` is rule 1."""

    paths: Ints
    times: TimesAlone
    coefficients: sparse.csc_matrix
    on_makespan: Floats
    least: Floats
    most: Floats
    microbatches: int


def path_rows(
    problem: SkipProblem, stage_of_node: Sequence[int], paths: Ints, least: LeastTimes | None = None
) -> PathRows:
    """``least``: over all legal paths; None: ``paths`` are all."""
    times = times_alone(problem, paths)
    count, length = paths.shape
    across = np.tile(np.arange(count), length)
    flat = paths.T.ravel()

    def matrix(rows: Ints, values: Floats, height: int) -> sparse.csc_matrix:
        return sparse.csc_matrix((values, (rows, across)), shape=(height, count))

    ones = np.ones(count * length)
    stages = matrix(np.asarray(stage_of_node, dtype=np.int64)[flat], ones, problem.stages)
    visits = matrix(flat, ones, problem.nodes)
    stays = matrix(flat, times.stay.T.ravel(), problem.nodes)
    work = np.add(problem.forward_seconds, problem.backward_seconds)
    works = matrix(flat, (work[paths] + np.eye(1, length) * np.array(problem.loss)[paths]).T.ravel(), problem.nodes)
    if problem.rules.ends == "both":
        works = matrix(flat, work[flat], problem.nodes)
    loads = np.array([problem.stage_load(s) for s in range(problem.stages)], dtype=float) * problem.waves
    fewest, most = node_visits(problem, stage_of_node)
    found = least_times_of(problem.nodes, paths, times) if least is None else least
    outer, idle = _heads_tails_idle(problem, found, fewest, most)
    cap = np.array(problem.memory_cap, dtype=float)
    nodes, infinite = problem.nodes, np.full(problem.nodes, np.inf)
    return PathRows(
        paths=paths,
        times=times,
        coefficients=sparse.vstack([stages, visits, works, stays]).tocsc(),
        on_makespan=np.concatenate([np.zeros(problem.stages + nodes), -np.ones(nodes), -cap]),
        least=np.concatenate([loads[:, 0], fewest, -infinite, -infinite]),
        most=np.concatenate([loads[:, 1], most, -idle - outer, -cap * outer]),
        microbatches=problem.microbatches,
    )


def node_visits(problem: SkipProblem, stage_of_node: Sequence[int]) -> tuple[Floats, Floats]:
    """[nodes]: the fewest and most micro-batches of all waves that a node can serve."""
    most = np.zeros(problem.nodes)
    fewest = np.zeros(problem.nodes)
    for stage, group in enumerate(nodes_of_stages(problem, stage_of_node)):
        low, high = problem.stage_load(stage)
        for node in group:
            limit = problem.wave_size if problem.memory_cap[node] else 0
            if stage == 0:
                limit = min(problem.start_load()[1], limit)
            elif problem.rules.visits_per_wave:
                limit = min(limit, problem.memory_cap[node])
            most[node] = min(limit, high)
        for node in group:
            others = sum(most[other] for other in group if other != node)
            fewest[node] = max(0, low - others, problem.start_load()[0] if stage == 0 else 0)
    return fewest * problem.waves, most * problem.waves


def _heads_tails_idle(problem: SkipProblem, times: LeastTimes, fewest: Floats, most: Floats) -> tuple[Floats, Floats]:
    def least(found: Floats) -> Floats:
        return np.where((fewest > 0) & np.isfinite(found), found, 0.0)

    outer = least(times.head) + least(times.tail)
    forward, backward, loss = map(np.array, (problem.forward_seconds, problem.backward_seconds, problem.loss))
    away = least(times.stay)
    held = np.minimum(most, problem.memory_cap)
    first = np.maximum(0, away - backward - held * (forward + loss))
    last = np.maximum(0, away - forward - held * (backward + loss))
    apart = fewest > np.array(problem.memory_cap)
    return outer, np.where(fewest > 0, np.where(apart, first + last, np.maximum(first, last)), 0.0)


def relaxed_makespan(rows: PathRows) -> float:
    """A bound on the makespan of all paths and orders, seconds; inf: the rules allow no set of paths."""
    found = _relaxed(rows, 0.0)
    if found is None:
        return np.inf
    return max(float(found[0]), float(rows.times.trip.min()))


def _relaxed(rows: PathRows, trip_weight: float) -> tuple[float, Floats] | None:
    """The relaxed optimum and the reduced costs of its columns; None: infeasible."""
    count = len(rows.paths)
    if not count:
        return None
    whole = sparse.hstack([rows.coefficients, sparse.csc_matrix(rows.on_makespan[:, None])]).tocsr()
    above, below = np.isfinite(rows.most), np.isfinite(rows.least)
    ones = sparse.csr_matrix(np.append(np.ones(count), 0.0)[None, :])
    found = linprog(
        np.append(trip_weight * rows.times.trip, 1.0),
        A_ub=sparse.vstack([whole[above], -whole[below]]),
        b_ub=np.concatenate([rows.most[above], -rows.least[below]]),
        A_eq=ones,
        b_eq=[rows.microbatches],
        bounds=(0, None),
        method="highs",
    )
    if found.status == 2:
        return None
    if found.status != 0:
        return 0.0, np.zeros(count)
    return float(found.fun), np.asarray(found.lower.marginals[:-1])


def chosen_paths(
    problem: SkipProblem, stage_of_node: Sequence[int], paths: Ints, *, trip_weight: float, seconds: float
) -> Ints | None:
    """[micro-batches, K]: good paths by the integer programme of one wave, taken by every wave; None: none found."""
    wave = replace(problem, microbatches=problem.wave_size, waves=1)
    taken = completed_paths(wave, stage_of_node, paths, paths[:0], trip_weight=trip_weight, seconds=seconds)
    return None if taken is None else np.tile(taken, (problem.waves, 1))


def completed_paths(
    wave: SkipProblem, stage_of_node: Sequence[int], paths: Ints, given: Ints, *, trip_weight: float, seconds: float
) -> Ints | None:
    """[micro-batches - given, K] of ``paths``, good ones beside the ``given`` [given, K] by the integer programme of
    a wave; None: none found."""
    best = useful_paths(wave, stage_of_node, paths, given, trip_weight=trip_weight, most=MOST_INTEGER)
    if not len(best):
        return None
    rows = _beside(wave, stage_of_node, path_rows(wave, stage_of_node, best), given)
    count = len(best)
    whole = sparse.hstack([rows.coefficients, sparse.csc_matrix(rows.on_makespan[:, None])])
    ones = np.append(np.ones(count), 0.0)[None, :]
    found = milp(
        np.append(trip_weight * rows.times.trip, 1.0),
        constraints=[
            LinearConstraint(whole, rows.least, rows.most),
            LinearConstraint(ones, rows.microbatches, rows.microbatches),
        ],
        integrality=np.append(np.ones(count), 0.0),
        bounds=Bounds(0, np.inf),
        options={"time_limit": max(seconds, 0.1), "mip_rel_gap": 1e-3},
    )
    if found.x is None:
        return None
    taken: Ints = np.repeat(rows.paths, np.round(found.x[:-1]).astype(int), axis=0)
    return taken if len(taken) == rows.microbatches else None


def useful_paths(
    wave: SkipProblem, stage_of_node: Sequence[int], paths: Ints, given: Ints, *, trip_weight: float, most: int
) -> Ints:
    """Those of least reduced cost in the relaxed programme, at most ``most``; none where it has no solution."""
    if len(paths) <= most:
        return paths
    found = _relaxed(_beside(wave, stage_of_node, path_rows(wave, stage_of_node, paths), given), trip_weight)
    return paths[:0] if found is None else paths[np.argsort(found[1], kind="stable")[:most]]


def _beside(wave: SkipProblem, stage_of_node: Sequence[int], rows: PathRows, given: Ints) -> PathRows:
    """``rows`` for the micro-batches that the ``given`` paths leave, with what these fill taken off."""
    if not len(given):
        return rows
    filled = np.asarray(path_rows(wave, stage_of_node, given).coefficients.sum(axis=1)).ravel()
    left = rows.microbatches - len(given)
    return replace(rows, least=rows.least - filled, most=rows.most - filled, microbatches=left)
