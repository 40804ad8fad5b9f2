"""The order of operations that a plan's schedule stands for, as exports look at it."""

from collections.abc import Iterator

import numpy as np

from costmodels.timeline import (
    BACKWARD,
    FORWARD,
    IDLE,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    INPUT_GRAD,
    OUTPUT_S,
    OUTPUT_T,
    VOCABULARY,
    WEIGHT_GRAD,
    Order,
)

LETTERS = {FORWARD: "F", BACKWARD: "B", INPUT_GRAD: "I", WEIGHT_GRAD: "W"}
"""The passes of the layers; every runtime and drawing calls them so."""

VOCABULARY_PASSES = {
    VOCABULARY: ("S", "T"),
    OUTPUT_S: ("S",),
    OUTPUT_T: ("T",),
    INPUT_FORWARD: ("IF",),
    INPUT_BACKWARD: ("IB",),
}
"""Passes of a vocabulary split over the stages (arXiv 2411.05288); S and T run as one step in its own schedules."""


def device_operations(order: Order, device: int) -> Iterator[tuple[int, int, int]]:
    """(kind, chunk, micro-batch) of each operation of ``device``, without the padding of its row."""
    rows = (row[device].tolist() for row in (order.kind, order.chunk, order.microbatch))
    return ((kind, chunk, microbatch) for kind, chunk, microbatch in zip(*rows, strict=True) if kind != IDLE)


def vocabulary_passes(order: Order) -> list[str]:
    """Names of the passes in ``order`` that are not of the layers."""
    kinds = sorted({int(kind) for kind in np.unique(order.kind)} - {*LETTERS, IDLE})
    names = [name for kind in kinds for name in VOCABULARY_PASSES.get(kind, (f"kind {kind}",))]
    return list(dict.fromkeys(names))


def same_operations(one: Order, other: Order) -> bool:
    """Whether two orders place the chunks alike and run the same operations on every device."""
    if (one.devices, one.chunks, one.microbatches) != (other.devices, other.chunks, other.microbatches):
        return False
    return np.array_equal(one.device_of_chunk, other.device_of_chunk) and all(
        list(device_operations(one, device)) == list(device_operations(other, device)) for device in range(one.devices)
    )
