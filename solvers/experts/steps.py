"""Single steps that improve one layer: exchange two replicas, or hand a slot from one expert to another.

Several traces of the same layer may count at once. Loads are over the mean GPU of their trace; a step is judged
by sum over traces and GPUs of load ** ``POWER``, a smooth stand-in for the largest, per slot that it changes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from solvers.experts.problem import Floats, Integers

SQUARINGS = 5  # load ** 32
GAIN = 1e-9


@dataclass(slots=True)
class Layer:
    """``held`` [gpus, slots] experts, ``loads`` [traces, experts] over the mean GPU of each trace; ``node_of``
    [gpus] and ``home`` [experts] the only node of an expert (None: any)."""

    held: Integers
    loads: Floats
    node_of: Integers
    home: Integers | None = None

    @property
    def counts(self) -> Integers:
        return np.bincount(self.held.ravel(), minlength=self.loads.shape[1]).astype(np.intp)

    def gpu_loads(self) -> Floats:
        """[traces, gpus]."""
        share = self.loads / np.maximum(self.counts, 1)
        return np.asarray(share[:, self.held].sum(axis=2))

    def value(self) -> float:
        return float(self.gpu_loads().max())

    def step(self) -> bool:
        """Takes the best step there is around the busiest GPU; False where none helps."""
        load = self.gpu_loads()
        busiest = int(load.max(axis=0).argmax())
        gain, slot, other, expert = self._best_exchange(load, busiest)
        handed, place, getter = self._best_hand_over(load, busiest)
        if max(gain / 2, handed) <= GAIN * float(_power(load).sum()):
            return False
        flat = self.held.reshape(-1)
        if gain / 2 >= handed:
            flat[slot], flat[other] = flat[other], expert
        else:
            flat[place] = getter
        return True

    def _best_exchange(self, load: Floats, busiest: int) -> tuple[float, int, int, int]:
        """Gain, the slot on the busiest GPU, the other slot, the expert that goes there."""
        share = self.loads / np.maximum(self.counts, 1)
        slots = self.held.shape[1]
        less = share[:, self.held[busiest]][:, :, None, None] - share[:, self.held][:, None]  # [t, own, gpu, slot]
        mine, theirs = load[:, busiest, None, None, None], load[:, None, :, None]
        after = _power(mine - less) + _power(theirs + less)
        gain = (_power(mine) + _power(theirs) - after).sum(axis=0)
        barred = np.zeros(gain.shape, dtype=bool)
        barred[:, busiest] = True
        barred |= np.isin(self.held, self.held[busiest])[None]  # a second replica on one GPU is of no use
        barred |= (self.held[busiest][:, None, None, None] == self.held[None, :, None, :]).any(axis=3)
        if self.home is not None:
            barred |= (self.node_of != self.node_of[busiest])[None, :, None]
        gain = np.where(barred, -np.inf, gain)
        own, gpu, place = np.unravel_index(int(gain.argmax()), gain.shape)
        slot = busiest * slots + int(own)
        return float(gain.max()), slot, int(gpu) * slots + int(place), int(self.held[busiest, own])

    def _best_hand_over(self, load: Floats, busiest: int) -> tuple[float, int, int]:
        """Gain, the slot, and the expert it goes to: an expert of the busiest GPU gets a replica more anywhere, or
        the busiest GPU gives up one of an expert that has several."""
        flat = self.held.reshape(-1)
        counts = self.counts
        several = np.flatnonzero(counts[flat] > 1)
        if not len(several):
            return -np.inf, 0, 0
        here = several[several // self.held.shape[1] == busiest]
        first = self._hand_over(load, several, np.unique(self.held[busiest]))
        if not len(here):
            return first
        return max(first, self._hand_over(load, here, np.arange(self.loads.shape[1])), key=lambda found: found[0])

    def _hand_over(self, load: Floats, places: Integers, getters: Integers) -> tuple[float, int, int]:
        counts, gpus = self.counts, len(self.held)
        on = np.zeros((self.loads.shape[1], gpus))  # replicas of an expert on a GPU
        np.add.at(on, (self.held, np.arange(gpus)[:, None]), 1.0)
        givers, gpu_of = self.held.reshape(-1)[places], places // self.held.shape[1]
        up = self.loads[:, givers] / (counts[givers] - 1)
        down = self.loads[:, getters] / (counts[getters] + 1)
        rise = (up - self.loads[:, givers] / counts[givers])[:, :, None] * on[givers]
        rise[:, np.arange(len(places)), gpu_of] -= up
        fall = (down - self.loads[:, getters] / counts[getters])[:, :, None] * on[getters]
        after = load[:, None, None] + rise[:, :, None] + fall[:, None]  # [t, places, getters, gpus]
        after[:, np.arange(len(places)), :, gpu_of] += down[None]
        gain = float(_power(load).sum()) - _power(after).sum(axis=(0, 3))
        barred = on[getters][:, gpu_of].T > 0
        if self.home is not None:
            barred |= self.home[getters][None] != self.node_of[gpu_of][:, None]
        gain = np.where(barred, -np.inf, gain)
        place, getter = np.unravel_index(int(gain.argmax()), gain.shape)
        return float(gain.max()), int(places[place]), int(getters[getter])


def _power(load: Floats) -> Floats:
    powered = np.maximum(load, 0.0)
    for _ in range(SQUARINGS):
        powered = powered * powered
    return powered


def homes(held: Integers, experts: int, gpus_per_node: int) -> Integers:
    """The node of every expert, [experts], in a placement that keeps each on one."""
    home = np.zeros(experts, dtype=np.intp)
    home[held] = (np.arange(len(held)) // gpus_per_node)[:, None]
    return home


def nodes_of(gpus: int, gpus_per_node: int) -> NDArray[np.intp]:
    return np.arange(gpus, dtype=np.intp) // gpus_per_node
