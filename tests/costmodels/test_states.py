"""Bytes per parameter and traffic under each ZeRO stage."""

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration
from costmodels.operators import System
from costmodels.states import StateTraffic, state_bytes
from tests.bare import bare_calibration, bare_cluster
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


def test_bf16_moments_take_4_bytes_fewer_and_move_8_fewer_a_step() -> None:
    """By hand: two moments of 2 bytes instead of 4, held once, read and written in an update."""
    columns, one, none = Columns.of([Configuration(dp=8)]), np.array([1e9]), np.array([0.0])
    whole, half = (state_bytes(one, none, columns, moments=kept) for kept in ("fp32", "bf16"))  # type: ignore[arg-type]
    assert (whole.optimizer * 8, half.optimizer * 8) == (12e9, 8e9)
    assert (whole.weights, whole.gradients) == (half.weights, half.gradients)
    system = System(cluster=bare_cluster(memory=1e9), calibration=bare_calibration(), precision="bf16")
    seconds = [
        StateTraffic.of(columns, system, moments=kept).optimizer_seconds(one, none)[0]  # type: ignore[arg-type]
        for kept in ("fp32", "bf16")
    ]
    assert seconds == pytest.approx([30 / 8, 22 / 8])


def test_pytorchs_fully_sharded_weights_are_its_masters() -> None:
    """By hand: 4 of weights, 4 of gradients and 8 of moments, over eight replicas. torchtitan's peaks of 8B on
    8 and on 128 H100 differ by 15.0 GiB = 16 x 8.03e9 x (1/8 - 1/128) bytes x 1.07 reserved over allocated."""
    one, none = np.array([1e9]), np.array([0.0])
    for zero, expected in ((3, 16 / 8), (2, 2 + 16 / 8), (1, 6 + 12 / 8)):
        columns = Columns.of([Configuration(zero=zero, dp=8)])
        assert state_bytes(one, none, columns, software="pytorch").total[0] / 1e9 == pytest.approx(expected)
    assert pytest.approx(77.0 - 62.0, rel=0.02) == 16 * 8.03e9 * (1 / 8 - 1 / 128) * 1.075 / 2**30


def test_gradients_reduced_once_a_step_stay_whole_until_then() -> None:
    """By hand, ZeRO 3 over eight replicas: 14 / 8 + 4 bytes a parameter; one reduce-scatter a step and none a
    micro-batch, of 4 bytes a parameter, where weights are still gathered in both passes."""
    columns, one, none = Columns.of([Configuration(zero=3, dp=8)]), np.array([1e9]), np.array([0.0])
    whole = np.array([True])
    assert state_bytes(one, none, columns, whole_gradients=whole).total[0] / 1e9 == pytest.approx(14 / 8 + 4)
    machine = cluster(nodes=1)
    system = System(cluster=machine, calibration=load_calibration(machine.gpu), precision="bf16")
    each, once = (StateTraffic.of(columns, system, whole_gradients=flag) for flag in (False, whole))
    assert (each.gradient_seconds(one, none), once.microbatch_seconds(one, none)[1]) == (
        0,
        each.microbatch_seconds(one, none)[0],
    )
    zero_1 = StateTraffic.of(Columns.of([Configuration(zero=1, dp=8)]), system)
    assert once.gradient_seconds(one, none) == zero_1.gradient_seconds(one, none) > 0


def test_pytorch_reduces_gradients_in_what_they_are_kept_in() -> None:
    """fp32 gradients scattered in every micro-batch take as long as ZeRO 1's once a step, bf16 ones less."""
    one, none, machine = np.array([1e9]), np.array([0.0]), cluster(nodes=1)
    system = System(cluster=machine, calibration=load_calibration(machine.gpu), precision="bf16")
    columns = Columns.of([Configuration(zero=2, dp=8)])
    once = StateTraffic.of(Columns.of([Configuration(zero=1, dp=8)]), system).gradient_seconds(one, none)
    wide, narrow = (StateTraffic.of(columns, system, software=s) for s in ("pytorch", "megatron"))  # type: ignore[arg-type]
    assert wide.microbatch_seconds(one, none)[1] == once
    assert narrow.microbatch_seconds(one, none)[1] < once


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


# -- by hand, every overhead off (tests.bare) ----------------------------------------------------


def by_hand(zero: int, *, gradients: str = "fp32", domain: int = 16, **degrees: int) -> StateTraffic:
    """16 GPUs, 100 bytes/s inside a domain and 10 between, memory at 5 bytes/s."""
    machine = bare_cluster(16 // domain, domain, up=100, out=10, memory=5)
    system = System(cluster=machine, calibration=bare_calibration(), precision="bf16")
    columns = Columns.of([Configuration(zero=zero, **degrees)])  # type: ignore[arg-type]
    return StateTraffic.of(columns, system, gradients)  # type: ignore[arg-type]


DENSE, EXPERTS = np.array([1000.0]), np.array([600.0])
SPREAD = {"tp": 2, "sp": 1, "cp": 2, "dp": 4, "ep": 2, "etp": 2}  # 8 dense replicas, 4 of each expert


@pytest.mark.parametrize(("gradients", "width"), [("fp32", 4), ("bf16", 2)])
def test_gradients_are_reduced_over_each_parameters_own_replicas(gradients: str, width: int) -> None:
    """A ring moves 2 (n-1)/n of an all-reduced buffer, (n-1)/n of a scattered one."""
    ring = width * (7 / 8 * DENSE + 3 / 4 * EXPERTS) / 100
    found = [by_hand(zero, gradients=gradients, **SPREAD).gradient_seconds(DENSE, EXPERTS) for zero in range(4)]
    np.testing.assert_allclose(found, [2 * ring, ring, [0], [0]])


def test_weights_are_gathered_in_bf16() -> None:
    ring = 2 * (7 / 8 * DENSE + 3 / 4 * EXPERTS) / 100
    found = [by_hand(zero, **SPREAD).parameter_seconds(DENSE, EXPERTS) for zero in range(4)]
    np.testing.assert_allclose(found, [[0], ring, ring, [0]])


def test_every_micro_batch_moves_bf16_weights_and_gradients_of_sharded_states() -> None:
    ring = 2 * (7 / 8 * DENSE + 3 / 4 * EXPERTS) / 100
    found = [by_hand(zero, **SPREAD).microbatch_seconds(DENSE, EXPERTS) for zero in range(4)]
    np.testing.assert_allclose(found, [[[0], [0]], [[0], [0]], [[0], ring], [ring, 2 * ring]])


def test_replicas_in_several_domains_share_the_nics_they_have() -> None:
    """By hand, domains of 4: tensor pairs leave 2 dense replicas in each of 4 domains, 2 x 10 bytes/s;
    the 4 replicas of an expert (stride 4) stand in a domain each, 10 bytes/s."""
    traffic = by_hand(1, domain=4, **SPREAD)
    expected = 4 * (7 / 8 * DENSE / 20 + 3 / 4 * EXPERTS / 10)
    np.testing.assert_allclose(traffic.gradient_seconds(DENSE, EXPERTS), expected)


def test_the_update_touches_what_a_rank_keeps() -> None:
    """30 bytes a parameter at 5 bytes/s: all of them without ZeRO, else 1/8 and 1/4."""
    found = [by_hand(zero, **SPREAD).optimizer_seconds(DENSE, EXPERTS) for zero in range(4)]
    sharded = 6 * (DENSE / 8 + EXPERTS / 4)
    np.testing.assert_allclose(found, [6 * (DENSE + EXPERTS), sharded, sharded, sharded])


@pytest.mark.parametrize("zero", range(4))
def test_state_bytes_by_part(zero: int) -> None:
    """Weights 2, gradients 4, optimizer 12 bytes; sharded from stages 3, 2 and 1 on."""
    columns = Columns.of([Configuration(zero=zero, **SPREAD)])  # type: ignore[arg-type]
    found = state_bytes(DENSE, EXPERTS, columns)
    for held, width, stage in ((found.weights, 2, 3), (found.gradients, 4, 2), (found.optimizer, 12, 1)):
        assert held == pytest.approx(width * (DENSE / 8 + EXPERTS / 4 if zero >= stage else DENSE + EXPERTS))
