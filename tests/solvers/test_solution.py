import math

import pytest

from solvers.solution import Solution


@pytest.mark.parametrize(
    ("value", "bound", "gap"),
    [(10, 9, 0.1), (-10, -11, 0.1), (5, 5, 0), (math.inf, 3, math.inf), (math.inf, math.inf, 0), (0, -1, math.inf)],
)
def test_gap_is_relative_to_the_value(value: float, bound: float, gap: float) -> None:
    # By hand: (value - bound) / |value|.
    solution = Solution(value=value, lower_bound=bound, status="feasible", stop="time_limit", choice=None, seconds=0.0)
    assert solution.gap == pytest.approx(gap)
