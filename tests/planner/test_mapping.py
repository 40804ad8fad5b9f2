"""``plan_mapping`` and its files: values by hand, results against the bundled instances, all errors at once."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import case_path
from planner.mapping import plan_mapping
from planner.mapping_problem import load_mapping
from planner.specs import SpecError
from planner.validate.mapping import check_mapping
from tests.planner.mapping_problems import two_leaves


def solved(**more: Any) -> Any:
    return plan_mapping(load_mapping(two_leaves(**more)))


def test_two_leaves_by_hand() -> None:
    """step, n = p = 2, four waves: 4 * 2 * 1e8 / bw of the one edge, 2 * 1/2 * 1e9 / bw of a ring of two.

    Pipelines inside leaves: 40 ms + 100 ms; across: 80 ms + 50 ms, which is better. pipette has one wave:
    10 ms + 100 ms, or 20 ms + 50 ms."""
    result = solved()
    assert result.value == pytest.approx(0.130)
    assert (result.status, result.lower_bound) == ("optimal", result.value)
    assert result.pipeline_seconds == pytest.approx((0.080, 0.080))
    assert result.ring_seconds == pytest.approx((0.050, 0.050))
    few = solved(data_parallel_bytes=2e8)  # 40 + 20 inside leaves, 80 + 10 across
    assert few.value == pytest.approx(0.060)
    assert {frozenset(few.order[k : k + 2]) for k in (0, 2)} == {frozenset("ab"), frozenset("cd")}
    pipette = solved(objective="pipette")
    assert pipette.value == pytest.approx(0.070)
    assert pipette.ring_seconds == pytest.approx((0.050, None))


def test_latency_is_paid_by_every_message() -> None:
    """4 waves * 2 messages on the edge, 2 (n - 1) = 2 on the ring, 1 ms each: 10 ms more."""
    assert solved(latency_seconds="1 ms").value == pytest.approx(0.140)


def test_a_shared_uplink_is_split_among_what_crosses_it() -> None:
    """Leaf a, b has an uplink of 10 GB/s. Across leaves two edges share it: 160 ms + 50 ms; inside 40 ms, and the two
    rings cross with one flow each direction, 5 GB/s: 200 ms. The former is best, unless the ring is small."""
    shared = [{"members": ["a", "b"], "bandwidth": 10}]
    assert solved(shared=shared).value == pytest.approx(0.210)
    assert solved(shared=shared, data_parallel_bytes=2e8).value == pytest.approx(0.040 + 0.040)


def test_blocks_are_added_to_their_pipelines() -> None:
    """Both pipelines are one block: 1e8 bytes between the two hosts of each of two stages, 2 * 5 ms inside leaves."""
    assert solved(blocks={"size": 2, "bytes": 1e8}).value == pytest.approx(0.140)


def test_fixed_places_and_excluded_hosts_are_kept() -> None:
    result = solved(fixed={"1,0": "d", "0,1": "a"})
    assert (result.order[2], result.order[1]) == ("d", "a")
    result = solved(excluded=["b"], pipelines=1)
    assert "b" not in result.order
    assert len(result.spare) == 2
    assert result.value == pytest.approx(0.040)  # c and d: one edge inside a leaf, no ring


@pytest.mark.parametrize(
    ("name", "known", "proven"),
    [("hosts_8_pp4", 48.4233, 48.4232), ("hosts_16_pp8", 48.764, 48.7637), ("hosts_16_pp4", 66.116, 63.1122)],
)
def test_the_trial_instances_are_proven(name: str, known: float, proven: float) -> None:
    """``known``: brute force over 8 hosts, the best of Pipette's annealing over two seeds with 16, in ms."""
    result = plan_mapping(load_mapping(case_path("mapping", f"{name}.json")), time_limit_seconds=600)
    assert result.status == "optimal"
    assert result.value * 1e3 <= known + 5e-4
    assert result.value * 1e3 == pytest.approx(proven, abs=5e-5)
    beside = {other.name: other.value for other in result.baselines}
    assert all(other is not None and other >= result.value * (1 - 1e-12) for other in beside.values())
    assert json.loads(case_path("mapping", f"{name}.json").read_text())["source"]


def test_the_same_seed_gives_the_same_order() -> None:
    problem = load_mapping(case_path("mapping", "hosts_8_pp4.json"))
    first, again = plan_mapping(problem, seed=3), plan_mapping(problem, seed=3)
    assert replace(first, seconds=0.0) == replace(again, seconds=0.0)


def test_the_worse_direction_counts_and_is_noted() -> None:
    given = two_leaves()
    given["bandwidth"][0][2] = 5  # a to b; b to a stays 20
    problem = load_mapping(given)
    assert problem.notes == ("bandwidth: 1 of 6 pairs differ by direction; the worse one counts",)
    worse = two_leaves()
    worse["bandwidth"][0][2] = worse["bandwidth"][2][0] = 5
    assert plan_mapping(problem).value == plan_mapping(load_mapping(worse)).value


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    given = two_leaves(
        gpus=["a", "c", "b", "b"],
        pipeline_stages=3,
        excluded=["x"],
        shared=[{"members": ["a", "y"], "bandwidth": 1}],
        fixed={"0,9": "a", "0,0": "z"},
        blocks={"size": 2, "bytes": 1},
    )
    given["bandwidth"][0][1] = -3
    given["bandwidth"][1][2] = 0
    given["bandwidth"][2] = [1, 2, 3]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(given))
    with pytest.raises(SpecError) as caught:
        load_mapping(path)
    found = [(problem.key, problem.value) for problem in caught.value.problems]
    assert all(problem.file == str(path) and problem.message for problem in caught.value.problems)
    assert found == [
        ("gpus", "'b'"),
        ("bandwidth[0][1]", "-3"),
        ("bandwidth[1][2]", "0"),
        ("bandwidth[2]", ""),
        ("shared[0].members", "'y'"),
        ("excluded", "'x'"),
        ("pipeline_stages", "3"),
        ("fixed.0,9", "'a'"),
        ("fixed.0,0", "'z'"),
        ("blocks.size", "2"),
    ]


def test_wrong_kinds_and_unknown_keys_are_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_mapping({**two_leaves(objectve="step"), "data_parallel_bytes": "1 GB/s", "fixed": {"a": "b"}})
    assert [problem.key for problem in caught.value.problems] == ["data_parallel_bytes", "fixed", "objectve"]
    assert "did you mean 'objective'" in caught.value.problems[-1].message


def test_links_from_a_csv_file_beside_the_problem(tmp_path: Path) -> None:
    given = two_leaves()
    (tmp_path / "links.csv").write_text("\n".join(",".join(map(str, row)) for row in given["bandwidth"]))
    (tmp_path / "problem.json").write_text(json.dumps({**given, "bandwidth": "links.csv"}))
    problem = load_mapping(tmp_path / "problem.json")
    assert plan_mapping(problem).value == solved().value


def test_the_checker_finds_what_is_wrong() -> None:
    problem = load_mapping(two_leaves(excluded=["b"], pipelines=1, fixed={"0,0": "a"}))
    result = plan_mapping(problem)
    assert check_mapping(problem, result) == []
    a, other = result.order
    wrong = {
        "order.places": {"order": (a,)},
        "order.known": {"order": (a, "x")},
        "order.once": {"order": (a, a)},
        "order.excluded": {"order": (a, "b")},
        "order.fixed": {"order": (other, a)},
        "order.spare": {"spare": ()},
        "time.pipeline_seconds": {"pipeline_seconds": (1.0,)},
        "time.ring_seconds": {"ring_seconds": (0.0, 1.0)},
        "time.value": {"value": result.value * 0.99, "lower_bound": result.value * 0.99},
        "bound.above": {"lower_bound": result.value * 1.01},
        "bound.gap": {"lower_bound": result.value * 0.5},
        "bound.status": {"lower_bound": result.value * 0.5, "gap": 0.5},
    }
    for rule, change in wrong.items():
        assert rule in {finding.rule for finding in check_mapping(problem, replace(result, **change))}, rule


def test_the_checker_prices_random_orders_as_the_solver_does() -> None:
    """Two derivations that share no code, with every option that changes a price."""
    from planner.mapping import random_order
    from planner.validate.mapping import pipeline_seconds, ring_seconds
    from solvers.mapping.evaluate import evaluate

    generator = np.random.default_rng(5)
    hosts = [f"h{k}" for k in range(12)]
    given = two_leaves(
        gpus=hosts,
        bandwidth=generator.uniform(5, 25, (12, 12)).tolist(),
        pipeline_stages=3,
        latency_seconds=generator.uniform(0, 1e-3, (12, 12)).tolist(),
        shared=[{"members": hosts[:5], "bandwidth": 30}, {"members": hosts[4:8], "bandwidth": 15}],
    )
    for objective in ("step", "pipette"):
        for kind in ("ring", "all-to-all"):
            problem = load_mapping({**given, "objective": objective, "blocks": {"size": 2, "bytes": 5e7, "kind": kind}})
            for seed in range(5):
                order = random_order(problem.grid(), seed)
                cost = evaluate(problem.grid(), order)
                assert pipeline_seconds(problem, order.tolist()) == pytest.approx(cost.rows, rel=1e-12)
                rings = ring_seconds(problem, order.tolist())
                assert [ring is None for ring in rings] == [column is None for column in cost.columns]
                assert [ring or 0.0 for ring in rings] == pytest.approx([c or 0.0 for c in cost.columns], rel=1e-12)


@pytest.mark.parametrize(
    ("fixed", "told"), [({"0,0": "b"}, "excluded as well"), ({"0,0": "a", "0,1": "a"}, "another place already")]
)
def test_a_fixed_host_is_there_to_use(fixed: dict[str, str], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load_mapping(two_leaves(excluded=["b"], pipelines=1, fixed=fixed))


def test_compiling_is_told_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in ``plan map``: the search's clock starts behind it."""
    from solvers import readiness
    from solvers.mapping import readiness as loops

    told: list[str] = []
    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(loops, "_once", lambda: time.sleep(0.3) if not told else None)
    problem = load_mapping(two_leaves())
    for _ in range(2):
        plan_mapping(problem, on_compiling=lambda: told.append("compiling"))
    assert told == ["compiling"]
