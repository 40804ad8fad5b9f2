"""Ranks by rule against an explicit table of all of them; operations against the predicted step."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from planner.plan import Plan, coordinates, groups, operations, with_hosts, with_order
from tests.planner.exports import plans
from tests.planner.plan import samples

PIPELINED = (samples.interleaved_dense, samples.experts_and_prediction_layer, samples.single_stage_windowed)


def table(plan: Plan, axes: tuple[str, ...]) -> Any:
    """Second method: all ranks in one array, slowest axis first, as Megatron's RankGenerator reshapes."""
    sizes = [plan.ranks.sizes[axis] for axis in reversed(axes)]  # type: ignore[index]
    return np.arange(plan.ranks.world_size).reshape(sizes)


@pytest.mark.parametrize("sample", PIPELINED)
@pytest.mark.parametrize("axes", [("tp", "cp", "dp", "pp"), ("etp", "ep", "edp", "pp")])
def test_coordinates_and_groups_are_those_of_the_rank_table(sample: Any, axes: tuple[str, ...]) -> None:
    plan = sample()
    ranks = table(plan, axes)
    for position, rank in np.ndenumerate(ranks):
        place = coordinates(plan, int(rank))
        assert tuple(getattr(place, axis) for axis in reversed(axes)) == position
        for axis in axes:
            along = len(axes) - 1 - axes.index(axis)
            line = ranks[tuple(slice(None) if i == along else p for i, p in enumerate(position))]
            assert groups(plan, axis, int(rank)) == tuple(line)  # type: ignore[arg-type]


ORDERED = (
    (plans.experts_plan(cp=2, dp=4), ("etp", "ep", "edp", "pp")),
    # tp-cp-pp-dp; a dense model, experts on etp ep = tp cp ranks in a row
    (with_order(samples.interleaved_dense(), "tp-cp-pp-dp"), ("tp", "cp", "pp", "dp")),
    (samples.folded_experts(ep=2), ("tp", "cp", "pp", "dp")),
    (samples.folded_experts(ep=2), ("etp", "ep", "pp", "edp")),
)


@pytest.mark.parametrize(("plan", "axes"), ORDERED)
def test_orders_and_context_parallelism(plan: Plan, axes: tuple[str, ...]) -> None:
    test_coordinates_and_groups_are_those_of_the_rank_table(lambda: plan, axes)


def test_experts_fold_over_pipelines_on_consecutive_ranks() -> None:
    """By hand: tp 2, pp 4, dp 4, so a stage holds two ranks of every eight; ep 8 with etp 1 takes them all in turn."""
    plan = samples.folded_experts()
    assert groups(plan, "ep", 0) == (0, 1, 8, 9, 16, 17, 24, 25)
    assert groups(plan, "ep", 26) == (2, 3, 10, 11, 18, 19, 26, 27)
    assert groups(plan, "pp", 9) == (9, 11, 13, 15)
    assert groups(plan, "dp", 9) == (1, 9, 17, 25)
    assert groups(plan, "edp", 9) == (9,)
    place = coordinates(plan, 27)
    assert (place.tp, place.cp, place.dp, place.pp, place.stage) == (1, 0, 3, 1, 1)
    assert (place.etp, place.ep, place.edp) == (0, 7, 0)


def test_hosts_and_gpus_take_the_ranks_in_their_order() -> None:
    """Host k of the order holds ranks 8 k to 8 k + 7; local rank l runs on GPU local_gpus[l]."""
    order = ["n3", "n1", "n4", "n2"]
    plan = with_hosts(samples.experts_and_prediction_layer(), order, {"n4": (7, 6, 5, 4, 0, 1, 2, 3)})
    places = [coordinates(plan, rank) for rank in range(32)]
    assert [place.host for place in places[::8]] == order
    assert [place.node for place in places[::8]] == [0, 1, 2, 3]
    assert [place.local_gpu for place in places[16:24]] == [7, 6, 5, 4, 0, 1, 2, 3]
    assert [place.local_gpu for place in places[:8]] == list(range(8))
    assert groups(plan, "ep", 9) == groups(samples.experts_and_prediction_layer(), "ep", 9)


def test_a_hostlist_names_the_hosts_and_one_list_orders_every_host() -> None:
    plan = with_hosts(samples.experts_and_prediction_layer(), "n[08-10],head", (1, 0, 2, 3, 4, 5, 6, 7))
    assert [coordinates(plan, rank).host for rank in (0, 8, 16, 24)] == ["n08", "n09", "n10", "head"]
    assert [coordinates(plan, rank).local_gpu for rank in (0, 9, 31)] == [1, 0, 7]
    assert coordinates(samples.experts_and_prediction_layer(), 9).host is None


def test_every_gpu_of_every_node_runs_one_rank() -> None:
    plan = samples.interleaved_dense()
    places = [coordinates(plan, rank) for rank in range(64)]
    assert sorted((p.node, p.local_gpu) for p in places) == [(n, g) for n in range(8) for g in range(8)]


def test_a_rank_knows_its_chunks_and_layers() -> None:
    """Stage 2 of 4, two chunks: ranks 32 to 47 of 64."""
    plan = samples.interleaved_dense()
    cut = plan.boundaries()
    place = coordinates(plan, 40)
    assert (place.stage, place.chunks) == (2, (2, 6))
    assert place.layers == ((cut[2] - 1, cut[3] - 1), (cut[6] - 1, cut[7] - 1))


def test_one_rank_of_sixteen_thousand() -> None:
    """tp 8 x dp 32 fill a stage with 256 ranks: 16,383 is the last of stage 63."""
    plan = samples.thousands_of_gpus()
    place = coordinates(plan, 16383)
    assert (place.tp, place.cp, place.dp, place.pp, place.node, place.local_gpu) == (7, 0, 31, 63, 2047, 7)
    assert groups(plan, "dp", 16383) == tuple(range(63 * 256 + 7, 16384, 8))


@pytest.mark.parametrize("rank", [-1, 64])
def test_ranks_outside_the_plan_are_refused(rank: int) -> None:
    with pytest.raises(ValueError, match="ranks 0 to 63"):
        coordinates(samples.interleaved_dense(), rank)


@pytest.mark.parametrize("sample", PIPELINED)
def test_operations_fill_the_predicted_pipeline(sample: Any) -> None:
    """Every micro-batch goes forward and backward through every chunk; the last end is the makespan."""
    plan = sample()
    ends = []
    for stage in plan.stages:
        run = operations(plan, stage.stage)
        expected = {
            (kind, chunk.chunk, microbatch)
            for kind in ("forward", "backward")
            for chunk in stage.chunks
            for microbatch in range(plan.schedule.microbatches)
        }
        assert len(run) == len(expected)
        assert {(o.kind, o.chunk, o.microbatch) for o in run} == expected
        busy = math.fsum(o.end_seconds - o.start_seconds for o in run)
        assert math.isclose(busy, stage.busy_seconds, rel_tol=1e-9)
        assert all(a.end_seconds <= b.start_seconds + 1e-12 for a, b in pairwise(run))
        ends.append(run[-1].end_seconds)
    assert math.isclose(max(ends), plan.prediction.pipeline_seconds, rel_tol=1e-9)


def test_a_stage_outside_the_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="stages 0 to 3"):
        operations(samples.interleaved_dense(), 4)
