"""``plan predict --rows``: the table with its predictions, and the errors of each source."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.output import echo_json, table
from planner.cli.progress import Line

if TYPE_CHECKING:
    from planner.published import PredictedRow, Score
    from planner.published.scores import Errors

ADDED = ("predicted_step_time_s", "predicted_peak_mem_gb", "predicted_status", "predicted_assumptions")


def predict_table(path: Path, output: Path | None, calibration: Path | None, as_json: bool) -> None:
    from planner.published import predict_rows, scores
    from planner.readers.published_rows import read_rows

    line, found = Line(), []
    rows = list(read_rows(path))
    for number, row in enumerate(predict_rows(rows, calibration), start=1):
        found.append(row)
        line.show(f"{path.name}: {number:,} of {len(rows):,} rows")
    line.close()
    if as_json:
        text = ""
        echo_json([{**row.row.cells, **_added(row)} for row in found])
    else:
        text = _csv(found)
        if output is None:
            click.echo(text, nl=False)
    if output is not None:
        output.write_text(text or _csv(found), encoding="utf-8", newline="")
    click.echo(_report(scores(found)), err=True)


def _added(row: "PredictedRow") -> dict[str, str]:
    values = (
        "" if row.seconds is None else f"{row.seconds:.6g}",
        "" if row.memory is None else f"{row.memory:.6g}",
        row.status,
        "; ".join(row.assumptions),
    )
    return dict(zip(ADDED, values, strict=True))


def _csv(found: "list[PredictedRow]") -> str:
    """The input's columns, then ours; columns of ours that the input had are replaced."""
    if not found:
        return ",".join(ADDED) + "\n"
    columns = [name for name in found[0].row.cells if name not in ADDED]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, *ADDED], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row.row.cells, **_added(row)} for row in found)
    return text.getvalue()


def _report(found: "list[Score]") -> str:
    rows = [
        (
            s.name,
            s.rows,
            s.predicted,
            s.infeasible,
            *_shares(s.time),
            *_shares(s.memory),
        )
        for s in found
    ]
    header = ("source", "rows", "predicted", "over memory", "time mean", "p90", "memory mean", "p90")
    refused = [f"{s.name}: {count} refused: {why}" for s in found for why, count in s.refused.items()]
    return "\n".join([table(header, rows), *refused])


def _shares(found: "Errors | None") -> tuple[str, str]:
    return ("-", "-") if found is None else (f"{found.mean:.1%}", f"{found.p90:.1%}")
