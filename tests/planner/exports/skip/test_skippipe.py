"""``schedule.json`` of SkipPipe's executor: what it reads, and what it has no word for."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from planner.exports.skip import ExportRefused, export_skip
from planner.plan.skip_result import SkipResult
from tests.planner.skip_schedules import (
    CHAIN_PATHS,
    GROUP_PARTITIONS,
    GROUPS,
    chain_problem,
    executed,
    group_problem,
)

ROUND = ((0, 1, 3), (0, 2, 4), (5, 3, 4), (5, 1, 3))


def planned(paths: Sequence[Sequence[int]], memory: int = 2, **changes: Any) -> SkipResult:
    problem = group_problem(microbatches=len(paths), memory_cap=(memory,) * 6, **changes)
    return executed(problem, GROUP_PARTITIONS, paths, names=GROUPS["nodes"])


def exported(paths: Sequence[Sequence[int]], memory: int = 2) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(export_skip(planned(paths, memory), "skippipe", (memory,) * 6))
    return found


def looked_up(data: dict[str, Any], node: int, sent: int) -> list[int]:
    """The way of the micro-batch that ``node`` starts after ``sent`` others, by the executor's own arithmetic: its
    number is position x ours-sends + sent, the key of its path number // ours-sends x memory + number % ours-sends %
    memory, and every node sends it on to its own entry, the last back to where it began."""
    number = data["partitions"][0].index(node) * data["ours-sends"] + sent
    first, second = divmod(number, data["ours-sends"])
    hops = data["non-ca-paths"][str(first * data["memory"] + second % data["memory"])]
    way, here = [node], str(node)
    while here in hops:
        way.append(hops[here])
        here = str(hops[here])
    return way


def test_one_round_by_hand() -> None:
    """Two nodes of stage 0 start two micro-batches each, all at once; a full pipeline sends 4 through one chain."""
    data = exported(ROUND)
    assert data["partitions"] == [[0, 5], [1, 2], [3], [4]]
    assert (data["memory"], data["ours-sends"], data["baseline-sends"]) == (2, 2, 4)
    assert data["locations"] == GROUPS["nodes"]
    assert data["ca-paths"] == data["non-ca-paths"] == {
        "0": {"0": 1, "1": 3},
        "1": {"0": 2, "2": 4},
        "2": {"5": 3, "3": 4},
        "3": {"5": 1, "1": 3},
    }  # fmt: skip


def test_the_executor_finds_every_path_of_every_round() -> None:
    """Two rounds: the third micro-batch of a node goes the way of its first."""
    data = exported((*ROUND, *ROUND))
    assert data["ours-sends"] == 4
    for node, first, second in ((0, ROUND[0], ROUND[1]), (5, ROUND[2], ROUND[3])):
        ways = [looked_up(data, node, sent) for sent in range(4)]
        assert ways == [list(first), list(second), list(first), list(second)]


def test_memory_for_more_than_a_node_sends_leaves_every_path_free() -> None:
    data = exported(ROUND, memory=4)
    assert data["memory"] == 4
    assert sorted(data["ca-paths"]) == ["0", "1", "4", "5"]
    assert [looked_up(data, 5, sent) for sent in (0, 1)] == [list(ROUND[2]), list(ROUND[3])]


def test_rounds_that_differ_are_refused() -> None:
    other = ((0, 3, 4), (0, 1, 3), (5, 2, 4), (5, 1, 3))
    with pytest.raises(ExportRefused) as error:
        exported((*ROUND, *other))
    assert [reason.split(";")[0] for reason in error.value.reasons] == [
        f"paths: node {node} repeats the paths of its first 2 micro-batches until all 4 are sent" for node in (0, 5)
    ]


def test_memory_that_differs_and_uneven_starts_are_refused() -> None:
    with pytest.raises(ExportRefused, match=r"memory: .*here they hold 2 to 3 micro-batches"):
        export_skip(planned(ROUND), "skippipe", (2, 2, 2, 2, 2, 3))
    uneven = ((0, 1, 3), (0, 2, 4), (0, 3, 4), (5, 1, 3))
    with pytest.raises(ExportRefused, match=r"ours-sends: .*node 0: 3, node 5: 1"):
        exported(uneven, memory=3)


def test_a_head_on_the_last_stage_is_refused() -> None:
    result = executed(chain_problem(), ((0,), (1,), (2,), (3,)), CHAIN_PATHS)
    with pytest.raises(ExportRefused, match="forced ends: SkipPipe's executor computes the loss on the node of stage"):
        export_skip(result, "skippipe", (2,) * 4)


@pytest.mark.parametrize(
    ("target", "runtime"),
    [("torch-csv", "torch.distributed.pipelining"), ("megatron", "Megatron-LM"), ("deepspeed", "DeepSpeed")],
)
def test_runtimes_that_run_every_stage_refuse_by_name(target: str, runtime: str) -> None:
    with pytest.raises(ExportRefused) as error:
        export_skip(planned(ROUND), target, (2,) * 6)
    (reason,) = error.value.reasons
    assert reason.startswith(runtime)
    assert "4 of 4 micro-batches here skip stages" in reason


def test_without_a_schedule_there_is_nothing_to_write() -> None:
    nothing = replace(planned(ROUND), value=None, paths=(), order=(), status="infeasible")
    with pytest.raises(ExportRefused, match="there is no schedule: infeasible"):
        export_skip(nothing, "skippipe", (2,) * 6)
    with pytest.raises(KeyError):
        export_skip(nothing, "torch", (2,) * 6)
