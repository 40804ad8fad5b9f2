"""A plan on unlike groups of nodes against the spec of the cluster it shall run on."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import yaml

import cases
from costmodels.configuration import Job
from planner.mixed.islands import Islands
from planner.mixed.of_spec import islands_of
from planner.mixed.solve import solve_mixed
from planner.plan import Plan
from planner.plan.mapping import host_names, with_hosts
from planner.solve import SolveOptions
from planner.specs import load_model
from planner.specs.machines import load_machines
from planner.validate import validate

NAME = "a100-h100-64"


def islands(**changes: Any) -> Islands:
    """Of the bundled spec, with other keys in its second group of nodes."""
    spec = yaml.safe_load(cases.cluster_path(NAME).read_text(encoding="utf-8"))
    spec["node_groups"][1].update(changes)
    found = islands_of(load_machines(spec))
    assert found is not None
    return found


@cache
def plan() -> Plan:
    pins: dict[str, int | str] = {"tp": 4, "sp": 1, "cp": 1, "pp": 4, "mbs": 1, "zero": 1, "recompute": "none"}
    job = Job(global_batch=64, sequence_length=4096)
    found = solve_mixed(islands(), load_model("llama-2-70b"), job, options=SolveOptions(pins=pins), compare=False).plan
    assert found is not None
    return found


def test_a_plan_suits_the_cluster_it_was_made_for() -> None:
    assert host_names(plan()) is not None
    assert validate(plan(), islands()) == []


def test_slower_cards_are_found_in_the_machines_and_links() -> None:
    nics = {"count": 8, "bandwidth": "100 Gb/s", "kind": "infiniband"}
    rules = {finding.rule for finding in validate(plan(), islands(nics=nics))}
    assert rules == {"groups.links", "groups.machines"}


def test_a_host_of_the_other_group_is_found() -> None:
    names = list(host_names(plan()) or ())
    moved = with_hosts(plan(), [names[-1], *names[1:-1], names[0]])
    (finding,) = validate(moved, islands())
    assert finding.rule == "groups.hosts"
    assert names[-1] in finding.found


def test_a_host_that_is_not_there_is_found() -> None:
    names = list(host_names(plan()) or ())
    (finding,) = validate(with_hosts(plan(), ["elsewhere", *names[1:]]), islands())
    assert finding.rule == "groups.hosts"


def test_too_few_gpus_and_a_group_that_is_not_there_are_found() -> None:
    where = islands()
    smaller = replace(where, groups=(where.groups[0], where.groups[1].resized(3)))
    assert "groups.room" in {finding.rule for finding in validate(plan(), smaller)}
    renamed = replace(where, groups=(where.groups[0], replace(where.groups[1], name="other")))
    assert {finding.rule for finding in validate(plan(), renamed)} == {"groups"}


def test_other_configurations_are_listed_with_why_they_lost() -> None:
    """Fastest first, none better than the plan, each with the groups it stands on."""
    pins: dict[str, int | str] = {"tp": 4, "sp": 1, "cp": 1, "mbs": 1, "recompute": "none"}
    job = Job(global_batch=64, sequence_length=4096)
    found = solve_mixed(islands(), load_model("llama-2-70b"), job, options=SolveOptions(pins=pins), compare=False).plan
    assert found is not None
    others = found.certificate.alternatives
    assert others
    steps = [found.certificate.value, *(other.step_seconds for other in others)]
    assert steps == sorted(steps)
    assert all("on group" in other.reason for other in others)
    assert validate(found, islands()) == []


@pytest.mark.parametrize("key", ["states", "rows"])
def test_links_that_were_changed_by_hand_are_found(key: str) -> None:
    document = plan().to_json()
    link = document["ground"]["states"][0] if key == "states" else document["ground"]["rows"][0]["edges"][0]
    link["bytes_per_second"] *= 2
    rules = {finding.rule for finding in validate(Plan.from_json(document), islands())}
    assert "groups.links" in rules
