"""Ctrl-C while CP-SAT runs."""

import os
import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from solvers.cpsat import run


class Endless:
    """A solver that runs until it is stopped."""

    def __init__(self) -> None:
        self.parameters = SimpleNamespace(catch_sigint_signal=True)
        self.stopped = threading.Event()

    def solve(self, model: Any, teller: Any) -> str:
        self.stopped.wait(60)
        return "stopped"

    def stop_search(self) -> None:
        self.stopped.set()


def test_an_interrupt_stops_the_solver_and_waits_for_its_answer() -> None:
    solver: Any = Endless()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    assert run(solver, None) == ("stopped", True)
    timer.join()
    assert solver.parameters.catch_sigint_signal is False


def test_signals_are_pythons_own_after_a_search() -> None:
    """CP-SAT's handler leaves the system's default behind, by which Ctrl-C kills the process."""
    from ortools.sat.python import cp_model

    before, model = signal.getsignal(signal.SIGINT), cp_model.CpModel()
    model.new_bool_var("x")
    assert run(cp_model.CpSolver(), model) == (cp_model.OPTIMAL, False)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
