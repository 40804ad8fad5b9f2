"""Which method a search picks, against what runs measured (``cases/vocabulary_stage_times.yaml``)."""

from dataclasses import replace

import pytest

from costmodels.configuration import Job
from planner.solve import SolveOptions, solve
from planner.specs import load_cluster
from tests.costmodels.test_vocabulary import RUNS, gpt

PINS: dict[str, int | str] = {
    "pp": 8, "tp": 1, "dp": 1, "cp": 1, "mbs": 1, "vp": 1, "zero": 0, "recompute": "none", "schedule": "1f1b"
}  # fmt: skip


@pytest.mark.parametrize(("vocabulary", "most"), [(32000, 1.02), (64000, 1.015), (128000, 1.015), (256000, 1.015)])
def test_shapes_alone_pick_a_method_that_measured_close_to_the_best(vocabulary: int, most: float) -> None:
    """Yeung et al. (arXiv 2411.05288), 8 A100: of the methods that ran, the one picked by shapes was measured at most
    1.5 % above the fastest; with 32,000 rows, where the predictions of the three lie within 0.2 %, 1.9 %. A whole
    vocabulary cut by rule (baseline, redis) is no such method."""
    machine = replace(load_cluster("dgx-a100-80gb-8"), nodes=1)
    job = Job(global_batch=128, sequence_length=2048, gradients="bf16", dropout=True)
    options = SolveOptions(pins=PINS, allow=frozenset({"vocabulary"}), top_k=1)
    plan = solve(machine, gpt(vocabulary), job, options=options).plan
    assert plan is not None
    measured = {run["method"]: run["iteration_ms"] for run in RUNS if run["vocabulary"] == vocabulary}
    picked = plan.parallelism.vocabulary
    assert picked in measured, f"{picked} did not run in the study"
    assert plan.vocabulary_rows() is None, "the study ran even shares"
    assert measured[picked] <= most * min(measured.values())
    assert min(measured["baseline"], measured["redis"]) > most * min(measured.values())
