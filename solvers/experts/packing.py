"""Replicas to GPUs for given counts: pack, then exchange pairs of replicas until that no longer helps.

All layers are worked on at once: an array has one row per layer, and rows that are done drop out.
"""

import numpy as np

from solvers.experts.problem import Floats, Integers

TOLERANCE = 1e-12


def pack_rows(weights: Floats, packs: int) -> Integers:
    """Items by pack [rows, packs, items / packs]: heaviest first onto the lightest pack with a place left."""
    rows, items = weights.shape
    size = items // packs
    order = np.argsort(-weights, axis=1, kind="stable")
    if size == 1:
        return order[:, :, None]
    ordered = np.take_along_axis(weights, order, axis=1)
    row = np.arange(rows)
    load = np.zeros((rows, packs))
    held = np.zeros((rows, packs), dtype=np.intp)
    packed = np.empty((rows, packs, size), dtype=np.intp)
    total = np.zeros((rows, packs))  # load, or inf where no place is left
    for k in range(items):
        lightest = total.argmin(axis=1)
        place = held[row, lightest]
        packed[row, lightest, place] = order[:, k]
        held[row, lightest] = place + 1
        load[row, lightest] += ordered[:, k]
        total[row, lightest] = np.where(place + 1 < size, load[row, lightest], np.inf)
    return packed


def exchange(experts: Integers, shares: Floats, target: Floats, steps: int = 100_000) -> tuple[Integers, Floats]:
    """Exchanges replicas of the busiest GPU with others while its load falls below what both then carry.

    ``experts`` is [rows, gpus, slots], ``shares`` [rows, experts] the load of one replica, ``target`` [rows]
    a largest load that is good enough. Returns the experts and the largest loads [rows]. Each step takes the
    exchange that leaves the two GPUs with the least maximum; the sorted loads fall with every one, so it ends.
    """
    experts = experts.copy()
    gpus, slots = experts.shape[1:]
    largest = np.zeros(len(experts))
    alive = np.arange(len(experts))
    held = experts.reshape(len(experts), -1).copy()
    size = np.take_along_axis(shares, held, axis=1)
    load = size.reshape(-1, gpus, slots).sum(axis=2)
    row = np.arange(len(alive))
    for _ in range(steps):
        busiest = load.argmax(axis=1)
        most = load[row, busiest]
        mine = size.reshape(-1, gpus, slots)[row, busiest]
        less = mine[:, :, None] - size[:, None, :]
        after = np.maximum(most[:, None, None] - less, np.repeat(load, slots, axis=1)[:, None, :] + less)
        flat = after.reshape(len(row), -1)
        best = flat.argmin(axis=1)
        going = (flat[row, best] < most * (1 - TOLERANCE)) & (most > target * (1 + TOLERANCE))
        if not going.all():
            stopped = ~going
            experts[alive[stopped]] = held[stopped].reshape(-1, gpus, slots)
            largest[alive[stopped]] = most[stopped]
            alive, held, size, load, best, busiest, target = (
                array[going] for array in (alive, held, size, load, best, busiest, target)
            )
            if not len(alive):
                break
            row = np.arange(len(alive))
        own, other = busiest * slots + best // (gpus * slots), best % (gpus * slots)
        gain = size[row, own] - size[row, other]
        load[row, busiest] -= gain
        load[row, other // slots] += gain
        for array in (held, size):
            array[row, own], array[row, other] = array[row, other].copy(), array[row, own].copy()
    experts[alive] = held.reshape(-1, gpus, slots)
    largest[alive] = load.max(axis=1)
    return experts, largest


def spread(experts: Integers, loads: Floats) -> Integers:
    """Moves second replicas of an expert on one GPU elsewhere where no GPU then exceeds the busiest one.

    ``experts`` is [rows, gpus, slots], ``loads`` [rows, experts]; the largest load does not grow.
    """
    ordered = np.sort(experts, axis=2)
    twice = (ordered[..., 1:] == ordered[..., :-1]) & (ordered[..., 1:] >= 0)
    if not twice.any():
        return experts
    experts = experts.copy()
    for row in np.flatnonzero(twice.any(axis=(1, 2))):
        share = loads[row] / np.maximum(np.bincount(experts[row].ravel(), minlength=loads.shape[1]), 1)
        _spread_row(experts[row], share)
    return experts


def _spread_row(held: Integers, share: Floats) -> None:
    """``held`` [gpus, slots] is changed in place."""
    gpus, slots = held.shape
    most = share[held].sum(axis=1).max() * (1 + TOLERANCE)
    for gpu in range(gpus):
        for slot in range(1, slots):
            expert = held[gpu, slot]
            if expert not in held[gpu, :slot]:
                continue
            load = share[held].sum(axis=1)
            less = share[expert] - share[held]
            fits = (load[gpu] - less <= most) & (load[:, None] + less <= most)
            fits &= ~(held == expert).any(axis=1)[:, None] & ~np.isin(held, held[gpu])
            where = np.argwhere(fits)
            if len(where):
                other, place = where[0]
                held[gpu, slot], held[other, place] = held[other, place], expert
