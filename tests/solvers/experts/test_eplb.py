"""EPLB's placements: its own published example, by hand, and the figures known for a large load."""

import numpy as np
import pytest

from solvers.experts.eplb import eplb
from solvers.experts.problem import balance_problem
from solvers.experts.replicas import expand, least_largest_share
from tests.oracles.experts import least_largest_load
from tests.solvers.experts.instances import deepseek_like, some_loads

# max/mean over 58 layers, mean and worst, measured with the published implementation on the same loads
MEASURED = {
    (256, 32, 1): (1.0915, 1.687),
    (288, 32, 1): (1.0064, 1.0111),
    (288, 32, 4): (1.0505, 1.144),
    (320, 64, 1): (1.0242, 1.0406),
    (320, 64, 8): (1.2790, 1.5926),
    (288, 144, 1): (1.1626, 1.4705),
    (320, 160, 1): (1.0891, 1.1298),
}


@pytest.mark.parametrize(("slots", "gpus", "nodes"), MEASURED)
def test_balance_is_that_of_the_published_implementation(slots: int, gpus: int, nodes: int) -> None:
    groups = 8 if nodes > 1 else None
    problem = balance_problem(
        deepseek_like(), gpus=gpus, slots_per_gpu=slots // gpus, gpus_per_node=gpus // nodes, expert_groups=groups
    )
    placement = eplb(problem)
    problem.check(placement)
    reached = problem.max_over_mean(placement)
    mean, worst = MEASURED[slots, gpus, nodes]
    assert reached.mean() == pytest.approx(mean, abs=6e-5)
    assert reached.max() == pytest.approx(worst, abs=6e-4)


def test_a_policy_that_groups_do_not_allow_is_refused() -> None:
    problem = balance_problem([1.0] * 6, gpus=4, slots_per_gpu=2, gpus_per_node=2, expert_groups=3)
    with pytest.raises(ValueError, match="3 groups of 2 experts do not divide evenly among 2 nodes"):
        eplb(problem)


@pytest.mark.parametrize("case", range(50))
def test_counts_have_the_least_largest_share_as_one_slot_per_gpu_shows(case: int) -> None:
    rng = np.random.default_rng(case)
    loads = some_loads(rng, 4)
    counts = least_largest_share(loads[None], 7)
    assert counts.sum() == 7
    assert (loads / counts).max() == pytest.approx(least_largest_load(loads, 7, 1))


def test_counts_are_written_out_in_the_order_of_the_experts() -> None:
    assert expand(np.array([[2, 1, 3], [1, 4, 1]])).tolist() == [[0, 0, 1, 2, 2, 2], [0, 1, 1, 1, 1, 2]]
