"""By how much a job does not fit, and that each remedy works and a smaller one does not."""

import re
from dataclasses import replace

import numpy as np
import pytest

from costmodels.calibration import load_calibration
from costmodels.catalogue import load_catalogue
from costmodels.configuration import Job
from costmodels.hardware import Cluster
from planner.infeasibility import Infeasibility, explain_infeasible, least_memory
from planner.pricing import Pricing
from planner.solve import SolveOptions, solve
from planner.space import Space, enumerate_space
from tests.machines import cluster, dense_model

MODEL = dense_model(layers=12, hidden=1024, ffn=4096)
JOB = Job(global_batch=64, sequence_length=4096)
PINS: dict[str, int | str] = {"zero": 1, "mbs": 1, "vp": 1, "sp": 0, "recompute": "full", "cp": 1}


def machine(memory_bytes: float, nodes: int = 1, reserve_bytes: float = 0.0) -> Cluster:
    return replace(cluster(nodes, 1, memory_bytes=memory_bytes), reserve_bytes=reserve_bytes)


def space(where: Cluster, job: Job = JOB) -> Space:
    return enumerate_space(where, MODEL, job, PINS)


def report(where: Cluster) -> Infeasibility:
    calibration = load_calibration(where.gpu)
    return explain_infeasible(where, MODEL, JOB, calibration, space(where), PINS, frozenset())


def fits(where: Cluster, job: Job = JOB) -> bool:
    return solve(where, MODEL, job, options=SolveOptions(pins=PINS)).status == "optimal"


def test_the_least_memory_is_that_of_brute_force() -> None:
    """Second method: every candidate cut for itself, no bound on its need."""
    where = machine(6e9, nodes=4)
    columns = enumerate_space(where, MODEL, JOB, {"mbs": 1, "cp": 1}).columns
    calibration = load_calibration(where.gpu)
    prices = Pricing(where, MODEL, JOB, calibration, columns)
    needs = [prices.least_peak_bytes(i) for i in range(len(columns))]
    needed, index = least_memory(prices)
    assert needed == min(needs)
    assert needs[index] == needed
    assert (prices.memory_bounds() <= np.array(needs) * (1 + 1e-12)).all()


def test_the_shortfall_is_beyond_what_the_reserve_leaves() -> None:
    """By hand: the same need, 1 GB less to meet it with."""
    plain, reserved = report(machine(6.5e9)), report(machine(6.5e9, reserve_bytes=1e9))
    assert plain.short_bytes is not None
    assert reserved.short_bytes is not None
    assert reserved.capacity_bytes == 5.5e9
    assert reserved.needed_bytes == pytest.approx(plain.needed_bytes)
    assert reserved.short_bytes - plain.short_bytes == pytest.approx(1e9)
    assert reserved.short_bytes == pytest.approx(reserved.needed_bytes - 5.5e9)  # type: ignore[operator]
    assert f"{reserved.short_bytes / 1e9:.1f} GB short" in "\n".join(reserved.lines)
    assert "offers 5.5 GB" in "\n".join(reserved.lines)


def test_each_remedy_works_and_less_of_it_does_not() -> None:
    """Second method: the changed problems are solved, and so are those with the next smaller change."""
    where = machine(5.5e9, reserve_bytes=0.5e9)
    assert not fits(where)
    text = "\n".join(report(where).remedies)
    nodes = re.search(r"(\d+) nodes \((\d+) x .*\) instead of 1", text)
    assert nodes
    assert nodes[1] == nodes[2]
    assert fits(replace(where, nodes=int(nodes[1])))
    assert not any(fits(replace(where, nodes=fewer)) for fewer in range(1, int(nodes[1])))
    larger = re.search(r"the same nodes with (\S+) \((\d+) GB\)", text)
    assert larger
    gpus = load_catalogue().gpus
    assert fits(replace(where, gpu=gpus[larger[1]]))
    assert f"{gpus[larger[1]].memory_bytes / 1e9:.0f}" == larger[2]
    assert all(gpu.memory_bytes >= gpus[larger[1]].memory_bytes for gpu in gpus.values() if "bf16" in gpu.peak_flops)


def test_a_shorter_sequence_is_offered_where_it_is_enough() -> None:
    """Second method, on a GPU a little short of the need of 4,096 tokens: what is offered fits, twice as
    much does not."""
    where = machine(report(machine(6.5e9)).needed_bytes - 1e6)  # type: ignore[operator]
    offered = re.search(r"sequence length ([\d,]+) instead of 4,096", "\n".join(report(where).remedies))
    assert offered
    length = int(offered[1].replace(",", ""))
    assert fits(where, replace(JOB, sequence_length=length))
    assert not fits(where, replace(JOB, sequence_length=2 * length))


def test_no_legal_configuration_lists_rules_by_how_much_they_removed() -> None:
    where, job = cluster(1, 8), replace(JOB, global_batch=3)
    nothing = enumerate_space(where, MODEL, job, {"dp": 8})
    assert not len(nothing.columns)
    found = explain_infeasible(where, MODEL, job, load_calibration(where.gpu), nothing, {"dp": 8}, frozenset())
    assert (found.needed_bytes, found.short_bytes) == (None, None)
    counts = [int(m.replace(",", "")) for m in re.findall(r"ruled out ([\d,]+):", "\n".join(found.reasons))]
    assert counts == sorted(nothing.pruned.values(), reverse=True)
    assert len(counts) > 1


def test_demands_that_stand_in_the_way_are_named() -> None:
    """Second method, solved: where a pin and a forbidden kind rule out all that fits, the offer is to drop
    whichever is enough alone, and only those."""
    where, job = machine(6e9, nodes=4), replace(JOB, global_batch=6)
    calibration, pins, forbid = load_calibration(where.gpu), {"mbs": 1, "pp": 1}, frozenset({"zero", "sp"})

    def without(pin: str, kind: str) -> bool:
        options = SolveOptions(
            pins={name: value for name, value in pins.items() if name != pin}, forbid=forbid - {kind}
        )
        return solve(where, MODEL, job, options=options).status == "optimal"

    assert not without("", "")
    space = enumerate_space(where, MODEL, job, pins, forbid)
    text = "\n".join(explain_infeasible(where, MODEL, job, calibration, space, dict(pins), forbid).remedies)
    for pin, value in pins.items():
        assert (f"{pin} not pinned to {value}" in text) == without(pin, "")
    for kind in forbid:
        assert (f"{kind} not forbidden" in text) == without("", kind)
    assert " not pinned to " in text


def test_a_batch_that_divides_is_offered() -> None:
    """By hand: eight replicas and micro-batches of one need a multiple of eight: 16 instead of 11."""
    where, job = cluster(1, 8), replace(JOB, global_batch=11)
    pins: dict[str, int | str] = {"dp": 8}
    nothing = enumerate_space(where, MODEL, job, pins)
    found = explain_infeasible(where, MODEL, job, load_calibration(where.gpu), nothing, pins, frozenset())
    assert "global batch 16 instead of 11" in found.remedies


def test_nodes_are_offered_in_multiples_of_those_there_are() -> None:
    """By hand: the job that needs 3 nodes of 5 GB (tested above with 1) is offered 4 when it has 2."""
    where = machine(5.5e9, nodes=2, reserve_bytes=0.5e9)
    assert any(remedy.startswith("4 nodes (4 x ") and "instead of 2" in remedy for remedy in report(where).remedies)
