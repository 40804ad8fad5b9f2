"""Counts: degrees, ranks, schedule, stages and the cover of the model."""

from typing import Any

import pytest

from planner.plan import Plan, with_hosts
from tests.planner.plan import samples
from tests.planner.validate.corruption import rules

dense, latent = samples.interleaved_dense, samples.experts_and_prediction_layer


def mapped() -> Plan:
    return with_hosts(dense(), "n[1-8]", {"n2": [*range(7, -1, -1)]})


@pytest.mark.parametrize(
    ("plan", "path", "value", "rule", "where"),
    [
        (dense, "parallelism__tp", 3, "parallelism.legal", "/parallelism/tp"),
        (dense, "parallelism__tp", 4, "parallelism.gpus", "/parallelism/gpus"),
        (dense, "parallelism__gpus", 63, "parallelism.gpus", "/parallelism/gpus"),
        (dense, "parallelism__edp", 8, "parallelism.edp", "/parallelism/edp"),
        (dense, "parallelism__microbatches", 15, "parallelism.microbatches", "/parallelism/microbatches"),
        (dense, "inputs__options__pins", {"pp": 2}, "parallelism.legal", "/parallelism/pp"),
        (dense, "inputs__options__pins", {"pq": 2}, "options.pins", "/inputs/options/pins/pq"),
        (dense, "inputs__options__pins", {"cp": 1}, "options.pins", "/inputs/options/pins/cp"),
        (dense, "inputs__options__forbid", ["tp"], "parallelism.legal", "/parallelism/tp"),
        (dense, "inputs__options__forbid", ["xp"], "options.forbid", "/inputs/options/forbid"),
        (dense, "inputs__options__forbid", ["ep", "cp"], "options.forbid", "/inputs/options/forbid"),
        (dense, "inputs__options__split", "even", "cover.even", "/inputs/options/split"),
        (dense, "ranks__sizes__dp", 4, "ranks.sizes", "/ranks/sizes"),
        (dense, "ranks__sizes__dp", 4, "ranks.once", "/ranks/order"),
        (dense, "ranks__sizes__edp", 4, "ranks.once", "/ranks/expert_order"),
        (dense, "ranks__nodes", 16, "ranks.nodes", "/ranks/nodes"),
        (dense, "ranks__world_size", 65, "ranks.world_size", "/ranks/world_size"),
        (dense, "ranks__order", "tp-cp-pp-dp", "ranks.order", "/ranks/expert_order"),
        (dense, "ranks__expert_order", "etp-ep-pp-edp", "ranks.order", "/ranks/expert_order"),
        (dense, "ranks__hosts", "n[1-7]", "ranks.hosts", "/ranks/hosts"),
        (dense, "ranks__hosts", [*"abcdefgg"], "ranks.hosts", "/ranks/hosts"),
        (dense, "ranks__hosts", "n[1-8", "schema", "/ranks/hosts"),
        (dense, "ranks__local_gpus", [0, 1, 2, 3], "ranks.local_gpus", "/ranks/local_gpus"),
        (dense, "ranks__local_gpus", {"n1": [*range(8)]}, "ranks.local_gpus", "/ranks/local_gpus"),
        (mapped, "ranks__local_gpus__n2", [*range(1, 9)], "ranks.local_gpus", "/ranks/local_gpus/n2"),
        (dense, "schedule__name", "1f1b", "schedule", "/schedule/name"),
        (dense, "schedule__chunks_per_stage", 1, "schedule", "/schedule/chunks_per_stage"),
        (dense, "stages__1__stage", 2, "stages.order", "/stages/1/stage"),
        (dense, "stages__1__chunks__0__chunk", 2, "stages.chunks", "/stages/1/chunks"),
        (dense, "stages__1__recompute", "full", "stages.recompute", "/stages/1/recompute"),
        (dense, "stages__0__vocabulary__input_rows", 64129, "stages.vocabulary", "/stages/0/vocabulary/input_rows"),
        (dense, "stages__0__chunks__0__layers", [0, 4], "cover.layers", "/stages/1/chunks/0/layers"),
        (dense, "stages__0__chunks__0__layers", [1, 3], "cover.layers", "/stages/0/chunks/0/layers"),
        (dense, "stages__3__chunks__1__layers", [29, 31], "cover.layers", "/stages"),
        (dense, "stages__1__chunks__0__layers", [3, 3], "cover.layers", "/stages/1/chunks/0/layers"),
        (dense, "stages__1__chunks__0__embedding", True, "cover.embedding", "/stages/1/chunks/0/embedding"),
        (dense, "stages__3__chunks__1__head", False, "cover.head", "/stages/3/chunks/1/head"),
        (dense, "stages__1__chunks__0__mtp_layers", [0, 1], "cover.mtp_layers", "/stages"),
        (latent, "stages__1__chunks__0__mtp_layers", [1, 2], "cover.mtp_layers", "/stages/1/chunks/0/mtp_layers"),
        (latent, "stages__1__chunks__0__mtp_layers", [0, 2], "cover.mtp_layers", "/stages"),
        (latent, "stages__0__chunks__0__mtp_layers", [0, 1], "cover.mtp_layers", "/stages/0/chunks/0/mtp_layers"),
    ],
)
def test_a_wrong_count_is_found_where_it_stands(plan: Any, path: str, value: Any, rule: str, where: str) -> None:
    assert (rule, where) in rules(plan(), **{path: value})


def test_a_missing_stage_and_a_missing_chunk_are_found() -> None:
    plan = dense()
    stages = plan.to_json()["stages"]
    assert {("stages.count", "/stages"), ("cover.layers", "/stages/0/chunks/1/layers")} <= rules(
        plan, stages=stages[:3]
    )
    assert ("stages.chunks", "/stages/2/chunks") in rules(plan, stages__2__chunks=stages[2]["chunks"][:1])
    assert ("stages.count", "/stages") in rules(plan, stages=[])


def test_swapped_stages_are_found() -> None:
    plan = dense()
    stages = plan.to_json()["stages"]
    found = rules(plan, stages=[stages[0], stages[2], stages[1], stages[3]])
    assert {("stages.order", "/stages/1/stage"), ("stages.chunks", "/stages/2/chunks")} <= found


def test_an_even_cut_passes_as_even() -> None:
    """16 layers on each of two stages."""
    plan = samples.make_plan(
        samples.h100_cluster(1),
        samples.LLAMA_8B,
        samples.Job(global_batch=16, sequence_length=4096),
        (samples.Configuration(tp=2, sp=1, pp=2, dp=2), (0, 17, 34)),
        options=samples.PlanOptions(split="even"),
    )
    assert rules(plan) == set()
