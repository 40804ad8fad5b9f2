"""A placement of experts as a serving or training runtime sees it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Rows: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPlacement:
    """``rows`` [layers][gpus * slots of the layer]: the expert in each slot; slot p lives on GPU p // slots.

    ``layer_ids`` are the model's numbers of those layers, ``hidden_layers`` counts the dense ones too.
    """

    rows: Rows
    gpus: int
    experts: int
    layer_ids: tuple[int, ...]
    hidden_layers: int

    def on_gpus(self, layer: int) -> list[tuple[int, ...]]:
        """The experts of each GPU in a layer (by position, not by the model's number)."""
        row = self.rows[layer]
        slots = len(row) // self.gpus
        return [row[gpu * slots : (gpu + 1) * slots] for gpu in range(self.gpus)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPlacement:
    """What a file says: ``rows`` as in ``ServedPlacement``; None where the format does not tell.

    ``ordered`` False: the format keeps no order of the slots of a GPU, experts are ascending.
    """

    rows: Rows
    gpus: int | None = None
    layer_ids: tuple[int, ...] | None = None
    ordered: bool = True


class PlacementFormatError(ValueError):
    """A file is not of the format; the text says where and what was expected."""


def faults(placement: ServedPlacement) -> Iterator[str]:
    """What no runtime can use: rows and layers that do not pair up, slots that do not fill the GPUs, experts
    that are unknown or missing."""
    if len(placement.rows) != len(placement.layer_ids):
        yield f"{len(placement.rows)} rows for {len(placement.layer_ids)} layers"
    if any(not 0 <= layer < placement.hidden_layers for layer in placement.layer_ids):
        yield f"layer numbers outside 0 ... {placement.hidden_layers - 1}"
    if len(set(placement.layer_ids)) != len(placement.layer_ids):
        yield "layer numbers given twice"
    for layer, row in zip(placement.layer_ids, placement.rows, strict=False):
        if len(row) % placement.gpus or not row:
            yield f"layer {layer}: {len(row)} slots do not divide among {placement.gpus} GPUs"
        held = set(row)
        if unknown := sorted(held - set(range(placement.experts))):
            yield f"layer {layer}: expert {unknown[0]} is none of {placement.experts}"
        if missing := sorted(set(range(placement.experts)) - held):
            yield f"layer {layer}: no slot holds expert {missing[0]}"


def uneven_slots(placement: ServedPlacement, runtime: str) -> Iterator[str]:
    """Layers whose number of slots is not the most frequent one."""
    widths = Counter(len(row) for row in placement.rows)
    if len(widths) > 1:
        common = widths.most_common(1)[0][0]
        named = [
            f"{layer} ({len(row)})"
            for layer, row in zip(placement.layer_ids, placement.rows, strict=True)
            if len(row) != common
        ]
        shown = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
        yield f"uneven slots: {runtime} has as many in every layer, {common} in most; layer {shown}"


def twins(placement: ServedPlacement, runtime: str) -> Iterator[str]:
    """GPUs that hold one expert twice."""
    for position, layer in enumerate(placement.layer_ids):
        for gpu, held in enumerate(placement.on_gpus(position)):
            twice = [expert for expert, count in Counter(held).items() if count > 1]
            if twice:
                yield (
                    f"expert {twice[0]} of layer {layer} has two replicas on GPU {gpu}: {runtime} holds one at "
                    "most, so plan with replicas_apart: true"
                )
                return


def whole_numbers(value: object, where: str) -> tuple[int, ...]:
    """A list of expert numbers; raises ``PlacementFormatError``."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise PlacementFormatError(f"{where}: must be a list of experts, not {_short(value)}")
    for item in value:
        if isinstance(item, bool) or not isinstance(item, int) or item < 0:
            raise PlacementFormatError(f"{where}: {_short(item)} is no expert: whole numbers from 0 on")
    return tuple(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
