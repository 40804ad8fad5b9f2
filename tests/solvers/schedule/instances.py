"""Problems and device orders for the tests of schedules."""

from collections.abc import Sequence

from solvers.schedule.problem import Kind, Objective, ScheduleProblem, VocabularyPasses

INF = float("inf")


def linear(
    devices: int, microbatches: int, p2p: float = 0.0, cap: float = INF, *, seconds: float = 10.0, whole: bool = False
) -> ScheduleProblem:
    """Equal stages, one a device, F = I = W; memory 1 a micro-batch, half of it freed by I and half by W."""
    return placed(range(devices), microbatches, p2p, cap, seconds=seconds, whole=whole)


def placed(
    device_of_chunk: Sequence[int],
    microbatches: int,
    p2p: float = 0.0,
    cap: float = INF,
    *,
    seconds: float = 10.0,
    whole: bool = False,
    vocabulary: VocabularyPasses | None = None,
    objective: Objective = "makespan",
) -> ScheduleProblem:
    """Equal chunks on the devices named; links of ``p2p`` seconds where neighbours lie apart."""
    chunks, devices = len(device_of_chunk), max(device_of_chunk) + 1
    apart = [p2p if device_of_chunk[c] != device_of_chunk[c + 1] else 0.0 for c in range(chunks - 1)]
    return ScheduleProblem(
        devices=devices,
        microbatches=microbatches,
        device_of_chunk=tuple(device_of_chunk),
        forward_seconds=(seconds,) * chunks,
        input_grad_seconds=(seconds,) * chunks,
        weight_grad_seconds=(seconds,) * chunks,
        p2p_seconds=tuple(apart),
        activation=(1.0,) * chunks,
        released_by_input_grad=(0.5,) * chunks,
        released_by_weight_grad=(0.5,) * chunks,
        memory_cap=(cap,) * devices,
        vocabulary=vocabulary,
        split_backward=not whole,
        objective=objective,
    )


def v_placed(devices: int, microbatches: int, p2p: float = 0.0, cap: float = INF) -> ScheduleProblem:
    """Two chunks of 5 seconds a device, the second half on the way back; cap in chunks."""
    return placed([*range(devices), *reversed(range(devices))], microbatches, p2p, cap, seconds=5.0)


def one_forward_one_backward(devices: int, microbatches: int) -> list[list[tuple[Kind, int, int]]]:
    """1F1B of linear stages with whole backward passes."""
    rows = []
    for device in range(devices):
        ahead = min(devices - device, microbatches)
        row = [(Kind.F, device, k) for k in range(ahead)]
        for k in range(microbatches):
            row.append((Kind.B, device, k))
            if k + ahead < microbatches:
                row.append((Kind.F, device, k + ahead))
        rows.append(row)
    return rows


def passes(
    devices: int, passes: str, s: float, t: float, *, look_up: float = 0.5, barrier: float = 0.0, kept: float = 0.0
) -> VocabularyPasses:
    """The same passes on every device."""
    return VocabularyPasses(
        passes="vocab-1" if passes == "vocab-1" else "vocab-2",
        s_seconds=(s,) * devices,
        t_seconds=(t,) * devices,
        input_forward_seconds=(look_up,) * devices,
        input_backward_seconds=(look_up,) * devices,
        barrier_seconds=barrier,
        broadcast_seconds=barrier,
        kept=(kept,) * devices,
    )
