"""The accuracy section of the README, as the bundled rows have it."""

from collections.abc import Sequence
from textwrap import fill

from planner.published.report import Report
from planner.published.residuals import Coverage
from planner.published.scores import Errors

BEGIN = "<!-- accuracy: written by python -m tools.update_accuracy -->"
END = "<!-- end of accuracy -->"


def accuracy_markdown(report: Report, time_coverage: Sequence[Coverage]) -> str:
    """A table of groups, then sweeps, verdicts on memory, and how far the +- of predictions holds."""
    header = [
        "| published runs | rows | step time: mean, p90, bias | rows | peak memory: mean, p90, bias |",
        "|---|---|---|---|---|",
    ]
    parts = [part for part in report.groups if part.scored.time or part.scored.memory]
    lines = [_line(part.name, part.scored.time, part.scored.memory) for part in parts]
    total = report.total
    lines.append(_line("**All scored rows**", total.scored.time, total.scored.memory))
    lines.append(_line("All rows, also those not to score", total.every.time, total.every.memory))
    said = (fill(text, 116, initial_indent="- ", subsequent_indent="  ") for text in _sentences(report, time_coverage))
    return "\n".join([*header, *lines, "", *said])


def _line(name: str, time: Errors | None, memory: Errors | None) -> str:
    return f"| {name} | {_errors(time)} | {_errors(memory)} |"


def _errors(found: Errors | None) -> str:
    if found is None:
        return "- | -"
    return f"{found.rows} | {found.mean:.1%}, {found.p90:.1%}, {found.bias:+.1%}"


def _sentences(report: Report, time_coverage: Sequence[Coverage]) -> list[str]:
    said = []
    for part in report.sources:
        found, what = (part.sweeps, "") if part.sweeps else (part.every_sweeps, " (not scored)")
        if found is not None:
            said.append(
                f"Sweeps of {part.name}{what}: {found.count} of 4 and more configurations of one job; mean rank "
                f"correlation {found.rank_correlation or 0:.3f}; regret (how much slower the configuration predicted "
                f"best is than the best measured) mean {found.regret_mean:.1%}, worst {found.regret_worst:.1%}, "
                f"below 1 % in {found.regret_below_1_percent}."
            )
    fits = report.total.fits
    said.append(
        f"Of {fits.ran} configurations that ran, {fits.ran_right} are called feasible; of {fits.overflowed} "
        f"published as over memory, {fits.overflowed_right} are called infeasible."
    )
    said += [
        f"The 80 % interval of step times, made without {check.left_out} in turn, holds "
        f"{check.within / check.rows:.0%} of the {check.rows} rows left out."
        for check in time_coverage
        if check.left_out == "each source"
    ]
    return said
