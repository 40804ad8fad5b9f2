"""Data to stdout, in text or JSON."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
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


def table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Columns aligned: the first ``left`` to the left, the others to the right."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def gigabytes(count: float) -> str:
    return f"{count / GIGABYTE:.1f}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"


def percent(share: float) -> str:
    return f"{share * 100:.2f} %"
