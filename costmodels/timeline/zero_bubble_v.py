"""ZB-V: two chunks per device, placed in a V, and no bubble where F = I = W (Qi et al., arXiv 2401.10241
sec. 6; also a point of the family of arXiv 2405.15362).

Device i of p holds chunks i (first) and 2 p - 1 - i (second) and runs, with 1 and 2 for its two chunks,

1. 2 (p - i) - 1 times F1;
2. i times F2 F1;
3. p - i times F2 I2 W2;
4. F1 I1 W1 F2 I2 W2, over and over (without F1 once there is none);
5. i times I1 I2, and p - i times I1 W1;
6. the W's left over, of the second chunk first.

The rule needs 2 p - 1 micro-batches; with fewer, the operations of the surplus ones are left out.
"""

from costmodels.timeline.operations import FORWARD, INPUT_GRAD, WEIGHT_GRAD, Operation


def zero_bubble_v_rows(devices: int, microbatches: int) -> list[list[Operation]]:
    total = max(2 * devices - 1, microbatches)
    rows = [_Row(device, devices, total).operations() for device in range(devices)]
    return [[operation for operation in row if operation[2] < microbatches] for row in rows]


class _Row:
    def __init__(self, device: int, devices: int, microbatches: int) -> None:
        self.device, self.devices, self.microbatches = device, devices, microbatches
        self.chunks = (device, 2 * devices - 1 - device)
        self.row: list[Operation] = []
        self.done = {(kind, half): 0 for kind in (FORWARD, INPUT_GRAD, WEIGHT_GRAD) for half in (0, 1)}

    def run(self, half: int, *kinds: int) -> None:
        for kind in kinds:
            self.row.append((kind, self.chunks[half], self.done[kind, half]))
            self.done[kind, half] += 1

    def operations(self) -> list[Operation]:
        before, after, done = self.device, self.devices - self.device, self.done
        for _ in range(2 * after - 1):
            self.run(0, FORWARD)
        for _ in range(before):
            self.run(1, FORWARD)
            self.run(0, FORWARD)
        for _ in range(after):
            self.run(1, FORWARD, INPUT_GRAD, WEIGHT_GRAD)
        while done[FORWARD, 1] < self.microbatches:
            if done[FORWARD, 0] < self.microbatches:
                self.run(0, FORWARD)
            self.run(0, INPUT_GRAD, WEIGHT_GRAD)
            self.run(1, FORWARD, INPUT_GRAD, WEIGHT_GRAD)
        for _ in range(before):
            self.run(0, INPUT_GRAD)
            self.run(1, INPUT_GRAD)
        for _ in range(after):
            self.run(0, INPUT_GRAD, WEIGHT_GRAD)
        for half in (1, 0):
            while done[WEIGHT_GRAD, half] < self.microbatches:
                self.run(half, WEIGHT_GRAD)
        return self.row
