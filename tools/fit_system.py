"""Fit the figures of training runs in ``costmodels/data/calibration`` to published measurements.

A development command; the product never runs it. What is fitted to which rows, what is left out to test
it, and which rows are not trusted stands in ``system_recipe.yaml`` (``tools.system_recipe`` describes it).

    python -m tools.fit_system [--data FOLDER] [--only NAME ...] [--write]

Prints, for each fit, parameters against rows, the error before and after, the error on rows left out
(by source, scale, date or model: never drawn from within a sweep), the same by group, and each figure
with one standard error. ``--write`` puts the figures into the YAML files; those fitted on all rows, with
the error on rows left out in their source.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

import cases
from costmodels.calibration import DATA, Calibration, Figure, Residuals, bundled_calibration, calibration_text
from planner.calibrate.fit import Fit, fit, folds_of, held_out, summary
from planner.calibrate.measurements import Values
from planner.calibrate.steps import PeakMemory, Steps, memory_of, steps_of
from planner.cli.output import table
from planner.readers.published_rows import Row, read_rows
from tools.system_recipe import RECIPE, FitRecipe, Recipe, RecipeError, load_recipe, meets

HELD = "held out"


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """One fit of the recipe, done: ``measured`` one set per calibration, ``unseen`` errors of fits that
    had not seen the row (nan where every fit had)."""

    recipe: FitRecipe
    measured: tuple[Steps, ...]
    found: Fit
    unseen: tuple[Values, ...]

    @property
    def rows(self) -> int:
        return sum(len(m.labels) for m in self.measured)

    @property
    def source(self) -> str:
        """What a calibration file says of these figures."""
        where = sorted({row.source_id for m in self.measured for row in m.rows})
        hold = self.recipe.hold_out
        left = f"each {hold.by} left out in turn" if hold.by else "rows left out"
        return (
            f"{len(self.found.identified)} figures fitted together on {self.rows} published training runs "
            f"({', '.join(where)}; {self.recipe.name}): error {summary(self.found.after)}; "
            f"{left}: {summary(self.unseen)}"
        )


def read_tables(folder: Path) -> list[Row]:
    """Every row of every table of the folder. Raises RecipeError when there is none."""
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise RecipeError(f"{folder}: no tables of published runs (*.csv): name their folder with --data")
    return [row for path in paths for row in read_rows(path)]


def do_fit(recipe: FitRecipe, rows: Sequence[Row], base: Mapping[str, Calibration]) -> Fitting:
    """Follow one entry of the recipe. Raises RecipeError when no row meets its conditions."""
    hold = recipe.hold_out
    measured: list[Steps] = []
    for name in recipe.calibrations:
        own = [row for row in rows if meets(row, {"calibration": name}) and any(meets(row, c) for c in recipe.rows)]
        steps, _ = steps_of(name, name, own, hold.by or "source_id")
        if hold.rows is not None:
            groups = tuple(HELD if meets(row, hold.rows) else "seen" for row in steps.rows)
            steps = replace(steps, groups=groups)
        part: Steps | PeakMemory = memory_of(steps) if recipe.measure == "bytes" else steps
        if part.labels:
            measured.append(part)
    if not measured:
        raise RecipeError(f"{recipe.name}: no row with a measurement meets its conditions")
    found = fit(measured, recipe.parameters, base)
    folds = [frozenset({HELD})] if hold.rows is not None else folds_of(measured, hold.folds)
    unseen = held_out(measured, recipe.parameters, base, folds, found.calibrations)
    return Fitting(recipe=recipe, measured=tuple(measured), found=found, unseen=unseen)


def report(done: Fitting) -> str:
    found, recipe = done.found, done.recipe
    lines = [
        f"{recipe.name}: {len(found.identified)} of {len(found.figures)} figures identified, {done.rows} rows"
        + ("" if found.converged else "; NOT CONVERGED"),
        f"  before {summary(found.before)};  after {summary(found.after)};  left out {summary(done.unseen)}",
    ]
    unseen, before = summary(done.unseen), summary(found.before)
    if unseen.mean is not None and before.mean is not None and unseen.mean > before.mean:
        lines.append("  rows left out fare worse than under the old figures, which may have been fitted to them")
    lines += ["", _by_group(done), "", _figures(found), ""]
    return "\n".join(lines)


def _by_group(done: Fitting) -> str:
    parts: dict[tuple[str, str, str], list[tuple[float, ...]]] = {}
    for m, before, after, unseen in zip(done.measured, done.found.before, done.found.after, done.unseen, strict=True):
        for row, group, *errors in zip(m.rows, m.groups, before, after, unseen, strict=True):
            parts.setdefault((m.calibration, row.source_id, group), []).append(tuple(map(float, errors)))
    rows = []
    for key, errors in sorted(parts.items()):
        columns = [summary([np.array(column)]) for column in zip(*errors, strict=True)]
        cells = ["-" if share is None else f"{share:.1%}" for e in columns for share in (e.mean, e.p90)]
        rows.append((*key, len(errors), *cells))
    header = ("calibration", "source", "group", "rows", "before", "p90", "after", "p90", "left out", "p90")
    return _indented(table(header, rows, text=(0, 1, 2)))


def _figures(found: Fit) -> str:
    rows = [
        (
            f.parameter.label,
            f"{f.old:.4g}",
            f"{f.new:.4g}" if f.identified else "kept",
            f"+- {f.error:.2g}" if f.error is not None else "not identified by these rows",
            "at its bound" if f.at_bound else "",
        )
        for f in found.figures
    ]
    return _indented(table(("figure", "old", "new", "one error", ""), rows, text=(0, 3, 4)))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def write(stem: str, changed: Mapping[str, Figure], folder: Path = DATA) -> None:
    """Replace the figures in ``stem``'s file."""
    path = folder / f"{stem}.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = {name: Figure(**entry) for name, entry in (document.get("figures") or {}).items()}
    residuals = Residuals(**document["residuals"]) if "residuals" in document else None
    text = calibration_text(document["name"], {**entries, **changed}, residuals, document.get("like"))
    path.write_text(text, encoding="utf-8")


def follow(recipe: Recipe, rows: Sequence[Row], only: Sequence[str] = ()) -> list[Fitting]:
    """Every fit in order, each on top of the figures found before it."""
    trusted = [row for row in rows if not recipe.exclusion(row.row_id)]
    base = {name: bundled_calibration(name) for part in recipe.fits for name in part.calibrations}
    done = []
    for part in recipe.fits:
        if only and part.name not in only:
            continue
        done.append(
            do_fit(part, trusted, {name: _started(base[name], part.starts[name]) for name in part.calibrations})
        )
        print(report(done[-1]), flush=True)
        for name in part.calibrations:
            changed = done[-1].found.changed(name, done[-1].source)
            values = {key: figure.value for key, figure in changed.items()}
            if not values:
                continue
            base[name] = base[name].adjusted(kind="fitted", source=done[-1].source, **values)
    return done


def _started(calibration: Calibration, starts: Mapping[str, float]) -> Calibration:
    if not starts:
        return calibration
    return calibration.adjusted(kind="assumed", source="where the fit starts", **starts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(cases.__file__).parent / "published"
    parser.add_argument("--data", type=Path, default=default, help="folder with tables of published runs")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="another recipe")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this fit (repeatable)")
    parser.add_argument("--write", action="store_true", help="put the figures into the YAML files")
    arguments = parser.parse_args()
    try:
        recipe = load_recipe(arguments.recipe)
        if unknown := set(arguments.only) - {part.name for part in recipe.fits}:
            raise RecipeError(f"--only {sorted(unknown)}: known fits are {', '.join(p.name for p in recipe.fits)}")
        rows = read_tables(arguments.data)
        for patterns, reason in recipe.excluded:
            count = sum(bool(Recipe(fits=(), excluded=((patterns, reason),)).exclusion(row.row_id)) for row in rows)
            print(f"left out: {count} rows {', '.join(patterns)}: {reason}")
        done = follow(recipe, rows, arguments.only)
    except RecipeError as error:
        raise SystemExit(f"error: {error}") from None
    if arguments.write:
        for part in done:
            for name in part.recipe.calibrations:
                write(name, part.found.changed(name, part.source))


if __name__ == "__main__":
    main()
