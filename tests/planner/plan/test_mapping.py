"""Hosts, GPUs and the order of ranks put into a plan."""

from typing import Any

import pytest

from planner.cli.summary import summarize
from planner.plan import Plan, PlanError, diff_plans, with_hosts, with_order
from planner.validate import validate
from tests.planner.plan import samples

plan = samples.experts_and_prediction_layer
NAMES = ["n3", "n1", "n4", "n2"]


def test_a_mapped_plan_reads_back_and_validates() -> None:
    mapped = with_hosts(plan(), NAMES, {"n4": (7, 6, 5, 4, 3, 2, 1, 0)})
    assert Plan.loads(mapped.text()) == mapped
    assert mapped.ranks.hosts == ("n3", "n1", "n4", "n2")
    assert validate(mapped) == []
    assert validate(with_order(with_hosts(plan(), "n[1-4]"), "tp-cp-pp-dp")) == []


def test_nothing_but_the_ranks_changes() -> None:
    changed = {change.path for change in diff_plans(plan(), with_hosts(plan(), NAMES, list(range(8))))}
    assert changed == {"/ranks/hosts", "/ranks/local_gpus"}
    assert {c.path for c in diff_plans(plan(), with_order(plan(), "tp-cp-pp-dp"))} == {
        "/ranks/order",
        "/ranks/expert_order",
    }


def test_a_plan_without_a_mapping_has_no_such_keys() -> None:
    assert {"hosts", "local_gpus"}.isdisjoint(plan().to_json()["ranks"])
    assert with_order(with_order(plan(), "tp-cp-pp-dp"), "tp-cp-dp-pp").text() == plan().text()


@pytest.mark.parametrize(
    ("hosts", "gpus", "message"),
    [
        (NAMES[:3], None, "ranks.hosts: names each of the 4 nodes once; here: 3 names"),
        ("n[1-5]", None, "ranks.hosts: names each of the 4 nodes once; here: 5 names"),
        (["n1", "n2", "n1", "n3"], None, "ranks.hosts: names each host once; .*n1"),
        (NAMES, {"n5": range(8)}, "ranks.local_gpus: names hosts of ranks.hosts alone; .*n5"),
        (NAMES, [0, 1, 2, 3, 4, 5, 6, 6], "ranks.local_gpus: holds each of the GPUs 0 to 7 once"),
        (NAMES, {"n1": [0]}, "ranks.local_gpus/n1: holds each of the GPUs 0 to 7 once"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(hosts: Any, gpus: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_hosts(plan(), hosts, gpus)


@pytest.mark.parametrize("hosts", [["n1", "n2", "n3", "a b"], "n[1-4", ["n1", "n2", "n3", "$(id)"], "", "n[1-3],-n"])
def test_what_is_no_host_name_is_refused_with_its_key(hosts: Any) -> None:
    with pytest.raises(PlanError, match=r"ranks\.hosts"):
        with_hosts(plan(), hosts)


def test_a_difference_counts_the_hosts_that_moved() -> None:
    before, after = with_hosts(plan(), ["n1", "n2", "n3", "n4"]), with_hosts(plan(), ["n2", "n1", "n3", "n4"])
    assert "/ranks/hosts: ['n1', 'n2', 'n3', 'n4'] -> ['n2', 'n1', 'n3', 'n4'] (2 of 4 differ)" in str(
        diff_plans(before, after)
    )
    assert "/ranks/hosts: absent -> ['n1', 'n2', 'n3', 'n4']\n" in f"{diff_plans(plan(), before)}\n"


def test_the_summary_names_hosts_gpus_and_an_order_of_ranks_of_its_own() -> None:
    mapped = with_hosts(plan(), NAMES, list(range(7, -1, -1)))
    assert "hosts in the order of ranks: n3, n1, n4, n2\n  GPUs of each host in the order 7,6,5" in summarize(mapped)
    assert "ranks counted tp-cp-pp-dp, etp-ep-pp-edp for experts; figures are of tp-cp-dp-pp" in summarize(
        with_order(plan(), "tp-cp-pp-dp")
    )
    assert "hosts in the order of ranks: n[1-4]\n  GPUs in an order of their own on 1 host\n" in summarize(
        with_hosts(plan(), "n[1-4]", {"n2": list(range(7, -1, -1))})
    )
    many = with_hosts(samples.thousands_of_gpus(), [f"n{i}" for i in range(2048)])
    assert "ranks: n0, n1, n2, n3, ... n2047 (2,048)\n" in summarize(many)
    assert not any(word in summarize(plan()) for word in ("hosts in", "ranks counted", "GPUs of each"))
