"""Fit figures of one or several calibrations to measurements.

Residuals are log(predicted / measured) over the expected noise; unknowns and their priors are those of
``planner.calibrate.parameters``, the loss and the standard errors those of ``solvers.least_squares``.
A figure that the measurements hardly inform (its posterior is nearly as wide as its prior) is reported
as not identified and keeps its base value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from costmodels.calibration import Calibration, Figure
from planner.calibrate.measurements import Errors, Measurements, Values, signed_errors
from planner.calibrate.parameters import Parameter, Scale
from solvers.least_squares import LeastSquares, covariance, least_squares, objective, posterior

UNINFORMED = 0.85
"""A figure whose standard error exceeds this share of its prior's width is not identified."""
DIFFERENCE = 1e-3
"""Of an unknown, for the Jacobian: above the steps of a search's choices, below a percent."""
PROBES = (-3, -2, -1, 1, 2, 3)
"""Widths from its base value at which a figure without effect is tried."""
GAIN = 0.01
"""Least part of the objective that such a trial must save."""
ROUNDS = 3
"""Most fits in a row while choices (micro-batch sizes that a row does not print) still change."""
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """One unknown after the fit. ``error``: one standard error in the figure's unit; None where not
    ``identified``, and then ``new`` is ``old``."""

    parameter: Parameter
    unit: str
    old: float
    new: float
    error: float | None
    identified: bool
    at_bound: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """``calibrations`` by name, those of ``base`` with the fitted figures; ``errors``: one array per set
    of measurements, signed, before and after; ``converged`` False when the iterations ran out."""

    base: Mapping[str, Calibration]
    calibrations: Mapping[str, Calibration]
    figures: tuple[Fitted, ...]
    before: tuple[Values, ...]
    after: tuple[Values, ...]
    converged: bool

    @property
    def identified(self) -> tuple[Fitted, ...]:
        return tuple(f for f in self.figures if f.identified)

    def changed(self, calibration: str, source: str) -> dict[str, Figure]:
        """The fitted figures of one calibration, ready for its file."""
        return {
            f.parameter.figure: Figure(value=f.new, unit=f.unit, kind="fitted", source=source)
            for f in self.identified
            if calibration in f.parameter.calibrations
        }


def fit(
    measurements: Sequence[Measurements],
    parameters: Sequence[Parameter],
    base: Mapping[str, Calibration],
    start: Mapping[str, Calibration] | None = None,
) -> Fit:
    """The figures that explain ``measurements`` best. Choices left open are made anew after each round.
    ``start``: where the search begins, the base figures otherwise; the prior stays around those.

    Raises CalibrationError for a parameter of an unknown figure or calibration.
    """
    for parameter in parameters:
        parameter.check(base)
    settled = [m.settled(base[m.calibration]) for m in measurements]
    before = tuple(signed_errors(m, base[m.calibration]) for m in settled)
    if start is not None:
        settled = [m.settled(start[m.calibration]) for m in settled]
    start = start or base
    for _ in range(ROUNDS):
        found, figures, converged = _informed(settled, parameters, base, start)
        again = [m.settled(found[m.calibration]) for m in settled]
        if all(new is old for new, old in zip(again, settled, strict=True)):
            break
        settled, start = again, found
    after = tuple(signed_errors(m, found[m.calibration]) for m in settled)
    return Fit(base=base, calibrations=found, figures=figures, before=before, after=after, converged=converged)


def _informed(
    measurements: Sequence[Measurements],
    parameters: Sequence[Parameter],
    base: Mapping[str, Calibration],
    start: Mapping[str, Calibration],
) -> tuple[dict[str, Calibration], tuple[Fitted, ...], bool]:
    """Fit all, then again without the figure that was least informed, until every one is."""
    problem = _Problem(measurements, parameters, base)
    opening = problem.opening(start)
    kept = problem.informed(opening)
    while True:
        part = _Problem(measurements, [parameters[j] for j in kept], base)
        solved = part.solve(opening[kept])
        opening[kept] = solved.x
        deviations = np.sqrt(np.diag(covariance(solved.jacobian, solved.residuals, part.width)))
        share = deviations / part.width
        if not kept or share.max() <= UNINFORMED:
            break
        del kept[int(share.argmax())]
    found = part.calibrations(solved.x)
    results = []
    for j, (parameter, scale) in enumerate(zip(parameters, problem.scales, strict=True)):
        old, unit = scale.value, base[parameter.calibrations[0]].figures[parameter.figure].unit
        if j not in kept:
            fitted = Fitted(
                parameter=parameter, unit=unit, old=old, new=old, error=None, identified=False, at_bound=False
            )
        else:
            i = kept.index(j)
            x = float(solved.x[i])
            fitted = Fitted(
                parameter=parameter,
                unit=unit,
                old=old,
                new=rounded(scale.figure(x)),
                error=rounded(float(deviations[i]) * scale.slope(x), 2),
                identified=True,
                at_bound=bool(x <= part.low[i] or x >= part.high[i]),
            )
        results.append(fitted)
    return found, tuple(results), solved.converged


def rounded(value: float, digits: int = DIGITS) -> float:
    return float(f"{value:.{digits}g}")


class _Problem:
    """Residuals and Jacobian of the chosen unknowns over all measurements."""

    def __init__(
        self, measurements: Sequence[Measurements], parameters: Sequence[Parameter], base: Mapping[str, Calibration]
    ) -> None:
        self.measurements, self.parameters, self.base = measurements, parameters, base
        self.scales: list[Scale] = [p.scale(base) for p in parameters]
        self.centre = np.array([s.unknown(s.value) for s in self.scales])
        self.width = np.array([s.width for s in self.scales])
        self.low = np.array([s.unknown(s.low) for s in self.scales])
        self.high = np.array([s.unknown(s.high) for s in self.scales])

    def calibrations(self, x: Values) -> dict[str, Calibration]:
        changed: dict[str, dict[str, float]] = {}
        for parameter, scale, unknown in zip(self.parameters, self.scales, x, strict=True):
            for name in parameter.calibrations:
                changed.setdefault(name, {})[parameter.figure] = rounded(scale.figure(float(unknown)), 12)
        return {
            name: base.adjusted(kind="fitted", source="fit", **changed[name]) if name in changed else base
            for name, base in self.base.items()
        }

    def residuals(self, x: Values) -> Values:
        found = self.calibrations(x)
        return np.concatenate([_residuals(m, found[m.calibration]) for m in self.measurements] or [np.zeros(0)])

    def jacobian(self, x: Values, at: Values) -> Values:
        """Forward differences (backward at an upper bound); only measurements that a figure's
        calibrations price are predicted again."""
        found = np.zeros((len(at), len(x)))
        for j, parameter in enumerate(self.parameters):
            step = DIFFERENCE if x[j] + DIFFERENCE <= self.high[j] else -DIFFERENCE
            moved = x.copy()
            moved[j] += step
            calibrations, start = self.calibrations(moved), 0
            for m in self.measurements:
                end = start + len(m.labels)
                if m.calibration in parameter.calibrations:
                    there = _residuals(m, calibrations[m.calibration])
                    found[start:end, j] = (there - at[start:end]) / step
                start = end
        return found

    def unknowns(self, start: Mapping[str, Calibration]) -> Values:
        """Where a search from the figures of ``start`` begins."""
        values = [float(np.mean([getattr(start[c], p.figure) for c in p.calibrations])) for p in self.parameters]
        return np.array([s.unknown(v) for s, v in zip(self.scales, values, strict=True)])

    def opening(self, start: Mapping[str, Calibration]) -> Values:
        """Where the search begins: at ``start``, but for figures that do not matter there and would
        elsewhere (the slower of two links sets the pace; a floor lies below every time). Those are tried
        at some widths from it, and begin where that explains the measurements better."""
        x = self.unknowns(start)
        matters = self.jacobian(x, self.residuals(x)).any(axis=0)
        if matters.any() and not matters.all():
            # what can explain the measurements as it stands comes before what could
            visible = [int(j) for j in np.flatnonzero(matters)]
            part = _Problem(self.measurements, [self.parameters[j] for j in visible], self.base)
            x[visible] = part.solve(x[visible]).x
        found = self.residuals(x)
        best = objective(x, found, self.centre, self.width)
        for j in np.flatnonzero(~matters):
            for widths in PROBES:
                tried = x.copy()
                tried[j] = np.clip(self.centre[j] + widths * self.width[j], self.low[j], self.high[j])
                value = objective(tried, self.residuals(tried), self.centre, self.width)
                if value < best * (1 - GAIN):
                    best, x = value, tried
        return x

    def informed(self, x: Values) -> list[int]:
        """The unknowns that the measurements could inform if they were as exact as expected."""
        slopes = self.jacobian(x, self.residuals(x))
        kept = list(range(len(x)))
        while kept:
            share = np.sqrt(np.diag(posterior(slopes[:, kept], self.width[kept]))) / self.width[kept]
            if share.max() <= UNINFORMED:
                break
            del kept[int(share.argmax())]
        return kept

    def solve(self, start: Values) -> LeastSquares:
        return least_squares(
            self.residuals,
            self.jacobian,
            centre=self.centre,
            width=self.width,
            low=self.low,
            high=self.high,
            start=start,
        )


def _residuals(measurements: Measurements, calibration: Calibration) -> Values:
    return np.asarray(np.log(measurements.predict(calibration) / measurements.measured) / measurements.noise)


def held_out(
    measurements: Sequence[Measurements],
    parameters: Sequence[Parameter],
    base: Mapping[str, Calibration],
    folds: Sequence[frozenset[str]],
    start: Mapping[str, Calibration] | None = None,
) -> tuple[Values, ...]:
    """Signed errors on groups that the fit has not seen: each fold's groups are left out in turn. One
    array per set of measurements, in its order; nan for measurements of no fold, and where a fold leaves
    nothing to fit."""
    errors = [np.full(len(m.labels), np.nan) for m in measurements]
    for fold in folds:
        held = [np.array([g in fold for g in m.groups], dtype=bool) for m in measurements]
        if all(h.all() for h in held):
            continue
        seen = [m.take(np.flatnonzero(~h)) for m, h in zip(measurements, held, strict=True)]
        found = fit([m for m in seen if m.labels], parameters, base, start).calibrations
        for m, h, out in zip(measurements, held, errors, strict=True):
            calibration = found[m.calibration]
            out[h] = signed_errors(m.take(np.flatnonzero(h)).settled(calibration), calibration)
    return tuple(errors)


def folds_of(measurements: Sequence[Measurements], most: int) -> list[frozenset[str]]:
    """Groups in alphabetical order, dealt to at most ``most`` folds; none when there is a single group."""
    groups = sorted({group for m in measurements for group in m.groups})
    count = min(most, len(groups))
    return [frozenset(groups[i::count]) for i in range(count)] if count > 1 else []


def summary(errors: Sequence[Values]) -> Errors:
    """Of all sets together; measurements without an error left out."""
    found = np.concatenate([*errors, np.zeros(0)])
    return Errors.of(found[np.isfinite(found)])
