"""A skip schedule's trace, read back."""

import json
from dataclasses import replace

import pytest

from planner.exports.skip import ExportRefused, export_skip
from tests.planner.skip_schedules import GROUP_PARTITIONS, GROUP_PATHS, GROUPS, executed, group_problem


def test_the_trace_is_the_schedule() -> None:
    """Every operation of every node with its start and end; nodes named, in the order of their stages; the counter
    peaks where the node keeps most."""
    result = executed(group_problem(), GROUP_PARTITIONS, GROUP_PATHS, names=GROUPS["nodes"])
    found = json.loads(export_skip(result, "chrome-trace", (3,) * 6))["traceEvents"]
    stage_of = {node: stage for stage, held in enumerate(GROUP_PARTITIONS) for node in held}
    for node, row in enumerate(result.order):
        runs = [event for event in found if event["ph"] == "X" and event["pid"] == node]
        assert [(event["name"], event["args"]["stage"]) for event in runs] == [
            (f"{one.op}{one.microbatch}", stage_of[node]) for one in row
        ]
        for event, one in zip(runs, row, strict=True):
            assert event["args"]["pass"] == one.op
            assert event["ts"] == pytest.approx(1e6 * one.start)
            assert event["dur"] == pytest.approx(1e6 * (one.end - one.start))
        counts = [event["args"]["count"] for event in found if event["ph"] == "C" and event["pid"] == node]
        assert max(counts) == result.peak_in_flight[node]
        assert counts[-1] == 0
    assert {event["args"]["pass"] for event in found if event["ph"] == "X"} == {"F", "L", "B"}
    places = {event["pid"]: event["args"]["sort_index"] for event in found if event["name"] == "process_sort_index"}
    assert sorted(places, key=lambda node: places[node]) == [0, 5, 1, 2, 3, 4]
    titles = {event["pid"]: event["args"]["name"] for event in found if event["name"] == "process_name"}
    assert titles[5] == "node 5 Oregon, stage 0"


def test_without_a_schedule_there_is_no_trace() -> None:
    result = executed(group_problem(), GROUP_PARTITIONS, GROUP_PATHS)
    with pytest.raises(ExportRefused, match="there is no schedule: infeasible"):
        export_skip(replace(result, value=None, paths=(), order=(), status="infeasible"), "chrome-trace", (3,) * 6)
