"""The checker of skip schedules: what is right passes, and every rule notices when it is broken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from planner.plan.skip_result import SkipOperation, SkipResult
from planner.validate.skip import check_skip, in_flight_peak
from solvers.skip.problem import Kind, SkipProblem, SwapRules
from solvers.skip.schedule import timed
from tests.planner.skip_schedules import (
    CHAIN_PATHS,
    GROUP_PARTITIONS,
    GROUP_PATHS,
    chain_problem,
    executed,
    group_problem,
)

CHAIN_STAGES = ((0,), (1,), (2,), (3,))


def rules(problem: SkipProblem, result: SkipResult) -> set[str]:
    return {finding.rule for finding in check_skip(problem, result)}


def chain(**changes: Any) -> SkipResult:
    return executed(chain_problem(**changes), CHAIN_STAGES, CHAIN_PATHS)


def groups(paths: Any = GROUP_PATHS, **changes: Any) -> SkipResult:
    return executed(group_problem(**changes), GROUP_PARTITIONS, paths)


def test_schedules_that_keep_every_rule_have_no_findings() -> None:
    assert not check_skip(chain_problem(), chain())
    assert not check_skip(group_problem(), groups())


def test_the_round_trip_of_one_micro_batch_by_hand() -> None:
    """0, 2, 3 under forced ends: 2 + 2 (link) + 3 + 1 + 1 forward, 2 + 1 + 6 + 2 + 4 backward: 24."""
    problem = chain_problem(microbatches=1, path_length=3)
    result = executed(problem, CHAIN_STAGES, [(0, 2, 3)])
    assert result.makespan_seconds == 2 + 2 + 3 + 1 + 1 + 2 + 1 + 6 + 2 + 4
    assert not check_skip(problem, result)


def test_the_round_trip_through_the_loss_by_hand() -> None:
    """0, 1, 3 where stage 0 computes the loss: out and back to node 0 (links 0.75, 1, 1.25), and the way in reverse."""
    problem = group_problem(microbatches=1, rules=replace(group_problem().rules, balanced_starts=False))
    result = executed(problem, GROUP_PARTITIONS, [(0, 1, 3)])
    out = 2 + 0.75 + 2 + 1.0 + 2 + 1.25
    assert result.makespan_seconds == out + 0.5 + 1.25 + 3 + 1.0 + 3 + 0.75 + 3
    assert not check_skip(problem, result)


def moved(result: SkipResult, node: int, position: int, **changes: Any) -> SkipResult:
    """One operation changed."""
    row = list(result.order[node])
    row[position] = replace(row[position], **changes)
    return replace(result, order=(*result.order[:node], tuple(row), *result.order[node + 1 :]))


def without(result: SkipResult, node: int, position: int) -> SkipResult:
    row = result.order[node][:position] + result.order[node][position + 1 :]
    return replace(result, order=(*result.order[:node], row, *result.order[node + 1 :]))


MUTATIONS: dict[str, Callable[[SkipResult], SkipResult]] = {
    "operation.missing": lambda r: without(r, 3, 0),
    "operation.once": lambda r: replace(r, order=((*r.order[0], r.order[0][0]), *r.order[1:])),
    "operation.known": lambda r: moved(r, 1, 0, microbatch=1),
    "operation.start": lambda r: moved(r, 0, 0, start=-1.0, end=1.0),
    "operation.seconds": lambda r: moved(r, 0, 0, end=r.order[0][0].end - 0.5),
    "node.overlap": lambda r: moved(r, 0, 1, start=r.order[0][1].start - 1, end=r.order[0][1].end - 1),
    "wait.message": lambda r: moved(r, 1, 0, start=2.5, end=3.5),
    "arrangement.nodes": lambda r: replace(r, partitions=((0,), (1,), (2,), (2,))),
    "arrangement.sizes": lambda r: replace(r, partitions=((0, 1), (), (2,), (3,))),
    "arrangement.kept": lambda r: replace(r, partitions=((0,), (2,), (1,), (3,))),
    "paths.count": lambda r: replace(r, paths=r.paths[:3]),
    "path.length": lambda r: replace(r, paths=((0, 3), *r.paths[1:])),
    "path.nodes": lambda r: replace(r, paths=((0, 7, 3), *r.paths[1:])),
    "path.once": lambda r: replace(r, paths=((0, 0, 3), *r.paths[1:])),
    "path.start": lambda r: replace(r, paths=((1, 2, 3), *r.paths[1:])),
    "path.end": lambda r: replace(r, paths=((0, 1, 2), *r.paths[1:])),
    "path.swaps": lambda r: replace(r, paths=((0, 3, 1), *r.paths[1:])),
    "balance.stage": lambda r: replace(r, paths=((0, 2, 3), *r.paths[1:])),
    "memory.peak": lambda r: replace(r, peak_in_flight=(9, *r.peak_in_flight[1:])),
    "time.makespan": lambda r: replace(r, makespan_seconds=r.makespan_seconds and r.makespan_seconds - 1),
    "time.value": lambda r: replace(r, value=r.value and r.value + 1),
    "bound.above": lambda r: replace(r, lower_bound=r.value and r.value * 1.1),
    "bound.missing": lambda r: replace(r, lower_bound=None),
    "bound.gap": lambda r: replace(r, gap=0.5),
    "bound.status": lambda r: replace(r, status="optimal"),
    "skip.nodes": lambda r: replace(r, order=r.order[:3]),
    "skip.status": lambda r: replace(r, value=None),
}


@pytest.mark.parametrize("rule", MUTATIONS)
def test_every_broken_rule_is_named(rule: str) -> None:
    assert rule in rules(chain_problem(), MUTATIONS[rule](chain()))


def test_memory_counts_every_instant() -> None:
    """The same schedule is too much for a cap of 1; three at once by hand."""
    assert "memory.cap" in rules(chain_problem(memory_cap=(1, 2, 2, 2)), chain())
    row = [("F", 0, 0, 1), ("F", 1, 1, 2), ("B", 0, 2, 4), ("F", 2, 4, 5), ("F", 3, 5, 6), ("B", 1, 6, 8)]
    operations = [SkipOperation(op=op, microbatch=k, start=a, end=b) for op, k, a, b in row]
    assert in_flight_peak(operations) == 3
    assert in_flight_peak(operations[:4]) == 2  # the backward pass that ends frees before the next one starts


def test_a_missing_link_is_no_way() -> None:
    far = [list(row) for row in chain_problem().link_seconds]
    far[3][1] = float("inf")
    assert "path.link" in rules(chain_problem(link_seconds=tuple(map(tuple, far))), chain())


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        (SwapRules(count=0), "path.swaps"),
        (SwapRules(furthest=0), "path.furthest"),
        (SwapRules(total_distance=0), "path.distance"),
        (SwapRules(forward_jump=1), "path.jump"),
    ],
)
def test_swaps_and_jumps_are_limited_each_by_its_own_figure(limits: SwapRules, rule: str) -> None:
    """0, 4, 3: a jump of 2 or 3 stages ahead, then one step back of 1; all limits of SkipPipe allow it."""
    paths = ((0, 4, 3), (5, 2, 4), (0, 1, 3), (5, 1, 3))
    allowed = group_problem()
    assert rules(allowed, groups(paths)) == set()
    strict = group_problem(rules=replace(allowed.rules, swaps=limits))
    assert rules(strict, groups(paths)) == {rule}


def test_starts_and_visits_of_a_wave_are_balanced() -> None:
    one_sided = ((0, 1, 3), (0, 2, 4), (0, 3, 4), (5, 1, 3))
    assert rules(group_problem(), groups(one_sided)) == {"balance.start"}
    crowded = group_problem(memory_cap=(3, 1, 3, 3, 3, 3))
    assert "memory.visits" in rules(crowded, groups())
    relaxed = replace(group_problem().rules, balanced_starts=False)
    assert not rules(group_problem(rules=relaxed), groups(one_sided))


def test_messages_of_a_serial_link_wait_for_each_other() -> None:
    """By hand: node 0 ends F0 at 2 and F1 at 4, a message takes 3: the second is sent from 5 and comes at 8, not 7."""
    serial = replace(chain_problem().rules, serial_links=True)
    links = tuple(tuple(0.0 if a == b else 3.0 for b in range(4)) for a in range(4))
    problem = chain_problem(microbatches=2, link_seconds=links, rules=serial)
    paths = ((0, 1, 3), (0, 2, 3))
    orders = tuple(
        tuple((Kind[op.op], op.microbatch) for op in row) for row in executed(problem, CHAIN_STAGES, paths).order
    )
    right = timed(problem, (0, 1, 2, 3), paths, orders)
    assert right.operations[2][0].start == 8.0
    parallel = executed(problem, CHAIN_STAGES, paths)
    assert parallel.order[2][0].start == 7.0
    assert "wait.message" in rules(problem, parallel)
    order = tuple(
        tuple(SkipOperation(op=o.kind.name, microbatch=o.microbatch, start=o.start, end=o.end) for o in row)
        for row in right.operations
    )
    made = replace(parallel, order=order, makespan_seconds=right.makespan, value=right.makespan, gap=1.0)
    assert not check_skip(problem, made)


def test_copies_of_a_stage_exchange_over_their_slowest_link() -> None:
    """Stage 0 is nodes 0 and 5: 1.75 s; stage 1 is nodes 1 and 2: 0.75 s."""
    result = groups()
    assert result.value is not None
    dearer = group_problem(copy_link_factor=2.0)
    assert rules(dearer, result) == {"time.value"}
    value = result.value + 2 * 1.75
    assert not rules(dearer, replace(result, value=value, gap=1.0))
    assert rules(group_problem(copy_link_limit_seconds=1.7), result) == {"copies.link"}


def test_without_a_schedule_there_is_nothing_else_to_check() -> None:
    nothing = replace(chain(), value=None, status="infeasible", order=(), paths=())
    assert not check_skip(chain_problem(), nothing)
