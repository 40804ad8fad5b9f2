"""Ranks by rule against an explicit table of all of them; operations against the predicted step."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from planner.plan import Plan, coordinates, groups, operations
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
