"""A set of paths after the loss of a node, repaired where it is broken; paths that do not visit the node stay.

1. Every micro-batch that did moves to another copy of the node's stage: where its trip and those of the copy's other
   micro-batches of its wave take least (of stage 0, whose nodes start as many each, where fewest start).
2. Where those cannot take them, it takes another path: any legal one, chosen by the path programme around the paths
   that stay, wave by wave.

Repaired paths keep every rule that the problem has without the node (failure.py), and run first in, first out.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from solvers.skip.arrays import keeps_rules
from solvers.skip.bounds import Bound, bound_over_paths
from solvers.skip.failure import without_node
from solvers.skip.generation import Generated, PathGenerator
from solvers.skip.path_program import completed_paths
from solvers.skip.paths import Ints, every_path, times_alone
from solvers.skip.problem import Path, SkipProblem
from solvers.skip.schedule import SkipSchedule
from solvers.skip.simulate import first_in_first_out

MOST_LISTED = 10_000
GENERATION_SECONDS = 2.0
NUMBERINGS = 10
"""Of the micro-batches, tried first in, first out; with little memory some wait for each other for ever."""

How = Literal["other copies", "other paths"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """``schedule`` of the problem without the node, whose nodes keep their order; ``moved`` micro-batches."""

    how: How
    moved: int
    schedule: SkipSchedule


def repaired(
    problem: SkipProblem, stage_of_node: Sequence[int], paths: Sequence[Path], node: int, *, seconds: float
) -> Repair | None:
    """None: no local repair was found. Raises ``ValueError`` as ``without_node`` does."""
    left = without_node(problem, stage_of_node, node)
    assert left.stage_of_node is not None
    old = np.array(paths, dtype=np.int64)
    lost = (old == node).any(axis=1)
    moved = int(lost.sum())
    kept, places = old - (old > node), (old == node).argmax(axis=1)
    tries: tuple[How, ...] = ("other copies", "other paths")
    if stage_of_node.count(stage_of_node[node]) == 1:
        tries = ("other paths",)
    for how in tries:
        if how == "other copies":
            new = _on_copies(left, kept, lost, places, stage_of_node[node])
        else:
            new = _on_paths(left, kept, lost, seconds)
        if new is None or not keeps_rules(left, np.array(left.stage_of_node, dtype=np.int64), new):
            continue
        schedule = _executed(left, new)
        if schedule is not None:
            return Repair(how=how, moved=moved, schedule=schedule)
    return None


def _on_copies(left: SkipProblem, kept: Ints, lost: Ints, places: Ints, stage: int) -> Ints | None:
    """``places`` [micro-batches]: where the lost node stood on each path that visited it."""
    assert left.stage_of_node is not None
    copies = [n for n in range(left.nodes) if left.stage_of_node[n] == stage and left.memory_cap[n]]
    if not copies:
        return None
    new = kept.copy()
    counted = stage == 0 and left.rules.balanced_starts
    for wave in range(left.waves):
        members = range(wave * left.wave_size, (wave + 1) * left.wave_size)
        count, busy = Counter[int](), Counter[int]()
        for k in (k for k in members if not lost[k]):
            for n in set(new[k].tolist()) & set(copies):
                count[n] += 1
                busy[n] += times_alone(left, new[k : k + 1]).trip[0]
        for k in (k for k in members if lost[k]):
            tried = np.repeat(new[k : k + 1], len(copies), axis=0)
            tried[:, places[k]] = copies
            trips = times_alone(left, tried).trip
            best = min(range(len(copies)), key=lambda i: (counted * count[copies[i]], busy[copies[i]] + trips[i]))
            if not np.isfinite(trips[best]):
                return None
            new[k] = tried[best]
            count[copies[best]] += 1
            busy[copies[best]] += trips[best]
    return new


def _on_paths(left: SkipProblem, kept: Ints, lost: Ints, seconds: float) -> Ints | None:
    assert left.stage_of_node is not None
    columns, _ = _columns(left)
    if columns is None or not len(columns):
        return None
    wave, size, new = replace(left, microbatches=left.wave_size, waves=1), left.wave_size, kept.copy()
    for number in range(left.waves):
        inside = slice(number * size, (number + 1) * size)
        gone = lost[inside]
        if not gone.any():
            continue
        given = kept[inside][~gone]
        found = completed_paths(wave, left.stage_of_node, columns, given, trip_weight=0.01, seconds=seconds)
        if found is None:
            return None
        new[np.arange(inside.start, inside.stop)[gone]] = found
    return new


def _columns(problem: SkipProblem) -> tuple[Ints | None, Generated | None]:
    """Every legal path, or those generated; and what was, if so."""
    assert problem.stage_of_node is not None
    columns = every_path(problem, problem.stage_of_node, MOST_LISTED)
    if columns is not None:
        return columns, None
    generator = PathGenerator(problem, problem.stage_of_node)
    generated = generator.generated(problem, seconds=GENERATION_SECONDS)
    return (None, None) if generated is None else (generated.columns, generated)


def _executed(problem: SkipProblem, paths: Ints) -> SkipSchedule | None:
    """The best of some numberings of the waves, first in, first out; the given one first."""
    assert problem.stage_of_node is not None
    rng, best = np.random.default_rng(0), None
    for number in range(NUMBERINGS):
        waves = np.split(paths, problem.waves)
        tried = np.concatenate([rng.permutation(wave) for wave in waves]) if number else paths
        schedule = first_in_first_out(problem, problem.stage_of_node, tried.tolist())
        if schedule is not None and not schedule.over_cap and (best is None or schedule.value < best.value):
            best = schedule
    return best


def why_fatal(problem: SkipProblem, stage_of_node: Sequence[int], node: int) -> str | None:
    """Why no set of paths is left without ``node``, in this arrangement; None: there may be one, by the relaxed path
    programme."""
    try:
        left = without_node(problem, stage_of_node, node)
    except ValueError as why:
        return str(why)
    bound = _bound(left)
    return None if np.isfinite(bound.seconds) else f"node {node}: {bound.reason}"


def fatal_losses(problem: SkipProblem, stage_of_node: Sequence[int]) -> dict[int, str]:
    """Node to why nothing is left without it, for all whose loss is not survived."""
    found = ((node, why_fatal(problem, stage_of_node, node)) for node in range(problem.nodes))
    return {node: why for node, why in found if why is not None}


def surviving_arrangement(
    problem: SkipProblem, stage_of_node: Sequence[int], *, seed: int, seconds: float
) -> tuple[int, ...] | None:
    """An arrangement in which every loss leaves a set of paths, near the given one: exchanges of two nodes that leave
    no more fatal losses than before, each tried once an arrangement. None: none was found in ``seconds``."""
    until, rng = time.perf_counter() + seconds, np.random.default_rng(seed)
    stages = list(map(int, stage_of_node))
    fatal = len(fatal_losses(problem, stages))
    seen, pairs = {tuple(stages)}, _exchanges(stages, rng)
    while fatal and pairs and time.perf_counter() < until:
        a, b = pairs.pop()
        tried = stages.copy()
        tried[a], tried[b] = stages[b], stages[a]
        if tuple(tried) in seen:
            continue
        seen.add(tuple(tried))
        fixed = replace(problem, stage_of_node=tuple(tried))
        if not np.isfinite(_bound(fixed).seconds):
            continue
        found = len(fatal_losses(problem, tried))
        if found <= fatal:
            stages, fatal, pairs = tried, found, _exchanges(tried, rng)
    return None if fatal else tuple(stages)


def _exchanges(stages: Sequence[int], rng: np.random.Generator) -> list[tuple[int, int]]:
    pairs = [(a, b) for a in range(len(stages)) for b in range(a) if stages[a] != stages[b]]
    return [pairs[i] for i in rng.permutation(len(pairs))]


def _bound(problem: SkipProblem) -> Bound:
    """Over all paths of a fixed arrangement; inf: no set of them keeps the rules."""
    assert problem.stage_of_node is not None
    columns, generated = _columns(problem)
    return bound_over_paths(problem, problem.stage_of_node, None if generated else columns, generated)
