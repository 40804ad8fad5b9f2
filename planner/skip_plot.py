"""The curve of makespan against skip ratio as a picture, SVG by hand."""

import math
from xml.sax.saxutils import escape

from planner.plan.skip_result import SkipResult

WIDTH, HEIGHT, MARGIN, TOP, LEGEND = 480.0, 320.0, 60.0, 40.0, 150.0
LINES = {
    "planned": ("value", "#1f77b4", ""),
    "greedy": ("greedy_makespan_seconds", "#ff7f0e", ""),
    "nothing below": ("lower_bound", "#7f7f7f", ' stroke-dasharray="4 4"'),
}
"""By name what is drawn: the figure of a point, its colour, its dashes."""


def curve_svg(result: SkipResult) -> str:
    """Seconds from 0 upwards over the skip ratio in per cent; every point tells its figures on hover."""
    points = result.curve
    values = [v for p in points for key, _, _ in LINES.values() if (v := getattr(p, key)) is not None]
    top = _round_up(max(values, default=1.0))
    right = max((p.skip_ratio for p in points), default=0.5) or 0.5

    def at(ratio: float, seconds: float) -> tuple[float, float]:
        return MARGIN + ratio / right * WIDTH, TOP + HEIGHT - seconds / top * HEIGHT

    width, height = MARGIN + WIDTH + LEGEND, TOP + HEIGHT + MARGIN
    bottom = TOP + HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        f'<rect x="{MARGIN:g}" y="{TOP:g}" width="{WIDTH:g}" height="{HEIGHT:g}" fill="none" stroke="black"/>',
        f'<text x="{MARGIN:g}" y="{TOP - 12:g}" font-weight="bold">{escape(result.name)}: makespan, s</text>',
        f'<text x="{MARGIN + WIDTH / 2:g}" y="{bottom + 38:g}" text-anchor="middle">stages skipped, %</text>',
    ]
    for tick in range(6):
        _, y = at(0.0, top * tick / 5)
        lines.append(f'<text x="{MARGIN - 6:g}" y="{y + 4:.1f}" text-anchor="end">{top * tick / 5:g}</text>')
        lines.append(f'<path d="M{MARGIN:g} {y:.1f}H{MARGIN + WIDTH:g}" stroke="#ddd" fill="none"/>')
    for point in points:
        x, _ = at(point.skip_ratio, 0.0)
        label = f"{point.skip_ratio * 100:.0f}"
        lines.append(f'<text x="{x:.1f}" y="{bottom + 16:g}" text-anchor="middle">{label}</text>')
    for number, (name, (key, colour, dashes)) in enumerate(LINES.items()):
        drawn = [(p, v) for p in points if (v := getattr(p, key)) is not None]
        places = [at(p.skip_ratio, v) for p, v in drawn]
        if not drawn:
            continue
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        lines.append(f'<path d="M{path}" stroke="{colour}" fill="none"{dashes}/>')
        for (p, v), (x, y) in zip(drawn, places, strict=True):
            told = f"{name}: {v:.2f} s with {p.path_length} of {result.stages} stages"
            lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{told}</title></circle>')
        y = TOP + 20 * number + 10
        left = MARGIN + WIDTH + 20
        lines.append(f'<path d="M{left:g} {y - 4:g}h18" stroke="{colour}" fill="none"{dashes}/>')
        lines.append(f'<text x="{left + 24:g}" y="{y:g}">{name}</text>')
    return "\n".join([*lines, "</svg>\n"])


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5 or 5 times a power of ten, so that fifths of it are round."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= value)
