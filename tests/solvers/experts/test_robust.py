"""The worst case over traces, against brute force over all placements."""

import numpy as np
import pytest

from solvers.experts.balance import balance
from solvers.experts.problem import balance_problem
from solvers.experts.robust import balance_worst
from tests.oracles.experts import all_placements, gpu_loads
from tests.solvers.experts.instances import some_loads


def test_the_worst_trace_is_never_better_and_mostly_as_good_as_brute_force() -> None:
    met = 0
    for case in range(60):
        rng = np.random.default_rng(case)
        experts, gpus, slots = [(5, 3, 2), (5, 4, 2), (6, 3, 2), (4, 3, 3)][case % 4]
        traces = [some_loads(rng, experts) + 0.01 for _ in range(2)]
        every = all_placements(experts, gpus, slots)
        best = np.max([gpu_loads(every, w).max(axis=1) / w.sum() * gpus for w in traces], axis=0).min()
        problems = [balance_problem(w, gpus=gpus, slots_per_gpu=slots) for w in traces]
        solution = balance_worst(problems, seed=case)
        assert solution.choice is not None
        placement = solution.choice.placement
        assert solution.value == pytest.approx(max(p.max_over_mean(placement)[0] for p in problems))
        assert solution.lower_bound <= best * (1 + 1e-9) <= solution.value * (1 + 2e-9)
        met += solution.value <= best * (1 + 1e-9)
    assert met >= 45


def test_two_traces_at_odds_are_served_better_than_by_the_pooled_placement() -> None:
    rng = np.random.default_rng(0)
    traces = [rng.lognormal(0, 1, (4, 32)) for _ in range(3)]
    problems = [balance_problem(w, gpus=8, slots_per_gpu=5) for w in traces]
    pooled = balance(balance_problem(sum(traces), gpus=8, slots_per_gpu=5)).choice
    assert pooled is not None
    worst_of_pooled = np.max([p.max_over_mean(pooled.placement) for p in problems], axis=0)
    solution = balance_worst(problems)
    assert solution.value < worst_of_pooled.mean() * 0.9


def test_unlike_traces_are_refused() -> None:
    first = balance_problem([1.0, 2.0], gpus=2, slots_per_gpu=1)
    with pytest.raises(ValueError, match="trace 1 has other"):
        balance_worst([first, balance_problem([1.0, 2.0], gpus=2, slots_per_gpu=2)])
    with pytest.raises(ValueError, match="at least one"):
        balance_worst([])
