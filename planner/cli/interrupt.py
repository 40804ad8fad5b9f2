"""Ctrl-C during a search: ends it with the best plan so far, and never loses a plan that is being written."""

import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from solvers.solution import Stop


class Interrupt:
    """Decides what Ctrl-C means while it is entered; ``asked`` tells whether one came.

    Before and during the search it interrupts, and the search returns what it has. Once the search
    is over, the plan is finished first; a second Ctrl-C gives that up.
    """

    def __init__(self) -> None:
        self.asked = False
        self.bounded = False
        """Whether the bounds are there, so that the search has begun."""
        self._before: Any = None

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or not self.bounded or _searching(frame):
            raise KeyboardInterrupt
        click.echo("\nfinishing the plan; Ctrl-C again gives it up", err=True)


def _searching(frame: FrameType | None) -> bool:
    """Whether the search is running: it catches the interrupt and keeps what it found."""
    from solvers.search import best_first

    while frame is not None:
        if frame.f_code is best_first.__code__:
            return True
        frame = frame.f_back
    return False


class Asked:
    """A stopping rule that ends a search at the first Ctrl-C; a second one interrupts whatever runs."""

    def __init__(self) -> None:
        self._asked = False
        self._before: Any = None

    def __enter__(self) -> "Asked":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def __call__(self, evaluations: int) -> "Stop | None":
        return "interrupted" if self._asked else None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        click.echo("\nending with the best so far; Ctrl-C again ends at once", err=True)
