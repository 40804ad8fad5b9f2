"""Groups and trunks of a cluster spec."""

from typing import Any

import pytest

from costmodels.hardware import Link
from planner.mixed.islands import Trunk
from planner.mixed.of_spec import islands_of
from planner.specs import SpecError, load_cluster
from planner.specs.machines import load_machines

NODES = {"gpus_per_node": 8, "intra_node": "nvlink3-nvswitch", "gpu": "a100-sxm-80gb"}
CARDS = {"count": 8, "bandwidth": "200 Gb/s", "kind": "infiniband"}


def spec(**more: Any) -> dict[str, object]:
    groups = [{**NODES, "count": 2, "names": f"{side}[1-2]", "nics": CARDS} for side in "ab"]
    return {"name": "halves", "node_groups": groups, **more}


def switches(uplink: str) -> dict[str, object]:
    tops = [{"name": f"leaf-{side}", "nodes": f"{side}[1-2]"} for side in "ab"]
    return {"switches": [*tops, {"name": "top", "switches": ["leaf-a", "leaf-b"], "uplink": uplink}]}


def test_equal_nodes_on_one_fabric_are_one_cluster() -> None:
    assert islands_of(load_machines(spec())) is None
    assert islands_of(load_machines("dgx-h100-8")) is None


def test_equal_nodes_behind_narrow_uplinks_are_islands() -> None:
    """By hand: 2 x 8 x 25 GB/s of cards below an uplink of 12.5: one pair gets that, an eighth for each GPU; all
    together no more. Inside, every GPU has its card."""
    found = islands_of(load_machines(spec(topology=switches("100 Gb/s"))))
    assert found is not None
    trunk = found.trunk(0, 1)
    assert trunk.link.bytes_per_second == pytest.approx(12.5e9 / 8)
    assert trunk.bytes_per_second == pytest.approx(12.5e9)
    assert [group.scale_out.bytes_per_second for group in found.groups] == [25e9, 25e9]
    assert [group.nodes for group in found.groups] == [2, 2]
    assert islands_of(load_machines(spec(topology=switches("1600 Gb/s")))) is None  # half of the cards: a fat tree's


def test_unlike_nodes_are_groups_and_the_slower_cards_limit_what_crosses() -> None:
    found = islands_of(load_machines("a100-h100-64"))
    assert found is not None
    assert found.between[0][1] == Trunk(
        link=Link(bytes_per_second=25e9, latency_seconds=pytest.approx(5e-6)),  # type: ignore[arg-type]
        bytes_per_second=4 * 200e9,
    )
    assert [group.gpu.name for group in found.groups] == ["a100-sxm-80gb", "h100-sxm-80gb"]
    assert found.kinds() == (0, 1)


def test_the_bundled_islands_are_joined_by_a_card_of_25_gbit_a_node() -> None:
    found = islands_of(load_machines("two-islands-a100-64"))
    assert found is not None
    trunk = found.trunk(0, 1)
    assert trunk.link.bytes_per_second == pytest.approx(25e9 / 8 / 8)
    assert trunk.bytes_per_second == pytest.approx(4 * 25e9 / 8)


def test_commands_that_need_equal_nodes_say_what_takes_others() -> None:
    with pytest.raises(SpecError, match="only plan solve takes unlike nodes"):
        load_cluster("a100-h100-64")
