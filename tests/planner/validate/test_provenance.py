"""Calibrated numbers and their sources."""

from typing import Any

import pytest

from tests.planner.plan import samples
from tests.planner.validate.corruption import rules

FIGURE = "provenance__figures__memory_fraction"


@pytest.mark.parametrize(
    ("path", "value", "rule", "where"),
    [
        ("inputs__calibration__values__memory_fraction", 0.5, "provenance.values", "/inputs/calibration/values"),
        (f"{FIGURE}__value", 0.5, "provenance.values", "/inputs/calibration/values"),
        (f"{FIGURE}__unit", "percent", "provenance.figures", "/provenance/figures"),
        (f"{FIGURE}__source", " ", "provenance.figures", "/provenance/figures"),
        ("provenance__version", "unknown", "provenance.version", "/provenance/version"),
        ("provenance__figures__luck", {"value": 1.0, "unit": "fraction", "kind": "assumed", "source": "none"},
         "provenance.figures", "/provenance/figures"),
    ],
)  # fmt: skip
def test_a_figure_without_its_source_is_found(path: str, value: Any, rule: str, where: str) -> None:
    assert (rule, where) in rules(samples.interleaved_dense(), **{path: value})
