"""Seconds and memory as whole numbers, for a solver that knows no others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from solvers.schedule.graph import OperationGraph
from solvers.schedule.problem import Kind

MOST_TICKS = 100_000
"""Of a period; a pattern found on rounded ticks is longer than asked by at most its lanes / MOST_TICKS."""

MOST_UNITS = 1_000_000
"""Of a device's memory; where it is rounded, operations keep that share of it more."""


def common_unit(values: Sequence[float]) -> Fraction | None:
    """The largest of which decimal figures are whole multiples; None where they are no such figures, or all 0."""
    exact = [Fraction(value).limit_denominator(10**9) for value in values if value]
    if not exact or any(
        abs(float(one) - value) > 1e-12 * abs(value) for one, value in zip(exact, filter(None, values), strict=True)
    ):
        return None
    below = math.lcm(*(one.denominator for one in exact))
    return Fraction(math.gcd(*(int(one * below) for one in exact)), below)


def whole_numbers(values: Sequence[float], most: int) -> list[int] | None:
    """Decimal figures as multiples of their common unit; None where the first is more than ``most`` of it."""
    unit = common_unit(values)
    if unit is None or values[0] / unit > most:
        return None
    return [round(Fraction(value).limit_denominator(10**9) / unit) for value in values]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """``seconds`` [lanes] and ``lags`` [edges] in ticks, ``period`` of them in a period; ``exact``: nothing
    was rounded. Otherwise seconds and lags are rounded down."""

    period: int
    seconds: tuple[int, ...]
    lags: tuple[int, ...]
    exact: bool


def ticks_of(graph: OperationGraph, period: float) -> Ticks:
    seconds, lags = [lane.seconds for lane in graph.lanes], [edge.lag for edge in graph.edges]
    counts = whole_numbers([period, *seconds, *lags], MOST_TICKS)
    if counts is not None:
        split = 1 + len(seconds)
        return Ticks(period=counts[0], seconds=tuple(counts[1:split]), lags=tuple(counts[split:]), exact=True)

    def down(value: float) -> int:
        return math.floor(value / period * MOST_TICKS * (1 - 1e-12))

    return Ticks(period=MOST_TICKS, seconds=tuple(map(down, seconds)), lags=tuple(map(down, lags)), exact=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Memory of one device in whole units: ``acquired`` and ``released`` of its lanes in the order of
    ``OperationGraph.lanes_of``, ``whole`` of its chunks' activations together, ``cap`` (None: none)."""

    acquired: tuple[int, ...]
    released: tuple[int, ...]
    whole: int
    cap: int | None


def units_of(graph: OperationGraph, device: int, cap: float) -> Units:
    """Where the figures have no common unit, what is held is rounded up and the cap down."""
    lanes = graph.lanes_of[device]
    holds = [hold for hold in graph.holds if graph.lanes[hold.first].device == device]
    amounts, limits = [hold.amount for hold in holds], [cap] if math.isfinite(cap) else []
    most = max([*amounts, *limits], default=0.0)
    counts = whole_numbers([most, *amounts, *limits], MOST_UNITS) if most else [0] * (1 + len(amounts) + len(limits))
    if counts is None:
        unit = most / MOST_UNITS
        counts = [0, *(math.ceil(amount / unit * (1 - 1e-12)) for amount in amounts)]
        counts += [math.floor(limit / unit * (1 + 1e-12)) for limit in limits]
    units = list(zip(holds, counts[1 : 1 + len(holds)], strict=True))
    return Units(
        acquired=tuple(sum(count for hold, count in units if hold.first == lane) for lane in lanes),
        released=tuple(sum(count for hold, count in units if hold.last == lane) for lane in lanes),
        whole=sum(count for hold, count in units if graph.lanes[hold.first].kind == Kind.F),
        cap=counts[-1] if limits else None,
    )
