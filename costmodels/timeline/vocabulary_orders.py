"""1F1B with the vocabulary split over all pipeline devices (Yeung et al., arXiv 2411.05288).

Every device holds 1/p of both embeddings and runs, for each micro-batch, three passes beside F and B:
the lookup of its input rows (IF), its gradient (IB), and the output layer's two halves. S computes
the logits and their softmax over the device's own columns, T what needs the whole softmax; T of
micro-batch k - 1 and S of micro-batch k run as one step, V(k), k = 0 ... m. Between them stand
barriers over all devices, on streams of their own:

| method | S | T | barriers from S(k) to B(k) of the last device | in flight, device i |
|---|---|---|---|---|
| vocab-1 (algorithm 1) | logits, softmax | dX, dW | two: softmax statistics, then dX after V(k + 1) | p - i + 2 |
| vocab-2 (algorithm 2) | logits, softmax, dX | dW | one: statistics and dX together | p - i + 1 |
| interlaced (nnScaler) | all of it | - | inside S, which all devices start together | 3p/2 - i |

An extra warm-up forward for each barrier keeps the devices busy while it lasts. V(k) should start at
about the same time everywhere, while F and B drift from device to device: counted from the last
device, V stands between B and F until they have drifted by a backward pass, then once between F and
B, and so on. The published generator decides it by measured b / f; here the order is that of
b / f = 1.75, which leaves no bubble from 1.2 to 3 (and is the published one for the study's 1.99,
while that of 2 needs b >= 2 f).
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from costmodels.timeline.operations import (
    BACKWARD,
    FORWARD,
    INPUT_BACKWARD,
    INPUT_FORWARD,
    VOCABULARY,
    Order,
)
from costmodels.timeline.schedules import VOCABULARY_METHODS, VocabularyMethod

DELAY: dict[VocabularyMethod, int] = {"vocab-1": 2, "vocab-2": 1}
"""Barriers between S of a micro-batch and its B on the last device, each with a step V of its own."""

Operations = Iterator[tuple[int, int]]
"""(kind, micro-batch) in the order a device runs them."""


@lru_cache(maxsize=256)
def vocabulary_order(method: VocabularyMethod, stages: int, microbatches: int) -> Order:
    """The order of ``method`` on ``stages`` devices of one chunk each.

    Every device runs m of F, B, IF and IB and m + 1 of V (m of them interlaced). Raises
    ``ValueError`` for an unknown method, fewer than two stages or no micro-batch.
    """
    if method not in VOCABULARY_METHODS:
        raise ValueError(f"method: {method!r} is not one of {', '.join(VOCABULARY_METHODS)}")
    if stages < 2:
        raise ValueError(f"stages: {stages}: a vocabulary is split over 2 pipeline devices or more")
    if microbatches < 1:
        raise ValueError(f"microbatches: {microbatches} must be at least 1")
    if method == "interlaced":
        rows = [list(_interlaced(device, stages, microbatches)) for device in range(stages)]
    else:
        rows = [list(_deferred(device, stages, microbatches, DELAY[method])) for device in range(stages)]
    table = np.array(rows)
    kind, microbatch = table[..., 0].astype(np.int8), table[..., 1].astype(np.int32)
    placement = np.arange(stages, dtype=np.int32)
    chunk = np.broadcast_to(placement[:, None], kind.shape)
    for array in (kind, microbatch, placement):
        array.flags.writeable = False
    return Order(
        schedule=method,
        devices=stages,
        chunks_per_device=1,
        microbatches=microbatches,
        kind=kind,
        chunk=chunk,
        microbatch=microbatch,
        device_of_chunk=placement,
    )


class _Passes:
    """Hands out each kind's micro-batches in turn, nothing once there are no more."""

    def __init__(self, microbatches: int, steps: int) -> None:
        self.limits = dict.fromkeys((FORWARD, BACKWARD, INPUT_FORWARD, INPUT_BACKWARD), microbatches)
        self.limits[VOCABULARY] = steps
        self.done = dict.fromkeys(self.limits, 0)

    def __call__(self, kind: int, count: int = 1) -> Operations:
        for _ in range(min(count, self.limits[kind] - self.done[kind])):
            yield kind, self.done[kind]
            self.done[kind] += 1


BACKWARD_OVER_FORWARD = 1.75


def _before_forward(stages: int) -> list[bool]:
    """Per device: V comes between B and F (not between F and B)."""
    found, drift = [True], 0.0
    while len(found) < stages:
        if drift + 1 <= BACKWARD_OVER_FORWARD:
            drift += 1
            found.append(True)
        else:
            drift -= BACKWARD_OVER_FORWARD - 1
            found += [False, True]
    return found[:stages][::-1]


def _early_steps(stages: int) -> list[int]:
    """Per device: V's that follow the warm-up at once, as its first B comes that much later."""
    first = _before_forward(stages)
    found = [0]
    for device in range(stages - 2, -1, -1):
        found.append(found[-1] + (first[device + 1] or not first[device]))
    return found[::-1]


def _deferred(device: int, stages: int, microbatches: int, delay: int) -> Operations:
    first = _before_forward(stages)[device]
    early = _early_steps(stages)
    run = _Passes(microbatches, microbatches + 1)
    in_turn = microbatches + (delay == 2)  # vocab-2 leaves its last dW for the end

    def step() -> Operations:
        at = run.done[VOCABULARY]
        if at < in_turn:
            yield from run(VOCABULARY)
        if at >= early[0] + delay - 1:
            yield from run(INPUT_FORWARD)

    yield from run(INPUT_FORWARD, device + 1)
    for _ in range(stages - device):
        yield from run(INPUT_FORWARD)
        yield from run(FORWARD)
    for turn in range(delay):
        yield from run(VOCABULARY)
        if turn + 1 < delay:
            yield from run(INPUT_FORWARD)
        yield from run(FORWARD)
    for _ in range(early[device]):
        yield from step()
    for _ in range(microbatches):
        yield from run(BACKWARD)
        if not first:
            yield from run(FORWARD)
        looked_up = run.done[VOCABULARY] > early[0] + delay
        yield from step()
        if looked_up:
            yield from run(INPUT_BACKWARD)
        if first:
            yield from run(FORWARD)
    for kind in (INPUT_FORWARD, INPUT_BACKWARD, VOCABULARY):
        yield from run(kind, microbatches)


def _interlaced(device: int, stages: int, microbatches: int) -> Operations:
    later = stages - device
    warmup = stages * 3 // 2 - device
    waiting = max(0, warmup - later - (later - 1) // 2)
    forward_first = (device - stages) % 2 == 0
    run = _Passes(microbatches, microbatches)

    def step() -> Operations:
        at = run.done[VOCABULARY]
        yield from run(VOCABULARY)
        if at >= stages - 1:
            yield from run(INPUT_FORWARD)
        if at > stages or (at == stages and stages % 2):
            yield from run(INPUT_BACKWARD)

    yield from run(INPUT_FORWARD, device + 1)
    for _ in range(warmup):
        yield from run(INPUT_FORWARD)
        yield from run(FORWARD)
    for _ in range(later):
        yield from step()
    for turn in range(microbatches):
        forwards = turn >= waiting
        if forwards and forward_first:
            yield from run(FORWARD)
        yield from run(BACKWARD)
        if forwards and not forward_first:
            yield from run(FORWARD)
        yield from step()
    yield from run(INPUT_FORWARD, microbatches)
    yield from run(INPUT_BACKWARD, microbatches)
