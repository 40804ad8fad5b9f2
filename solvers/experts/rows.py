"""Many separate layers (or nodes of layers) of one size at once: experts to GPUs, without any groups.

One slot per GPU: the counts with the least largest share. Two: the counts are searched (``pairing``).
More: those counts, packed and exchanged (``packing``), then rounds that hand a replica of one expert to
another and exchange again, kept where the busiest GPU gets less.
"""

import numpy as np

from solvers.experts.packing import exchange, pack_rows, spread
from solvers.experts.pairing import pair_up, search_counts
from solvers.experts.problem import Floats, Integers
from solvers.experts.replicas import expand, least_largest_share
from solvers.stop import StoppingRule

GOOD_ENOUGH = 1e-3  # of a target; replicas are handed on only above it


def place_rows(
    loads: Floats,
    gpus: int,
    slots_per_gpu: int,
    target: Floats,
    effort: int,
    rng: np.random.Generator,
    stop: StoppingRule,
) -> tuple[Integers, Floats]:
    """Experts by GPU [rows, gpus, slots] and the load of the busiest [rows].

    ``loads`` is [rows, experts], ``target`` [rows] a largest load that needs no improvement, ``effort`` the
    number of steps with two slots, of half as many rounds with more; ``stop`` is asked before each.
    """
    counts = least_largest_share(loads, gpus * slots_per_gpu)
    if slots_per_gpu == 1:
        experts = expand(counts)[:, :, None]
    elif slots_per_gpu == 2:
        counts, _ = search_counts(counts, loads, target, effort, rng, stop)
        experts = pair_up(counts, loads)
    else:
        experts = _pack(counts, loads, gpus, target)
        if slots_per_gpu * gpus > loads.shape[1]:
            experts = _hand_on(experts, loads, target * (1 + GOOD_ENOUGH), effort // 2, rng, stop)
    experts = spread(experts, loads)
    return experts, _largest(experts, loads)


def _pack(counts: Integers, loads: Floats, gpus: int, target: Floats) -> Integers:
    replicas = expand(counts)
    packed = pack_rows(np.take_along_axis(loads / counts, replicas, axis=1), gpus)
    experts = np.take_along_axis(replicas, packed.reshape(len(loads), -1), axis=1).reshape(packed.shape)
    return exchange(experts, loads / counts, target)[0]


def _hand_on(
    experts: Integers, loads: Floats, target: Floats, rounds: int, rng: np.random.Generator, stop: StoppingRule
) -> Integers:
    """Better placements by giving one slot of an expert that has several to another expert."""
    experts = experts.copy()
    largest = _largest(experts, loads)
    for done in range(rounds):
        rows = np.flatnonzero(largest > target)
        if not len(rows) or stop(done):
            break
        row = np.arange(len(rows))
        flat = experts[rows].reshape(len(rows), -1)
        counts = _counts(flat, loads.shape[1])
        several = np.take_along_axis(counts, flat, axis=1) > 1
        slot = np.where(several, rng.random(flat.shape), -1.0).argmax(axis=1)
        share = loads[rows] / counts
        getter = (share * rng.random(share.shape)).argmax(axis=1)
        flat[row, slot] = getter
        counts = _counts(flat, loads.shape[1])
        lost = (counts < 1).any(axis=1)
        counts = np.maximum(counts, 1)
        tried, reached = exchange(flat.reshape(len(rows), *experts.shape[1:]), loads[rows] / counts, target[rows])
        better = (reached < largest[rows]) & ~lost
        experts[rows[better]] = tried[better]
        largest[rows[better]] = reached[better]
    return experts


def _counts(flat: Integers, experts: int) -> Integers:
    row = np.arange(len(flat))[:, None] * experts
    return np.bincount((flat + row).ravel(), minlength=len(flat) * experts).reshape(len(flat), experts)


def _largest(experts: Integers, loads: Floats) -> Floats:
    flat = experts.reshape(len(experts), -1)
    share = loads / np.maximum(_counts(flat, loads.shape[1]), 1)
    return np.asarray(np.take_along_axis(share, flat, axis=1).reshape(experts.shape).sum(axis=2).max(axis=1))
