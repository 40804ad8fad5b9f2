"""Ctrl-C during a search: ends it with the best plan so far, and never loses a plan that is being written."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from solvers.solution import Stop


class _Handler:
    """Hears Ctrl-C in place of Python while it is entered, in the main thread."""

    _before: Any = None

    def __enter__(self) -> Self:
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
        raise NotImplementedError


class Interrupt(_Handler):
    """Decides what Ctrl-C means while it is entered; ``asked`` tells whether one came.

    Before and during the search it interrupts, and the search returns what it has. Once the search
    is over, the plan is finished first; a second Ctrl-C gives that up. ``search`` is the function that
    catches the interrupt and keeps what it found, by default that of ``plan solve``; ``result`` is what
    it makes.
    """

    def __init__(self, search: Callable[..., object] | None = None, result: str = "plan") -> None:
        self._search, self._result = search, result
        self.asked = False
        self.bounded = False
        """Whether the bounds are there, so that the search has begun."""

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or not self.bounded or self._searching(frame):
            raise KeyboardInterrupt
        click.echo(f"\nfinishing the {self._result}; Ctrl-C again gives it up", err=True)

    def _searching(self, frame: FrameType | None) -> bool:
        if self._search is None:
            from solvers.search import best_first

            self._search = best_first
        code = getattr(self._search, "__code__", None)
        while frame is not None:
            if frame.f_code is code:
                return True
            frame = frame.f_back
        return False


class Asked(_Handler):
    """A stopping rule that ends a search at the first Ctrl-C; a second one interrupts whatever runs."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self, evaluations: int) -> "Stop | None":
        return "interrupted" if self._asked else None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        click.echo("\nending with the best so far; Ctrl-C again ends at once", err=True)
