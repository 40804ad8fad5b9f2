"""Megatron gives experts to ranks in order and takes no table: the experts of a checkpoint are renumbered instead.

Our own JSON: for each layer with experts (the model's number) ``new_to_old``, the old number of the expert that
becomes number p. Row p of the new router weight (and bias) is row ``new_to_old[p]`` of the old one, and the
weights of expert p are those of the old expert ``new_to_old[p]``; rank r of ``expert_parallel`` then holds the
new experts r * experts / expert_parallel and on. The model computes the same.
"""

import json
from collections.abc import Iterator

from planner.exports.experts.parsing import parse_json
from planner.exports.experts.served import FoundPlacement, PlacementFormatError, ServedPlacement, whole_numbers

FORMAT = "meshwright expert permutation 1"


def refusals(placement: ServedPlacement) -> Iterator[str]:
    replicated = [
        layer for layer, row in zip(placement.layer_ids, placement.rows, strict=True) if len(row) != placement.experts
    ]
    if replicated:
        yield (
            f"replicas: Megatron holds every expert once, so {placement.experts} slots a layer; "
            f"layer {replicated[0]} has {len(placement.rows[placement.layer_ids.index(replicated[0])])}"
        )


def write(placement: ServedPlacement) -> bytes:
    head = {"format": FORMAT, "experts": placement.experts, "expert_parallel": placement.gpus}
    layers = [f'"{layer}": {json.dumps(row)}' for layer, row in zip(placement.layer_ids, placement.rows, strict=True)]
    opening = json.dumps(head)[:-1]
    return (opening + ', "new_to_old": {\n' + ",\n".join(layers) + "\n}}\n").encode()


def read(raw: bytes) -> FoundPlacement:
    """Raises ``PlacementFormatError``."""
    data = parse_json(raw)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise PlacementFormatError(f"must hold format: {FORMAT!r}")
    layers, gpus = data.get("new_to_old"), data.get("expert_parallel")
    if not isinstance(layers, dict) or not layers or not all(str(layer).isdecimal() for layer in layers):
        raise PlacementFormatError("new_to_old: must be a mapping of layer numbers to lists")
    if isinstance(gpus, bool) or not isinstance(gpus, int) or gpus < 1:
        raise PlacementFormatError(f"expert_parallel: {gpus!r} is no number of ranks")
    found = {int(layer): whole_numbers(layers[layer], f"new_to_old.{layer}") for layer in sorted(layers, key=int)}
    for layer, row in found.items():
        if sorted(row) != list(range(len(row))):
            raise PlacementFormatError(f"new_to_old.{layer}: is no permutation of 0 ... {len(row) - 1}")
    return FoundPlacement(rows=tuple(found.values()), gpus=gpus, layer_ids=tuple(found))
