"""Schedules written out by hand, and a simulator that knows nothing of ours."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from costmodels.timeline import BACKWARD, FORWARD, IDLE, INPUT_GRAD, WEIGHT_GRAD, Order
from planner.best_schedule import order_of_schedule
from solvers.schedule.problem import ScheduleProblem
from solvers.schedule.solve import solve_schedule

KINDS = {"F": FORWARD, "B": BACKWARD, "I": INPUT_GRAD, "W": WEIGHT_GRAD}
Cell = tuple[int, str, int]
"""(chunk, pass, micro-batch)."""

CAPPED = (
    "0F0 0F1 0F2 0I0 0W0 0I1 0F3 0I2 0F4 0W1 0W2 0F5 0I3 0W3 0F6 0I4 0W4 0F7 0I5 0W5 0I6 0W6 0I7 0W7",
    "1F0 1F1 1F2 1I0 1W0 1I1 1W1 1I2 1F3 1F4 1W2 1I3 1F5 1I4 1F6 1W3 1W4 1F7 1I5 1W5 1I6 1I7 1W6 1W7",
    "2F0 2F1 2F2 2I0 2W0 2I1 2W1 2I2 2W2 2F3 2F4 2I3 2I4 2F5 2W3 2F6 2I5 2W4 2F7 2I6 2W5 2I7 2W6 2W7",
    "3F0 3I0 3F1 3I1 3F2 3I2 3W0 3W1 3W2 3F3 3I3 3F4 3I4 3W3 3W4 3F5 3I5 3F6 3I6 3F7 3I7 3W5 3W6 3W7",
)
"""Four devices, eight micro-batches, three in flight at most: found and proved by CP-SAT, makespan 310."""

V_SHAPE = (
    "0F0 0F1 0F2 0F3 7F0 7I0 7F1 7I1 7W0 0F4 7W1 7F2 7I2 0I0 0F5 0I1 7W2 7F3 7I3 7W3 0W0 7F4 7I4 0W1 0I2 0W2 7F5 7I5 "
    "0I3 7W4 7W5 0W3 0I4 0W4 0I5 0W5",
    "1F0 1F1 1F2 1F3 6F0 6F1 6I0 6W0 6I1 6W1 1F4 6F2 1I0 1I1 6I2 1W0 6F3 6W2 1W1 1F5 6I3 6F4 6W3 1I2 6I4 1W2 1I3 6F5 "
    "6W4 1W3 6I5 6W5 1I4 1W4 1I5 1W5",
    "2F0 2F1 2F2 5F0 2F3 5F1 5I0 5W0 5I1 5F2 2I0 2I1 2W0 5F3 5I2 2F4 5W1 2W1 5W2 5F4 5I3 2I2 2F5 2W2 2I3 5F5 5I4 5W3 "
    "2W3 2I4 5I5 5W4 5W5 2I5 2W4 2W5",
    "3F0 4F0 3F1 4F1 3F2 4F2 4I0 3I0 4I1 3I1 3F3 4F3 3W0 3W1 4I2 3F4 4W0 4F4 3I2 3W2 4I3 3I3 3F5 4F5 3W3 4W1 4I4 3I4 "
    "4W2 4W3 4I5 3I5 3W4 3W5 4W4 4W5",
)
"""Chunk c of eight on device c or 7 - c, six micro-batches, six chunks in flight at most: by CP-SAT, makespan 205."""


def order_from(rows: Sequence[Sequence[Cell]], name: Any = "hand-written") -> Order:
    """The order with ``rows`` of cells, one a device; shorter rows are padded."""
    width = max(len(row) for row in rows)
    arrays = np.full((3, len(rows), width), IDLE)
    arrays[1:] = 0
    device_of_chunk = {}
    for device, row in enumerate(rows):
        for position, (chunk, letter, microbatch) in enumerate(row):
            arrays[:, device, position] = KINDS[letter], chunk, microbatch
            device_of_chunk[chunk] = device
    return Order(
        schedule=name,
        devices=len(rows),
        chunks_per_device=len(device_of_chunk) // len(rows),
        microbatches=1 + int(arrays[2].max()),
        kind=arrays[0].astype(np.int8),
        chunk=arrays[1].astype(np.int32),
        microbatch=arrays[2].astype(np.int32),
        device_of_chunk=np.array([device_of_chunk[chunk] for chunk in range(len(device_of_chunk))], dtype=np.int32),
    )


def made(devices: int, microbatches: int, cap: float) -> Order:
    """The best order under a cap in micro-batches, equal stages; F, I and W take as long."""
    each = (10.0,) * devices
    problem = ScheduleProblem(
        devices=devices,
        microbatches=microbatches,
        device_of_chunk=tuple(range(devices)),
        forward_seconds=each,
        input_grad_seconds=each,
        weight_grad_seconds=each,
        p2p_seconds=(0.0,) * (devices - 1),
        activation=(1.0,) * devices,
        released_by_input_grad=(0.5,) * devices,
        released_by_weight_grad=(0.5,) * devices,
        memory_cap=(cap,) * devices,
    )
    found = solve_schedule(problem, time_limit_seconds=60).choice
    assert found is not None
    return order_of_schedule(found, problem)


def cells(line: str, separator: str | None = None) -> list[Cell]:
    """``0F0 0I0`` to cells; a pass is one letter between two numbers."""
    found = []
    for word in line.split(separator):
        letter = next(character for character in word if character.isalpha())
        chunk, microbatch = word.split(letter)
        found.append((int(chunk), letter, int(microbatch)))
    return found


def zb_h1(devices: int, microbatches: int) -> list[list[Cell]]:
    """ZB-H1 (Qi et al., arXiv 2401.10241, figure 3): the forwards and input gradients of 1F1B; the first weight
    gradient of device i follows its input gradient i + 1, so that every device holds ``devices`` micro-batches."""
    rows = []
    for device in range(devices):
        row: list[Cell] = [(device, "F", k) for k in range(min(devices - 1 - device, microbatches))]
        ahead = len(row)
        for k in range(microbatches):
            if ahead + k < microbatches:
                row.append((device, "F", ahead + k))
            row.append((device, "I", k))
            if k >= device:
                row.append((device, "W", k - device))
        row += [(device, "W", k) for k in range(max(microbatches - device, 0), microbatches)]
        rows.append(row)
    return rows


def makespan(rows: Sequence[Sequence[Cell]], seconds: dict[str, int]) -> int:
    """When the last operation ends if each starts as soon as its device and its inputs allow: a sweep over
    the devices until nothing moves. ``ValueError`` when the rows wait for each other."""
    last = max(chunk for row in rows for chunk, _, _ in row)
    done: dict[Cell, int] = {}
    at, clock = [0] * len(rows), [0] * len(rows)
    moved = True
    while moved:
        moved = False
        for device, row in enumerate(rows):
            while at[device] < len(row):
                chunk, letter, k = row[at[device]]
                if letter == "F":
                    needed = [(chunk - 1, "F", k)] if chunk else []
                elif letter == "W":
                    needed = [(chunk, "I", k)]
                else:
                    needed = [(chunk, "F", k), *([(chunk + 1, letter, k)] if chunk < last else [])]
                if any(cell not in done for cell in needed):
                    break
                clock[device] = max([clock[device], *(done[cell] for cell in needed)]) + seconds[letter]
                done[row[at[device]]] = clock[device]
                at[device] += 1
                moved = True
    if any(position < len(row) for position, row in zip(at, rows, strict=True)):
        raise ValueError("the rows wait for each other")
    return max(clock)


def peak_in_flight(row: Sequence[Cell]) -> float:
    """Most micro-batches alive: one more at F, half of it gone at I, the rest at W (all at B)."""
    alive = peak = 0.0
    for _, letter, _ in row:
        alive += {"F": 1.0, "B": -1.0, "I": -0.5, "W": -0.5}[letter]
        peak = max(peak, alive)
    return peak
