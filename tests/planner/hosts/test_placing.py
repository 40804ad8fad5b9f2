"""Hosts placed with the configuration: against every order of the hosts and every configuration."""

import itertools
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from costmodels.attained import Attained
from costmodels.calibration import load_calibration
from costmodels.columns import Columns
from costmodels.configuration import Configuration, Job
from costmodels.ground_step import GroundModel
from costmodels.hardware import Cluster
from costmodels.host_grid import host_grid
from costmodels.host_ground import ground_on_hosts
from costmodels.host_network import HostNetwork
from costmodels.topology import Nodes, Topology
from planner.hosts.pricing import HostPricing, unlike_links
from planner.plan import Plan
from planner.plan.ground import PlanGround
from planner.plan.mapping import host_names, with_hosts
from planner.predict import predict
from planner.solve import SolveOptions, solve
from planner.space import IllegalConfiguration, enumerate_space
from planner.validate import validate
from tests.machines import cluster, dense_model

MODEL, JOB = dense_model(layers=6, hidden=2048, ffn=8192), Job(global_batch=16, sequence_length=1024)


def measured(nodes: int = 5, seed: int = 0, gpus: int = 2) -> Cluster:
    random = np.random.default_rng(seed)
    matrix = random.uniform(1e9, 30e9, (nodes, nodes))
    matrix = np.minimum(matrix, matrix.T)
    np.fill_diagonal(matrix, np.inf)
    names = tuple(f"n{i}" for i in range(nodes))
    own = Nodes(names=names, gpus=gpus, cards=gpus, cards_bytes_per_second=50e9)
    topology = Topology(nodes=(own,), latency_seconds=5e-6, attained=Attained(matrix=matrix, of_gpus=False))
    plain = cluster(nodes=nodes, gpus_per_node=gpus)
    slowest = replace(plain.scale_out, bytes_per_second=topology.slowest_share() / gpus)
    return replace(plain, topology=topology, scale_out=slowest)


PINS = {"sp": 0, "zero": 1, "mbs": 1, "recompute": "none", "vp": 1}


@lru_cache
def plan_of(seed: int) -> Plan:
    options = SolveOptions(pins=PINS, host_seconds=1.0)
    found = solve(measured(4, seed), MODEL, JOB, options=options).plan
    assert found is not None
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_configuration_on_any_order_of_hosts_is_faster_than_the_plan_s_bound(seed: int) -> None:
    """Every configuration of the space (one chunk a stage) under its own best cut on equal links, on every order of
    four hosts: none is below the bound, and the plan is the best of them within its gap."""
    machine, plan = measured(4, seed), plan_of(seed)
    columns = enumerate_space(machine, MODEL, JOB, PINS).columns
    pricing = HostPricing(machine, MODEL, JOB, load_calibration(machine.gpu), columns, HostNetwork.of(machine))
    cuts = [pricing.best_boundaries(index) for index in range(len(columns))]
    best = min(min(every_order(machine, columns.row(index), cut)) for index, cut in enumerate(cuts))
    assert plan.certificate.lower_bound <= best * (1 + 1e-12)
    assert plan.prediction.step_seconds <= best * (1 + 1e-9)


def test_a_plan_says_where_its_ranks_stand_and_validates() -> None:
    plan, machine = plan_of(0), measured(4, 0)
    names = host_names(plan)
    assert names is not None
    assert sorted(names) == ["n0", "n1", "n2", "n3"]
    assert plan.ground is not None
    assert plan.ground.kind == "links"
    assert plan.ground.listed_seconds is not None
    assert plan.ground.listed_seconds >= plan.prediction.step_seconds
    assert "every assignment of hosts to ranks" in plan.certificate.scope
    assert validate(plan) == []
    assert validate(plan, machine) == []


def test_hosts_in_another_order_are_found_by_the_cluster() -> None:
    plan, machine = plan_of(0), measured(4, 0)
    names = host_names(plan)
    assert names is not None
    orders = [other for other in itertools.permutations(names) if other != names]
    found = [{finding.rule for finding in validate(with_hosts(plan, other), machine)} for other in orders]
    assert any("hosts.links" in rules for rules in found)
    assert all(rules <= {"hosts.links"} for rules in found)
    assert all(validate(with_hosts(plan, other)) == [] for other in orders)
    strangers = with_hosts(plan, [f"other{i}" for i in range(4)])
    assert {finding.rule for finding in validate(strangers, machine)} >= {"hosts"}


def test_a_faster_link_than_the_cluster_has_is_found() -> None:
    plan, machine = plan_of(0), measured(4, 0)
    assert plan.ground is not None
    faster = machine.topology
    assert faster is not None
    assert faster.attained is not None
    quicker = Attained(matrix=faster.attained.matrix * 2, of_gpus=False)
    other = replace(machine, topology=replace(faster, attained=quicker))
    assert {finding.rule for finding in validate(plan, other)} >= {"hosts.links"}


def every_order(machine: Cluster, configuration: Configuration, cut: tuple[int, ...]) -> list[float]:
    """The step with the hosts in each order there is."""
    calibration, network = load_calibration(machine.gpu), HostNetwork.of(machine)
    grid = host_grid(configuration, network.host_gpus)
    assert grid is not None
    found = []
    for order in itertools.permutations(range(len(network.names))):
        table = np.array(order).reshape(grid.columns, grid.rows).T
        ground = ground_on_hosts(machine, network, configuration, JOB, grid, table)
        own = [calibration] * len(ground.machines)
        found.append(GroundModel(MODEL, JOB, configuration, ground, own).price(cut).step.step_seconds)
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_bounds_are_below_the_step_on_every_order(seed: int) -> None:
    machine = measured(4, seed)
    columns = enumerate_space(machine, MODEL, JOB, {"recompute": "none", "mbs": 1}).columns
    pricing = HostPricing(machine, MODEL, JOB, load_calibration(machine.gpu), columns, HostNetwork.of(machine))
    bounds = pricing.coarse_bounds()
    some = np.flatnonzero(np.isfinite(bounds))[:: max(1, len(bounds) // 12)]
    refined = pricing.refine(some)
    assert len(some) > 6
    for index, bound in zip(some.tolist(), refined.tolist(), strict=True):
        value, least = pricing.evaluate(index)
        assert bounds[index] <= bound * (1 + 1e-12)
        assert bound <= least <= value
        if np.isfinite(value):
            assert least <= min(every_order(machine, columns.row(index), pricing.boundaries(index)))


def test_a_prediction_places_the_hosts_of_its_configuration() -> None:
    machine, plan = measured(4, 0), plan_of(0)
    found = predict(machine, MODEL, JOB, plan.configuration())
    assert found.hosts is not None
    assert sorted(found.hosts) == ["n0", "n1", "n2", "n3"]
    assert found.step_seconds == pytest.approx(plan.prediction.step_seconds, rel=0.02)
    assert predict(replace(machine, topology=None), MODEL, JOB, plan.configuration()).hosts is None


def test_what_is_priced_on_equal_links_alone_is_refused() -> None:
    machine = measured(4)
    for options in (
        SolveOptions(allow=frozenset({"vocabulary"})),
        SolveOptions(pins={"vocabulary": "vocab-1"}),
        SolveOptions(pins={"schedule": "best"}),
    ):
        with pytest.raises(IllegalConfiguration, match="equal links alone"):
            solve(machine, MODEL, JOB, options=options)
    with pytest.raises(IllegalConfiguration, match="vocabulary=vocab-1"):
        predict(machine, MODEL, JOB, Configuration(pp=2, dp=4, vocabulary="vocab-1"))


def test_parts_that_straddle_hosts_are_priced_by_the_slowest_link() -> None:
    """Stages of three ranks on hosts of two: the price of a cluster whose every link is the slowest."""
    machine = measured(3)
    configuration = Configuration(tp=1, pp=2, dp=3)
    columns = Columns.of([configuration])
    job = replace(JOB, global_batch=12)
    pricing = HostPricing(machine, MODEL, job, load_calibration(machine.gpu), columns, HostNetwork.of(machine))
    value, least = pricing.evaluate(0)
    expected = predict(replace(machine, topology=None), MODEL, job, configuration, boundaries=pricing.boundaries(0))
    assert value == expected.step_seconds
    assert least <= value
    assert pricing.ground(0) is None
    assert pricing.hosts(0) is None


def test_even_links_and_large_clusters_need_no_placing() -> None:
    assert unlike_links(measured(4)) is not None
    assert unlike_links(cluster(nodes=4)) is None
    even = measured(4)
    assert even.topology is not None
    assert unlike_links(replace(even, topology=replace(even.topology, attained=None))) is None


def test_the_section_survives_its_file() -> None:
    section = plan_of(0).ground
    assert section is not None
    assert PlanGround.model_validate_json(section.model_dump_json()) == section
