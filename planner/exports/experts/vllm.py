"""vLLM (pull request 49572, open): a JSON list with the expert of each slot for each layer with experts, or one
list for all of them. Written is always a list for each layer."""

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


def refusals(placement: ServedPlacement) -> Iterator[str]:
    yield from uneven_slots(placement, "vLLM")


def write(placement: ServedPlacement) -> bytes:
    return ("[\n" + ",\n".join(json.dumps(row) for row in placement.rows) + "\n]\n").encode()


def read(raw: bytes) -> FoundPlacement:
    """Raises ``PlacementFormatError``."""
    data = parse_json(raw)
    if not isinstance(data, list) or not data:
        raise PlacementFormatError("must be a list of experts, or a list of those for each layer")
    if isinstance(data[0], list):
        return FoundPlacement(rows=tuple(whole_numbers(row, f"[{layer}]") for layer, row in enumerate(data)))
    return FoundPlacement(rows=(whole_numbers(data, "the list"),))
