"""What was measured, beside what one calibration predicts for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from costmodels.calibration import Calibration

Values = NDArray[np.float64]


class Measurements(Protocol):
    """Positive figures of one kind, on GPUs of one calibration.

    ``labels`` name single measurements in messages; ``groups`` say which belong together: a fit is
    tested on whole groups that it has not seen. ``noise``: expected error of a logarithm.
    """

    @property
    def name(self) -> str: ...
    @property
    def calibration(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def groups(self) -> tuple[str, ...]: ...
    @property
    def measured(self) -> Values: ...
    @property
    def noise(self) -> float: ...
    def predict(self, calibration: Calibration) -> Values:
        """[n], in the unit of ``measured``."""

    def settled(self, calibration: Calibration) -> Self:
        """With every choice that a calibration leaves open made under this one; itself if none changes."""

    def take(self, chosen: NDArray[np.int64]) -> Self:
        """Some of the measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Absolute errors as shares of the measured values; None without any."""

    rows: int
    mean: float | None
    p80: float | None
    p90: float | None

    @classmethod
    def of(cls, signed: Iterable[float]) -> "Errors":
        found = np.abs(np.fromiter(signed, dtype=np.float64))
        if not found.size:
            return cls(rows=0, mean=None, p80=None, p90=None)
        p80, p90 = np.quantile(found, [0.8, 0.9])
        return cls(rows=found.size, mean=float(found.mean()), p80=float(p80), p90=float(p90))

    def __str__(self) -> str:
        return "-" if self.mean is None else f"mean {self.mean:.1%}, p90 {self.p90:.1%}"


def signed_errors(measurements: Measurements, calibration: Calibration) -> Values:
    """[n]: predicted over measured, less one."""
    return np.asarray(measurements.predict(calibration) / measurements.measured - 1.0)
