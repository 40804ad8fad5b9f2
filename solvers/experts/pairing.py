"""Two slots per GPU: the counts decide everything.

For given counts the best pairing of an even number of replicas puts the largest with the smallest, the
second largest with the second smallest, and so on (exchange argument). So only the counts are searched: a
step takes a replica from one expert and gives it to another, the best of a few drawn at random, judged by how
far the pairs exceed a largest load somewhat below the best one found (``AIM``), summed; a step may leave
that sum a little larger (``SLACK``), so that the search moves on.
"""

import numpy as np

from solvers.experts.problem import Floats, Integers
from solvers.experts.replicas import expand
from solvers.stop import StoppingRule

AIM = 0.997  # of the best largest load; 0.99 and 0.97 ended 0.3 and 1.1 % higher (320 slots, 160 GPUs, 300 steps)
SLACK = 1.02
DRAWN = 16


def pair_loads(shares: Floats) -> Floats:
    """Loads of the best pairs, [..., n / 2], of shares [..., n]."""
    ordered = np.sort(shares, axis=-1)
    half = ordered.shape[-1] // 2
    return np.asarray(ordered[..., :half] + ordered[..., : half - 1 : -1])


def pair_up(counts: Integers, loads: Floats) -> Integers:
    """Experts by GPU, [rows, gpus, 2], in the best pairing; ``counts`` and ``loads`` are [rows, experts]."""
    experts = expand(counts)
    order = np.argsort(np.take_along_axis(loads / counts, experts, axis=1), axis=1, kind="stable")
    ordered = np.take_along_axis(experts, order, axis=1)
    half = ordered.shape[1] // 2
    return np.stack([ordered[:, : half - 1 : -1], ordered[:, :half]], axis=2)


def search_counts(
    counts: Integers, loads: Floats, target: Floats, steps: int, rng: np.random.Generator, stop: StoppingRule
) -> tuple[Integers, Floats]:
    """Better counts and their largest load [rows], from ``counts`` [rows, experts] by ``steps`` moves, before
    each of which ``stop`` is asked.

    A row whose largest load has come down to ``target`` [rows] is left alone.
    """
    best = counts.copy()
    experts = expand(counts)
    shares = np.take_along_axis(loads / counts, experts, axis=1)
    least = pair_loads(shares).max(axis=1)
    alive = np.flatnonzero((least > target) & (counts > 1).any(axis=1))
    counts, experts, shares, loads = counts[alive].copy(), experts[alive], shares[alive], loads[alive]
    slots = experts.shape[1]
    for done in range(steps):
        if not len(alive) or stop(done):
            break
        row = np.arange(len(alive))[:, None]
        aim = np.maximum(least[alive] * AIM, target[alive])
        # a replica to take, from an expert with several, and an expert to give to, rather a heavy one
        spare = np.argsort(np.take_along_axis(counts, experts, axis=1) < 2, axis=1, kind="stable")
        spares = (np.take_along_axis(counts, experts, axis=1) > 1).sum(axis=1)
        taken = spare[row, (rng.random((len(alive), DRAWN)) * spares[:, None]).astype(np.intp)]
        heavy = np.argsort(-shares, axis=1)
        giver = experts[row, taken]
        getter = experts[row, heavy[row, (rng.random((len(alive), DRAWN)) ** 2 * slots * 0.7).astype(np.intp)]]
        fewer, more = (counts[row, giver] - 1), counts[row, getter] + 1
        up, down = loads[row, giver] / fewer, loads[row, getter] / more
        tried = np.where(experts[:, None] == giver[..., None], up[..., None], shares[:, None])
        tried = np.where(experts[:, None] == getter[..., None], down[..., None], tried)
        np.put_along_axis(tried, taken[..., None], down[..., None], axis=2)
        pairs = pair_loads(tried)
        excess = np.maximum(pairs - aim[:, None, None], 0).sum(axis=2)
        excess[giver == getter] = np.inf
        chosen = excess.argmin(axis=1)
        row = row[:, 0]
        now = np.maximum(pair_loads(shares) - aim[:, None], 0).sum(axis=1)
        moved = np.flatnonzero(excess[row, chosen] <= now * SLACK)
        chosen = chosen[moved]
        slot = taken[moved, chosen]
        counts[moved, giver[moved, chosen]] -= 1
        counts[moved, getter[moved, chosen]] += 1
        experts[moved, slot] = getter[moved, chosen]
        shares[moved] = tried[moved, chosen]
        largest = pairs[moved, chosen].max(axis=1)
        better = largest < least[alive[moved]]
        least[alive[moved[better]]] = largest[better]
        best[alive[moved[better]]] = counts[moved[better]]
        going = least[alive] > target[alive]
        if not going.all():
            alive, counts, experts, shares, loads = (a[going] for a in (alive, counts, experts, shares, loads))
    return best, least
