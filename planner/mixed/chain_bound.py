"""What no cut of the chain over a given row of machines is below, memory included: many rows of machines at once.

Stage j has the chain's slowness w_j (``planner.mixed.bounds``) and room for c_j decoder layers; its share of the chain
is x_j, its load l_j >= w_j x_j. Under 1F1B with m micro-batches and p stages (``planner.coarse``)

    T >= m l_j,      T >= S + 2 C + (m-1) l_j - min(p-1-j, m-1) f l_j,      S = sum of all l, C of all links,
    T >= ceil(m / (p-j)) (sum_{i>=j} l_i + 2 C_j)                           C_j = the links from stage j on:

at most p-j micro-batches are in flight from stage j on (``costmodels.timeline.bounds``).

A guess T therefore limits every share: to the layers that fit, and to what takes T / m, or, with S at least what the
shares take where the fastest machines hold as much as they may, (T - S - 2 C) / (m - 1 - (p-1-j) f). T is too small
where the shares do not reach 1, or a round trip of the third kind takes longer, of which the stages before j have taken
T / m each at the most. Layers are whole where all are of one kind.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from costmodels.sharding import Column

BISECTIONS = 40
SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Of the chain: of one decoder layer (the dearest), of all that stands before them, and behind. ``whole``: all
    layers are of one kind."""

    layer: float
    before: float
    behind: float
    whole: bool


def chain_seconds(
    slowness: Column,
    layers: Column,
    microbatches: NDArray[np.int64],
    links: Column,
    forward_share: float,
    host: float,
    shares: Shares,
) -> Column:
    """[n]: the bound; inf where the layers have no room. ``slowness`` and ``layers`` (those that fit) are [n, p],
    ``microbatches`` [n], ``links`` [n, p - 1] seconds from stage to stage."""
    count, stages = slowness.shape
    m = microbatches.astype(np.float64)[:, None]
    ends = np.zeros(stages)
    ends[0] += shares.before
    ends[-1] += shares.behind
    room = layers * shares.layer + ends
    warmup = np.minimum(np.arange(stages)[::-1], m - 1)
    rate = np.maximum(m - 1 - warmup * forward_share, 1e-9)
    behind = 2 * np.cumsum(np.pad(links, ((0, 0), (0, 1)))[:, ::-1], axis=1)[:, ::-1]  # [n, p]: from each stage on
    rounds, before = np.ceil(m / np.arange(stages, 0, -1)), np.arange(stages)
    order = np.argsort(slowness, axis=1, kind="stable")
    by_speed = np.take_along_axis(slowness, order, axis=1)

    def reached(guess: Column) -> NDArray[np.bool_]:
        load = guess[:, None] / m
        most = np.minimum(room, _whole(load / slowness, ends, shares))
        filled = np.minimum(np.cumsum(np.take_along_axis(most, order, axis=1), axis=1), 1.0)
        least = (np.diff(filled, axis=1, prepend=0.0) * by_speed).sum(axis=1)
        trips = rounds * (np.maximum(least[:, None] - before * load, 0.0) + behind)
        load = np.minimum(load, np.maximum(guess - least - behind[:, 0], 0.0)[:, None] / rate)
        most = np.minimum(room, _whole(load / slowness, ends, shares))
        return np.asarray((most.sum(axis=1) >= 1 - SLACK) & (trips.max(axis=1) <= guess * (1 + SLACK)))

    high = (slowness.max(axis=1) + behind[:, 0]) * (m[:, 0] + stages) * 2
    low = np.zeros(count)
    possible = reached(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = reached(middle)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(possible, low + m[:, 0] * host, np.inf)


def _whole(share: Column, ends: Column, shares: Shares) -> Column:
    """At most ``share``, in whole layers."""
    if not shares.whole:
        return share
    return np.asarray(np.maximum(np.floor((share - ends) / shares.layer + SLACK), 0.0) * shares.layer + ends)
