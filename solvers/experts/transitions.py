"""Experts along the layers: tokens that stay where their expert was, and what leaving costs.

Between the layers l and l + 1, t[l, e, f] tokens go from expert e to expert f. Each layer's experts are
put on the GPUs, the same number on each; x_l(e) is the GPU of expert e. With C[g, h] the cost of a token
that goes from GPU g to GPU h, and T_l[g, h] = sum of t[l, e, f] over x_l(e) = g, x_{l+1}(f) = h,

    total = sum over l, g, h of C[g, h] T_l[g, h]          (Yao et al., ExFlow, arXiv 2401.08383)
    tail  = sum over l of max over g, h of C[g, h] T_l[g, h]   (Go and Mahajan, MoETuner, arXiv 2502.06643)

With C = 1 between different GPUs and 0 within one, total is the number of transitions that leave the GPU;
with C = seconds per token, tail is the time of the busiest pair of GPUs. No GPU may carry more than
``max_over_mean`` times the mean load of its layer.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers.experts.problem import Placement

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.intp]
TransitionObjective = Literal["total", "tail"]

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """``counts`` is [layers - 1, experts, experts], ``cost`` [gpus, gpus] of one token from GPU to GPU.

    ``loads`` [layers, experts] with ``max_over_mean`` limits what a GPU carries; inf is no limit.
    ``transitions_problem`` makes a checked one from looser input.
    """

    counts: Floats
    gpus: int
    cost: Floats
    loads: Floats
    max_over_mean: float
    objective: TransitionObjective

    @property
    def layers(self) -> int:
        return len(self.counts) + 1

    @property
    def experts(self) -> int:
        return int(self.counts.shape[1])

    @property
    def slots(self) -> int:
        """Experts of a layer on each GPU."""
        return self.experts // self.gpus

    @property
    def limited(self) -> bool:
        """Whether the load of a GPU is limited."""
        return bool(np.isfinite(self.max_over_mean))

    def load_cap(self) -> Floats:
        """The most that a GPU may carry, [layers]; rounding is forgiven."""
        mean = self.loads.sum(axis=1) / self.gpus
        return np.asarray(mean * self.max_over_mean * (1 + TOLERANCE) if self.limited else np.full(self.layers, np.inf))

    def traffic(self, gpu_of_expert: Integers) -> Floats:
        """T_l[g, h], [layers - 1, gpus, gpus], of ``gpu_of_expert`` [layers, experts]."""
        here = np.eye(self.gpus)[gpu_of_expert]
        return np.asarray(here[:-1].transpose(0, 2, 1) @ self.counts @ here[1:])

    def layer_values(self, gpu_of_expert: Integers) -> Floats:
        """What each step from layer to layer adds to the objective, [layers - 1]."""
        priced = self.cost * self.traffic(gpu_of_expert)
        return np.asarray(priced.sum(axis=(1, 2)) if self.objective == "total" else priced.max(axis=(1, 2)))

    def value(self, gpu_of_expert: Integers) -> float:
        return float(self.layer_values(gpu_of_expert).sum())

    def gpu_loads(self, gpu_of_expert: Integers) -> Floats:
        """Load of every GPU, [layers, gpus]."""
        return np.asarray(np.einsum("le,leg->lg", self.loads, np.eye(self.gpus)[gpu_of_expert]))

    def allowed(self, gpu_of_expert: Integers) -> bool:
        """Whether every GPU has its number of experts and no more than its load."""
        counted = np.eye(self.gpus)[gpu_of_expert].sum(axis=1)
        heaviest = self.gpu_loads(gpu_of_expert).max(axis=1)
        return bool((counted == self.slots).all() and (heaviest <= self.load_cap()).all())


def transitions_problem(
    counts: ArrayLike,
    *,
    gpus: int,
    cost: ArrayLike | None = None,
    loads: ArrayLike | None = None,
    max_over_mean: float | None = None,
    objective: TransitionObjective = "total",
) -> Transitions:
    """A checked problem. ``cost`` None: 1 between different GPUs, 0 within one.

    ``loads`` None: the tokens that the counts name, those that leave an expert and in the last layer those
    that reach it. ``max_over_mean`` None: no limit on a GPU's load.
    Raises ``ValueError`` for figures of another shape, negative or undefined, experts that do not divide
    among the GPUs, a limit below 1, and an unknown objective.
    """
    array = _figures("transitions", counts, (None, None, None))
    if array.shape[1] != array.shape[2]:
        raise ValueError(f"transitions: has the shape {array.shape}; give [layers - 1, experts, experts]")
    experts = array.shape[1]
    if gpus < 1 or experts % gpus:
        raise ValueError(f"gpus: {experts} experts do not divide among {gpus} GPUs; every GPU needs as many")
    if objective not in ("total", "tail"):
        raise ValueError(f"objective: {objective!r}; total or tail")
    prices = uniform_cost(gpus) if cost is None else _figures("cost", cost, (gpus, gpus))
    if loads is None:
        load = np.concatenate([array.sum(axis=2), array[-1:].sum(axis=1)])
    else:
        load = _figures("loads", loads, (len(array) + 1, experts))
    limit = np.inf if max_over_mean is None else float(max_over_mean)
    if not limit >= 1:
        raise ValueError(f"max_over_mean: {max_over_mean}; the busiest GPU carries at least the mean, give 1 or more")
    return Transitions(counts=array, gpus=gpus, cost=prices, loads=load, max_over_mean=limit, objective=objective)


def uniform_cost(gpus: int) -> Floats:
    """1 between different GPUs, 0 within one, [gpus, gpus]."""
    return 1.0 - np.eye(gpus)


def two_level_cost(gpus: int, gpus_per_node: int, *, same_node: float, other_node: float) -> Floats:
    """Cost of a token to another GPU of the same node and to another node, [gpus, gpus]; 0 within a GPU."""
    if gpus_per_node < 1 or gpus % gpus_per_node:
        raise ValueError(f"gpus_per_node: {gpus_per_node} does not divide the {gpus} GPUs")
    node = np.arange(gpus) // gpus_per_node
    return np.where(node[:, None] == node, same_node, other_node) * uniform_cost(gpus)


def leaving_share(counts: ArrayLike, place_of_expert: Integers) -> float:
    """Share of the transitions [layers - 1, experts, experts] that leave their place (a GPU, or a node).

    ``place_of_expert`` is [layers, experts]. 0 where there is no transition at all.
    """
    array = np.asarray(counts, dtype=np.float64)
    leaves = place_of_expert[:-1, :, None] != place_of_expert[1:, None, :]
    total = float(array.sum())
    return float((array * leaves).sum()) / total if total else 0.0


def as_placement(gpu_of_expert: Integers, gpus: int) -> Placement:
    """The experts of each GPU in ascending order as a ``Placement`` without replicas."""
    slots = gpu_of_expert.shape[1] // gpus
    order = np.argsort(gpu_of_expert, axis=1, kind="stable").astype(np.intp)
    return Placement(physical_to_logical=order, gpus=gpus, slots_per_gpu=(slots,) * len(gpu_of_expert))


def gpus_of_experts(placement: Placement) -> Integers:
    """[layers, experts], the reverse of ``as_placement``; raises ``ValueError`` where an expert has replicas."""
    slots = np.array(placement.slots_per_gpu)
    experts = placement.gpus * slots
    if len(set(experts.tolist())) != 1 or (placement.replicas(int(experts[0])) != 1).any():
        raise ValueError("physical_to_logical: transitions are counted between experts with one replica each")
    result = np.empty_like(placement.physical_to_logical)
    np.put_along_axis(result, placement.physical_to_logical, np.arange(experts[0])[None] // slots[:, None], axis=1)
    return result


def _figures(name: str, given: ArrayLike, shape: tuple[int | None, ...]) -> Floats:
    array = np.array(given, dtype=np.float64)
    wanted = tuple(size if size is not None else found for size, found in zip(shape, array.shape, strict=False))
    if array.ndim != len(shape) or array.shape != wanted or not array.size:
        needs = "[layers - 1, experts, experts]" if name == "transitions" else str(list(shape))
        raise ValueError(f"{name}: has the shape {array.shape}; give {needs}")
    bad = np.argwhere(~(np.isfinite(array) & (array >= 0)))
    if len(bad):
        place = tuple(bad[0].tolist())
        raise ValueError(f"{name}: {array[place]} at {list(place)}; finite numbers are needed, none negative")
    array.flags.writeable = False
    return array
