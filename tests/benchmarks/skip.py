"""Skip schedules of the bundled instances: ``python -m tests.benchmarks.skip [seconds] [seeds] [name ...]``.

Ours beside SkipPipe's figure or the best found before, greedy skipping and the full pipeline (both first in, first
out in our simulator), the bound over what is free and what it is over. Nothing is asserted. Names: ``fixed``,
``free``, ``chain_8``, ``chain_12``, ``chain_20``.
"""

import os
import sys
from collections.abc import Iterator

from solvers.skip.baselines import baselines
from solvers.skip.bounds import Over
from solvers.skip.problem import SkipProblem
from solvers.skip.simulate import first_in_first_out
from solvers.skip.solve import solve_skip
from tests.solvers.skip.instances import CHAINS, chain, published_paths, read, twenty_nodes


def rows(names: list[str], seeds: int) -> Iterator[tuple[str, SkipProblem, int, float]]:
    """(name, problem, seed, figure to compare with)."""
    published = read("instance_20_nodes")["published_schedule"]["ca-expected-time"]
    for name in ("fixed", "free"):
        if name in names:
            for seed in range(seeds):
                yield f"20 nodes, arrangement {name}", twenty_nodes(fixed=name == "fixed"), seed, published
    for name in CHAINS:
        if name in names:
            for case in read(name)["results"]:
                micro, length = case["micro_batches"], case["path_length"]
                yield f"{name} M={micro} K={length}", chain(name, micro, length), 0, case["best_found"]


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    names = sys.argv[3:] or ["fixed", "free", *CHAINS]
    if "fixed" in names:
        given = read("instance_20_nodes")["published_schedule"]
        problem = twenty_nodes()
        assert problem.stage_of_node is not None
        for key, figure in (("ca-paths", "ca-expected-time"), ("non-ca-paths", "nonca-expected-time")):
            ours = first_in_first_out(problem, problem.stage_of_node, published_paths(key))
            print(f"SkipPipe's {key}: its figure {given[figure]:.2f}, in our simulator {ours and ours.makespan:.2f}")
    print(
        f"{'instance':30} {'seed':>4} {'ours':>8} {'fifo':>8} {'before':>8} {'greedy':>8} {'full':>8} {'bound':>8} "
        f"{'gap':>7} {'seconds':>7} {'eval/s':>8} {'load':>5}  status, bound over"
    )
    for name, problem, seed, before in rows(names, seeds):
        result = solve_skip(problem, time_limit_seconds=seconds, seed=seed)
        solution, fifo = result.solution, result.first_in_first_out
        assert solution.choice is not None
        full, _, greedy = baselines(problem, solution.choice.stage_of_node)
        free = problem.stage_of_node is None
        over: Over = "arrangements, paths and orders" if free else "paths and orders"
        print(
            f"{name:30} {seed:>4} {solution.value:>8.2f} {fifo.value if fifo else float('inf'):>8.2f} {before:>8.2f} "
            f"{greedy.makespan:>8.2f} {full.makespan:>8.2f} {solution.lower_bound:>8.2f} {solution.gap:>7.2%} "
            f"{solution.seconds:>7.1f} {result.evaluations_per_second:>8.0f} {os.getloadavg()[0]:>5.1f}  "
            f"{solution.status}, {over}",
            flush=True,
        )


if __name__ == "__main__":
    main()
