"""Options that every command has which solves one problem of its own: how long, which seed, how to print, where to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def solver_options(
    printed: str,
    *,
    seconds: float | None = 60.0,
    limit: str = "Stop after S seconds with the best so far.",
    output: str = "Write the JSON here.",
) -> Callable[[Decorated], Decorated]:
    """``--time-limit``, ``--seed``, ``--json`` and ``-o``. ``printed``: what ``--json`` prints; ``seconds``: the limit
    where none is given, None for none; ``limit`` and ``output``: help of theirs."""
    options = (
        click.option(
            "--time-limit",
            type=click.FloatRange(0, min_open=True),
            default=seconds,
            show_default=seconds is not None,
            metavar="S",
            help=limit,
        ),
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of the solver's random choices."),
        click.option("--json", "as_json", is_flag=True, help=f"Print the {printed} as JSON instead of the summary."),
        click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help=output),
    )

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
