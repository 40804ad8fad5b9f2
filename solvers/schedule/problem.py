"""A pipeline to be scheduled: what runs where, how long, what it keeps alive, and what it waits for.

Every micro-batch k passes forward (F) through the chunks 0 ... c - 1 and backward through them in
reverse. The backward pass of a chunk is an input gradient (I), which the chunk before waits for, and a
weight gradient (W), which nothing waits for; unless ``split_backward``, both are one operation (B). A
device runs one operation at a time; a transfer between neighbouring chunks takes ``p2p_seconds`` and
occupies no device. Micro-batches are alike, so each device runs the operations of one kind and chunk
in the order of their micro-batches, without loss (exchange two of them: nothing waits longer).

Where the vocabulary is split over the devices (Yeung et al., arXiv 2411.05288), each device also runs,
for every micro-batch, the lookup of its input rows (IF), the gradient of that (IB), and the two halves of
the output layer (S, T), with barriers over all devices between them:

    IF(k) on all --barrier--> F(k) of the first chunk           I(k) of the first chunk --barrier--> IB(k) on all
    F(k) of the last chunk --broadcast--> S(k) on all --barrier--> T(k) on all
    vocab-1: T(k) on all --barrier--> I(k) of the last chunk    vocab-2: S(k) on all --barrier--> I(k) of it

A device keeps ``activation`` of a chunk alive from the start of F; its shares
``released_by_input_grad`` and ``released_by_weight_grad`` end with I and W (both with B), and they add up
to it. At no instant may the sum exceed the device's ``memory_cap``.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Passes = Literal["vocab-1", "vocab-2"]
Objective = Literal["makespan", "span"]


class Kind(IntEnum):
    """What an operation does; BARRIER takes no time and runs on no device."""

    F = 0
    B = 1
    I = 2  # noqa: E741 - the field's own letter
    W = 3
    S = 4
    T = 5
    IF = 6
    IB = 7
    BARRIER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyPasses:
    """Seconds of the passes on each device, [devices]; of a barrier, and of the broadcast of the last
    chunk's output; ``kept`` [devices] stays alive from the start of S to the end of T."""

    passes: Passes
    s_seconds: tuple[float, ...]
    t_seconds: tuple[float, ...]
    input_forward_seconds: tuple[float, ...]
    input_backward_seconds: tuple[float, ...]
    barrier_seconds: float = 0.0
    broadcast_seconds: float = 0.0
    kept: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleProblem:
    """``device_of_chunk``, the three durations, ``activation`` and its two shares are [chunks],
    ``p2p_seconds`` [chunks - 1], ``memory_cap`` [devices] (inf: none). ``objective``: from the first
    operation's start to the last one's end over all devices, or the largest of these of one device.

    Raises ``ValueError`` with every figure that has a wrong length, is negative or undefined, shares that
    do not add up, a device without a chunk, and caps below one micro-batch.
    """

    devices: int
    microbatches: int
    device_of_chunk: tuple[int, ...]
    forward_seconds: tuple[float, ...]
    input_grad_seconds: tuple[float, ...]
    weight_grad_seconds: tuple[float, ...]
    p2p_seconds: tuple[float, ...]
    activation: tuple[float, ...]
    released_by_input_grad: tuple[float, ...]
    released_by_weight_grad: tuple[float, ...]
    memory_cap: tuple[float, ...]
    vocabulary: VocabularyPasses | None = None
    split_backward: bool = True
    objective: Objective = "makespan"

    @property
    def chunks(self) -> int:
        return len(self.device_of_chunk)
