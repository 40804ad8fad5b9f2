"""Ctrl-C while CP-SAT runs."""

import os
import signal
import threading
from typing import Any

from solvers.schedule.cpsat import _run


class Endless:
    """A solver that runs until it is stopped."""

    def __init__(self) -> None:
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
    assert _run(solver, None, None) == ("stopped", True)
    timer.join()
