"""``plan cases run published``: the bundled measured runs against their predictions."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli.output import echo_json, plain, table
from planner.cli.progress import Line

if TYPE_CHECKING:
    from planner.published import PredictedRow
    from planner.published.report import Part, Report
    from planner.published.residuals import Coverage
    from planner.published.scores import Errors


SHOWN = 8
"""Names of rows in a line of the report; the CSV file and the JSON have them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to print, of which sources, and which files to write."""

    sources: tuple[str, ...]
    worst: int | None
    plot: Path | None
    output: Path | None
    markdown: bool
    calibration: Path | None

    @property
    def anything(self) -> bool:
        return self != Wanted(sources=(), worst=None, plot=None, output=None, markdown=False, calibration=None)


def run_published(wanted: Wanted, as_json: bool) -> None:
    """Predict, write the files, print the report. Wrong arguments are found before the work."""
    from planner.cli.inputs import check_writable
    from planner.published import predict_rows
    from planner.published.bundled import UnknownSourceError, bundled_rows
    from planner.published.report import make_report
    from planner.published.residuals import coverage, memory_residuals, time_residuals
    from planner.published.scatter import PlotError, check_plot, write_plot

    try:
        if wanted.plot is not None:
            check_plot(wanted.plot)
        rows = bundled_rows(wanted.sources)
    except PlotError as error:
        raise click.BadParameter(str(error), param_hint="--plot") from None
    except UnknownSourceError as error:
        raise click.BadParameter(str(error), param_hint="--source") from None
    check_writable(wanted.output)
    check_writable(wanted.plot)
    line, found = Line(), list["PredictedRow"]()
    for number, row in enumerate(predict_rows(rows, wanted.calibration), start=1):
        found.append(row)
        line.show(f"{number:,} of {len(rows):,} published runs predicted")
    line.close()
    if wanted.output is not None:
        wanted.output.write_text(rows_csv(found), encoding="utf-8", newline="")
    if wanted.plot is not None:
        write_plot(wanted.plot, found)
    report = make_report(found)
    held = {"step_seconds": coverage(time_residuals(found)), "peak_memory_bytes": coverage(memory_residuals(found))}
    if as_json:
        worst = [_row_cells(row) for row in _worst(found, 10 if wanted.worst is None else wanted.worst)]
        echo_json({**plain(report), "coverage": held, "worst": worst})
    elif wanted.markdown:
        from planner.published.markdown import accuracy_markdown

        click.echo(accuracy_markdown(report, held["step_seconds"]))
    else:
        click.echo(_text(report, held, _worst(found, 5 if wanted.worst is None else wanted.worst)))


def _text(report: "Report", held: "dict[str, list[Coverage]]", worst: "Sequence[PredictedRow]") -> str:
    sections = [
        "Scored rows, errors as shares of what was measured (bias: positive when predicted too large)\n"
        + _score_table([*report.sources, report.total], every=False),
        "All rows, also those not to score (cases/published/sources.yaml says why)\n"
        + _score_table([*report.sources, report.total], every=True),
        "Parts, scored rows\n" + _score_table(report.groups, every=False),
        _sweeps(report),
        _fits(report),
        _coverage(held),
        _refusals(report),
        _worst_table(worst),
    ]
    return "\n\n".join(section for section in sections if section)


def _score_table(parts: "Sequence[Part]", every: bool) -> str:
    rows = []
    for part in parts:
        found = part.every if every else part.scored
        if found.rows:
            refused = sum(found.refused.values())
            rows.append((part.name, found.rows, found.predicted, refused, *_errors(found.time), *_errors(found.memory)))
    header = ("source", "rows", "predicted", "refused", "timed", "mean", "p90", "bias", "GB", "mean", "p90", "bias")
    return table(header, rows)


def _errors(found: "Errors | None") -> tuple[str, ...]:
    if found is None:
        return ("-",) * 4
    return (str(found.rows), f"{found.mean:.1%}", f"{found.p90:.1%}", f"{found.bias:+.1%}")


def _sweeps(report: "Report") -> str:
    rows = []
    for part in report.sources:
        for found, what in ((part.sweeps, "scored"), (part.every_sweeps, "all")):
            if found is not None:
                correlation = "-" if found.rank_correlation is None else f"{found.rank_correlation:.3f}"
                regrets = (f"{found.regret_mean:.1%}", f"{found.regret_worst:.1%}", found.regret_below_1_percent)
                rows.append((part.name, what, found.count, correlation, *regrets))
    header = ("sweeps", "rows", "count", "rank corr.", "mean regret", "worst", "below 1 %")
    return table(header, rows, text=(0, 1)) if rows else ""


def _fits(report: "Report") -> str:
    rows = [
        (p.name, p.fits.ran, p.fits.ran_right, p.fits.overflowed, p.fits.overflowed_right, p.fits.unjudged)
        for p in [*report.sources, report.total]
        if p.fits.ran or p.fits.overflowed
    ]
    lines = [table(("fits", "ran", "said to fit", "over memory", "said not to fit", "not predicted"), rows)]
    wrong = report.total.fits.wrong
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        lines.append(f"judged wrongly: {', '.join(wrong[:SHOWN])}{more}")
    return "\n".join(lines)


def _coverage(held: "dict[str, list[Coverage]]") -> str:
    from planner.uncertainty import COVERAGE

    lines = [f"Intervals of {COVERAGE:.0%}, made without some rows: how many of those lie within"]
    rows = [
        (quantity, check.left_out, check.rows, f"{check.within / check.rows:.0%}")
        for quantity, checks in held.items()
        for check in checks
        if check.rows
    ]
    return "\n".join([*lines, table(("of", "left out", "rows", "within"), rows, text=(0, 1))]) if rows else ""


def _refusals(report: "Report") -> str:
    rows = [(part.name, count, why) for part in report.sources for why, count in part.every.refused.items()]
    return table(("refused", "rows", "why"), rows, text=(0, 2)) if rows else ""


def _worst(found: "Sequence[PredictedRow]", count: int) -> "list[PredictedRow]":
    """The scored rows with the largest errors, of seconds or bytes."""
    from planner.published.selection import scored

    def size(row: "PredictedRow") -> float:
        return max(abs(error) for error in (row.time_error, row.memory_error, 0.0) if error is not None)

    return sorted(scored(found), key=lambda row: (-size(row), row.row.row_id))[:count]


def _worst_table(found: "Sequence[PredictedRow]") -> str:
    rows = [
        (
            row.row.row_id,
            *("-" if error is None else f"{error:+.1%}" for error in (row.time_error, row.memory_error)),
            row.status,
            "; ".join(row.assumptions),
        )
        for row in found
    ]
    return table(("worst", "time", "memory", "status", "assumed"), rows, text=(0, 3, 4)) if rows else ""


def _row_cells(found: "PredictedRow") -> dict[str, object]:
    """One row of the CSV file: figures as numbers, None where there is none."""
    from planner.published.fits import overflowed
    from planner.published.selection import reasons
    from planner.readers.published.cells import text

    row, told = found.row, reasons(found)
    names = ("source_ref", "model", "gpu", "n_gpus", "precision")
    return {
        "row_id": row.row_id,
        "source_id": row.source_id,
        **{name: text(row.cells, name) for name in names},
        "out_of_memory": int(overflowed(found)),
        "predicted_status": found.status,
        "step_time_s": row.measured_seconds,
        "predicted_step_time_s": found.seconds,
        "time_error": found.time_error,
        "peak_mem_gb": row.measured_memory,
        "predicted_peak_mem_gb": found.memory,
        "memory_error": found.memory_error,
        "time_not_scored": told.get("seconds", ""),
        "memory_not_scored": told.get("bytes", ""),
        "predicted_assumptions": "; ".join(found.assumptions),
    }


def rows_csv(found: "Sequence[PredictedRow]") -> str:
    """Every row with its measured and predicted figures, errors and why it is not scored."""
    rows, text = [_row_cells(row) for row in found], io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for cells in rows:
        writer.writerow({key: f"{cell:.6g}" if isinstance(cell, float) else cell for key, cell in cells.items()})
    return text.getvalue()
