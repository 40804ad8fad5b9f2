"""Layers to stages on groups of unlike speed and memory: an integer programme beside the search."""

from dataclasses import asdict, replace
from itertools import pairwise

import pytest

from costmodels.calibration import Calibration
from costmodels.configuration import Configuration, Job
from costmodels.ground_step import GroundModel
from planner.mixed.ground import Lane, ground_of
from planner.mixed.search import search
from tests.machines import dense_model
from tests.oracles.partition_milp import Triple, least_bottleneck, least_makespan
from tests.planner.mixed.machines import CALIBRATION, group, islands

MODEL = dense_model(layers=6, hidden=2048, ffn=8192)
JOB = Job(global_batch=8, sequence_length=4096)
ITEMS = len(MODEL.layers) + 2
STAGES = 3


def without_updates() -> Calibration:
    """Figures under which a step is its pipeline alone: no optimizer, no stragglers, nothing else once a step."""
    figures = {name: asdict(figure) for name, figure in CALIBRATION.figures.items()}
    figures["optimizer_bytes_per_parameter"]["value"] = 1e-9  # must be positive
    for name in ("straggler_fraction_per_doubling", "step_seconds"):
        figures[name]["value"] = 0.0
    return Calibration.from_mapping({"name": "pipeline alone", "figures": figures})


ALONE = without_updates()
WHERE = islands(
    replace(group("old", 2, 0.5, 12e9), domain_gpus=1),
    replace(group("new", 2, 1.0, 9.5e9), domain_gpus=1),
    link=group("x", 1).scale_out,
)
CHAINS = [((a, n), (1 - a, STAGES - n)) for a in (0, 1) for n in (1, 2)]


def programme(chain: tuple[tuple[int, int], ...]) -> tuple[dict[Triple, float], dict[Triple, float], list[float]]:
    """Seconds of every interval that fits on every stage, figure by figure from the prices of single cuts."""
    configuration = Configuration(pp=STAGES, dp=1, zero=0)
    lane = Lane(chain=chain, pipelines=1, microbatches=JOB.global_batch)
    priced = GroundModel(MODEL, JOB, configuration, ground_of(WHERE, configuration, [lane]), [ALONE] * 2)
    forward: dict[Triple, float] = {}
    backward: dict[Triple, float] = {}
    capacity = [WHERE.groups[g].capacity_bytes for g in lane.groups]
    for first in range(1, ITEMS - 1):
        for second in range(first + 1, ITEMS):
            for stage, (s, e) in enumerate(pairwise((0, first, second, ITEMS))):
                own = priced.price((0, first, second, ITEMS)).step.stages[stage]
                if own.memory.peak_bytes <= capacity[stage]:
                    chunk = own.chunks[0]
                    forward[stage, s, e, 0] = chunk.forward_seconds
                    rest = (chunk.recompute_seconds, chunk.input_grad_seconds, chunk.weight_grad_seconds)
                    backward[stage, s, e, 0] = sum(rest)
    return forward, backward, priced.links(0).tolist()


def test_the_search_finds_what_the_programme_finds() -> None:
    """The step of a pipeline alone is its makespan: the programme of every chain, the best of them."""
    values = []
    for chain in CHAINS:
        forward, backward, links = programme(chain)
        values.append(least_makespan(ITEMS, STAGES, JOB.global_batch, forward, backward, links))
    possible = [value for value in values if value is not None]
    pins: dict[str, int | str] = {"tp": 1, "cp": 1, "pp": STAGES, "dp": 1, "zero": 0, "mbs": 1, "recompute": "none"}
    found = search(WHERE, [ALONE] * 2, MODEL, JOB, pins=pins)
    assert found.best is not None
    assert found.result.status == "optimal"
    assert found.result.value == pytest.approx(min(possible), rel=1e-6)


def test_the_bottleneck_of_unlike_stages_is_the_programme_s() -> None:
    """On the tables that cuts are searched in, the least largest load of any cut that fits."""
    import numpy as np

    from planner.partition import Partition
    from solvers.best_split import lower_bound

    configuration = Configuration(pp=STAGES, dp=1, zero=0)
    for chain in CHAINS:
        lane = Lane(chain=chain, pipelines=1, microbatches=JOB.global_batch)
        priced = GroundModel(MODEL, JOB, configuration, ground_of(WHERE, configuration, [lane]), [ALONE] * 2)
        partition = Partition.on(priced)
        tables = partition.rows[0].tables
        load = np.where(partition.allowed, tables.forward + tables.backward, np.inf)
        forward, backward, _ = programme(chain)
        cost = {triple: forward[triple] + backward[triple] for triple in forward}
        expected = least_bottleneck(ITEMS, STAGES, cost)
        assert lower_bound(load) == pytest.approx(float("inf") if expected is None else expected, rel=1e-6)


def test_memory_moves_layers_to_the_slower_group() -> None:
    """Where the faster one had room, it would hold more."""
    pins: dict[str, int | str] = {"tp": 1, "cp": 1, "pp": 2, "dp": 1, "zero": 0, "mbs": 1, "recompute": "none"}
    held = []
    for memory in (9.5e9, 80e9):
        where = islands(group("old", 1, 0.5, 80e9), group("new", 1, 1.0, memory), link=group("x", 1).scale_out)
        best = search(where, [ALONE] * 2, MODEL, JOB, pins=pins).best
        assert best is not None
        assert best.price.over_bytes <= 0
        lane = best.lanes[0]
        held.append(best.boundaries[lane.groups.index(1) + 1] - best.boundaries[lane.groups.index(1)])
    assert held[0] < held[1]
