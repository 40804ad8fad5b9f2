"""Paths after the loss of a node: what stays, where the others go, and what nothing survives."""

import dataclasses
from collections import Counter
from itertools import combinations_with_replacement

import numpy as np
import pytest

from solvers.skip.failure import without_node
from solvers.skip.paths import times_alone
from solvers.skip.problem import FORCED_ENDS, Path, Rules, SkipProblem
from solvers.skip.repair import fatal_losses, repaired, surviving_arrangement, why_fatal
from solvers.skip.solve import solve_skip
from tests.oracles.skip import broken_rules, legal_paths, path_sets
from tests.solvers.skip.random_problems import random_problem

UNTIMED = ["operations missing or too many"]


def plain(**changes: object) -> SkipProblem:
    """Stages of 2, 2, 1 and 1 nodes, all links 1 s."""
    given: dict[str, object] = {
        "forward_seconds": (1.0,) * 6,
        "backward_seconds": (2.0,) * 6,
        "link_seconds": tuple(tuple(float(a != b) for b in range(6)) for a in range(6)),
        "memory_cap": (4,) * 6,
        "group_sizes": (2, 2, 1, 1),
        "stage_of_node": (0, 0, 1, 1, 2, 3),
        "microbatches": 4,
        "path_length": 3,
        "rules": FORCED_ENDS,
    }
    return SkipProblem(**(given | changes))  # type: ignore[arg-type]


PATHS: tuple[Path, ...] = ((0, 2, 5), (1, 3, 5), (0, 4, 5), (1, 4, 5))


def test_micro_batches_move_to_the_other_copy() -> None:
    """Node 0 had two of them: node 1 starts all; numbers above the lost one are one less."""
    problem = plain()
    assert problem.stage_of_node is not None
    found = repaired(problem, problem.stage_of_node, PATHS, 0, seconds=1.0)
    assert found is not None
    assert (found.how, found.moved) == ("other copies", 2)
    assert Counter(found.schedule.paths) == Counter([(0, 1, 4), (0, 2, 4), (0, 3, 4), (0, 3, 4)])


def test_micro_batches_of_a_lost_stage_take_other_paths() -> None:
    """Stage 2 has node 4 alone; without it the stage between the ends is stage 1, whose two paths stay."""
    problem = plain()
    assert problem.stage_of_node is not None
    found = repaired(problem, problem.stage_of_node, PATHS, 4, seconds=1.0)
    assert found is not None
    assert (found.how, found.moved) == ("other paths", 2)
    counts = Counter(found.schedule.paths)
    assert counts[0, 2, 4] >= 1
    assert counts[1, 3, 4] >= 1
    assert {path[2] for path in counts} == {4}


def test_a_copy_without_memory_or_links_takes_none() -> None:
    """Node 3 is the other copy of node 2: full of nothing, or cut off, its stage cannot serve its share."""
    assert why_fatal(plain(), plain().stage_of_node or (), 2) is None
    empty = plain(memory_cap=(4, 4, 4, 0, 4, 4))
    links = np.array(plain().link_seconds)
    links[3, 5] = np.inf
    cut = plain(link_seconds=tuple(map(tuple, links)))
    for problem in (empty, cut):
        assert problem.stage_of_node is not None
        paths: tuple[Path, ...] = ((0, 2, 5), (1, 2, 5), (0, 4, 5), (1, 4, 5))
        assert repaired(problem, problem.stage_of_node, paths, 2, seconds=1.0) is None
        assert set(fatal_losses(problem, problem.stage_of_node)) == {2, 5}


def test_repairs_keep_every_rule_and_every_other_path() -> None:
    """Random problems, every loss; oracle: the slow checker, and whether any set of legal paths for the micro-batches
    moved keeps the loads beside those that stay."""
    counts: Counter[str] = Counter()
    for seed in range(250):
        problem = random_problem(seed)
        choice = solve_skip(problem, time_limit_seconds=0.0).solution.choice
        if choice is None:
            continue
        stages = choice.stage_of_node
        for node in range(problem.nodes):
            try:
                left = without_node(problem, stages, node)
            except ValueError:
                continue
            assert left.stage_of_node is not None
            if left.waves > 1:
                continue
            stay = [tuple(n - (n > node) for n in path) for path in choice.paths if node not in path]
            moved = len(choice.paths) - len(stay)
            sets = combinations_with_replacement(legal_paths(left, left.stage_of_node), moved)
            rows: list[list[tuple[()]]] = [[] for _ in range(left.nodes)]
            can = any(broken_rules(left, left.stage_of_node, [*stay, *some], rows) == UNTIMED for some in sets)  # type: ignore[arg-type]
            found = repaired(problem, stages, choice.paths, node, seconds=1.0)
            counts[f"{can} {found.how if found else None}"] += 1
            if found is None:
                continue
            schedule = found.schedule
            assert broken_rules(left, left.stage_of_node, schedule.paths, schedule.operations) == []
            assert not Counter(stay) - Counter(schedule.paths), f"seed {seed}, node {node}"
            assert can
    assert counts["True other copies"] > 10
    assert counts["True other paths"] > 10
    assert counts["False None"] > 2
    # nodes that wait for each other for ever, first in, first out
    assert counts["True None"] <= 5


def test_fatal_losses_leave_no_set_of_paths() -> None:
    """Oracle: every set of legal paths; at times none exists that the relaxed programme would see."""
    fatal = seen = 0
    for seed in range(80):
        problem = random_problem(3000 + seed)
        if problem.stage_of_node is None:
            continue
        for node in range(problem.nodes):
            why = why_fatal(problem, problem.stage_of_node, node)
            try:
                left = without_node(problem, problem.stage_of_node, node)
            except ValueError:
                assert why is not None
                continue
            assert left.stage_of_node is not None
            if why is not None:
                fatal += 1
                trips = (times_alone(left, np.array(paths)).trip for paths in path_sets(left, left.stage_of_node))
                cut_off = np.isinf(left.copy_seconds(left.stage_of_node))
                assert cut_off or all(np.isinf(trip).any() for trip in trips), f"seed {seed}, node {node}"
            seen += why is None
    assert fatal > 5
    assert seen > 50


def missing_links() -> SkipProblem:
    """Two stages of two nodes, nodes 0 and 1 not linked, nor 2 and 3: stages {0, 1} and {2, 3} have every link between
    them; in stages {0, 2} and {1, 3} each node has one partner, and its loss is fatal. There losses are cheap."""
    links = np.ones((4, 4))
    np.fill_diagonal(links, 0)
    for a, b in ((0, 1), (2, 3)):
        links[a, b] = links[b, a] = np.inf
    return SkipProblem(
        forward_seconds=(1.0,) * 4,
        backward_seconds=(2.0,) * 4,
        loss_seconds=(0.1, 5.0, 0.1, 5.0),
        link_seconds=tuple(map(tuple, links)),
        memory_cap=(4,) * 4,
        group_sizes=(2, 2),
        microbatches=4,
        path_length=2,
        rules=Rules(visits_per_wave=False),
    )


def test_an_arrangement_that_survives_is_found() -> None:
    problem = missing_links()
    assert set(fatal_losses(problem, (0, 1, 0, 1))) == {1, 3}
    assert fatal_losses(problem, (0, 0, 1, 1)) == {}
    found = surviving_arrangement(problem, (0, 1, 0, 1), seed=0, seconds=10.0)
    assert found in ((0, 0, 1, 1), (1, 1, 0, 0))
    single = dataclasses.replace(problem, group_sizes=(3, 1))
    assert surviving_arrangement(single, (0, 0, 0, 1), seed=0, seconds=10.0) is None


def test_the_loss_of_a_stage_that_every_path_needs_has_no_repair() -> None:
    problem = plain()
    assert problem.stage_of_node is not None
    with pytest.raises(ValueError, match="node 5: stage 3 has no other node, and every path needs it"):
        repaired(problem, problem.stage_of_node, PATHS, 5, seconds=1.0)
