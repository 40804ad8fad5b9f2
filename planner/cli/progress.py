"""A line on stderr for work that takes longer than a second."""

import sys
import time

import click

COMPILING = "compiling the search, once on this machine: up to half a minute, outside the time limit"

TTY_SECONDS = 0.2
LINES_SECONDS = 5.0
FIRST_SECONDS = 1.0


class Line:
    """Rewrites one line on a terminal; elsewhere a plain line now and then. Silent in the first second."""

    def __init__(self) -> None:
        self.tty = sys.stderr.isatty()
        self.next = time.monotonic() + FIRST_SECONDS
        self.shown = False

    def show(self, text: str) -> None:
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + (TTY_SECONDS if self.tty else LINES_SECONDS)
        self.shown = True
        click.echo(f"\r\x1b[K{text}" if self.tty else text, err=True, nl=not self.tty)

    def close(self) -> None:
        if self.shown and self.tty:
            click.echo("\r\x1b[K", err=True, nl=False)
