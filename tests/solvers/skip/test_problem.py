"""Rules, loads and refusals of skip problems."""

import dataclasses
import math
import re
from itertools import pairwise
from typing import Any

import pytest

from solvers.skip.paths import every_path, stage_sequences, times_alone
from solvers.skip.problem import FORCED_ENDS, Kind, SkipProblem
from tests.oracles.skip import legal_paths
from tests.solvers.skip.instances import chain, published_paths, twenty_nodes
from tests.solvers.skip.random_problems import random_problem

LINE = SkipProblem(
    forward_seconds=(1.0, 2.0, 3.0),
    backward_seconds=(2.0, 3.0, 4.0),
    link_seconds=((0.0, 1.0, 5.0), (1.0, 0.0, 1.0), (5.0, 1.0, 0.0)),
    memory_cap=(2, 2, 2),
    group_sizes=(1, 1, 1),
    microbatches=2,
    path_length=2,
    stage_of_node=(0, 1, 2),
    rules=FORCED_ENDS,
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"link_seconds": ((0.0, 1.0), (1.0, 0.0))}, "link_seconds: 2 rows of 2 values, not 3 of 3"),
        ({"link_seconds": ((0.0, -1.0, 5.0), (1.0, 0.0, 1.0), (5.0, 1.0, 0.0))}, "link_seconds[0][1]: -1.0 must be"),
        ({"link_seconds": ((0.0, math.nan, 5.0), (1.0, 0.0, 1.0), (5.0, 1.0, 0.0))}, "link_seconds[0][1]: nan must be"),
        ({"link_seconds": ((7.0, 1.0, 5.0), (1.0, 0.0, 1.0), (5.0, 1.0, 0.0))}, "link_seconds[0][0]: 7.0 from a node"),
        (
            {"link_seconds": ((0.0, 1.0, math.inf), (1.0, 0.0, math.inf), (5.0, 1.0, 0.0))},
            "link_seconds[2]: node 2 is unreachable",
        ),
        ({"path_length": 4}, "path_length: 4 stages of 3; at most 3"),
        ({"path_length": 1}, "path_length: 1, but 2 stages are on every path"),
        ({"group_sizes": (1, 0, 2), "stage_of_node": None}, "group_sizes[1]: 0 nodes; every stage needs one"),
        ({"group_sizes": (1, 1, 2)}, "group_sizes: 4 nodes in all, but forward_seconds has 3"),
        ({"stage_of_node": (0, 1, 1)}, "stage_of_node: 2 nodes in stage 1, but group_sizes[1] is 1"),
        ({"stage_of_node": (0, 1, 3)}, "stage_of_node[2]: 3 is not one of the stages 0 to 2"),
        ({"waves": 3}, "microbatches: 2 are not 3 waves of equal size"),
        ({"forward_seconds": (1.0, -2.0, 3.0)}, "forward_seconds[1]: -2.0 must be a non-negative number"),
        ({"memory_cap": (2, 2)}, "memory_cap: 2 values for 3 nodes"),
        ({"copy_link_factor": -1.0}, "copy_link_factor: -1.0 must be"),
    ],
)
def test_refuses_what_is_no_problem(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        dataclasses.replace(LINE, **changes)


def test_names_all_faults_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)memory_cap.*group_sizes"):
        dataclasses.replace(LINE, memory_cap=(1,), group_sizes=(1, 1))


def test_enumerates_as_many_paths_as_published() -> None:
    """2,970 paths of SkipPipe's configuration: 22 sequences of stages (its swap rules) of 3 x 3 x 3 copies behind
    each of 5 first nodes."""
    problem = twenty_nodes()
    assert problem.stage_of_node is not None
    paths = every_path(problem, problem.stage_of_node, 10_000)
    assert paths is not None
    assert len(list(stage_sequences(problem))) == 22
    assert len(paths) == 2970
    assert {tuple(path) for path in paths.tolist()} >= set(published_paths("ca-paths"))


@pytest.mark.parametrize("seed", range(40))
def test_paths_are_those_of_the_rules_alone(seed: int) -> None:
    """Against every sequence of nodes tried."""
    problem = random_problem(seed)
    stage_of_node = problem.stage_of_node or tuple(s for s, size in enumerate(problem.group_sizes) for _ in range(size))
    paths = every_path(problem, stage_of_node, 10_000)
    assert paths is not None
    wanted = legal_paths(problem, stage_of_node)
    assert sorted(map(tuple, paths.tolist())) == sorted(path for path in wanted if _closes(problem, path))
    for path in wanted:
        assert problem.why_illegal([stage_of_node[n] for n in path]) is None


def _closes(problem: SkipProblem, path: tuple[int, ...]) -> bool:
    """Whether backward pass and, with the loss on the first node, the way there and back have links."""
    sequence = problem.sequence(path)
    return all(math.isfinite(problem.link_seconds[a][b]) for (_, a), (_, b) in pairwise(sequence))


def test_times_alone_by_hand() -> None:
    """Loss on the first node: F0 1, link 5, F2 3, link 5, L0 1, link 5, B2 4, link 5, B0 2: 31 s."""
    problem = dataclasses.replace(
        LINE, loss_seconds=(1.0, 1.0, 1.0), rules=dataclasses.replace(FORCED_ENDS, ends="first")
    )
    paths = every_path(problem, (0, 1, 2), 10)
    assert paths is not None
    assert paths.tolist() == [[0, 1], [0, 2]]
    times = times_alone(problem, paths[1:])
    assert times.trip.tolist() == [31.0]
    assert times.stay.tolist() == [[31.0, 18.0]]
    assert times.head.tolist() == [[0.0, 6.0]]
    assert times.tail.tolist() == [[0.0, 7.0]]


def test_loads_of_stages_and_starts() -> None:
    """P = 8, M = 12, K = 6: 12 * 4 visits over 6 stages; SkipPipe: 15 * 3 over 5 in each wave, 3 of each first node."""
    assert [chain("chain_8", 12, 6).stage_load(s) for s in (0, 3, 7)] == [(12, 12), (8, 8), (12, 12)]
    assert chain("chain_8", 8, 6).stage_load(3) == (5, 6)
    assert [twenty_nodes().stage_load(s) for s in (0, 3)] == [(15, 15), (9, 9)]
    assert twenty_nodes().start_load() == (3, 3)


def test_sequence_of_operations() -> None:
    first = twenty_nodes()
    F, L, B = Kind.F, Kind.L, Kind.B  # noqa: N806 - the field's own letters
    assert first.sequence((0, 8)) == [(F, 0), (F, 8), (L, 0), (B, 8), (B, 0)]
    assert LINE.sequence((0, 2)) == [(F, 0), (F, 2), (B, 2), (B, 0)]
