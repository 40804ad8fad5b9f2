"""CP-SAT beside Python's own signals: Ctrl-C ends a search, and is heard at once."""

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

POLL_SECONDS = 0.2


def run(solver: "cp_model.CpSolver", model: "cp_model.CpModel", teller: Any = None) -> tuple[Any, bool]:
    """The status, and whether Ctrl-C ended the search; what was found until then is in ``solver``.

    The solver runs in a thread of its own, so that Python hears the signal. Its own handler, which would leave
    the system's default behind when it is done, is switched off.
    """
    solver.parameters.catch_sigint_signal = False
    statuses: list[Any] = []
    over = threading.Event()

    def solve() -> None:
        try:
            statuses.append(solver.solve(model, teller))
        finally:
            over.set()

    threading.Thread(target=solve, daemon=True).start()
    interrupted = False
    while True:
        try:
            if over.wait(POLL_SECONDS):
                break
        except KeyboardInterrupt:
            interrupted = True
            solver.stop_search()
    return statuses[0], interrupted
