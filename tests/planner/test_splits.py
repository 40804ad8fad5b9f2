"""Cuts by rule."""

from itertools import pairwise

import pytest
import yaml

from cases import case_path
from costmodels.configuration import Configuration, Job
from planner.splits import redistributed_boundaries
from tests.costmodels.test_vocabulary import gpt
from tests.machines import dense_model, moe_model

JOB = Job(global_batch=128, sequence_length=2048)
RUNS = yaml.safe_load(case_path("vocabulary_stage_times.yaml").read_text())["runs"]


@pytest.mark.parametrize("run", [run for run in RUNS if run["method"] == "redis"], ids=lambda r: str(r["vocabulary"]))
def test_redistributed_layers_are_those_of_the_published_runs(run: dict[str, object]) -> None:
    """Layers of the last stage as stated; of the others as their forward times say (2.66 ms a layer)."""
    cut = redistributed_boundaries(gpt(int(str(run["vocabulary"]))), JOB, Configuration(pp=8))
    assert cut is not None
    layers = [b - a for a, b in pairwise(cut)]
    layers[0] -= 1  # the embedding
    layers[-1] -= 1  # the head
    assert layers[-1] == run["layers_last_stage"]
    timed = [round(us / 2660) for us in run["forward_us"][:-1]]  # type: ignore[index]
    assert layers[:-1] == timed
    assert sum(layers) == 32


def test_the_rule_is_for_plain_layers_on_several_stages() -> None:
    assert redistributed_boundaries(dense_model(), JOB, Configuration(pp=2)) is None, "gated"
    assert redistributed_boundaries(moe_model(4), JOB, Configuration(pp=2)) is None
    assert redistributed_boundaries(gpt(32000), JOB, Configuration(pp=1)) is None
    assert redistributed_boundaries(gpt(32000), JOB, Configuration(pp=2, vp=2)) is None
