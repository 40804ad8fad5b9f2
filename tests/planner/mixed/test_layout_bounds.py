"""Bounds of layouts, states and links included, against the best cut of each: random small cases."""

from dataclasses import replace

import numpy as np
import pytest

from costmodels.calibration import Calibration
from costmodels.configuration import Job
from costmodels.hardware import Link
from planner.mixed.islands import Islands, Trunk
from planner.mixed.search import _Run
from planner.mixed.space import families
from solvers.stop import NoLimit
from tests.machines import dense_model, moe_model
from tests.planner.mixed.machines import CALIBRATION, group

LAYOUTS = 60


def random_islands(rng: np.random.Generator) -> Islands:
    """Two or three groups of any speed, memory and number of GPUs; trunks of any rate, some shared."""
    sizes = rng.choice([1, 2, 4], size=rng.integers(2, 4)).tolist()
    groups = tuple(
        group(f"g{i}", gpus, float(rng.uniform(0.2, 1.0)), float(rng.uniform(10e9, 80e9)))
        for i, gpus in enumerate(sizes)
    )
    link = Link(bytes_per_second=float(10 ** rng.uniform(8.5, 10.7)), latency_seconds=float(10 ** rng.uniform(-6, -3)))
    together = float(rng.choice([np.inf, link.bytes_per_second * 1.5]))
    return Islands.joined(groups, Trunk(link=link, bytes_per_second=together))


def with_host(seconds: float) -> Calibration:
    figure = replace(CALIBRATION.figures["microbatch_seconds"], value=seconds)
    return CALIBRATION.replacing({"microbatch_seconds": figure})


@pytest.mark.parametrize("seed", range(12))
def test_no_cut_of_a_layout_is_below_its_bounds(seed: int) -> None:
    """The bound of its pipelines and states, of its shares of the batch and of its family, each held against the best
    of every cut by event simulation. Every third model has experts."""
    rng = np.random.default_rng(seed)
    where = random_islands(rng)
    overlap, layers = bool(rng.integers(2)), int(rng.integers(3, 6))
    model = moe_model(layers=layers) if seed % 3 == 0 else dense_model(layers=layers, hidden=2048, ffn=8192)
    job = Job(global_batch=int(rng.choice([4, 6, 9])), sequence_length=4096, gradient_overlap=overlap)
    calibrations = [with_host(float(host)) for host in rng.uniform(0.0, 5e-3, size=len(where.groups))]
    pins: dict[str, int | str] = {"mbs": 1, "cp": 1, "zero": int(rng.integers(4)), "recompute": "none", "sp": 0}
    space = families(where, model, job, pins, frozenset(), frozenset())
    run = _Run(where, calibrations, model, job, space, NoLimit())
    seen, close = 0, 0.0
    for index in rng.permutation(np.flatnonzero(run.bounds < np.inf)).tolist():
        found, _ = run._staged(index, float("inf"))
        for bound, lanes in list(run._laid_out(index, found, np.inf))[:4]:
            opened = run._open(index, lanes)
            value = opened.partition.solve().value
            assert bound <= value * (1 + 1e-9)
            assert run.bounds[index] <= value * (1 + 1e-9)
            close = max(close, bound / value)
            seen += value < np.inf
        if seen >= LAYOUTS:
            break
    assert seen >= 3
    assert close > 0.9
