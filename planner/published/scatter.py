"""Predicted against measured as a picture: SVG by hand, PNG where matplotlib is installed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from planner.published.rows import PredictedRow
from planner.published.scores import by_source
from planner.published.selection import scored

COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b",
    "#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#003f5c", "#a05195",
)  # fmt: skip
SIDE, MARGIN, GAP, TOP = 420.0, 60.0, 40.0, 40.0
BAND = 0.1
"""Dashed lines beside the diagonal: 10 % more and less than measured."""


class PlotError(ValueError):
    """A picture that cannot be drawn; the message says why and what would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One row: both values positive, in the panel's unit."""

    source_id: str
    row_id: str
    measured: float
    predicted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    title: str
    unit: str
    points: tuple[Point, ...]

    def decades(self) -> tuple[int, int]:
        """Whole powers of ten that hold every value."""
        values = [value for p in self.points for value in (p.measured, p.predicted)]
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return low, max(high, low + 1)


def panels(predicted: Iterable[PredictedRow]) -> list[Panel]:
    """Seconds, then bytes, of the scored rows; only those with points."""
    rows = scored(predicted)
    seconds = [
        Point(source_id=r.row.source_id, row_id=r.row.row_id, measured=r.row.measured_seconds, predicted=r.seconds)
        for r in rows
        if r.row.measured_seconds and r.seconds
    ]
    gigabytes = [
        Point(
            source_id=r.row.source_id,
            row_id=r.row.row_id,
            measured=r.row.measured_memory * r.row.memory_unit_bytes / 1e9,
            predicted=r.memory * r.row.memory_unit_bytes / 1e9,
        )
        for r in rows
        if r.row.measured_memory and r.memory
    ]
    found = [
        Panel(title="Step time", unit="s", points=tuple(seconds)),
        Panel(title="Peak memory", unit="GB", points=tuple(gigabytes)),
    ]
    return [panel for panel in found if panel.points]


def write_plot(path: Path, predicted: Sequence[PredictedRow]) -> None:
    """Write the picture to ``path``, .svg or .png. ``PlotError`` for another ending, without a scored row,
    or for PNG without matplotlib."""
    check_plot(path)
    drawn, sources = panels(predicted), list(by_source(predicted))
    if not drawn:
        raise PlotError("no row is scored: there is nothing to plot")
    if path.suffix == ".svg":
        path.write_text(svg(drawn, sources), encoding="utf-8")
    else:
        _write_png(path, drawn, sources)


def check_plot(path: Path) -> None:
    """``PlotError`` before the work when ``path`` names a picture that cannot be drawn here."""
    if path.suffix not in (".svg", ".png"):
        raise PlotError(f"{path}: write FILE.svg or FILE.png")
    if path.suffix == ".png":
        try:
            import matplotlib  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
        except ImportError:
            raise PlotError(f"{path}: PNG needs matplotlib (pip install matplotlib); FILE.svg needs nothing") from None


def svg(drawn: Sequence[Panel], sources: Sequence[str]) -> str:
    """Panels side by side with a legend to the right; a point names its row on hover."""
    colour = {source: COLOURS[i % len(COLOURS)] for i, source in enumerate(sources)}
    shown = [source for source in sources if any(p.source_id == source for panel in drawn for p in panel.points)]
    width = MARGIN + len(drawn) * (SIDE + MARGIN + GAP) + 150
    height = TOP + SIDE + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
    ]
    for number, panel in enumerate(drawn):
        lines += _panel(panel, MARGIN + number * (SIDE + MARGIN + GAP), colour)
    left = MARGIN + len(drawn) * (SIDE + MARGIN + GAP) - GAP
    for number, source in enumerate(shown):
        y = TOP + 20 * number + 10
        lines.append(f'<circle cx="{left:g}" cy="{y - 4:g}" r="4" fill="{colour[source]}"/>')
        lines.append(f'<text x="{left + 10:g}" y="{y:g}">{escape(source)}</text>')
    return "\n".join([*lines, "</svg>\n"])


def _panel(panel: Panel, left: float, colour: dict[str, str]) -> list[str]:
    low, high = panel.decades()

    def along(value: float) -> float:
        return (math.log10(value) - low) / (high - low) * SIDE

    def at(measured: float, predicted: float) -> tuple[float, float]:
        return left + along(measured), TOP + SIDE - along(predicted)

    bottom = TOP + SIDE
    lines = [
        f'<rect x="{left:g}" y="{TOP:g}" width="{SIDE:g}" height="{SIDE:g}" fill="none" stroke="black"/>',
        f'<text x="{left:g}" y="{TOP - 12:g}" font-weight="bold">{panel.title}, {panel.unit}</text>',
        f'<text x="{left + SIDE / 2:g}" y="{bottom + 38:g}" text-anchor="middle">measured</text>',
        f'<text transform="translate({left - 40:g} {TOP + SIDE / 2:g}) rotate(-90)" '
        'text-anchor="middle">predicted</text>',
    ]
    for exponent in range(low, high + 1):
        x, y = at(10.0**exponent, 10.0**exponent)
        lines.append(f'<text x="{x:.1f}" y="{bottom + 16:g}" text-anchor="middle">{10.0**exponent:g}</text>')
        lines.append(f'<text x="{left - 6:g}" y="{y + 4:.1f}" text-anchor="end">{10.0**exponent:g}</text>')
        lines.append(
            f'<path d="M{x:.1f} {TOP:g}V{bottom:g}M{left:g} {y:.1f}H{left + SIDE:g}" stroke="#ddd" fill="none"/>'
        )
    low_value, high_value = 10.0**low, 10.0**high
    for factor, dashes in ((1.0, ""), (1 + BAND, ' stroke-dasharray="4 4"'), (1 - BAND, ' stroke-dasharray="4 4"')):
        x1, y1 = at(low_value / min(factor, 1), low_value * max(factor, 1))
        x2, y2 = at(high_value / max(factor, 1), high_value * min(factor, 1))
        lines.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="#888" fill="none"{dashes}/>')
    for point in panel.points:
        x, y = at(point.measured, point.predicted)
        told = f"{point.row_id}: measured {point.measured:.4g} {panel.unit}, predicted {point.predicted:.4g}"
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour[point.source_id]}" fill-opacity="0.6">'
            f"<title>{escape(told)}</title></circle>"
        )
    return lines


def _write_png(path: Path, drawn: Sequence[Panel], sources: Sequence[str]) -> None:
    from matplotlib.figure import Figure  # type: ignore[import-not-found,unused-ignore]

    figure = Figure(figsize=(7 * len(drawn), 6), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True):
        low, high = (10.0**exponent for exponent in panel.decades())
        axes.plot([low, high], [low, high], color="#888", linewidth=1)
        for number, source in enumerate(sources):
            own = [p for p in panel.points if p.source_id == source]
            if own:
                axes.scatter(
                    [p.measured for p in own],
                    [p.predicted for p in own],
                    s=12,
                    alpha=0.6,
                    color=COLOURS[number % len(COLOURS)],
                    label=source,
                )
        axes.set(
            xscale="log", yscale="log", xlabel="measured", ylabel="predicted", title=f"{panel.title}, {panel.unit}"
        )
        axes.legend()
    figure.savefig(path, dpi=150)
