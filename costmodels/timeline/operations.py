"""What a pipeline device can run, and the order in which each device runs it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FORWARD, BACKWARD, VOCABULARY, INPUT_FORWARD, INPUT_BACKWARD, INPUT_GRAD, WEIGHT_GRAD, IDLE, OUTPUT_S, OUTPUT_T = range(
    10
)
"""Kinds of operations. BACKWARD is a whole backward pass (B), INPUT_GRAD (I) and WEIGHT_GRAD (W) its two
halves where a schedule runs them apart; VOCABULARY and the two INPUT passes exist where the vocabulary is
split (``vocabulary_orders``), with S and T of the output layer as one step; OUTPUT_S and OUTPUT_T are these
two apart. IDLE takes no time: it fills up the rows of devices with fewer operations."""

VOCABULARY_KINDS = (VOCABULARY, INPUT_FORWARD, INPUT_BACKWARD, OUTPUT_S, OUTPUT_T)
"""Of a device, whichever chunks it holds; in an order their chunk is the device's first."""


Operation = tuple[int, int, int]
"""Kind, chunk, micro-batch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Order:
    """The operations of each device, in the order it runs them; arrays are read-only.

    ``kind``, ``chunk`` and ``microbatch`` are [devices, operations]; ``device_of_chunk`` is [chunks],
    ``chunks_per_device`` the most chunks of any device. ``schedule`` is a name of
    ``costmodels.timeline.schedules``, a method of the vocabulary, or any other name. Two orders are equal
    only if they are the same object.
    """

    schedule: str
    devices: int
    chunks_per_device: int
    microbatches: int
    kind: NDArray[np.int8]
    chunk: NDArray[np.int32]
    microbatch: NDArray[np.int32]
    device_of_chunk: NDArray[np.int32]

    @property
    def chunks(self) -> int:
        return len(self.device_of_chunk)

    @property
    def splits_vocabulary(self) -> bool:
        return bool(np.isin(self.kind[0], (VOCABULARY, OUTPUT_S)).any())

    @property
    def runs_s_and_t_apart(self) -> bool:
        return bool((self.kind[0] == OUTPUT_S).any())

    @property
    def splits_backward(self) -> bool:
        """Whether backward passes run as I and W."""
        return bool((self.kind[0] == INPUT_GRAD).any())


def order_of_rows(
    schedule: str, rows: Sequence[Sequence[Operation]], device_of_chunk: Sequence[int], microbatches: int
) -> Order:
    """The order whose device i runs ``rows[i]``, with IDLE where a row is shorter than the longest.

    Raises ``ValueError`` unless every device runs, of each of its chunks and every micro-batch, F and B once,
    or, on all devices, F, I and W once; and where any device runs S (``schedule`` is then the method of the
    vocabulary), every device S, T and the two passes of the input once for every micro-batch.
    """
    kinds = {kind for row in rows for kind, _, _ in row}
    passes = (FORWARD, INPUT_GRAD, WEIGHT_GRAD) if INPUT_GRAD in kinds else (FORWARD, BACKWARD)
    shared = (OUTPUT_S, OUTPUT_T, INPUT_FORWARD, INPUT_BACKWARD) if OUTPUT_S in kinds else ()
    longest = max((len(row) for row in rows), default=0)
    table = np.zeros((len(rows), longest, 3), dtype=np.int32)
    table[:, :, 0] = IDLE
    for device, row in enumerate(rows):
        own = [c for c, where in enumerate(device_of_chunk) if where == device]
        expected = {(kind, chunk, k) for kind in passes for chunk in own for k in range(microbatches)}
        expected |= {(kind, own[0] if own else 0, k) for kind in shared for k in range(microbatches)}
        given = [operation for operation in row if operation[0] != IDLE]
        if len(given) != len(expected) or set(given) != expected:
            wrong = sorted(set(given) ^ expected) or sorted({o for o in given if given.count(o) > 1})
            raise ValueError(f"rows: device {device} runs (kind, chunk, micro-batch) {wrong[0]} not exactly once")
        table[device, :, 1] = own[0] if own else 0
        if row:
            table[device, : len(row)] = row
    return frozen_order(schedule, table, np.array(device_of_chunk, dtype=np.int32), microbatches)


def frozen_order(
    schedule: str, table: NDArray[np.int32], device_of_chunk: NDArray[np.int32], microbatches: int
) -> Order:
    """The order of a table [devices, operations, 3] of kinds, chunks and micro-batches, unchecked."""
    kind = table[..., 0].astype(np.int8)
    chunk, microbatch = (np.ascontiguousarray(table[..., column], dtype=np.int32) for column in (1, 2))
    for array in (kind, chunk, microbatch, device_of_chunk):
        array.flags.writeable = False
    return Order(
        schedule=schedule,
        devices=len(table),
        chunks_per_device=int(np.bincount(device_of_chunk, minlength=1).max(initial=1)),
        microbatches=microbatches,
        kind=kind,
        chunk=chunk,
        microbatch=microbatch,
        device_of_chunk=device_of_chunk,
    )
