"""Placements as the files of runtimes: exact content by hand, read back, refused where they cannot say it."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from planner.exports.experts import (
    EXPERT_TARGETS,
    ExportRefused,
    PlacementFormatError,
    ServedPlacement,
    check_experts,
    export_experts,
    read_experts,
    read_experts_file,
)

ONCE = ServedPlacement(rows=((2, 0, 1, 3), (0, 1, 2, 3)), gpus=2, experts=4, layer_ids=(1, 2), hidden_layers=3)
"""Layer 0 is dense; every expert once on two GPUs of two slots."""

TWICE = ServedPlacement(
    rows=((2, 0, 1, 1, 3, 0), (0, 1, 2, 3, 2, 1)), gpus=2, experts=4, layer_ids=(1, 2), hidden_layers=3
)
"""Six slots: experts 0 and 1 of layer 1 have two replicas, both on different GPUs but for expert 1's."""


def test_sglang_has_a_row_for_the_dense_layer_and_one_key() -> None:
    """The dense row is SGLang's own trivial one, slot modulo experts: every expert must be somewhere."""
    data = json.loads(export_experts(TWICE, "sglang"))
    assert data == {"physical_to_logical_map": [[0, 1, 2, 3, 0, 1], [2, 0, 1, 1, 3, 0], [0, 1, 2, 3, 2, 1]]}


def test_tensorrt_llm_names_the_layers_of_the_model() -> None:
    data = yaml.safe_load(export_experts(ONCE, "tensorrt-llm"))
    assert data == {
        "num_slots": 4,
        "layer_updates_per_iter": 0,
        "initial_global_assignments": {1: [2, 0, 1, 3], 2: [0, 1, 2, 3]},
    }


def test_vllm_ascend_lists_devices() -> None:
    data = json.loads(export_experts(ONCE, "vllm-ascend"))
    assert data["moe_layer_count"] == 2
    assert data["layer_list"][0] == {
        "layer_id": 0,
        "device_count": 2,
        "device_list": [{"device_id": 0, "device_expert": [2, 0]}, {"device_id": 1, "device_expert": [1, 3]}],
    }


def test_vllm_is_a_list_for_each_layer() -> None:
    assert json.loads(export_experts(TWICE, "vllm")) == [list(row) for row in TWICE.rows]


def test_omni_infer_is_a_pattern() -> None:
    pattern = np.load(io.BytesIO(export_experts(ONCE, "omni-infer")))
    assert (pattern.dtype, pattern.shape) == (np.int32, (2, 2, 4))
    assert pattern[:, 0].tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]
    assert pattern[:, 1].tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]


def test_megatron_renumbers_so_that_ranks_in_order_hold_the_placement() -> None:
    """New expert p is the old one in slot p: applying it to a table of weights puts them where they belong."""
    data = json.loads(export_experts(ONCE, "megatron"))
    assert (data["experts"], data["expert_parallel"]) == (4, 2)
    weights = np.array(["a", "b", "c", "d"])
    assert weights[data["new_to_old"]["1"]].reshape(2, 2).tolist() == [["c", "a"], ["b", "d"]]


@pytest.mark.parametrize("target", list(EXPERT_TARGETS))
def test_every_format_reads_back(target: str, tmp_path: Path) -> None:
    raw = export_experts(ONCE, target)
    (tmp_path / f"file{EXPERT_TARGETS[target].suffix}").write_bytes(raw)
    found = read_experts_file(tmp_path / f"file{EXPERT_TARGETS[target].suffix}")
    assert found == read_experts(raw, target)
    rows = found.rows[1:] if target == "sglang" else found.rows
    expected = ((0, 2, 1, 3), (0, 1, 2, 3)) if target == "omni-infer" else ONCE.rows
    assert rows == expected


@pytest.mark.parametrize("target", list(EXPERT_TARGETS))
def test_a_file_that_says_something_else_is_caught(target: str) -> None:
    """Two experts exchanged across GPUs in the last layer."""
    other = replace(ONCE, rows=(ONCE.rows[0], (0, 2, 1, 3)))
    with pytest.raises(RuntimeError, match="layer 2 does not read back"):
        check_experts(ONCE, target, export_experts(other, target))


def test_dense_rows_without_every_expert_are_caught() -> None:
    raw = export_experts(ONCE, "sglang").replace(b"[0, 1, 2, 3],\n[2", b"[0, 1, 2, 2],\n[2")
    with pytest.raises(RuntimeError, match="the row of dense layer 0 does not hold every expert"):
        check_experts(ONCE, "sglang", raw)
    with pytest.raises(RuntimeError, match="2 rows for 3 hidden layers"):
        check_experts(ONCE, "sglang", b'{"physical_to_logical_map": [[2, 0, 1, 3], [0, 1, 2, 3]]}')


def reasons(placement: ServedPlacement, target: str) -> str:
    with pytest.raises(ExportRefused) as caught:
        export_experts(placement, target)
    return str(caught.value)


@pytest.mark.parametrize("target", ["sglang", "tensorrt-llm", "vllm", "vllm-ascend"])
def test_slots_that_differ_by_layer_are_refused(target: str) -> None:
    uneven = replace(ONCE, rows=(ONCE.rows[0], (0, 1, 2, 3, 2, 1)))
    assert "uneven slots" in reasons(uneven, target)


def test_omni_infer_takes_uneven_slots() -> None:
    uneven = replace(ONCE, rows=(ONCE.rows[0], (0, 1, 2, 3, 2, 1)))
    assert np.load(io.BytesIO(export_experts(uneven, "omni-infer"))).sum() == 10


def test_two_replicas_on_a_device_are_refused_where_a_device_holds_one() -> None:
    twins = replace(ONCE, rows=((0, 0, 1, 2, 3, 1), (0, 1, 2, 3, 2, 1)))
    for target in ("vllm-ascend", "omni-infer"):
        assert "expert 0 of layer 1 has two replicas on GPU 0" in reasons(twins, target)
    assert export_experts(twins, "sglang")


def test_replicas_are_refused_by_megatron() -> None:
    assert "Megatron holds every expert once, so 4 slots a layer; layer 1 has 6" in reasons(TWICE, "megatron")


def test_a_placement_that_does_not_add_up_is_refused() -> None:
    broken = replace(ONCE, rows=((2, 0, 1, 1), (0, 1, 2, 9)), layer_ids=(1, 5))
    text = reasons(broken, "sglang")
    assert "layer 1: no slot holds expert 3" in text
    assert "layer 5: expert 9 is none of 4" in text
    assert "layer numbers outside 0 ... 2" in text


@pytest.mark.parametrize(
    ("target", "raw", "expected"),
    [
        ("sglang", b'{"physical_to_logical_map": [[0]], "ep_size": 1}', "and no other"),
        ("sglang", b'{"physical_to_logical_map": [[0, true]]}', "is no expert"),
        ("tensorrt-llm", b"num_slots: 3\ninitial_global_assignments: {0: [0, 1]}", "has 2 slots, num_slots is 3"),
        ("tensorrt-llm", b"initial_global_assignments: {a: [0]}", "keys must be layer numbers"),
        ("vllm-ascend", b'{"moe_layer_count": 2, "layer_list": [{}]}', "but 1 layers follow"),
        ("vllm-ascend", b'{"moe_layer_count": 1, "layer_list": [{"device_count": 2, "device_list": [{}]}]}', "device"),
        ("vllm", b'{"a": 1}', "must be a list"),
        ("omni-infer", b"\x93NUMPY", "is not an npy array"),
        ("megatron", b'{"format": "other"}', "must hold format"),
    ],
)
def test_files_that_are_not_of_the_format_are_refused(target: str, raw: bytes, expected: str) -> None:
    with pytest.raises(PlacementFormatError, match=expected):
        read_experts(raw, target)


def test_a_configuration_of_tensorrt_llm_may_hold_the_placement(tmp_path: Path) -> None:
    inner: dict[str, Any] = yaml.safe_load(export_experts(ONCE, "tensorrt-llm"))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"moe_config": {"backend": "WIDEEP", "load_balancer": inner}}))
    assert read_experts_file(tmp_path / "a.yaml").rows == ONCE.rows


def test_an_unknown_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"loads": []}')
    with pytest.raises(PlacementFormatError, match="is no placement"):
        read_experts_file(tmp_path / "a.json")
