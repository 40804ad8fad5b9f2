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
to it. The first may be negative: I then keeps more alive than it frees, from its start (output gradients
that wait for W). At no instant may the sum exceed the device's ``memory_cap``.
"""

import math
from collections.abc import Iterator, Sequence
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
    """Empty: nothing."""
    lookup_seconds: float | None = None
    """Of the two barriers around the lookups; None: ``barrier_seconds``."""

    @property
    def lookup_barrier_seconds(self) -> float:
        return self.barrier_seconds if self.lookup_seconds is None else self.lookup_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleProblem:
    """``device_of_chunk``, the three durations, ``activation`` and its two shares are [chunks],
    ``p2p_seconds`` [chunks - 1], ``memory_cap`` [devices] (inf: none). A link's seconds hold as given
    also between two chunks of one device: pass 0 there. ``objective``: from the first operation's start
    to the last one's end over all devices, or the largest of these of one device.

    Raises ``ValueError`` with every figure that has a wrong length, is negative or undefined, shares that
    do not add up, and a device without a chunk. A cap below one micro-batch is no error but a problem
    without a schedule: ``least_memory`` says what each device needs.
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

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))

    def least_memory(self) -> tuple[float, ...]:
        """[devices]: what each device needs for any schedule, and for one micro-batch at a time.

        When I of chunk c starts, its micro-batch is alive in this and all earlier chunks; when S
        starts, in all chunks, next to ``kept``. One micro-batch after another, each W right after its
        I and each T before the next I, needs no more than the largest of these.
        """
        kept = self.vocabulary.kept if self.vocabulary and self.vocabulary.kept else (0.0,) * self.devices
        alive, most = [0.0] * self.devices, [0.0] * self.devices
        for chunk, device in enumerate(self.device_of_chunk):
            alive[device] += self.activation[chunk]
            more = max(0.0, -self.released_by_input_grad[chunk]) if self.split_backward else 0.0
            most[device] = max(most[device], alive[device] + more)
        return tuple(max(most[d], alive[d] + kept[d]) for d in range(self.devices))


def _problems(problem: ScheduleProblem) -> Iterator[str]:
    for key, least in (("devices", 1), ("microbatches", 1)):
        if getattr(problem, key) < least:
            yield f"{key}: {getattr(problem, key)} must be at least {least}"
    chunks = problem.chunks
    empty = sorted(set(range(problem.devices)) - set(problem.device_of_chunk))
    if empty:
        yield f"device_of_chunk: no chunk lies on device {', '.join(map(str, empty))}"
    for chunk, device in enumerate(problem.device_of_chunk):
        if not 0 <= device < problem.devices:
            yield f"device_of_chunk[{chunk}]: {device} is not one of the devices 0 to {problem.devices - 1}"
    yield from _figures("forward_seconds", problem.forward_seconds, chunks, "chunks")
    yield from _figures("input_grad_seconds", problem.input_grad_seconds, chunks, "chunks")
    yield from _figures("weight_grad_seconds", problem.weight_grad_seconds, chunks, "chunks")
    yield from _figures("p2p_seconds", problem.p2p_seconds, max(chunks - 1, 0), "links")
    yield from _figures("activation", problem.activation, chunks, "chunks")
    yield from _figures("released_by_input_grad", problem.released_by_input_grad, chunks, "chunks", least=-math.inf)
    yield from _figures("released_by_weight_grad", problem.released_by_weight_grad, chunks, "chunks")
    yield from _figures("memory_cap", problem.memory_cap, problem.devices, "devices", most=math.inf)
    shares = zip(problem.activation, problem.released_by_input_grad, problem.released_by_weight_grad, strict=False)
    for chunk, (whole, by_input, by_weight) in enumerate(shares):
        if abs(by_input + by_weight - whole) > 1e-9 * max(abs(whole), abs(by_input), abs(by_weight)):
            yield (
                f"activation[{chunk}]: {whole!r} is not the sum of released_by_input_grad {by_input!r} "
                f"and released_by_weight_grad {by_weight!r}"
            )
    if problem.vocabulary is not None:
        yield from _vocabulary_problems(problem.vocabulary, problem.devices)


def _vocabulary_problems(vocabulary: VocabularyPasses, devices: int) -> Iterator[str]:
    for key in ("s_seconds", "t_seconds", "input_forward_seconds", "input_backward_seconds"):
        yield from _figures(f"vocabulary.{key}", getattr(vocabulary, key), devices, "devices")
    for key in ("barrier_seconds", "broadcast_seconds", "lookup_barrier_seconds"):
        yield from _figures(f"vocabulary.{key}", (getattr(vocabulary, key),), 1, "values")
    if vocabulary.kept:
        yield from _figures("vocabulary.kept", vocabulary.kept, devices, "devices")


def _figures(
    key: str, values: Sequence[float], count: int, of: str, *, least: float = 0.0, most: float = 1e300
) -> Iterator[str]:
    """What is wrong with a row of figures; ``most`` inf lets an infinite one pass."""
    if len(values) != count:
        yield f"{key}: {len(values)} values for {count} {of}"
    for index, value in enumerate(values):
        if not (least <= value <= most) or value == -math.inf:
            yield f"{key}[{index}]: {value!r} must be a {'' if least else 'non-negative '}number"
