"""The shortest period within the caps. F = I = W = 10, memory +1 at F, -1/2 at I, -1/2 at W."""

import math
import random
from itertools import count

import pytest

from solvers.schedule.graph import operation_graph
from solvers.schedule.periodic import busiest_work
from solvers.schedule.periodic_throughput import least_period, period_bound
from tests.oracles.periodic import least_peak
from tests.solvers.schedule.instances import INF, linear, passes, placed, v_placed
from tests.solvers.schedule.test_periodic_cpsat import split_instance, work


def test_the_bound_is_the_memory_that_a_micro_batch_occupies_over_the_cap() -> None:
    """On the first of 8 devices half of it from 0 to 160 (8 F, 8 I) and half to 170: 165, over 4."""
    problem = linear(8, 1, cap=4)
    assert period_bound(operation_graph(problem), problem.memory_cap) == 165 / 4


def test_the_bound_counts_what_is_kept_between_vocabulary_passes() -> None:
    """Whole backward, p = 2, cap 3: F to B of the first device is 10 + 10 + 2 + 7 + 4 + 7 + 20 + 20 = 80
    seconds of 1, S to T 2 + 7 + 4 = 13 seconds of 5, without a broadcast's 7 more: (87 + 65) / 3 with it."""
    problem = placed((0, 1), 1, cap=3, whole=True, vocabulary=passes(2, "vocab-1", 2, 4, barrier=7, kept=5))
    assert period_bound(operation_graph(problem), problem.memory_cap) == pytest.approx((87 + 65) / 3)


def test_without_caps_the_busiest_device_is_never_idle() -> None:
    for problem in (linear(4, 1, 1.0), v_placed(3, 1, 1.0), linear(4, 1, whole=True)):
        found = least_period(problem)
        assert (found.status, found.value) == ("optimal", busiest_work(operation_graph(problem)))


@pytest.mark.parametrize(("devices", "seconds"), [(1, 30), (2, 50), (3, 70)])
def test_one_at_a_time_takes_all_its_way(devices: int, seconds: float) -> None:
    """Room for one micro-batch on the first device: F, then F and I of all others, then I and W."""
    found = least_period(linear(devices, 1, cap=1))
    assert (found.status, found.value) == ("optimal", seconds)


def test_the_shortest_period_is_that_of_the_oracle() -> None:
    """The oracle knows whole periods only, and any longer one does too."""
    found = []
    for seed in range(16):
        problem, jobs, kept = split_instance(random.Random(seed))
        period = next(p for p in count(work(jobs)) if least_peak(jobs, p, kept, problem.memory_cap) is not None)
        answer = least_period(problem)
        assert answer.status == "optimal"
        assert answer.choice is not None
        assert all(a <= b for a, b in zip(answer.choice.peak_memory, problem.memory_cap, strict=True))
        found.append((math.ceil(answer.value * (1 - 1e-9)), period, work(jobs)))
    assert [ours for ours, _, _ in found] == [theirs for _, theirs, _ in found]
    assert any(theirs > least for _, theirs, least in found)


def test_two_micro_batches_a_period_are_faster_within_the_same_cap() -> None:
    """8 devices with room for 6: 40 seconds each alone, and no bubble at all for two together."""
    problem = linear(8, 1, cap=6)
    assert least_period(problem).value == 40
    together = least_period(problem, together=2)
    assert (together.status, together.value) == ("optimal", 30)


def test_figures_without_a_common_unit_are_met_but_for_rounding() -> None:
    found = least_period(linear(3, 1, 2**0.5, cap=3, seconds=10 * 3**0.5))
    assert found.choice is not None
    assert found.value >= found.lower_bound >= 30 * 3**0.5 * (1 - 1e-9)
    assert found.gap < 1e-3


def test_a_cap_below_one_micro_batch_is_infeasible() -> None:
    found = least_period(linear(2, 1, cap=0.75))
    assert (found.status, found.value, found.choice) == ("infeasible", INF, None)
    assert found.shortfall == 0.25
