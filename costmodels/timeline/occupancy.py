"""What is alive on each device while an order runs.

A chunk's activations for one micro-batch live on its device from the start of F to the end of B.
A device runs one operation at a time, so its peak depends on the order alone: it is the largest
running sum just after some F has begun, with the B's before it already released.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.timeline.orders import BACKWARD, FORWARD, Order
from costmodels.timeline.simulation import Timeline


def peak_activation(order: Order, chunk_activation_bytes: ArrayLike) -> NDArray[np.float64]:
    """[..., devices]: the most bytes of activations alive at once on each device.

    ``chunk_activation_bytes`` [..., chunks] is what one micro-batch leaves alive in a chunk, not
    negative. Exact: the peak is a maximum over the device's live sets, and only those that no other
    contains can attain it.
    """
    sizes = np.asarray(chunk_activation_bytes, dtype=np.float64)
    if sizes.ndim == 0 or sizes.shape[-1] != order.chunks:
        raise ValueError(f"chunk_activation_bytes: shape {sizes.shape} must end in {order.chunks} chunks")
    if not (sizes >= 0).all():
        raise ValueError(f"chunk_activation_bytes: {sizes.min()} must not be negative or undefined")
    by_device = sizes.reshape(*sizes.shape[:-1], order.chunks_per_device, order.devices).swapaxes(-1, -2)
    return np.asarray((by_device[..., None, :] @ _largest_live_sets(order))[..., 0, :].max(axis=-1))


def peak_live_counts(order: Order) -> NDArray[np.int64]:
    """[devices]: the most (chunk, micro-batch) activations alive at once on each device."""
    return np.asarray(np.cumsum(_change(order.kind), axis=1, dtype=np.int64).max(axis=1))


def _change(kind: NDArray[np.int8]) -> NDArray[np.int64]:
    """Activations begun (1) or released (-1) by each operation; passes of the vocabulary keep none."""
    return np.asarray((kind == FORWARD).astype(np.int64) - (kind == BACKWARD))


def memory_over_time(
    order: Order, timeline: Timeline, device: int, chunk_activation_bytes: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds [operations] and the bytes of activations alive on ``device`` from each on.

    ``timeline`` is of one cost vector; ``chunk_activation_bytes`` is [chunks]. The second array
    steps up at the start of each F and down at the end of each B.
    """
    kind = order.kind[device]
    sizes = np.asarray(chunk_activation_bytes, dtype=np.float64)[order.chunk[device]]
    seconds = np.where(kind == BACKWARD, timeline.end[device], timeline.start[device])
    return seconds, np.cumsum(_change(kind) * sizes)


@lru_cache(maxsize=256)
def _largest_live_sets(order: Order) -> NDArray[np.float64]:
    """[devices, chunks per device, sets]: live micro-batches of each local chunk, padded with zeros."""
    per_device = [_maximal(_live_sets(order, device)) for device in range(order.devices)]
    padded = np.zeros((order.devices, order.chunks_per_device, max(len(sets) for sets in per_device)))
    for device, sets in enumerate(per_device):
        padded[device, :, : len(sets)] = sets.T
    return padded


def _live_sets(order: Order, device: int) -> NDArray[np.int64]:
    """[forwards, chunks per device]: live micro-batches of each local chunk once each F has begun."""
    forward = order.kind[device] == FORWARD
    local = order.chunk[device] // order.devices
    change = np.zeros((len(local), order.chunks_per_device), dtype=np.int64)
    change[np.arange(len(local)), local] = _change(order.kind[device])
    return np.unique(np.cumsum(change, axis=0)[forward], axis=0)


def _maximal(sets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distinct rows that are not contained in a row with the largest total."""
    totals = sets.sum(axis=1)
    top, rest = sets[totals == totals.max()], sets[totals < totals.max()]
    contained = (rest[:, None, :] <= top[None, :, :]).all(axis=-1).any(axis=-1)
    return np.concatenate([top, rest[~contained]])
