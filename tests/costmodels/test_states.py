"""Bytes per parameter and traffic under each ZeRO stage."""

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration
from costmodels.operators import System
from costmodels.states import StateTraffic, state_bytes
from tests.machines import cluster


def held(zero: int, **degrees: int) -> float:
    columns = Columns.of([Configuration(zero=zero, **degrees)])  # type: ignore[arg-type]
    return float(state_bytes(np.array([1e9]), np.array([0.0]), columns).total[0] / 1e9)


@pytest.mark.parametrize(("zero", "expected"), [(0, 18), (1, 6 + 12 / 8), (2, 2 + 16 / 8), (3, 18 / 8)])
def test_bytes_per_parameter_over_eight_replicas(zero: int, expected: float) -> None:
    """ZeRO (arXiv 1910.02054) fig. 1 with 4-byte gradients; stage 1 is Megatron-LM's 6 + 12/d."""
    assert held(zero, dp=8) == pytest.approx(expected)
    assert held(zero, dp=2, cp=4) == pytest.approx(expected), "context ranks hold the same parameters"


def test_bf16_gradients_take_half_the_bytes_of_fp32_ones() -> None:
    columns, one, none = Columns.of([Configuration(dp=8)]), np.array([1e9]), np.array([0.0])
    whole, half = (state_bytes(one, none, columns, kept) for kept in ("fp32", "bf16"))  # type: ignore[arg-type]
    assert (whole.gradients, half.gradients) == (4e9, 2e9)
    assert (whole.weights, whole.optimizer) == (half.weights, half.optimizer)


def test_experts_are_sharded_over_their_own_replicas() -> None:
    columns = Columns.of([Configuration(tp=2, sp=1, dp=8, ep=4, zero=1)])
    experts = state_bytes(np.array([0.0]), np.array([1e9]), columns)
    assert experts.total[0] / 1e9 == pytest.approx(6 + 12 / 4), "tp x dp / ep = 4 copies of each expert"


def traffic(zero: int, dp: int) -> StateTraffic:
    machine = cluster(nodes=max(1, dp // 8))
    system = System(cluster=machine, calibration=load_calibration(machine.gpu), precision="bf16")
    return StateTraffic.of(Columns.of([Configuration(zero=zero, dp=dp)]), system)


def test_a_lone_replica_reduces_nothing() -> None:
    one, none = np.array([1e9]), np.array([0.0])
    for zero in range(4):
        alone = traffic(zero, 1)
        assert alone.gradient_seconds(one, none) == 0
        assert alone.parameter_seconds(one, none) == 0
        assert sum(part.sum() for part in alone.microbatch_seconds(one, none)) == 0


def test_each_stage_moves_what_it_shards_when_it_shards_it() -> None:
    """Stage 0 and 1 reduce once a step, 2 and 3 every micro-batch; 3 gathers weights twice as well."""
    one, none = np.array([1e9]), np.array([0.0])
    once = [traffic(zero, 16).gradient_seconds(one, none)[0] for zero in range(4)]
    gathers = [traffic(zero, 16).parameter_seconds(one, none)[0] for zero in range(4)]
    always = [[part[0] for part in traffic(zero, 16).microbatch_seconds(one, none)] for zero in range(4)]
    assert once[0] > once[1] > 0 == once[2] == once[3]
    assert gathers[1] == gathers[2] > 0 == gathers[0] == gathers[3]
    assert always[0] == always[1] == [0, 0]
    assert always[2][0] == 0 < always[2][1]
    assert 0 < always[3][0] < always[3][1]


def test_the_optimizer_is_bound_by_memory_bandwidth() -> None:
    """By hand: bytes per parameter x parameters / (share of 3.35 TB/s), over the replicas that shard it."""
    machine = cluster()
    calibration = load_calibration(machine.gpu)
    whole = calibration.optimizer_bytes_per_parameter * 1e9 / (3.35e12 * calibration.memory_fraction)
    assert traffic(0, 8).optimizer_seconds(np.array([1e9]), np.array([0.0]))[0] == pytest.approx(whole)
    assert traffic(1, 8).optimizer_seconds(np.array([1e9]), np.array([0.0]))[0] == pytest.approx(whole / 8)
