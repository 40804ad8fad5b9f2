"""Data to stdout, in text or JSON."""

import dataclasses
import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import click

GIGABYTE = 1e9


def echo_json(data: object) -> None:
    click.echo(json.dumps(plain(data), indent=2, allow_nan=False))


def plain(data: Any) -> Any:
    """Dataclasses and tuples to JSON's own types."""
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        return {f.name: plain(getattr(data, f.name)) for f in dataclasses.fields(data)}
    if hasattr(data, "model_dump"):
        return data.model_dump(mode="json", exclude_none=True)
    if isinstance(data, dict):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple | set | frozenset):
        return [plain(item) for item in (sorted(data) if isinstance(data, set | frozenset) else data)]
    return data.item() if hasattr(data, "item") else data


def table(header: Sequence[str], rows: Iterable[Sequence[object]], text: Collection[int] = (0,)) -> str:
    """Columns aligned: those in ``text`` to the left, the others, figures, to the right."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in text else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def gigabytes(count: float) -> str:
    return f"{count / GIGABYTE:.1f}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"


def percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def plus_minus(share: float) -> str:
    return f"+- {share * 100:.1f} %"
