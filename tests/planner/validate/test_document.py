"""Digests, keys left out, and the cluster a plan is meant for."""

from dataclasses import replace

from planner.validate import validate, validate_json
from tests.planner.plan import samples


def found(document: object) -> set[tuple[str, str]]:
    return {(finding.rule, finding.path) for finding in validate_json(document)}


def test_an_edit_by_hand_breaks_the_digests_that_cover_it() -> None:
    document = samples.interleaved_dense().to_json()
    document["certificate"]["method"] = "by hand"
    assert found(document) == {("digest", "/digest")}
    document["inputs"]["cluster"]["name"] = "another"
    assert found(document) == {("digest", "/digest"), ("digest", "/inputs/digest")}


def test_a_key_with_a_default_may_not_be_left_out() -> None:
    document = samples.interleaved_dense().to_json()
    del document["inputs"]["job"]["precision"]
    del document["inputs"]["model"]["kinds"][0]["attention"]["window"]
    assert found(document) == {
        ("document", "/inputs/job/precision"),
        ("document", "/inputs/model/kinds/0/attention/window"),
    }


def test_a_plan_for_another_cluster_is_told_apart_by_hardware_not_by_name() -> None:
    plan = samples.interleaved_dense()
    assert validate(plan, samples.h100_cluster(8, name="ours")) == []
    slower = replace(
        samples.h100_cluster(8), nodes=9, scale_out=samples.Link(bytes_per_second=25e9, latency_seconds=5e-6)
    )
    report = {f.path: (f.expected, f.found) for f in validate(plan, slower)}
    assert report == {
        "/inputs/cluster/nodes": ("9", "8"),
        "/inputs/cluster/scale_out/bytes_per_second": ("25000000000.0", "50000000000.0"),
    }
