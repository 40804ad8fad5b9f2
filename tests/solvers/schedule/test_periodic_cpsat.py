"""CP-SAT over patterns against every integer start of small instances."""

import random
from collections.abc import Iterator

import pytest

from solvers.schedule.graph import operation_graph
from solvers.schedule.periodic import pattern_of
from solvers.schedule.periodic_cpsat import Limits, find_pattern
from solvers.schedule.problem import ScheduleProblem, VocabularyPasses
from tests.oracles.periodic import Job, least_peak

LIMITS = Limits(workers=1)


def split_instance(chance: random.Random) -> tuple[ScheduleProblem, list[Job], list[tuple[int, int, float]]]:
    """Two stages, F, I and W, a link and caps."""
    f, i, w = ([chance.randint(1, 2) for _ in range(2)] for _ in range(3))
    lag = chance.randint(0, 2)
    problem = ScheduleProblem(
        devices=2,
        microbatches=1,
        device_of_chunk=(0, 1),
        forward_seconds=tuple(f),
        input_grad_seconds=tuple(i),
        weight_grad_seconds=tuple(w),
        p2p_seconds=(lag,),
        activation=(1.0, 1.0),
        released_by_input_grad=(0.25, 0.25),
        released_by_weight_grad=(0.75, 0.75),
        memory_cap=(chance.choice((1.75, 2.0, 9.0)), chance.choice((1.0, 1.75, 9.0))),
    )
    jobs = [
        Job(0, f[0]),
        Job(1, f[1], ((0, lag),)),
        Job(1, i[1], ((1, 0),)),
        Job(0, i[0], ((2, lag),)),
        Job(0, w[0], ((3, 0),)),
        Job(1, w[1], ((2, 0),)),
    ]
    return problem, jobs, [(0, 3, 0.25), (0, 4, 0.75), (1, 2, 0.25), (1, 5, 0.75)]


def vocabulary_instance(chance: random.Random) -> tuple[ScheduleProblem, list[Job], list[tuple[int, int, float]]]:
    """Two stages with a split vocabulary and whole backward passes; lookups take no time."""
    f, b, s, t = ([chance.randint(1, 2) for _ in range(2)] for _ in range(4))
    barrier, first = chance.randint(0, 2), chance.random() < 0.5
    problem = ScheduleProblem(
        devices=2,
        microbatches=1,
        device_of_chunk=(0, 1),
        forward_seconds=tuple(f),
        input_grad_seconds=tuple(b),
        weight_grad_seconds=(0.0, 0.0),
        p2p_seconds=(0.0,),
        activation=(1.0, 1.0),
        released_by_input_grad=(1.0, 1.0),
        released_by_weight_grad=(0.0, 0.0),
        memory_cap=(9.0, chance.choice((2.0, 2.5, 9.0))),
        vocabulary=VocabularyPasses(
            passes="vocab-1" if first else "vocab-2",
            s_seconds=tuple(s),
            t_seconds=tuple(t),
            input_forward_seconds=(0.0, 0.0),
            input_backward_seconds=(0.0, 0.0),
            barrier_seconds=barrier,
            kept=(0.5, 0.5),
        ),
        split_backward=False,
    )
    after_s = ((2, barrier), (3, barrier))
    jobs = [
        Job(0, f[0]),
        Job(1, f[1], ((0, 0),)),
        Job(0, s[0], ((1, 0),)),
        Job(1, s[1], ((1, 0),)),
        Job(0, t[0], after_s),
        Job(1, t[1], after_s),
        Job(1, b[1], ((4, barrier), (5, barrier)) if first else after_s),
        Job(0, b[0], ((6, 0),)),
    ]
    return problem, jobs, [(0, 7, 1.0), (1, 6, 1.0), (2, 4, 0.5), (3, 5, 0.5)]


def work(jobs: list[Job]) -> int:
    return max(sum(job.seconds for job in jobs if job.device == device) for device in (0, 1))


def answers(seeds: range, make: str, slack: int) -> Iterator[tuple[float | None, float | None]]:
    for seed in seeds:
        chance = random.Random(seed)
        problem, jobs, kept = split_instance(chance) if make == "split" else vocabulary_instance(chance)
        period = work(jobs) + chance.randint(0, slack)
        graph = operation_graph(problem)
        found = find_pattern(graph, period, caps=problem.memory_cap, least=[0], limits=LIMITS)
        if found.rounds is not None:
            pattern = pattern_of(graph, found.rounds)
            assert pattern.period <= period
            assert pattern.peak_memory[0] == found.value == found.bound
            assert all(one <= cap for one, cap in zip(pattern.peak_memory, problem.memory_cap, strict=True))
        yield (None if found.rounds is None else found.value), least_peak(jobs, period, kept, problem.memory_cap)


@pytest.mark.parametrize(("make", "seeds", "slack"), [("split", range(40), 1), ("vocabulary", range(2, 5), 0)])
def test_the_least_peak_is_that_of_the_oracle(make: str, seeds: range, slack: int) -> None:
    both = list(answers(seeds, make, slack))
    assert [ours for ours, _ in both] == [theirs for _, theirs in both]
    assert len({theirs for _, theirs in both}) > 1
