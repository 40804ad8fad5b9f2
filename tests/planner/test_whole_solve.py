"""``solve`` against one constraint model that chooses configuration and layer split at once (CP-SAT).

Real configurations of small models on 2 to 4 GPUs, priced by the cost model with links, optimizer and
host free, so that a step is its pipeline. Items' seconds are rounded to 20 microseconds on both sides:
they compare exactly, and in all 180 instances they find the same optimum. (The rule of the least
bottleneck of turn costs, ``solvers.partition``, finds it in 172; in eight of three and four stages its split
is slower than the best one, by 4.6 % at most.)
"""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from costmodels import step
from costmodels.architecture import Model
from costmodels.configuration import Job
from costmodels.hardware import Cluster, Link
from costmodels.items import ItemCosts, item_costs
from planner.pricing import Pricing
from planner.solve import SolveOptions, solve
from planner.space import enumerate_space
from tests.bare import FREE, bare_calibration
from tests.machines import cluster, dense_model
from tests.oracles.monolithic import Abstract, best_of_all

GRID = 20e-6
PIPELINE_ONLY = bare_calibration(
    gemm_peak_fraction=0.7,
    gemm_edge_half=40.0,
    gemm_k_half=200.0,
    attention_forward_fraction=0.6,
    attention_keys_half=300.0,
    memory_fraction=0.8,
    kernel_launch_seconds=4e-6,
    optimizer_bytes_per_parameter=1e-30,
)
INSTANCES = [
    (gpus, pp, layers, batch, ffn, vocabulary)
    for (gpus, pp), layers, batch, ffn, vocabulary in product(
        ((2, 2), (4, 2), (3, 3), (4, 4)), (3, 5, 8), (2, 3, 4, 6), (1024, 4096), (1000, 16000, 32000)
    )
    if batch % (gpus // pp) == 0 and batch // (gpus // pp) <= 4 and (ffn, vocabulary) != (1024, 1000)
]
"""Up to four micro-batches of one sequence, or fewer and larger ones; layers against a light or heavy head."""


def on_the_grid(*args: object) -> ItemCosts:
    costs = item_costs(*args)  # type: ignore[arg-type]
    rounded = {
        f"{name}_seconds": np.rint(getattr(costs, f"{name}_seconds") / GRID) * GRID
        for name in ("forward", "input_grad", "weight_grad")
    }
    return replace(costs, **rounded)


def problem(
    gpus: int, pp: int, layers: int, batch: int, ffn: int, vocabulary: int
) -> tuple[Cluster, Model, Job, dict[str, int | str]]:
    free = replace(cluster(1, gpus), scale_up=Link(bytes_per_second=FREE, latency_seconds=0.0))
    pins: dict[str, int | str] = {"tp": 1, "cp": 1, "pp": pp, "vp": 1, "zero": 0, "recompute": "none"}
    model = replace(dense_model(layers, ffn=ffn), vocabulary=vocabulary)
    return free, model, Job(global_batch=batch, sequence_length=2048), pins


def both(machine: Cluster, model: Model, job: Job, pins: dict[str, int | str]) -> tuple[int, float]:
    """The oracle's optimum and ``solve``'s, in units of the grid."""
    columns = enumerate_space(machine, model, job, pins).columns
    prices = Pricing(machine, model, job, PIPELINE_ONLY, columns)
    types = prices.step.chain.types

    def whole(table: np.ndarray, index: int) -> list[int]:
        return np.rint(table[types, index] / GRID).astype(int).tolist()

    optimum, _ = best_of_all(
        [
            Abstract(
                stages=int(columns.pp[i]),
                microbatches=int(prices.step.microbatches[i]),
                forward=whole(prices.step.forward_seconds, i),
                backward=whole(prices.step.backward_seconds, i),
                extra=0,
            )
            for i in range(len(columns))
        ]
    )
    plan = solve(machine, model, job, options=SolveOptions(pins=pins, calibration=PIPELINE_ONLY)).plan
    assert plan is not None
    return optimum, plan.certificate.value / GRID


@pytest.fixture(scope="module")
def found() -> dict[tuple[int, ...], tuple[int, float]]:
    """The oracle's optimum and ``solve``'s of every instance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "item_costs", on_the_grid)
        return {instance: both(*problem(*instance)) for instance in INSTANCES}


def test_solve_finds_the_optimum_of_all_configurations_and_splits(
    found: dict[tuple[int, ...], tuple[int, float]],
) -> None:
    assert len(found) == 180
    assert sum(pp > 2 for _, pp, *_ in found) == 90
    assert {i: pair for i, pair in found.items() if pair[1] != pytest.approx(pair[0], rel=1e-9)} == {}
