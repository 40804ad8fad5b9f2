"""Activations in flight without a bubble, with proof and time: ``python -m tests.benchmarks.in_flight [seconds]``.

F = 10, I = W = 10 (B = 20 where they are one), S + T = 6, lookups of 0.5. Each count is that of the first
device, less p, for patterns of one micro-batch a period and of two. Nothing is asserted.
"""

import sys
from dataclasses import replace

from solvers.schedule.in_flight import least_in_flight
from solvers.schedule.problem import ScheduleProblem
from tests.solvers.schedule.instances import linear, passes, placed


def cases(devices: int) -> list[tuple[str, float, bool, ScheduleProblem]]:
    found = [("none", 0.0, whole, linear(devices, 1, whole=whole)) for whole in (True, False)]
    for method, s, t in (("vocab-1", 2.0, 4.0), ("vocab-2", 4.0, 2.0)):
        for whole in (True, False):
            for barrier in (0.0, 4.0, 6.0, 10.0, 20.0):
                vocabulary = replace(passes(devices, method, s, t, barrier=barrier), broadcast_seconds=0.0)
                problem = placed(range(devices), 1, whole=whole, vocabulary=vocabulary)
                found.append((method, barrier, whole, problem))
    return found


def main() -> None:
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    print(
        f"{'p':>3} {'passes':8} {'barrier':>7} {'backward':8} {'together':>8} {'beyond p':>11} {'status':10} {'s':>6}"
    )
    for devices in (4, 8, 16, 32, 64):
        for together in (1, 2) if devices <= 8 else (1,):
            for method, barrier, whole, problem in cases(devices):
                found = least_in_flight(problem, together=together, time_limit_seconds=limit)
                print(
                    f"{devices:>3} {method:8} {barrier:>7g} {'whole' if whole else 'split':8} {together:>8} "
                    f"{found.value - devices:>+11g} {found.status:10} {found.seconds:>6.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
