"""What each factor of the cost models buys: ``python -m tests.benchmarks.ablations [--source NAME ...]``.

Every scored bundled row is predicted in full and with one factor at a time switched off (``factors``), in
the configuration that the full model takes for it. Errors are compared as predicted and with one clock
factor per calibration refitted, exp(-median(log(predicted / measured))) over its rows: a fit would turn a
missing factor partly into a slower clock. ``--groups`` prints every group a factor changes. Nothing is
asserted.
"""

import argparse
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import yaml
from numpy.typing import NDArray

from costmodels.calibration import DATA, bundled_calibrations, bundled_name
from costmodels.configuration import Configuration
from planner.predict import Prediction
from planner.published import PredictedRow, best_choice, printed_bytes
from planner.published.bundled import bundled_rows, source_names
from planner.published.scores import Errors
from planner.published.selection import groups, scored
from planner.readers.published_rows import Row
from planner.space import IllegalConfiguration
from tests.benchmarks.factors import FACTORS, FULL_MODEL, Factor

ALL = "all"
FEWEST_ROWS = 5
"""A group with fewer rows that a factor changes is not named as the one that misses it most."""

Values = NDArray[np.float64]
MODELS = (FULL_MODEL, *FACTORS)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Of each scored row: what was measured, its calibration and groups, and what is predicted, [factors,
    rows], the full model first. Not a number where nothing is measured or scored."""

    factors: tuple[Factor, ...]
    rows: tuple[str, ...]
    calibrations: tuple[str, ...]
    members: dict[str, NDArray[np.bool_]]
    measured: dict[str, Values]
    predicted: dict[str, Values]


def predictions(row: Row) -> list[tuple[float, float]]:
    """Seconds and printed memory: in full, then without each factor. Not a number where nothing can run."""
    assert row.request is not None
    try:
        choice = best_choice(row.request).configuration
    except IllegalConfiguration:
        return [(np.nan, np.nan)] * len(MODELS)
    whole = FULL_MODEL.predict(row.request, choice)
    return [_figures(row, choice, factor, whole) for factor in MODELS]


def _figures(row: Row, choice: Configuration, factor: Factor, whole: Prediction | None) -> tuple[float, float]:
    assert row.request is not None
    to_predict = factor is not FULL_MODEL and (factor.kind == "time" or row.measured_memory is not None)
    with factor.off():
        try:
            price = (factor.predict(row.request, choice) if to_predict else None) or whole
        except IllegalConfiguration:
            return np.nan, np.nan
        assert price is not None
        return price.step_seconds, printed_bytes(price, row) / row.memory_unit_bytes


def measure(given: Iterable[Row], workers: int = 1) -> Table:
    """Predict every row that is scored and understood, over ``workers`` processes."""
    readable = (PredictedRow(row=r, status="", assumptions=r.request.assumptions) for r in given if r.request)
    rows = scored(readable)
    plain = [found.row for found in rows]
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            values = list(pool.map(predictions, plain, chunksize=8))
    else:
        values = [predictions(row) for row in plain]
    seconds, memory = np.array(values, dtype=np.float64).reshape(len(rows), len(MODELS), 2).transpose(2, 1, 0)
    return Table(
        factors=MODELS,
        rows=tuple(row.row_id for row in plain),
        calibrations=tuple(calibration_of(row) for row in plain),
        members={ALL: np.ones(len(rows), dtype=np.bool_)}
        | {name: np.array([rule.holds(found) for found in rows]) for name, rule in groups().items()},
        measured={
            "time": np.array([row.measured_seconds or np.nan for row in plain], dtype=np.float64),
            "memory": np.array([row.measured_memory or np.nan for row in plain], dtype=np.float64),
        },
        predicted={"time": seconds, "memory": memory},
    )


def calibration_of(row: Row) -> str:
    assert row.request is not None
    return bundled_name(row.request.cluster.gpu, row.request.job.software) or "none"


def refitted(predicted: Values, measured: Values, calibrations: Sequence[str]) -> Values:
    """``predicted`` times one factor per calibration, the one with the least mean absolute log error."""
    found = predicted.copy()
    names = np.array(calibrations)
    for name in np.unique(names):
        own = names == name
        logs = np.log(predicted[own] / measured[own])
        if np.isfinite(logs).any():
            found[own] = predicted[own] * np.exp(-np.nanmedian(logs))
    return found


def errors(table: Table, kind: str, index: int, group: str = ALL, *, refit: bool = False) -> Errors | None:
    """Of the predictions without factor ``index``; 0 is the full model."""
    measured, predicted = table.measured[kind], table.predicted[kind][index]
    if refit:
        predicted = refitted(predicted, measured, table.calibrations)
    told = predicted / measured - 1
    return Errors.of(told[table.members[group] & ~np.isnan(told)])


def changed(table: Table, kind: str, index: int, group: str = ALL) -> int:
    """Rows of the group whose prediction differs from the full model's by more than rounding."""
    values, known = table.predicted[kind], table.members[group] & ~np.isnan(table.measured[kind])
    return int((~np.isclose(values[index], values[0], rtol=1e-9, atol=0.0, equal_nan=True) & known).sum())


# -- the report -------------------------------------------------------------------------------

HEADER = f"{'without':36} {'rows':>5} {'mean':>7} {'p90':>7} {'more':>8} | {'mean':>7} {'p90':>7} {'more':>8} | most in"


def ranking(table: Table, kind: str) -> list[str]:
    """One line a factor, the one missed most after a refit first: rows changed, errors and how much larger
    their mean is than the full model's, as predicted and refitted, and the group that misses it most."""
    refit = kind == "time"
    whole = [errors(table, kind, 0, refit=again) for again in (False, True)]
    if whole[0] is None or whole[1] is None:
        return []
    lines, unchanged = [], []
    for index, factor in enumerate(table.factors):
        if index and not changed(table, kind, index):
            unchanged += [factor.name] if factor.kind == kind else []
            continue
        plain, again = errors(table, kind, index), errors(table, kind, index, refit=refit)
        assert plain is not None
        assert again is not None
        more, worse = plain.mean - whole[0].mean, again.mean - (whole[1] if refit else whole[0]).mean
        line = (
            f"{factor.name:36} {changed(table, kind, index):>5} {plain.mean:>7.1%} {plain.p90:>7.1%} {more:>+8.2%} | "
            f"{again.mean:>7.1%} {again.p90:>7.1%} {worse:>+8.2%} | {_most(table, kind, index, refit) if index else ''}"
        )
        lines.append((index > 0, -worse, -more, line.rstrip()))
    return [*(line for *_, line in sorted(lines)), *([f"of no effect: {', '.join(unchanged)}"] if unchanged else [])]


def _most(table: Table, kind: str, index: int, refit: bool) -> str:
    grown = []
    for group in list(table.members)[1:]:
        before, after = (errors(table, kind, i, group, refit=refit) for i in (0, index))
        touched = changed(table, kind, index, group) >= FEWEST_ROWS
        if touched and before is not None and after is not None:
            grown.append((after.mean - before.mean, group))
    more, group = max(grown, default=(0.0, ""))
    return f"{group} {more:+.1%}" if more > 5e-5 else ""


def by_group(table: Table, kind: str) -> list[str]:
    """Of every group the full model's errors and those without each factor that changes them."""
    lines = []
    for group in table.members:
        whole, again = (errors(table, kind, 0, group, refit=refit) for refit in (False, True))
        if whole is None or again is None:
            continue
        lines.append(f"\n{group}: {whole.rows} rows, mean {whole.mean:.1%}, p90 {whole.p90:.1%}")
        for index, factor in enumerate(table.factors):
            plain, refit = (errors(table, kind, index, group, refit=refit) for refit in (False, True))
            if plain is None or refit is None or abs(plain.mean - whole.mean) < 5e-5:
                continue
            fitted = f" | refitted {refit.mean:>6.1%} {refit.p90:>6.1%} {refit.mean - again.mean:>+7.2%}"
            lines.append(
                f"  {factor.name:36} {plain.mean:>6.1%} {plain.p90:>6.1%} {plain.mean - whole.mean:>+7.2%}"
                + (fitted if kind == "time" else "")
            )
    return lines


@lru_cache
def fitted_figures() -> dict[str, tuple[int, int, int]]:
    """Of every bundled calibration, its own figures alone: fitted to training runs, fitted to benchmarks of
    kernels and collectives, and those it takes from another or assumes or measures."""
    counts = {}
    for name in bundled_calibrations():
        figures = yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8"))["figures"]
        fitted = {key: str(entry["source"]) for key, entry in figures.items() if entry["kind"] == "fitted"}

        def of_runs(source: str, fitted: dict[str, str] = fitted) -> bool:
            referred = source.split(";")[0].removeprefix("as ")
            return "runs" in fitted.get(referred, source) or "papers" in source

        runs = sum(of_runs(source) for source in fitted.values())
        counts[name] = (runs, len(fitted) - runs, len(figures) - len(fitted))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", action="append", default=[], choices=source_names(), help="these rows alone")
    parser.add_argument("--groups", action="store_true", help="every factor in every group that it changes")
    options = parser.parse_args()
    table = measure(bundled_rows(options.source), workers=len(os.sched_getaffinity(0)))
    for kind in ("time", "memory"):
        lines = ranking(table, kind)
        if lines:
            print(
                f"\n{kind}: as predicted | " + ("one clock per calibration refitted" if kind == "time" else "the same")
            )
            print("\n".join([HEADER, *lines]))
        if options.groups:
            print("\n".join(by_group(table, kind)))
    print("\nown figures of each calibration: fitted to training runs, fitted to benchmarks, assumed or measured")
    used = sorted(set(table.calibrations))
    for name in used:
        count = sum(own == name for own in table.calibrations)
        print(f"  {name:16} {' '.join(f'{n:>4}' for n in fitted_figures()[name])}   {count:>4} scored rows")


if __name__ == "__main__":
    main()
