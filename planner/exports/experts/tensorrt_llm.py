"""TensorRT-LLM, the file that ``moe_config.load_balancer`` names: ``num_slots``, ``layer_updates_per_iter: 0``
(a static placement) and ``initial_global_assignments``, the model's number of a layer to the expert of each slot.
"""

from collections.abc import Iterator

import yaml

from planner.exports.experts.served import (
    FoundPlacement,
    PlacementFormatError,
    ServedPlacement,
    uneven_slots,
    whole_numbers,
)

KEY = "initial_global_assignments"


def refusals(placement: ServedPlacement) -> Iterator[str]:
    yield from uneven_slots(placement, "TensorRT-LLM")


def write(placement: ServedPlacement) -> bytes:
    lines = [f"num_slots: {len(placement.rows[0])}", "layer_updates_per_iter: 0", f"{KEY}:"]
    for layer, row in zip(placement.layer_ids, placement.rows, strict=True):
        lines.append(f"  {layer}: [{', '.join(map(str, row))}]")
    return ("\n".join(lines) + "\n").encode()


def read(raw: bytes) -> FoundPlacement:
    """The file, or a configuration with it under ``moe_config: load_balancer``; raises ``PlacementFormatError``."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(raw, Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PlacementFormatError(f"is not YAML: {' '.join(str(error).split())}") from None
    for key in ("moe_config", "load_balancer"):
        if isinstance(data, dict) and key in data:
            data = data[key]
    if not isinstance(data, dict) or not isinstance(data.get(KEY), dict) or not data[KEY]:
        raise PlacementFormatError(f"must hold {KEY}, a mapping of layers to the experts of their slots")
    layers = data[KEY]
    if any(isinstance(layer, bool) or not isinstance(layer, int) for layer in layers):
        raise PlacementFormatError(f"{KEY}: keys must be layer numbers")
    found = {layer: whole_numbers(layers[layer], f"{KEY}.{layer}") for layer in sorted(layers)}
    slots = data.get("num_slots")
    for layer, row in found.items():
        if slots is not None and len(row) != slots:
            raise PlacementFormatError(f"{KEY}.{layer}: has {len(row)} slots, num_slots is {slots}")
    return FoundPlacement(rows=tuple(found.values()), layer_ids=tuple(found))
