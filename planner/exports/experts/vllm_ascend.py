"""vLLM-Ascend (``expert_map_path``) and MindIE: per layer the experts of each device.

``{"moe_layer_count", "layer_list": [{"layer_id", "device_count", "device_list": [{"device_id", "device_expert"}]}]}``;
layers with experts only, counted from 0, every device with as many experts in every layer.
"""

import json
from collections.abc import Iterator
from typing import Any

from planner.exports.experts.parsing import parse_json
from planner.exports.experts.served import (
    FoundPlacement,
    PlacementFormatError,
    ServedPlacement,
    twins,
    uneven_slots,
    whole_numbers,
)


def refusals(placement: ServedPlacement) -> Iterator[str]:
    yield from uneven_slots(placement, "vLLM-Ascend")
    yield from twins(placement, "a device of vLLM-Ascend")


def write(placement: ServedPlacement) -> bytes:
    layers = []
    for position in range(len(placement.rows)):
        devices = [
            {"device_id": gpu, "device_expert": list(held)} for gpu, held in enumerate(placement.on_gpus(position))
        ]
        layers.append(json.dumps({"layer_id": position, "device_count": placement.gpus, "device_list": devices}))
    head = f'{{"moe_layer_count": {len(layers)}, "layer_list": [\n'
    return (head + ",\n".join(layers) + "\n]}\n").encode()


def read(raw: bytes) -> FoundPlacement:
    """Raises ``PlacementFormatError``."""
    data = parse_json(raw)
    layers = data.get("layer_list") if isinstance(data, dict) else None
    if not isinstance(layers, list) or not layers:
        raise PlacementFormatError("must hold layer_list, a list of layers")
    assert isinstance(data, dict)
    if data.get("moe_layer_count") != len(layers):
        raise PlacementFormatError(f"moe_layer_count: {data.get('moe_layer_count')!r}, but {len(layers)} layers follow")
    found = [_layer(layer, f"layer_list[{position}]") for position, layer in enumerate(layers)]
    counts = {len(devices) for devices in found}
    if len(counts) > 1:
        raise PlacementFormatError(f"layer_list: layers have different numbers of devices, {sorted(counts)}")
    rows = tuple(tuple(expert for held in devices for expert in held) for devices in found)
    return FoundPlacement(rows=rows, gpus=counts.pop())


def _layer(layer: Any, where: str) -> list[tuple[int, ...]]:
    devices = layer.get("device_list") if isinstance(layer, dict) else None
    if not isinstance(devices, list) or not devices:
        raise PlacementFormatError(f"{where}: must hold device_list, a list of devices")
    if layer.get("device_count") != len(devices):
        raise PlacementFormatError(f"{where}: device_count is not the {len(devices)} of device_list")
    held = []
    for position, device in enumerate(devices):
        if not isinstance(device, dict):
            raise PlacementFormatError(f"{where}.device_list[{position}]: must be a mapping")
        held.append(whole_numbers(device.get("device_expert"), f"{where}.device_list[{position}].device_expert"))
    if len({len(experts) for experts in held}) > 1:
        raise PlacementFormatError(f"{where}: devices hold different numbers of experts")
    return held
