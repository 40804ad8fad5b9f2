"""A placement without two replicas of an expert on one GPU, for runtimes that hold an expert once at most.

Such twins are removed one by one. A slot of the pair either changes places with a slot of another GPU, or takes
another expert in, a replica more of that; whichever leaves the layer's largest load least. Neither makes a new
pair: the expert that comes is not on the GPU yet, nor the one that goes on the other. A heuristic: the loads that
result are the caller's to judge.
"""

from collections.abc import Iterator

import numpy as np

from solvers.experts.problem import Floats, Integers


def apart(held: Integers, loads: Floats, gpus_per_node: int, groups: int | None = None) -> Integers:
    """``held`` [gpus, slots] without twins, for ``loads`` [traces, experts], each trace by its own mean.

    With ``groups`` every expert stays on its node. Raises ``ValueError`` where a GPU has more slots than there
    are experts for it.
    """
    experts = loads.shape[1]
    mean = loads.sum(axis=1, keepdims=True) / len(held)
    scaled = loads / np.where(mean > 0, mean, 1.0)
    current = held.copy()
    node_of = np.arange(len(held)) // gpus_per_node
    while (twin := _twin(current)) is not None:
        options = list(_options(current, *twin, experts, node_of if groups else np.zeros(len(held), dtype=np.intp)))
        if not options:
            raise ValueError(
                f"slots_per_gpu: {held.shape[1]} slots of a GPU cannot all hold different experts of its {experts}"
            )
        current = min(options, key=lambda option: _largest(option, scaled))
    return current


def _twin(held: Integers) -> tuple[int, int] | None:
    """GPU and slot of the second of two replicas."""
    for gpu, row in enumerate(held.tolist()):
        for slot, expert in enumerate(row):
            if expert in row[:slot]:
                return gpu, slot
    return None


def _options(held: Integers, gpu: int, slot: int, experts: int, node_of: Integers) -> Iterator[Integers]:
    expert, mine = held[gpu, slot], set(held[gpu].tolist())
    near = node_of == node_of[gpu]
    for other in np.flatnonzero(near):
        if other != gpu and expert not in held[other]:
            for place, guest in enumerate(held[other].tolist()):
                if guest not in mine:
                    option = held.copy()
                    option[gpu, slot], option[other, place] = guest, expert
                    yield option
    for guest in np.unique(held[near]).tolist():
        if guest not in mine and guest < experts:
            option = held.copy()
            option[gpu, slot] = guest
            yield option


def _largest(held: Integers, scaled: Floats) -> float:
    share = scaled / np.bincount(held.ravel(), minlength=scaled.shape[1])
    return float(share[:, held].sum(axis=2).max())
