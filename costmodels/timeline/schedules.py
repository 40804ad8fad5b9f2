"""The schedules that have a name, and what sets them apart; ``orders`` has the operations of each.

| schedule | bubble of p equal devices | in flight | source |
|---|---|---|---|
| gpipe | (p - 1) (F + B) | m | Huang et al., arXiv 1811.06965 |
| 1f1b | (p - 1) (F + B) | p | Narayanan et al., arXiv 1806.03377 |
| interleaved-1f1b, v chunks | (p - 1) (F + B) / v | p (1 + (p - 1) / (p v)) | Narayanan et al., arXiv 2104.04473 |
| zb-h1 | (p - 1) (F + I - W) | p | Qi et al., arXiv 2401.10241 |
| zb-h2 | (p - 1) (F + I - 2 W) | 2 p - 1 | the same |
| zb-v | 0 where F = I = W | p | the same, sec. 6; arXiv 2405.15362 |
| v-half | about half of 1f1b's | (p + 2) // 2 | Qi et al., arXiv 2405.15362 |
| v-min | about two thirds of 1f1b's | (p + 4) // 3 | the same |

The bubble is of a device's span, from its first operation to its last; in flight are micro-batches of a
whole device (two chunks of it in the V schedules), each until its W is done.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Schedule = Literal["gpipe", "1f1b", "interleaved-1f1b", "zb-h1", "zb-h2", "zb-v", "v-half", "v-min"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)

VocabularyMethod = Literal["vocab-1", "vocab-2", "interlaced"]
VOCABULARY_METHODS: tuple[VocabularyMethod, ...] = get_args(VocabularyMethod)

Placement = Literal["linear", "interleaved", "v"]
"""Where chunk c of p devices stands: ``linear`` on c, ``interleaved`` on c mod p; ``v`` on c for c < p, on
2 p - 1 - c for the others, so that the first and the last chunk share device 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSchedule:
    """``chunks_per_device``: how many, None for any number from 2 on. ``whole_rounds``: micro-batches must
    be a multiple of the devices. ``splits_backward``: I and W are operations of their own."""

    chunks_per_device: int | None = 1
    placement: Placement = "linear"
    splits_backward: bool = False
    whole_rounds: bool = False


_V = NamedSchedule(chunks_per_device=2, placement="v", splits_backward=True)

NAMED_SCHEDULES: dict[Schedule, NamedSchedule] = {
    "gpipe": NamedSchedule(),
    "1f1b": NamedSchedule(),
    "interleaved-1f1b": NamedSchedule(chunks_per_device=None, placement="interleaved", whole_rounds=True),
    "zb-h1": NamedSchedule(splits_backward=True),
    "zb-h2": NamedSchedule(splits_backward=True),
    "zb-v": _V,
    "v-half": _V,
    "v-min": _V,
}


def device_of_chunk(placement: Placement, devices: int, chunks_per_device: int) -> NDArray[np.int32]:
    """[chunks]: the device that holds each chunk. Raises ``ValueError`` for ``linear`` without 1 chunk a device,
    ``v`` without 2."""
    needed = {"linear": 1, "v": 2}.get(placement, chunks_per_device)
    if chunks_per_device != needed:
        raise ValueError(f"placement: {placement} has {needed} chunks per device, not {chunks_per_device}")
    chunk = np.arange(devices * chunks_per_device, dtype=np.int32)
    return np.minimum(chunk, 2 * devices - 1 - chunk) if placement == "v" else np.asarray(chunk % devices)
