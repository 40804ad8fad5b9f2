"""Each remedy, applied to the job by hand and solved, makes it fit."""

from dataclasses import replace

import pytest

from costmodels.configuration import Job
from costmodels.hardware import Cluster
from planner.infeasibility import Infeasibility
from planner.solve import SolveOptions, solve
from tests.planner.instances import cluster, dense_model

MODEL = dense_model(layers=12, hidden=1024, ffn=4096)
JOB = Job(global_batch=4, sequence_length=2048)


def report(machine: Cluster, job: Job = JOB, options: SolveOptions | None = None) -> Infeasibility:
    found = solve(machine, MODEL, job, options=options or SolveOptions()).infeasibility
    assert found is not None
    return found


def test_more_nodes_shorter_sequences_and_leaner_gradients_are_tried() -> None:
    small = cluster(1, 2, memory_bytes=3.3e9)
    text = " " + "\n ".join(report(small).remedies)
    tried = {
        " 2 nodes (4 x": (replace(small, nodes=2), JOB),
        " 3 nodes (6 x": (replace(small, nodes=3), JOB),
        " 4 nodes (8 x": (replace(small, nodes=4), JOB),
        "sequence length 1,024": (small, replace(JOB, sequence_length=1024)),
        "gradients kept in bf16": (small, replace(JOB, gradients="bf16")),
        "moments kept in bf16": (small, replace(JOB, moments="bf16")),
    }
    assert {said: said in text for said in tried} == {
        said: solve(machine, MODEL, job).status == "optimal" for said, (machine, job) in tried.items()
    }
    assert "nodes (" in text


def test_the_reserve_is_named_when_it_is_what_is_short() -> None:
    roomy = cluster(1, 2, memory_bytes=8e9)
    held = replace(roomy, reserve_bytes=7 * 2.0**30)
    assert solve(roomy, MODEL, JOB).status == "optimal"
    assert "no memory in reserve instead of 7 GiB a GPU" in report(held).remedies


@pytest.mark.parametrize(
    ("pins", "forbid", "said"),
    [
        ({"ep": 4}, frozenset[str](), "ep not pinned to 4"),
        ({"tp": 3, "ep": 4}, frozenset[str](), "nothing pinned or forbidden"),
    ],
)
def test_a_demand_that_rules_everything_out_is_named(
    pins: dict[str, int | str], forbid: frozenset[str], said: str
) -> None:
    machine = cluster(1, 4)
    found = report(machine, options=SolveOptions(pins=pins, forbid=forbid))
    assert found.remedies == (said,)
    assert found.short_bytes is None
    assert "ep=4 pinned" in found.constraint


def test_a_batch_that_divides_by_the_replicas_is_found() -> None:
    """7 sequences on 8 replicas: the next multiple of 8 is 8."""
    machine, options = cluster(1, 8), SolveOptions(pins={"dp": 8})
    found = report(machine, replace(JOB, global_batch=7), options)
    assert "global batch 8 instead of 7" in found.remedies
    assert solve(machine, MODEL, replace(JOB, global_batch=8), options=options).status == "optimal"


def test_the_parts_of_the_closest_configuration_add_up_to_its_need() -> None:
    found = report(cluster(1, 2, memory_bytes=3.3e9))
    parts = found.reasons[1].partition(": ")[2].split(", ")
    assert found.needed_bytes is not None
    total = sum(float(part.split()[-2]) for part in parts)
    assert total == pytest.approx(found.needed_bytes / 1e9, abs=0.05 * 6)  # six parts, each rounded to 0.1


def test_without_a_remedy_the_report_says_what_was_tried() -> None:
    found = report(cluster(1, 2, memory_bytes=1.0))
    lines = Infeasibility(constraint=found.constraint, reasons=found.reasons, capacity_bytes=1.0, remedies=()).lines
    assert lines[-1].strip().startswith("none of the changes tried alone")
