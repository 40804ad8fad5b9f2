"""A figure to fit: where it applies, between which bounds, how far it may move unless measurements insist.

An unknown is the logarithm of a figure (plus an offset where the figure may be zero), so that its prior
is log-normal around the base value. Its width follows from how the base value is known: a measured
figure moves least, an assumed one most; seconds and elements, which are small corrections, twice as far.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from costmodels.calibration import FIGURES, Calibration, CalibrationError

WIDTHS = {"measured": 0.1, "fitted": 0.2, "assumed": 0.4}
"""Standard deviation of the logarithm of a figure, by how its base value is known."""
LOOSE = {"seconds": 2.0, "elements": 2.0, "bytes": 1.0, "factor": 1.0, "fraction": 1.0}
BOUNDS = {
    "fraction": (0.02, 1.5),
    "factor": (0.2, 10.0),
    "seconds": (1e-7, 10.0),
    "elements": (0.1, 1e5),
    "bytes": (1e-3, 1e11),
}
NOMINAL = ("memory_fraction", "scale_up_fraction", "scale_out_fraction")
"""Shares of what the hardware can do at most: never above 1."""
OFFSETS = {"fraction": 0.05, "seconds": 1e-4, "elements": 10.0, "bytes": 1.0}
"""Added before the logarithm to a figure whose base value is zero: where moves start to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One unknown: ``figure`` of every one of ``calibrations``, which share its value.

    ``width``: of the prior, in the logarithm; None for the one that the base value's kind gives.
    ``low``, ``high``: bounds in the figure's unit; None for those of its unit.
    """

    figure: str
    calibrations: tuple[str, ...]
    width: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def label(self) -> str:
        return f"{self.figure} of {', '.join(self.calibrations)}"

    def check(self, base: Mapping[str, Calibration]) -> None:
        """Raises CalibrationError for an unknown figure or calibration, bounds or width of no sense."""
        if self.figure not in FIGURES:
            raise CalibrationError(f"{self.figure}: unknown figure; known figures are {', '.join(FIGURES)}")
        if not self.calibrations or set(self.calibrations) - base.keys():
            known = ", ".join(base)
            raise CalibrationError(f"{self.figure}: calibrations {list(self.calibrations)}: expected some of {known}")
        scale = self.scale(base)
        if not 0 <= scale.low < scale.high < math.inf:
            raise CalibrationError(f"{self.figure}: bounds {scale.low} to {scale.high}: low must be below high")
        if not 0 < scale.width < math.inf:
            raise CalibrationError(f"{self.figure}: width {self.width}: expected a positive number")

    def scale(self, base: Mapping[str, Calibration]) -> "Scale":
        """The unknown's scale, from the mean of the base values."""
        figures = [base[name].figures[self.figure] for name in self.calibrations]
        value, unit = sum(f.value for f in figures) / len(figures), figures[0].unit
        low, high = BOUNDS[unit]
        offset = OFFSETS.get(unit, 1.0) if value == 0 or self.low == 0 else 0.0
        low = (0.0 if offset else low) if self.low is None else self.low
        high = (1.0 if self.figure in NOMINAL else high) if self.high is None else self.high
        widest = max(WIDTHS[f.kind] for f in figures)
        # an offset takes the place of a value: its logarithm moves by one where the figure gets as large
        width = self.width or (1.0 if value == 0 else widest * LOOSE[unit])
        return Scale(value=value, low=min(low, value), high=max(high, value), offset=offset, width=width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """x = log(value + offset) with a normal prior of ``width`` around the base ``value``."""

    value: float
    low: float
    high: float
    offset: float
    width: float

    def unknown(self, value: float) -> float:
        return math.log(value + self.offset)

    def figure(self, x: float) -> float:
        return max(math.exp(x) - self.offset, 0.0)

    def slope(self, x: float) -> float:
        """d value / d x."""
        return math.exp(x)
