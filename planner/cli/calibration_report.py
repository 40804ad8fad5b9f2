"""What a calibration has found, as text and as JSON."""

from typing import TYPE_CHECKING, Any

from planner.cli.output import plain, table

if TYPE_CHECKING:
    from planner.calibrate.measurements import Errors
    from planner.calibrate.stages import Calibrated


def as_mapping(found: "Calibrated") -> dict[str, Any]:
    return {
        "gpu": found.gpu,
        "software": found.software,
        "stages": [
            {
                "name": stage.name,
                "measurements": [plain(explained) for explained in stage.sets],
                "figures": [
                    {
                        "figure": f.parameter.figure,
                        "unit": f.unit,
                        "old": f.old,
                        "new": f.new,
                        "standard_error": f.error,
                        "identified": f.identified,
                        "at_bound": f.at_bound,
                    }
                    for f in stage.figures
                ],
            }
            for stage in found.stages
        ],
        "residuals": plain(found.residuals),
        "figures": {name: plain(figure) for name, figure in found.changed.items()},
        "unused": list(found.unused),
        "warnings": list(found.warnings),
    }


def describe(found: "Calibrated") -> str:
    """How well measurements are explained, then each figure, then what could not be told."""
    explained = [
        (stage.name, e.name, e.before.rows, *_pair(e.before), *_pair(e.after), *_pair(e.held_out))
        for stage in found.stages
        for e in stage.sets
    ]
    header = ("stage", "measurements", "n", "before: mean", "p90", "after: mean", "p90", "left out: mean", "p90")
    figures = [
        (f.parameter.figure, f"{f.old:.4g}", "->", f"{f.new:.4g}", f"+- {f.error:.2g}", f.unit)
        for stage in found.stages
        for f in stage.figures
        if f.identified
    ]
    unknown = [f.parameter.figure for stage in found.stages for f in stage.figures if not f.identified]
    still = [name for name in dict.fromkeys(unknown) if name not in found.changed]
    lines = [f"{found.gpu}, {found.software}"]
    lines += ["", table(header, explained, text=(0, 1))] if explained else []
    lines += ["", table(("figure", "old", "", "new", "one error", "unit"), figures, text=(0, 5))] if figures else []
    lines += ["", f"Not identified by these measurements, kept: {', '.join(still)}"] if still else []
    if found.residuals is not None:
        share, rows = found.residuals.seconds_p80, found.residuals.rows
        lines.append(f"Four in five of {rows} steps lie within {share:.1%} of their prediction")
    return "\n".join(lines)


def _pair(errors: "Errors") -> tuple[str, str]:
    return tuple("-" if e is None else f"{e:.1%}" for e in (errors.mean, errors.p90))  # type: ignore[return-value]
