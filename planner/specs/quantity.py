"""Quantities with units, as people write them: ``400 Gb/s``, ``3 us``, ``80 GiB``, ``989 TFLOP/s``.

Each parser takes what a spec holds and returns a positive float in SI units, bytes and seconds.
It raises ``ValueError`` saying what would be right. A small ``b`` is a bit, a capital ``B`` a byte.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from planner.specs.errors import shown

_DECIMAL = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_NUMBER = re.compile(r"\s*([+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|inf(?:inity)?))\s*(.*?)\s*", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """``units`` maps each accepted spelling to its factor; ``example`` goes into messages."""

    name: str
    units: Mapping[str, float]
    example: str

    def parse(self, value: object, *, zero: bool = False) -> float:
        """``value`` in the base unit; ``zero`` says whether nothing at all is a sensible amount."""
        match = _NUMBER.fullmatch(value[:200]) if isinstance(value, str) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError(f"no unit; write e.g. {self.example}")
        if match is None:
            raise ValueError(f"not a {self.name}; write e.g. {self.example}")
        number, unit = float(match[1]), match[2]
        if not unit:
            raise ValueError(f"no unit; write e.g. {self.example}")
        if unit not in self.units:
            raise ValueError(f"{shown(unit)} is no unit of {self.name}{self._hint(unit)}; e.g. {self.example}")
        amount = number * self.units[unit]
        if not math.isfinite(amount):
            raise ValueError(f"must be a finite number; write e.g. {self.example}")
        if amount < 0 or (amount == 0 and not zero):
            raise ValueError(f"must be {'at least' if zero else 'more than'} zero; write e.g. {self.example}")
        return amount

    def _hint(self, unit: str) -> str:
        same = [u for u in self.units if u.lower() == unit.lower()]
        found = same or difflib.get_close_matches(unit, self.units, n=2, cutoff=0.6)
        return f"; did you mean {' or '.join(repr(u) for u in found)}?" if found else ""


def _spelled(prefixes: Mapping[str, float], spellings: Mapping[str, float]) -> dict[str, float]:
    return {p + s: factor * f for p, factor in prefixes.items() for s, f in spellings.items()}


BANDWIDTH = Dimension(
    name="bandwidth",
    units=_spelled(_DECIMAL, {"B/s": 1.0, "Bps": 1.0, "b/s": 0.125, "bps": 0.125, "bit/s": 0.125, "byte/s": 1.0})
    | _spelled(_BINARY, {"B/s": 1.0, "b/s": 0.125}),
    example="'400 Gb/s' (bits) or '50 GB/s' (bytes)",
)
LATENCY = Dimension(
    name="latency",
    units={"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0},
    example="'5 us'",
)
MEMORY = Dimension(
    name="memory",
    units=_spelled(_DECIMAL | {"K": 1e3} | _BINARY, {"B": 1.0}),
    example="'80 GB' (1e9 bytes) or '80 GiB' (2**30 bytes)",
)
COMPUTE = Dimension(
    name="compute rate",
    units=_spelled(_DECIMAL, {"FLOP/s": 1.0, "FLOPS": 1.0, "FLOPs": 1.0, "flop/s": 1.0, "FLOPs/s": 1.0}),
    example="'989 TFLOP/s' (dense)",
)


def parse_bandwidth(value: object) -> float:
    """Bytes per second."""
    return BANDWIDTH.parse(value)


def parse_latency(value: object) -> float:
    """Seconds; zero is allowed."""
    return LATENCY.parse(value, zero=True)


def parse_memory(value: object) -> float:
    """Bytes."""
    return MEMORY.parse(value)


def parse_reserve(value: object) -> float:
    """Bytes; zero is allowed."""
    return MEMORY.parse(value, zero=True)


def parse_compute(value: object) -> float:
    """Floating-point operations per second."""
    return COMPUTE.parse(value)
