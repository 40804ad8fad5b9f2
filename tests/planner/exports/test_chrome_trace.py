"""The trace holds the plan's own step: its figures come back from the events."""

import json
import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from planner.exports import export
from planner.plan import Plan, operations
from tests.planner.exports import plans
from tests.planner.plan import samples

PLANS = [samples.interleaved_dense, samples.experts_and_prediction_layer, plans.split_vocabulary_plan]


def events(plan: Plan) -> list[dict[str, Any]]:
    document = json.loads(export(plan, "chrome-trace")["trace.json"])
    assert document["displayTimeUnit"] == "ms"
    found: list[dict[str, Any]] = document["traceEvents"]
    return found


@pytest.mark.parametrize("make", PLANS)
def test_events_fill_the_predicted_pipeline(make: Any) -> None:
    plan = make()
    runs = [event for event in events(plan) if event["ph"] == "X"]
    end = max(event["ts"] + event["dur"] for event in runs)
    assert math.isclose(end * 1e-6, plan.prediction.pipeline_seconds, rel_tol=1e-9)
    for stage in plan.stages:
        own = [event for event in runs if event["pid"] == stage.stage]
        assert math.isclose(sum(event["dur"] for event in own) * 1e-6, stage.busy_seconds, rel_tol=1e-9)
        assert all(a["ts"] + a["dur"] <= b["ts"] * (1 + 1e-9) + 1e-6 for a, b in pairwise(own))


@pytest.mark.parametrize("make", PLANS)
def test_the_counter_peaks_where_the_plan_says(make: Any) -> None:
    """The plan's ``activations_bytes`` of a stage are found from live sets, not from events in time."""
    plan = make()
    found = events(plan)
    for stage in plan.stages:
        counter = [event["args"]["bytes"] for event in found if event["ph"] == "C" and event["pid"] == stage.stage]
        assert math.isclose(max(counter), stage.memory.activations_bytes, rel_tol=1e-9)


def test_events_are_the_operations_of_the_plan() -> None:
    plan = samples.interleaved_dense()
    runs = [event for event in events(plan) if event["ph"] == "X" and event["pid"] == 2]
    expected = [
        (operation.kind[0].upper(), operation.chunk, operation.microbatch, operation.start_seconds)
        for operation in operations(plan, 2)
    ]
    for event, (letter, chunk, microbatch, start) in zip(runs, expected, strict=True):
        assert event["args"] == {"pass": letter, "chunk": chunk, "microbatch": microbatch}
        assert event["name"] == f"{letter}{microbatch}"
        assert math.isclose(event["ts"] * 1e-6, start, abs_tol=1e-12)


def test_the_passes_of_a_split_vocabulary_are_shown() -> None:
    """Eight micro-batches; T of one and S of the next run together, once more than there are micro-batches."""
    runs = [event for event in events(plans.split_vocabulary_plan()) if event["ph"] == "X" and event["pid"] == 1]
    assert Counter(event["cat"] for event in runs) == {"F": 8, "B": 8, "S+T": 9, "IF": 8, "IB": 8}


def test_each_stage_is_a_named_process() -> None:
    names = [event for event in events(samples.interleaved_dense()) if event["name"] == "process_name"]
    assert [(event["pid"], event["args"]["name"]) for event in names] == [(i, f"stage {i}") for i in range(4)]
    assert {event["ph"] for event in names} == {"M"}
