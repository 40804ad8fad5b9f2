"""Balance of experts beside EPLB on a load like DeepSeek-R1's: ``python -m tests.benchmarks.experts [--prove W]``.

58 layers of 256 experts; max over mean GPU, mean over the layers and worst layer. Seconds are the best of three, ours
with the bounds; EPLB's are those of our own implementation of it, with the published one's balance in every row (the
published one, on another machine, took 1.0 to 5.5 s for these rows). ``--prove W`` asks CP-SAT about the rows
with two slots per GPU, W units of work a layer. Then balance against moves, from a placement for other loads.
Nothing is asserted.
"""

import argparse
import time

import numpy as np

from solvers.experts.balance import balance
from solvers.experts.eplb import eplb
from solvers.experts.movement import move_within
from solvers.experts.pairing_proof import prove_pairs
from solvers.experts.problem import balance_problem
from tests.solvers.experts.instances import deepseek_like

ROWS = [(256, 32, 1), (288, 32, 1), (288, 32, 4), (320, 64, 1), (320, 64, 8), (288, 144, 1), (320, 160, 1)]
GROUPS = 8
DRIFT = 0.3  # sigma of the lognormal factors between the loads of the placement in use and today's


def table(work: float | None) -> None:
    print(f"{'slots':>5} {'GPUs':>5} {'nodes':>6} {'EPLB':>16} {'s':>6}", end=" ")
    print(f"{'ours':>16} {'bound':>16} {'gap':>7} {'proven':>6} {'s':>6}")
    for slots, gpus, nodes in ROWS:
        problem = balance_problem(
            deepseek_like(),
            gpus=gpus,
            slots_per_gpu=slots // gpus,
            gpus_per_node=gpus // nodes,
            expert_groups=GROUPS if nodes > 1 else None,
        )
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            baseline = eplb(problem)
            seconds.append(time.perf_counter() - began)
        before = problem.max_over_mean(baseline)
        solutions = [balance(problem) for _ in range(3)]
        found, ours = solutions[0].choice, min(each.seconds for each in solutions)
        assert found is not None
        if work and slots == 2 * gpus:
            began = time.perf_counter()
            found = prove_pairs(problem, found, work_per_layer=work)
            ours += time.perf_counter() - began
        value, bound = found.max_over_mean, found.lower_bound
        print(
            f"{slots:>5} {gpus:>5} {nodes if nodes > 1 else 'global':>6} {_two(before)} {min(seconds):>6.2f} "
            f"{_two(value)} {_two(bound)} {1 - bound.mean() / value.mean():>7.2%} {found.proven.sum():>6} {ours:>6.2f}",
            flush=True,
        )


def moves() -> None:
    loads = deepseek_like()
    drifted = loads * np.random.default_rng(0).lognormal(0, DRIFT, loads.shape)
    problem = balance_problem(loads, gpus=32, slots_per_gpu=9)
    current = eplb(balance_problem(drifted, gpus=32, slots_per_gpu=9))
    moved = move_within(problem, current, 58 * 288).choice
    assert moved is not None
    print(f"\n288 slots, 32 GPUs, loads drifted by lognormal factors (sigma {DRIFT}); moves over all layers")
    for limit in (0, 29, 58, 116, 290, 580, 1160, 2320, 58 * 288):
        print(f"{limit:>6} moves: {moved.curve[limit]:.4f}")


def _two(figures: np.ndarray) -> str:
    return f"{figures.mean():>8.4f}/{figures.max():.4f} "


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prove", type=float, default=None)
    table(parser.parse_args().prove)
    moves()
