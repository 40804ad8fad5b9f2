"""From measured stage times to the time of an iteration: what each schedule makes of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from costmodels.timeline.orders import schedule_order
from costmodels.timeline.schedules import VocabularyMethod
from costmodels.timeline.simulation import makespan_seconds
from costmodels.timeline.vocabulary import VocabularySeconds
from costmodels.timeline.vocabulary_orders import vocabulary_order

FIRST_SHARE: dict[VocabularyMethod, float] = {"vocab-1": 1 / 3, "vocab-2": 2 / 3, "interlaced": 1.0}
"""S over S + T, by their matrix products (arXiv 2411.05288 sec. 4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """Measured seconds of one micro-batch on each device, [devices]. ``step`` is S of one micro-batch
    and T of another, which run as one; zero, like the input passes, where the vocabulary is whole and
    counted with forward and backward."""

    forward: ArrayLike
    backward: ArrayLike
    step: ArrayLike = 0.0
    input_forward: ArrayLike = 0.0
    input_backward: ArrayLike = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """Seconds of what moves between devices: ``link`` from each to the next, [devices - 1] or one
    figure; ``broadcast``, ``reduce`` and ``lookup`` as in ``VocabularySeconds``. ``holds_receiver``: a
    device stops for what it receives (Megatron-LM without ``overlap-p2p-communication``)."""

    link: ArrayLike = 0.0
    holds_receiver: bool = False
    broadcast: float = 0.0
    reduce: float = 0.0
    lookup: float = 0.0


def iteration_seconds(
    method: Literal["whole"] | VocabularyMethod,
    times: StageTimes,
    microbatches: int,
    transfers: Transfers = Transfers(),
    outside_seconds: float = 0.0,
) -> float:
    """One iteration of 1F1B under ``method``; ``outside_seconds`` before and after the pipeline (the
    optimizer's update).

    Raises ``ValueError`` for stage times of different lengths, an unknown method, or a schedule that
    does not exist.
    """
    forward, backward = (np.asarray(seconds, dtype=np.float64) for seconds in (times.forward, times.backward))
    for name, seconds in (("forward", forward), ("backward", backward)):
        if seconds.ndim != 1:
            raise ValueError(f"{name}: shape {seconds.shape}: one figure for each device")
    devices = len(forward)
    link = np.broadcast_to(np.asarray(transfers.link, dtype=np.float64), (devices - 1,))
    if transfers.holds_receiver and len(backward) == devices:
        forward, backward = forward + np.append(0.0, link), backward + np.append(link, 0.0)
        link = np.zeros(devices - 1)
    if method == "whole":
        order = schedule_order("1f1b", devices, 1, microbatches)
        return float(makespan_seconds(order, forward, backward, link)) + outside_seconds

    def on_each(seconds: ArrayLike) -> NDArray[np.float64]:
        return np.broadcast_to(np.asarray(seconds, dtype=np.float64), (devices,))

    order = vocabulary_order(method, devices, microbatches)
    step, share = on_each(times.step), FIRST_SHARE[method]
    passes = VocabularySeconds(
        first_step=share * step,
        step=step,
        last_step=(1 - share) * step,
        input_forward=on_each(times.input_forward),
        input_backward=on_each(times.input_backward),
        broadcast=[transfers.broadcast],
        reduce=[transfers.reduce],
        lookup=[transfers.lookup],
    )
    return float(makespan_seconds(order, forward, backward, link, passes)) + outside_seconds
