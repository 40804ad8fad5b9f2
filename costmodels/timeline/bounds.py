"""Lower bounds on the makespan of an order, for many cost vectors at once.

The makespan is the longest path through the order's dependency graph, so the length of any one
path bounds it from below. A path's length is linear in the costs: it is enough to count, once per
order, how often it runs each chunk's F and B and crosses each link. A micro-batch's chain is F of
every chunk, then B of every chunk in reverse, with a link between neighbours; let head(o) be the
part of it before operation o and tail(o) the part after. The paths taken, three for each device i
and two for each chunk c (consecutive operations of each are joined by a feed or by a device's
order, hence do not overlap):

1. busy: head(first operation of i) + all operations of i + tail(last operation of i).
2. turn: head(first B of i) + the operations of i from it on + tail(last operation of i). For 1f1b
   this is W + 2 C + (m - 1)(F_i + B_i) - min(p - 1 - i, m - 1) F_i, with W the seconds of all
   chunks and C those of all links.
3. turn, mirrored: head(first operation) + the operations of i up to its last F + tail(last F).
4. rounds: F of chunk c, the chain to its B, the operations of the device until c's next F, that
   micro-batch's chain, and so on, with head and tail. For 1f1b these are ceil(m / (p - i)) round
   trips, as at most p - i micro-batches are in flight.
5. the same, started at the micro-batch that lets the last round end with the last micro-batch,
   after the operations that the device runs until then.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.timeline.orders import BACKWARD, FORWARD, Order
from costmodels.timeline.simulation import check_costs

Counts = NDArray[np.int64]


def makespan_bound(
    order: Order, forward_seconds: ArrayLike, backward_seconds: ArrayLike, link_seconds: ArrayLike
) -> NDArray[np.float64]:
    """[...]: seconds that no timing of ``order`` can beat; arguments and errors are ``simulate``'s.

    Never above the simulated makespan (up to rounding), for any costs.
    """
    if order.splits_vocabulary:
        raise ValueError(f"order: {order.schedule} has passes that no path here counts; simulate it")
    _, forward, backward, link = check_costs(order, forward_seconds, backward_seconds, link_seconds)
    paths = _paths(order)
    chunks = order.chunks
    length = forward @ paths[:, :chunks].T + backward @ paths[:, chunks : 2 * chunks].T
    return np.asarray((length + link @ paths[:, 2 * chunks :].T).max(axis=-1))


@lru_cache(maxsize=256)
def _paths(order: Order) -> NDArray[np.float64]:
    """[paths, 3 chunks - 1]: how often each path runs every F, every B and every link."""
    paths: list[Counts] = []
    for device in range(order.devices):
        paths += _device_paths(order, device)
        for chunk in np.flatnonzero(order.device_of_chunk == device):
            paths += _round_paths(order, device, int(chunk))
    return np.unique(np.array(paths, dtype=np.float64), axis=0)


def _device_paths(order: Order, device: int) -> list[Counts]:
    kind, chunk = order.kind[device], order.chunk[device]
    first_backward = int(np.argmax(kind == BACKWARD))
    last_forward = len(kind) - 1 - int(np.argmax(kind[::-1] == FORWARD))
    last = len(kind) - 1
    position = np.arange(len(kind))

    def path(begin: int, end: int) -> Counts:
        work = _work(order, device, (position >= begin) & (position <= end))
        return (
            _head(order.chunks, int(kind[begin]), int(chunk[begin]))
            + work
            + _tail(order.chunks, int(kind[end]), int(chunk[end]))
        )

    return [path(0, last), path(first_backward, last), path(0, last_forward)]


def _round_paths(order: Order, device: int, chunk: int) -> list[Counts]:
    kind, here = order.kind[device], order.chunk[device] == chunk
    forward_at, backward_at = (np.flatnonzero(here & (kind == which)) for which in (FORWARD, BACKWARD))
    following = np.searchsorted(forward_at, backward_at)  # the next micro-batch once each is through
    rounds = _rounds(following, 0)
    spare = order.microbatches - 1 - rounds[-1]
    return [
        _round_path(order, device, chunk, forward_at[taken], backward_at[taken])
        for taken in (rounds, _rounds(following, spare))
    ]


def _rounds(following: NDArray[np.intp], first: int) -> list[int]:
    taken = [first]
    while following[taken[-1]] < len(following):
        taken.append(int(following[taken[-1]]))
    return taken


def _round_path(
    order: Order, device: int, chunk: int, forward_at: NDArray[np.intp], backward_at: NDArray[np.intp]
) -> Counts:
    kind, chunks = order.kind[device], order.chunk[device]
    between = np.ones(len(kind), dtype=np.bool_)
    for begin, end in zip(forward_at, backward_at, strict=True):
        between[begin : end + 1] = False
    trip = np.zeros(3 * order.chunks - 1, dtype=np.int64)
    trip[chunk : order.chunks] = trip[order.chunks + chunk : 2 * order.chunks] = 1
    trip[2 * order.chunks + chunk :] = 2
    return (
        _head(order.chunks, int(kind[0]), int(chunks[0]))
        + _work(order, device, between)
        + len(forward_at) * trip
        + _tail(order.chunks, int(kind[-1]), int(chunks[-1]))
    )


def _work(order: Order, device: int, chosen: NDArray[np.bool_]) -> Counts:
    """The operations of the device at the chosen positions."""
    column = order.kind[device][chosen] * np.int64(order.chunks) + order.chunk[device][chosen]
    return np.bincount(column, minlength=3 * order.chunks - 1)


def _head(chunks: int, kind: int, chunk: int) -> Counts:
    """One micro-batch's chain before an operation."""
    counts = np.zeros(3 * chunks - 1, dtype=np.int64)
    forward, backward, link = np.split(counts, (chunks, 2 * chunks))
    if kind == FORWARD:
        forward[:chunk] = link[:chunk] = 1
    else:
        forward[:] = backward[chunk + 1 :] = 1
        link[:chunk], link[chunk:] = 1, 2
    return counts


def _tail(chunks: int, kind: int, chunk: int) -> Counts:
    """One micro-batch's chain after an operation."""
    counts = np.zeros(3 * chunks - 1, dtype=np.int64)
    forward, backward, link = np.split(counts, (chunks, 2 * chunks))
    if kind == BACKWARD:
        backward[:chunk] = link[:chunk] = 1
    else:
        backward[:] = forward[chunk + 1 :] = 1
        link[:chunk], link[chunk:] = 1, 2
    return counts
