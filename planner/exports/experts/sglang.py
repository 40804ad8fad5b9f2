"""SGLang, ``--init-expert-location FILE.json``: ``{"physical_to_logical_map": [[expert of each slot] ...]}``.

SGLang hands every key of the file on as an argument, so there is no other. It has one row for each hidden
layer, dense ones included, and looks up every expert in every row: dense layers get the row that SGLang
itself makes, slot p with expert p modulo experts. ``--ep-num-redundant-experts`` must be slots - experts.
"""

import json
from collections.abc import Iterator

from planner.exports.experts.parsing import parse_json
from planner.exports.experts.served import (
    FoundPlacement,
    PlacementFormatError,
    ServedPlacement,
    uneven_slots,
    whole_numbers,
)

KEY = "physical_to_logical_map"


def refusals(placement: ServedPlacement) -> Iterator[str]:
    yield from uneven_slots(placement, "SGLang")


def write(placement: ServedPlacement) -> bytes:
    width = len(placement.rows[0])
    held = dict(zip(placement.layer_ids, placement.rows, strict=True))
    trivial = tuple(slot % placement.experts for slot in range(width))
    rows = [json.dumps(held.get(layer, trivial)) for layer in range(placement.hidden_layers)]
    return ('{"' + KEY + '": [\n' + ",\n".join(rows) + "\n]}\n").encode()


def read(raw: bytes) -> FoundPlacement:
    """One row for each hidden layer; raises ``PlacementFormatError``."""
    data = parse_json(raw)
    if not isinstance(data, dict) or set(data) != {KEY}:
        raise PlacementFormatError(f"must hold the key {KEY} and no other")
    rows = data[KEY]
    if not isinstance(rows, list) or not rows:
        raise PlacementFormatError(f"{KEY}: must be a list with a row for each layer")
    found = tuple(whole_numbers(row, f"{KEY}[{layer}]") for layer, row in enumerate(rows))
    return FoundPlacement(rows=found, layer_ids=tuple(range(len(found))))
