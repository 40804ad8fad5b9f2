"""V-Half and V-Min: building blocks repeated, squeezed, with W as filler (Qi et al., arXiv 2405.15362).

Device i of p holds chunks i (first) and 2 p - 1 - i (second), so what one chunk keeps long the other keeps
short. In units of one pass, F = I = W = 1, micro-batch k runs on device i in the slots 6 k + offset:

| block | F of the first chunk | F of the second | I of the second | I of the first | + where p is |
|---|---|---|---|---|---|
| v-half | 2 i | 3 p - 2 - i | 3 p - 1 + 2 i + g | 6 p - 2 - i + g | g = 3, even |
| v-min | i | 2 p - 1 - i | 2 p + i + g | 4 p - 1 - i + g | g = 2, a multiple of 3 |

(g keeps two passes out of one slot). Each slot left free takes the oldest W. Repeated every 6 slots, the
block keeps 2 ((p + 2) // 2) or 2 ((p + 4) // 3) chunks alive on every device, its ``cap``.

Squeezed: until the first I of chunk 0 and after the last F of it, a device runs in each slot the first
operation of its block whose input is there, ahead of earlier ones too, so long as chunks alive and the
forwards passed over stay within the cap. In between it keeps to the block's slots.
"""

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from costmodels.timeline.operations import FORWARD, INPUT_GRAD, WEIGHT_GRAD, Operation

Block = Literal["v-half", "v-min"]
PERIOD = 6
NEVER = 1 << 60


Whole = TypeVar("Whole", int, NDArray[np.int64])


def offsets(block: Block, devices: Whole, device: int) -> tuple[Whole, Whole, Whole, Whole]:
    """Slots of micro-batch 0: F of the first chunk, of the second, I of the second, of the first."""
    p, i = devices, device
    if block == "v-half":
        gap = 3 * (p % 2 == 0)
        return 0 * p + 2 * i, 3 * p - 2 - i, 3 * p - 1 + 2 * i + gap, 6 * p - 2 - i + gap
    gap = 2 * (p % 3 == 0)
    return 0 * p + i, 2 * p - 1 - i, 2 * p + i + gap, 4 * p - 1 - i + gap


def cap(block: Block, devices: int) -> int:
    """Chunks alive at once on every device, each until its W."""
    return 2 * ((devices + 2) // 2 if block == "v-half" else (devices + 4) // 3)


def building_block_rows(block: Block, devices: int, microbatches: int) -> list[list[Operation]]:
    return _Squeeze(block, devices, microbatches).rows()


class _Squeeze:
    """Slot after slot on all devices. ``done[t][i][k]``: the slot in which micro-batch k's pass t (of the
    four, in a micro-batch's own order) ran on device i."""

    def __init__(self, block: Block, devices: int, microbatches: int) -> None:
        self.devices, self.microbatches, self.cap = devices, microbatches, cap(block, devices)
        self.at = [offsets(block, devices, device) for device in range(devices)]
        self.warm_until = self.at[0][3]
        self.drains_from = self.at[0][0] + PERIOD * (microbatches - 1)
        self.done = [[[NEVER] * microbatches for _ in range(devices)] for _ in range(4)]
        self.next = [[0] * 4 for _ in range(devices)]
        self.alive = [0] * devices
        self.waiting: list[list[Operation]] = [[] for _ in range(devices)]  # W's, oldest first
        self.row: list[list[Operation]] = [[] for _ in range(devices)]

    def rows(self) -> list[list[Operation]]:
        slot, left = 0, PERIOD * self.devices * self.microbatches
        while left:
            for device in range(self.devices):
                left -= self._turn(device, slot)
            slot += 1
        return self.row

    def _turn(self, device: int, slot: int) -> bool:
        """What the device runs in this slot, if anything."""
        step = self._choose(device, slot)
        if step is None:
            if not self.waiting[device]:
                return False
            self.row[device].append(self.waiting[device].pop(0))
            self.alive[device] -= 1
            return True
        k = self.next[device][step]
        self.next[device][step] += 1
        self.done[step][device][k] = slot
        chunk = device if step in (0, 3) else 2 * self.devices - 1 - device
        if step < 2:
            self.row[device].append((FORWARD, chunk, k))
            self.alive[device] += 1
        else:
            self.row[device].append((INPUT_GRAD, chunk, k))
            self.waiting[device].append((WEIGHT_GRAD, chunk, k))
        return True

    def _choose(self, device: int, slot: int) -> int | None:
        ahead, at = self.next[device], self.at[device]
        for planned, step in sorted(
            (at[step] + PERIOD * ahead[step], step) for step in range(4) if ahead[step] < self.microbatches
        ):
            free = planned < self.warm_until or planned > self.drains_from
            due = free or planned <= slot
            if due and self._fed(device, step, ahead[step], slot) and self._room(device, step, planned):
                return step
            if not free:
                return None
        return None

    def _fed(self, device: int, step: int, k: int, slot: int) -> bool:
        """Steps 0 and 2 walk down the devices, 1 and 3 back up; each end feeds the next step."""
        source = device - 1 if step in (0, 2) else device + 1
        if 0 <= source < self.devices:
            return self.done[step][source][k] < slot
        return step == 0 or self.done[step - 1][device][k] < slot

    def _room(self, device: int, step: int, planned: int) -> bool:
        if step >= 2:
            return True
        other = 1 - step
        due = min(self.microbatches, -(-(planned - self.at[device][other]) // PERIOD))
        passed_over = max(0, due - self.next[device][other])
        return self.alive[device] + passed_over < self.cap
