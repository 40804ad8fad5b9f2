"""Experts to GPUs by trying everything: every multiset of experts on every GPU, GPUs of a node alike."""

from functools import lru_cache
from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=64)
def all_placements(experts: int, gpus: int, slots: int, nodes: int = 1, groups: int = 0) -> NDArray[np.intp]:
    """[placements, gpus, slots]; with ``groups`` only those that keep each group on one node."""
    of_gpu = list(combinations_with_replacement(range(experts), slots))
    of_node = list(combinations_with_replacement(of_gpu, gpus // nodes))
    kept = []
    for placed in product(of_node, repeat=nodes):
        held = [set(np.array(node).ravel().tolist()) for node in placed]
        if set().union(*held) != set(range(experts)):
            continue
        if groups and any(
            len({n for n in range(nodes) for expert in held[n] if expert * groups // experts == group}) > 1
            for group in range(groups)
        ):
            continue
        kept.append([gpu for node in placed for gpu in node])
    return np.array(kept, dtype=np.intp)


def gpu_loads(placements: NDArray[np.intp], loads: NDArray[np.float64]) -> NDArray[np.float64]:
    """[placements, gpus]: every replica carries an equal part of its expert's load."""
    counts = np.stack([(placements == expert).sum(axis=(1, 2)) for expert in range(len(loads))], axis=1)
    share = loads / counts
    return (
        np.asarray(np.take_along_axis(share, placements.reshape(len(placements), -1), axis=1))
        .reshape(placements.shape)
        .sum(axis=2)
    )


def least_largest_load(loads: NDArray[np.float64], gpus: int, slots: int, nodes: int = 1, groups: int = 0) -> float:
    """The load of the busiest GPU in the best placement of ``loads`` [experts]."""
    placements = all_placements(len(loads), gpus, slots, nodes, groups)
    return float(gpu_loads(placements, loads).max(axis=1).min())
