"""What is alive on each device while an order runs.

A chunk's activations for one micro-batch live on its device from the start of F to the end of B. Where
the backward pass is split, what W needs (inputs of matrix products, and the gradients of their outputs,
which I leaves) lives on from the end of I to the end of W, and the rest ends with I.
A device runs one operation at a time, so its peak depends on the order alone: it is the largest
running sum just after some F has begun or some I has ended, with what ended before already released.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.timeline.operations import BACKWARD, FORWARD, INPUT_GRAD, OUTPUT_S, OUTPUT_T, WEIGHT_GRAD, Order
from costmodels.timeline.simulation import Timeline

Counts = NDArray[np.int64]


def peak_activation(
    order: Order, chunk_activation_bytes: ArrayLike, kept_for_weight_grad_bytes: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """[..., devices]: the most bytes of activations alive at once on each device.

    ``chunk_activation_bytes`` [..., chunks] is what one micro-batch leaves alive in a chunk until its
    backward pass, ``kept_for_weight_grad_bytes`` (the same shape, or 0) what waits for W from the end of I,
    neither negative; the second has no effect on an order that does not split the backward pass. Exact: the
    peak is a maximum over the device's live sets, and only those that no other contains can attain it.
    """
    whole = _checked("chunk_activation_bytes", chunk_activation_bytes, order)
    kept = np.asarray(kept_for_weight_grad_bytes, dtype=np.float64)
    kept = _checked("kept_for_weight_grad_bytes", np.broadcast_to(kept, whole.shape) if not kept.ndim else kept, order)
    chunks = chunks_of_devices(order)
    sizes = np.concatenate([np.where(chunks < 0, 0.0, some[..., chunks]) for some in (whole, kept)], axis=-1)
    return np.asarray((sizes[..., None, :] @ _largest_live_sets(order))[..., 0, :].max(axis=-1))


def peak_live_counts(order: Order) -> Counts:
    """[devices]: the most (chunk, micro-batch) activations alive at once on each device, each until its B or,
    where the backward pass is split, its W."""
    started, _, ended = _changes(order.kind)
    return np.asarray(np.cumsum(started - ended, axis=1, dtype=np.int64).max(axis=1))


def peak_with_softmaxes(
    order: Order, chunk_activation_bytes: ArrayLike, kept_for_weight_grad_bytes: ArrayLike, softmax_bytes: ArrayLike
) -> NDArray[np.float64]:
    """[devices]: the most bytes alive at once on each device, activations and, from the start of S to the end of T,
    ``softmax_bytes`` (of each device, or one figure) for each micro-batch. Where both run as one step or the
    vocabulary is whole, they are held throughout. The other arguments are ``peak_activation``'s, of one vector."""
    softmax = np.broadcast_to(np.asarray(softmax_bytes, dtype=np.float64), order.devices)
    if not order.runs_s_and_t_apart:
        return np.asarray(peak_activation(order, chunk_activation_bytes, kept_for_weight_grad_bytes) + softmax)
    softmax = softmax[:, None]
    whole = _checked("chunk_activation_bytes", chunk_activation_bytes, order)[order.chunk]
    kept = np.broadcast_to(np.asarray(kept_for_weight_grad_bytes, dtype=np.float64), order.chunks)[order.chunk]
    kind = order.kind
    begun = (kind == FORWARD) * whole + (kind == OUTPUT_S) * softmax
    left = (kind == INPUT_GRAD) * (kept - whole) - (kind == BACKWARD) * whole - (kind == WEIGHT_GRAD) * kept
    after = np.cumsum(begun + left - (kind == OUTPUT_T) * softmax, axis=1)
    before = np.concatenate([np.zeros((order.devices, 1)), after[:, :-1]], axis=1)
    return np.asarray(np.maximum(before + begun, after).max(axis=1))


def chunks_of_devices(order: Order) -> NDArray[np.intp]:
    """[devices, chunks per device]: the chunks of each device in order, -1 where it has fewer."""
    found = np.full((order.devices, order.chunks_per_device), -1, dtype=np.intp)
    for device in range(order.devices):
        own = np.flatnonzero(order.device_of_chunk == device)
        found[device, : len(own)] = own
    return found


def memory_over_time(
    order: Order,
    timeline: Timeline,
    device: int,
    chunk_activation_bytes: ArrayLike,
    kept_for_weight_grad_bytes: ArrayLike = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds [operations] and the bytes of activations alive on ``device`` from each on.

    ``timeline`` is of one cost vector; the two sizes, as in ``peak_activation``, are [chunks]. The second array
    steps at the start of each F and at the end of each other operation.
    """
    kind, chunk = order.kind[device], order.chunk[device]
    whole = np.asarray(chunk_activation_bytes, dtype=np.float64)[chunk]
    kept = np.broadcast_to(np.asarray(kept_for_weight_grad_bytes, dtype=np.float64), order.chunks)[chunk]
    started, halved, _ = _changes(kind)
    change = started * whole + halved * (kept - whole) - (kind == BACKWARD) * whole - (kind == WEIGHT_GRAD) * kept
    return np.where(kind == FORWARD, timeline.start[device], timeline.end[device]), np.cumsum(change)


def _checked(name: str, values: ArrayLike, order: Order) -> NDArray[np.float64]:
    sizes = np.asarray(values, dtype=np.float64)
    if sizes.ndim == 0 or sizes.shape[-1] != order.chunks:
        raise ValueError(f"{name}: shape {sizes.shape} must end in {order.chunks} chunks")
    if not (sizes >= 0).all():
        raise ValueError(f"{name}: {sizes.min()} must not be negative or undefined")
    return sizes


def _changes(kind: NDArray[np.int8]) -> tuple[Counts, Counts, Counts]:
    """Activations begun, halved by I, and ended by each operation; passes of the vocabulary keep none."""
    ended = (kind == BACKWARD) | (kind == WEIGHT_GRAD)
    return (kind == FORWARD).astype(np.int64), (kind == INPUT_GRAD).astype(np.int64), ended.astype(np.int64)


@lru_cache(maxsize=256)
def _largest_live_sets(order: Order) -> NDArray[np.float64]:
    """[devices, 2 x chunks per device, sets]: micro-batches of each local chunk that are whole, then those
    that wait for W alone, padded with zeros."""
    per_device = [_maximal(_live_sets(order, device, own)) for device, own in enumerate(chunks_of_devices(order))]
    most = max(len(sets) for sets in per_device)
    padded = np.zeros((order.devices, 2 * order.chunks_per_device, most))
    for device, sets in enumerate(per_device):
        padded[device, :, : len(sets)] = sets.T
    return padded


def _live_sets(order: Order, device: int, own: NDArray[np.intp]) -> Counts:
    """[sets, 2 x chunks per device]: the distinct ones once an F has begun or an I has ended."""
    kind = order.kind[device]
    local = np.searchsorted(own[own >= 0], order.chunk[device])
    started, halved, _ = _changes(kind)
    row = np.arange(len(kind))
    change = np.zeros((len(kind), 2, order.chunks_per_device), dtype=np.int64)
    change[row, 0, local] = started - halved - (kind == BACKWARD)
    change[row, 1, local] = halved - (kind == WEIGHT_GRAD)
    alive = np.cumsum(change, axis=0)[(started + halved) > 0]
    return np.unique(alive.reshape(len(alive), -1), axis=0)


def _maximal(sets: Counts) -> Counts:
    """The distinct rows that are not contained in a row with the largest total."""
    totals = sets.sum(axis=1)
    top, rest = sets[totals == totals.max()], sets[totals < totals.max()]
    contained = (rest[:, None, :] <= top[None, :, :]).all(axis=-1).any(axis=-1)
    return np.concatenate([top, rest[~contained]])
