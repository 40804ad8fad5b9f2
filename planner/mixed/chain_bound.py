"""What no cut of the chain over given rows of machines is below, memory and states included: many at once.

Stage j of pipeline b has the chain's slowness w_bj (``planner.mixed.bounds``) and room for c_bj decoder layers; its
share of the chain is x_j, the same in all pipelines b side by side, its load l_bj >= w_bj x_j + o_bj, of which the
host takes o_bj. Under 1F1B with m_b
micro-batches and p stages (``planner.coarse``), for every b (left out where it goes without saying)

    T >= m l_j,      T >= S + 2 C + (m-1) l_j - min(p-1-j, m-1) f l_j,      S = sum of all l, C of all links,
    T >= ceil(m / (p-j)) (sum_{i>=j} l_i + 2 C_j)                           C_j = the links from stage j on:

at most p-j micro-batches are in flight from stage j on (``costmodels.timeline.bounds``). Where a layer's states take
r_j seconds (``planner.mixed.state_bound``), of n_j layers, h as there,

    T >= C - C_j + m l_j - h w_j x_j + n_j r_j,
    T >= S - h w_0 x_0 + 2 C + (m-1) l_j - min(p-1-j, m-1) f l_j + n_0 r_0      for j > 0: stage 0 ends last.

A guess T therefore limits every share: to the layers that fit, and to what each of these leaves of T, S at least what
the shares take where the fastest machines hold as much as they may, and n_0 what the other stages have no room for. T
is too small where the shares do not reach 1, or a round trip of the third kind takes longer, of which the stages before
j have taken T / m each at the most. Layers are whole where all are of one kind.
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
    states: Column,
    forward_share: float,
    hidden: float,
    host: Column,
    shares: Shares,
    limit: float = np.inf,
) -> Column:
    """[n]: the bound; inf where the layers have no room, or where it is no less than ``limit`` seconds.

    Of b pipelines side by side, ``slowness``, ``layers`` (those that fit), ``states`` (seconds of a layer's) and
    ``host`` (seconds) are [n, b, p], ``microbatches`` [n, b], ``links`` [n, b, p - 1] seconds from stage to
    stage; ``hidden`` is h."""
    count, _, stages = slowness.shape
    m = microbatches.astype(np.float64)[:, :, None]
    ends = np.zeros(stages)
    ends[0] += shares.before
    ends[-1] += shares.behind
    room = (layers * shares.layer + ends).min(axis=1)
    warmup = np.minimum(np.arange(stages)[::-1], m - 1)
    rate = np.maximum(m - 1 - warmup * forward_share, 1e-9)
    padded = np.pad(links, ((0, 0), (0, 0), (0, 1)))
    behind = 2 * np.cumsum(padded[:, :, ::-1], axis=2)[:, :, ::-1]  # [n, b, p]: from each stage on, there and back
    ahead = (behind[:, :, :1] - behind) / 2
    rounds, before = np.ceil(m / np.arange(stages, 0, -1)), np.arange(stages)
    by_share = states / shares.layer
    synchronised = np.maximum((m - hidden) * slowness + by_share, 1e-30)
    earlier = slowness.copy()
    earlier[:, :, 0] *= 1 - hidden
    sums = [_LeastSum(slowness), _LeastSum(earlier)]
    hosts = host.sum(axis=2)
    some_states = bool(states.any())

    def reached(guess: Column) -> NDArray[np.bool_]:
        left = guess[:, None, None]
        load = left / m
        most = np.maximum(load - host, 0.0) / slowness
        if some_states:
            most = np.minimum(most, np.maximum(left - ahead - m * host + ends * by_share, 0.0) / synchronised)
        own = np.minimum(room, _whole(most.min(axis=1), ends, shares))
        least = sums[0].of(own) + hosts
        trips = rounds * (np.maximum(least[:, :, None] - before * load, 0.0) + behind)
        pipeline = np.maximum(left - least[:, :, None] - behind[:, :, :1], 0.0) / rate
        most = np.minimum(most, np.maximum(pipeline - host, 0.0) / slowness)
        if some_states and stages > 1:
            first = np.maximum(1 - own[:, 1:].sum(axis=1) - ends[0], 0.0)
            late = first[:, None] * by_share[:, :, 0] + sums[1].of(own) + hosts
            after = np.maximum(left - late[:, :, None] - behind[:, :, :1], 0.0) / rate
            most[:, :, 1:] = np.minimum(most[:, :, 1:], (np.maximum(after - host, 0.0) / slowness)[:, :, 1:])
        own = np.minimum(room, _whole(most.min(axis=1), ends, shares))
        return np.asarray((own.sum(axis=1) >= 1 - SLACK) & (trips.max(axis=(1, 2)) <= guess * (1 + SLACK)))

    high = (((slowness + by_share + host).max(axis=2) + behind[:, :, 0]) * (m[:, :, 0] + stages) * 2).max(axis=1)
    low = np.zeros(count)
    high = np.minimum(high, max(limit, 0.0))
    possible = reached(high)
    if not possible.any():
        return np.full(count, np.inf)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = reached(middle)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(possible, low, np.inf)


class _LeastSum:
    """The least that a chain takes where each stage holds no more than a share: the fastest as much as they may."""

    def __init__(self, slowness: Column) -> None:
        self.order = np.argsort(slowness, axis=2, kind="stable")
        self.by_speed = np.take_along_axis(slowness, self.order, axis=2)

    def of(self, most: Column) -> Column:
        """[n, b]; ``most`` [n, p]."""
        held = np.take_along_axis(np.broadcast_to(most[:, None, :], self.order.shape), self.order, axis=2)
        filled = np.minimum(np.cumsum(held, axis=2), 1.0)
        return np.asarray((np.diff(filled, axis=2, prepend=0.0) * self.by_speed).sum(axis=2))


def _whole(share: Column, ends: Column, shares: Shares) -> Column:
    """At most ``share``, in whole layers."""
    if not shares.whole:
        return share
    return np.asarray(np.maximum(np.floor((share - ends) / shares.layer + SLACK), 0.0) * shares.layer + ends)
