"""What several packages of tests share."""

import pytest

from planner.published import PredictedRow, predict_rows
from planner.published.bundled import bundled_rows


@pytest.fixture(scope="session")
def published() -> list[PredictedRow]:
    """Every bundled published run, predicted once."""
    return list(predict_rows(bundled_rows()))
