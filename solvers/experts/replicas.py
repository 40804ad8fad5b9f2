"""How many replicas each expert gets."""

import numpy as np

from solvers.experts.problem import Floats, Integers


def least_largest_share(loads: Floats, slots: int) -> Integers:
    """Replica counts [layers, experts] that sum to ``slots`` and make the largest share least; exact.

    One by one to the expert with the largest share w / r: no other counts have a smaller largest share, since
    every replica given was needed to get below a share that is still no larger than the final one.
    ``loads`` is [layers, experts].
    """
    layers, experts = loads.shape
    counts = np.ones((layers, experts), dtype=np.intp)
    share = loads.astype(np.float64)
    row = np.arange(layers)
    for _ in range(slots - experts):
        largest = share.argmax(axis=1)
        counts[row, largest] += 1
        share[row, largest] = loads[row, largest] / counts[row, largest]
    return counts


def expand(counts: Integers) -> Integers:
    """Replica counts [layers, experts] as experts by replica [layers, replicas], in the order of the experts."""
    layers, experts = counts.shape
    return np.repeat(np.tile(np.arange(experts), layers), counts.ravel()).reshape(layers, -1)
