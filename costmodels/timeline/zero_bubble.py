"""Zero-bubble schedules of one chunk per device: W fills what 1F1B leaves idle (Qi et al., arXiv 2401.10241).

Device i of p starts with some forwards, then repeats I, W, F, its W's some micro-batches behind its I's:

| schedule | forwards before the first I | W behind I | in flight on every device |
|---|---|---|---|
| zb-h1 (sec. 2.3.1, fig. 3) | p - i, as in 1F1B | i | p |
| zb-h2 (sec. 2.3.2, fig. 3) | 2 (p - i) - 1 | 2 i | 2 p - 1 |

The W's left behind fill the drain, in which each I of device i waits for the I's of later devices. With
equal devices and no links the makespans are m (F + I + W) + (p - 1) (F + I - W) and, where F = I = W,
m (F + I + W) + (p - 1) F; the study's automatic scheduler reaches the same at its table's caps.
"""

from costmodels.timeline.operations import FORWARD, INPUT_GRAD, WEIGHT_GRAD, Operation


def zero_bubble_rows(devices: int, microbatches: int, rounds: int) -> list[list[Operation]]:
    """The rows of zb-h1 (``rounds`` 1) or zb-h2 (2)."""
    return [
        _row(
            device,
            microbatches,
            forwards=rounds * (devices - device) - rounds + 1,
            behind=rounds * device,
        )
        for device in range(devices)
    ]


def _row(device: int, microbatches: int, *, forwards: int, behind: int) -> list[Operation]:
    row = [(FORWARD, device, k) for k in range(min(forwards, microbatches))]
    for k in range(microbatches):
        row.append((INPUT_GRAD, device, k))
        if k >= behind:
            row.append((WEIGHT_GRAD, device, k - behind))
        if k + forwards < microbatches:
            row.append((FORWARD, device, k + forwards))
    row += [(WEIGHT_GRAD, device, k) for k in range(max(microbatches - behind, 0), microbatches)]
    return row
