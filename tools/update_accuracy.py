"""Write what follows from the bundled published runs: the +- of predictions and the README's accuracy table.

A development command, for every change of the cost model, of a calibration or of the bundled rows:

    python -m tools.update_accuracy [--check]

It predicts every bundled row, writes ``cases/published/uncertainty.yaml`` (quantiles of the residuals of each
kind of configuration, see ``planner.uncertainty``) and the README's lines between its two accuracy comments,
and prints how often the intervals hold on rows that they were not made from. ``--check`` writes nothing and
exits with 1 where a file differs.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from cases import published_folder
from planner.published import PredictedRow, predict_rows
from planner.published.bundled import bundled_rows
from planner.published.markdown import BEGIN, END, accuracy_markdown
from planner.published.report import make_report
from planner.published.residuals import coverage, fit_residuals, memory_residuals, time_residuals
from planner.uncertainty import COVERAGE, FEWEST_ROWS, Residuals, Spread

README = Path(__file__).parents[1] / "README.md"
UNCERTAINTY = published_folder() / "uncertainty.yaml"


def uncertainty_text(residuals: Residuals) -> str:
    """The data file, one line a kind."""

    def section(name: str, spreads: Mapping[str, Spread]) -> list[str]:
        lines = [f"{name}:"]
        for kind, spread in spreads.items():
            sources = ", ".join(f"{source}: {count}" for source, count in spread.sources.items())
            lines.append(f'  "{kind}": {{share: {spread.share:g}, sources: {{{sources}}}}}')
        return lines

    return "\n".join(
        [
            "# Written by python -m tools.update_accuracy from the scored rows of the tables beside this file.",
            f"# share (fitted): {COVERAGE:.0%} of the kind's runs were measured within predicted x (1 +- share).",
            f"# Kinds with fewer than {FEWEST_ROWS} rows are left to coarser ones. sources: rows of each.",
            *section("step_seconds", residuals.step_seconds),
            *section("peak_memory_bytes", residuals.peak_memory_bytes),
            "",
        ]
    )


def readme_text(before: str, rows: list[PredictedRow]) -> str:
    head, rest = before.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n\n{accuracy_markdown(make_report(rows), coverage(time_residuals(rows)))}\n\n{END}{tail}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file differs")
    check = parser.parse_args().check
    rows = list(predict_rows(bundled_rows()))
    texts = {
        UNCERTAINTY: uncertainty_text(fit_residuals(rows)),
        README: readme_text(README.read_text(encoding="utf-8"), rows),
    }
    stale = [p for p, text in texts.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path.name}: {'differs' if check else 'written'}")
        if not check:
            path.write_text(texts[path], encoding="utf-8")
    for quantity, found in (("step time", time_residuals(rows)), ("peak memory", memory_residuals(rows))):
        for held in coverage(found):
            share = held.within / held.rows
            print(f"{quantity}: {share:.0%} of {held.rows} rows within {COVERAGE:.0%}, {held.left_out} left out")
    raise SystemExit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
