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

Where the order splits the backward pass, I stands for B above: W belongs to the operations of its device,
its head is the chain up to its I, nothing follows it, and W of chunk 0 follows every chain. One path more:

6. drain: head(first operation) + the operations of i up to its last I + tail(last I).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.timeline.operations import BACKWARD, FORWARD, IDLE, INPUT_GRAD, WEIGHT_GRAD, Order
from costmodels.timeline.simulation import check_costs

Counts = NDArray[np.int64]


def makespan_bound(
    order: Order,
    forward_seconds: ArrayLike,
    backward_seconds: ArrayLike,
    link_seconds: ArrayLike,
    weight_grad_seconds: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """[...]: seconds that no timing of ``order`` can beat; arguments and errors are ``simulate``'s.

    Never above the simulated makespan (up to rounding), for any costs.
    """
    if order.splits_vocabulary:
        raise ValueError(f"order: {order.schedule} has passes that no path here counts; simulate it")
    costs, link = check_costs(order, forward_seconds, backward_seconds, link_seconds, weight_grad_seconds)
    paths = _paths(order)
    chunks = order.chunks
    length = link @ paths[:, len(costs) * chunks :].T
    for block, cost in enumerate(costs):
        length = length + cost @ paths[:, block * chunks : (block + 1) * chunks].T
    return np.asarray(length.max(axis=-1))


@lru_cache(maxsize=256)
def _paths(order: Order) -> NDArray[np.float64]:
    """[paths, 3 chunks - 1, or 4 with W]: how often each path runs every F, B (or I, and W) and every link."""
    chain, paths = _Chain(order), list[Counts]()
    for device in range(order.devices):
        paths += _device_paths(chain, device)
        for chunk in np.flatnonzero(order.device_of_chunk == device):
            paths += _round_paths(chain, device, int(chunk))
    return np.unique(np.array(paths, dtype=np.float64), axis=0)


class _Chain:
    """Counts of passes and links along a micro-batch's chain, and of a device's operations."""

    def __init__(self, order: Order) -> None:
        self.order, self.chunks = order, order.chunks
        self.split = order.splits_backward
        self.backward = INPUT_GRAD if self.split else BACKWARD
        self.blocks = 3 if self.split else 2

    def none(self) -> tuple[Counts, Counts, Counts, Counts, Counts]:
        """All counts, and views of them: of F, of B or I, of W (empty where there is none), of links."""
        counts = np.zeros((self.blocks + 1) * self.chunks - 1, dtype=np.int64)
        ends = self.chunks * np.arange(1, self.blocks + 1)
        parts = np.split(counts, ends)
        weight_grad = parts[2] if self.split else counts[:0]
        return counts, parts[0], parts[1], weight_grad, parts[-1]

    def head(self, kind: int, chunk: int) -> Counts:
        """What comes before an operation."""
        counts, forward, backward, _, link = self.none()
        if kind == FORWARD:
            forward[:chunk] = link[:chunk] = 1
        else:
            forward[:] = backward[chunk + (kind != WEIGHT_GRAD) :] = 1
            link[:chunk], link[chunk:] = 1, 2
        return counts

    def tail(self, kind: int, chunk: int) -> Counts:
        """What comes after it."""
        counts, forward, backward, weight_grad, link = self.none()
        if kind == WEIGHT_GRAD:
            return counts
        weight_grad[:1] = 1
        if kind == FORWARD:
            backward[:] = forward[chunk + 1 :] = 1
            link[:chunk], link[chunk:] = 1, 2
        else:
            backward[:chunk] = link[:chunk] = 1
        return counts

    def trip(self, chunk: int) -> Counts:
        """From the start of a chunk's F to the end of its B."""
        counts, forward, backward, _, link = self.none()
        forward[chunk:] = backward[chunk:] = 1
        link[chunk:] = 2
        return counts

    def work(self, device: int, chosen: NDArray[np.bool_]) -> Counts:
        """The operations of the device at the chosen positions; IDLE ones take no time."""
        kind = self.order.kind[device]
        chosen = chosen & (kind != IDLE)
        column = _BLOCK[kind[chosen]] * self.chunks + self.order.chunk[device][chosen]
        return np.bincount(column, minlength=(self.blocks + 1) * self.chunks - 1)


_BLOCK = np.zeros(IDLE + 1, dtype=np.int64)
_BLOCK[[FORWARD, BACKWARD, INPUT_GRAD, WEIGHT_GRAD]] = 0, 1, 1, 2


def _device_paths(chain: _Chain, device: int) -> list[Counts]:
    kind, chunk = chain.order.kind[device], chain.order.chunk[device]
    position = np.arange(len(kind))
    first, last = (int(np.flatnonzero(kind != IDLE)[end]) for end in (0, -1))
    first_backward, last_backward = (int(np.flatnonzero(kind == chain.backward)[end]) for end in (0, -1))
    last_forward = int(np.flatnonzero(kind == FORWARD)[-1])

    def path(begin: int, end: int) -> Counts:
        work = chain.work(device, (position >= begin) & (position <= end))
        return chain.head(int(kind[begin]), int(chunk[begin])) + work + chain.tail(int(kind[end]), int(chunk[end]))

    found = [path(first, last), path(first_backward, last), path(first, last_forward)]
    return [*found, path(first, last_backward)] if chain.split else found


def _round_paths(chain: _Chain, device: int, chunk: int) -> list[Counts]:
    order = chain.order
    kind, here = order.kind[device], order.chunk[device] == chunk
    forward_at, backward_at = (np.flatnonzero(here & (kind == which)) for which in (FORWARD, chain.backward))
    following = np.searchsorted(forward_at, backward_at)  # the next micro-batch once each is through
    rounds = _rounds(following, 0)
    spare = order.microbatches - 1 - rounds[-1]
    return [
        _round_path(chain, device, chunk, forward_at[taken], backward_at[taken])
        for taken in (rounds, _rounds(following, spare))
    ]


def _rounds(following: NDArray[np.intp], first: int) -> list[int]:
    taken = [first]
    while following[taken[-1]] < len(following):
        taken.append(int(following[taken[-1]]))
    return taken


def _round_path(
    chain: _Chain, device: int, chunk: int, forward_at: NDArray[np.intp], backward_at: NDArray[np.intp]
) -> Counts:
    kind, chunks = chain.order.kind[device], chain.order.chunk[device]
    between = np.ones(len(kind), dtype=np.bool_)
    for begin, end in zip(forward_at, backward_at, strict=True):
        between[begin : end + 1] = False
    first, last = (int(np.flatnonzero(kind != IDLE)[end]) for end in (0, -1))
    return (
        chain.head(int(kind[first]), int(chunks[first]))
        + chain.work(device, between)
        + len(forward_at) * chain.trip(chunk)
        + chain.tail(int(kind[last]), int(chunks[last]))
    )
