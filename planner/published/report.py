"""Everything the bundled rows say about the predictions, ready to be printed."""

from collections.abc import Iterable
from dataclasses import dataclass

from planner.published.fits import Verdicts, verdicts
from planner.published.rows import PredictedRow
from planner.published.scores import Score, by_source, score
from planner.published.selection import groups, judged, scored
from planner.published.sweeps import Sweep, Sweeps, summary, sweeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows of a source, of a group, or all. ``every`` counts rows that are not to be scored as well."""

    name: str
    scored: Score
    every: Score
    sweeps: Sweeps | None
    every_sweeps: Sweeps | None
    fits: Verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``total`` over all rows given; ``sources`` and ``groups`` only those with rows."""

    total: Part
    sources: tuple[Part, ...]
    groups: tuple[Part, ...]
    sweeps: tuple[Sweep, ...]


def make_report(predicted: Iterable[PredictedRow]) -> Report:
    rows = list(predicted)
    chosen = {name: [row for row in rows if rule.holds(row)] for name, rule in groups().items()}
    return Report(
        total=_part("all", rows),
        sources=tuple(_part(name, found) for name, found in by_source(rows).items()),
        groups=tuple(_part(name, found) for name, found in chosen.items() if found),
        sweeps=tuple(sweeps(rows)),
    )


def _part(name: str, rows: list[PredictedRow]) -> Part:
    counted = scored(rows)
    return Part(
        name=name,
        scored=score(name, counted),
        every=score(name, rows),
        sweeps=summary(sweeps(counted)),
        every_sweeps=summary(sweeps(rows)),
        fits=verdicts(judged(rows)),
    )
