"""Omni-infer (``pattern_path``): an int32 array [devices, layers with experts, experts], 1 where the device holds
the expert. It has no order of slots and no second replica on a device, and layers may differ in slots."""

import io
from collections.abc import Iterator

import numpy as np

from planner.exports.experts.served import FoundPlacement, PlacementFormatError, ServedPlacement, twins


def refusals(placement: ServedPlacement) -> Iterator[str]:
    yield from twins(placement, "a device of Omni-infer")


def write(placement: ServedPlacement) -> bytes:
    pattern = np.zeros((placement.gpus, len(placement.rows), placement.experts), dtype=np.int32)
    for layer in range(len(placement.rows)):
        for gpu, held in enumerate(placement.on_gpus(layer)):
            pattern[gpu, layer, list(held)] = 1
    stream = io.BytesIO()
    np.save(stream, pattern)
    return stream.getvalue()


def read(raw: bytes) -> FoundPlacement:
    """Raises ``PlacementFormatError``, also where the devices of a layer hold different numbers of experts."""
    try:
        pattern = np.load(io.BytesIO(raw), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise PlacementFormatError(f"is not an npy array: {error}") from None
    if not isinstance(pattern, np.ndarray) or pattern.ndim != 3 or not pattern.size:
        raise PlacementFormatError("must be an array [devices, layers, experts]")
    if not np.isin(pattern, (0, 1)).all():
        raise PlacementFormatError("must hold 0 and 1 only")
    devices, layers, _ = pattern.shape
    held = pattern.sum(axis=2)
    uneven = np.flatnonzero(np.ptp(held, axis=0))
    if len(uneven):
        raise PlacementFormatError(f"layer {uneven[0]}: devices hold different numbers of experts")
    rows = tuple(
        tuple(int(e) for gpu in range(devices) for e in np.flatnonzero(pattern[gpu, layer])) for layer in range(layers)
    )
    return FoundPlacement(rows=rows, gpus=devices, ordered=False)
