"""Loads that the tests of the expert solvers share."""

import json

import numpy as np

from cases import case_path


def deepseek_like() -> np.ndarray:
    """58 layers of 256 experts, from the bundled case."""
    text = case_path("experts", "deepseek-r1-gpqa-like.json").read_text(encoding="utf-8")
    return np.array(json.loads(text)["loads"], dtype=np.float64)


def some_loads(rng: np.random.Generator, experts: int) -> np.ndarray:
    kind = rng.integers(4)
    if kind == 0:
        return rng.integers(0, 10, experts).astype(float)
    if kind == 1:
        return rng.lognormal(0.0, 1.0, experts)
    if kind == 2:
        return rng.choice([0.0, 1.0, 7.0], experts)
    return rng.random(experts)
