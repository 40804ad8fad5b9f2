"""Compiled loops made ready before a search's clock starts: some seconds once on a machine, then almost none.

``compiled`` keeps them on disk, where a folder for that can be written. Each solver has a ``readiness`` of its own, a
function that calls all its loops once; what it does is done once in a process.
"""

import threading
from collections.abc import Callable

PATIENCE_SECONDS = 1.0
"""Loading takes less."""


def told(work: Callable[[], None], tell: Callable[[], None] | None = None) -> None:
    """Does ``work``; ``tell`` is called (from another thread) if that is not quick."""
    timer = threading.Timer(PATIENCE_SECONDS, tell or (lambda: None))
    timer.daemon = True
    timer.start()
    try:
        work()
    finally:
        timer.cancel()
