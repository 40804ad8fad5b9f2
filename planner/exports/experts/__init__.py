"""Placements of experts as the files of serving and training runtimes, written, read back and refused."""

from importlib import import_module
from pathlib import Path
from typing import Any

from planner.exports.experts.served import FoundPlacement, PlacementFormatError, ServedPlacement, faults
from planner.exports.experts.targets import EXPERT_TARGETS, ExpertTarget
from planner.exports.targets import ExportRefused

__all__ = [
    "EXPERT_TARGETS",
    "ExpertTarget",
    "ExportRefused",
    "FoundPlacement",
    "PlacementFormatError",
    "ServedPlacement",
    "export_experts",
    "read_experts",
    "read_experts_file",
]

OURS = "physical_to_logical"
"""The key of the rows in what ``plan experts`` writes."""


def export_experts(placement: ServedPlacement, target: str) -> bytes:
    """The file that ``target`` reads. It has been read back and says the same.

    Raises ``ExportRefused`` with everything that the target cannot express, or every fault of the placement;
    ``KeyError`` for an unknown target.
    """
    module = _module(target)
    if reasons := [f"the placement does not add up: {fault}" for fault in faults(placement)]:
        raise ExportRefused(target, reasons)
    if reasons := list(module.refusals(placement)):
        raise ExportRefused(target, reasons)
    raw: bytes = module.write(placement)
    check_experts(placement, target, raw)
    return raw


def check_experts(placement: ServedPlacement, target: str, raw: bytes) -> None:
    """Raises ``RuntimeError`` unless ``raw`` reads back as ``placement``: rows, layers, dense ones included."""
    found = read_experts(raw, target)
    ids = found.layer_ids if found.layer_ids is not None else placement.layer_ids
    if found.gpus not in (None, placement.gpus) or len(ids) != len(found.rows):
        raise RuntimeError(f"{target}: the file is for {found.gpus} GPUs and {len(found.rows)} layers")
    if target == "sglang" and len(found.rows) != placement.hidden_layers:
        raise RuntimeError(f"{target}: {len(found.rows)} rows for {placement.hidden_layers} hidden layers")
    rows = dict(zip(ids, found.rows, strict=True))
    for position, layer in enumerate(placement.layer_ids):
        held = placement.on_gpus(position)
        row = tuple(e for gpu in held for e in (gpu if found.ordered else sorted(gpu)))
        if rows.pop(layer, None) != row:
            raise RuntimeError(f"{target}: layer {layer} does not read back")
    for layer, row in rows.items():
        if set(row) != set(range(placement.experts)) or len(row) != len(placement.rows[0]):
            raise RuntimeError(f"{target}: the row of dense layer {layer} does not hold every expert")


def read_experts(raw: bytes, target: str) -> FoundPlacement:
    """A file of ``target``; raises ``PlacementFormatError``, ``KeyError`` for an unknown target."""
    found: FoundPlacement = _module(target).read(raw)
    return found


def read_experts_file(path: Path) -> FoundPlacement:
    """A placement in any of the formats, ours included, told by its content.

    Raises ``PlacementFormatError``, ``OSError``.
    """
    raw = path.read_bytes()
    if raw.startswith(b"\x93NUMPY"):
        return read_experts(raw, "omni-infer")
    if path.suffix.lower() in (".yaml", ".yml"):
        return read_experts(raw, "tensorrt-llm")
    from planner.exports.experts.parsing import parse_json

    data = parse_json(raw)
    if isinstance(data, dict) and OURS in data:
        return _ours(data)
    known = {"physical_to_logical_map": "sglang", "layer_list": "vllm-ascend", "new_to_old": "megatron"}
    keys = data if isinstance(data, dict) else {}
    target = next((name for key, name in known.items() if key in keys), "vllm" if isinstance(data, list) else None)
    if target is None:
        raise PlacementFormatError(f"is no placement: none of the keys {', '.join([OURS, *known])}")
    return read_experts(raw, target)


def _ours(data: dict[str, Any]) -> FoundPlacement:
    from planner.exports.experts.served import whole_numbers

    rows, gpus, ids = data[OURS], data.get("gpus"), data.get("layer_ids")
    if not isinstance(rows, list) or not rows:
        raise PlacementFormatError(f"{OURS}: must be a list with a row for each layer")
    found = tuple(whole_numbers(row, f"{OURS}[{layer}]") for layer, row in enumerate(rows))
    return FoundPlacement(
        rows=found,
        gpus=gpus if isinstance(gpus, int) else None,
        layer_ids=whole_numbers(ids, "layer_ids") if ids is not None else None,
    )


def _module(target: str) -> Any:
    return import_module(f"planner.exports.experts.{EXPERT_TARGETS[target].module}")
