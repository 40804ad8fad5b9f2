"""Experts of one layer that are used together: copies of a token in standard expert parallelism.

Every token has a home GPU, to which it returns after each layer; so the layers are independent. It is sent
once to each other GPU that holds any of its k experts, and over the network once to each other node
(deduplicated, forwarded inside the node). With w_u tokens of route u (a set of experts), D(u) and N(u) the
numbers of distinct GPUs and nodes of its experts,

    traffic = sum over u of w_u (gpu_weight R(u) + node_weight M(u)) / sum over u of w_u,

R the GPUs and M the nodes other than the home's. If the home is given, it is counted as one more expert of
the token that cannot move: R = D - 1, M = N - 1 with it. If homes are spread evenly over all GPUs whatever the
route, R = D (1 - 1 / gpus) and M = N (1 - 1 / nodes) on average.

From counts of pairs alone, p = sum of the pairs on one GPU per token, D is known within

    max over m of (2 k m - 2 p) / (m (m + 1))  <=  mean D  <=  k - 2 p / min(k, S),

S experts per GPU: exact for k = 2, where D = 2 - p. (A GPU with c of a token's experts holds c (c - 1) / 2
pairs, and each expert counts 1 / c; 1 / c lies above its chords 1 / m - (c - m) / (m (m + 1)), and
c - 1 = (2 / c) c (c - 1) / 2 >= (2 / min(k, S)) pairs.)
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """``routes`` [routes, k] distinct experts of a token, ``tokens`` [routes] how many take it, ``home`` [routes]
    their GPU, None: spread evenly. ``traffic_problem`` makes a checked one."""

    routes: Integers
    tokens: Floats
    home: Integers | None
    experts: int
    gpus: int
    gpus_per_node: int
    gpu_weight: float
    node_weight: float

    @property
    def slots(self) -> int:
        return self.experts // self.gpus

    @property
    def nodes(self) -> int:
        return self.gpus // self.gpus_per_node

    @property
    def weights(self) -> tuple[float, float]:
        """What one more distinct GPU and one more distinct node of a token add, homes considered."""
        if self.home is not None:
            return self.gpu_weight, self.node_weight
        return self.gpu_weight * (1 - 1 / self.gpus), self.node_weight * (1 - 1 / self.nodes)

    def touched(self, gpu_of_expert: Integers) -> tuple[Floats, Floats]:
        """Distinct GPUs and nodes of each route, [routes] each, of ``gpu_of_expert`` [experts]; homes included."""
        gpus = gpu_of_expert[self.routes]
        if self.home is not None:
            gpus = np.concatenate([gpus, self.home[:, None]], axis=1)
        return _distinct(gpus), _distinct(gpus // self.gpus_per_node)

    def copies(self, gpu_of_expert: Integers) -> tuple[float, float]:
        """Mean number of other GPUs and of other nodes that a token is sent to."""
        total = float(self.tokens.sum())
        gpus, nodes = (float(self.tokens @ part) / total for part in self.touched(gpu_of_expert))
        if self.home is not None:
            return gpus - 1, nodes - 1
        return gpus * (1 - 1 / self.gpus), nodes * (1 - 1 / self.nodes)

    def value(self, gpu_of_expert: Integers) -> float:
        gpus, nodes = self.copies(gpu_of_expert)
        return self.gpu_weight * gpus + self.node_weight * nodes

    def pairs(self) -> Floats:
        """Tokens that use both experts, [experts, experts], symmetric, 0 on the diagonal."""
        result = np.zeros((self.experts, self.experts))
        width = self.routes.shape[1]
        for i in range(width):
            for j in range(width):
                if i != j:
                    np.add.at(result, (self.routes[:, i], self.routes[:, j]), self.tokens)
        return result


def traffic_problem(
    routes: ArrayLike,
    *,
    experts: int,
    gpus: int,
    gpus_per_node: int | None = None,
    tokens: ArrayLike | None = None,
    home: ArrayLike | None = None,
    gpu_weight: float = 1.0,
    node_weight: float = 0.0,
) -> Traffic:
    """A checked problem of one layer from ``routes`` [rows, k]; equal rows (whatever the order) are merged.

    ``tokens`` [rows]: tokens of each row (None: one). ``home`` [rows]: their GPU (None: spread evenly).
    ``gpus_per_node`` None: one node. Raises ``ValueError`` for routes with an unknown or repeated expert,
    experts that do not divide among GPUs or GPUs among nodes, unknown homes, negative tokens or weights.
    """
    given = np.asarray(routes)
    if given.ndim != 2 or not given.size or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"routes: has the shape {given.shape} and type {given.dtype}; give whole numbers [tokens, k]")
    if gpus < 1 or experts < 1 or experts % gpus:
        raise ValueError(f"gpus: {experts} experts do not divide among {gpus} GPUs; every GPU needs as many")
    per_node = gpus if gpus_per_node is None else gpus_per_node
    if per_node < 1 or gpus % per_node:
        raise ValueError(f"gpus_per_node: {per_node} does not divide the {gpus} GPUs")
    if given.min() < 0 or given.max() >= experts:
        raise ValueError(f"routes: names expert {given.max()} or {given.min()}; there are 0 ... {experts - 1}")
    rows = np.sort(given.astype(np.intp), axis=1)
    if rows.shape[1] > 1 and (np.diff(rows, axis=1) == 0).any():
        raise ValueError("routes: a token names the same expert twice")
    counted = np.ones(len(rows)) if tokens is None else np.asarray(tokens, dtype=np.float64)
    if counted.shape != (len(rows),) or not (np.isfinite(counted) & (counted >= 0)).all() or not counted.sum() > 0:
        raise ValueError(f"tokens: one finite number for each of {len(rows)} routes is needed, not all 0")
    if gpu_weight < 0 or node_weight < 0:
        raise ValueError(f"gpu_weight, node_weight: {gpu_weight}, {node_weight} must not be negative")
    keys = rows
    if home is not None:
        homes = np.asarray(home)
        if homes.shape != (len(rows),) or homes.min() < 0 or homes.max() >= gpus:
            raise ValueError(f"home: one GPU of 0 ... {gpus - 1} for each of {len(rows)} routes is needed")
        keys = np.concatenate([rows, homes[:, None].astype(np.intp)], axis=1)
    merged, which = np.unique(keys, axis=0, return_inverse=True)
    return Traffic(
        routes=np.ascontiguousarray(merged[:, : rows.shape[1]]),
        tokens=np.bincount(which.reshape(-1), weights=counted).astype(np.float64),
        home=None if home is None else merged[:, -1],
        experts=experts,
        gpus=gpus,
        gpus_per_node=per_node,
        gpu_weight=gpu_weight,
        node_weight=node_weight,
    )


def routes_of_pairs(pairs: ArrayLike) -> tuple[Integers, Floats]:
    """Routes [pairs, 2] and tokens of top-2 routing from its counts of pairs [experts, experts] (symmetric): exact."""
    array = np.asarray(pairs, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not np.array_equal(array, array.T):
        raise ValueError(f"coactivation: has the shape {array.shape}; give symmetric [experts, experts]")
    first, second = np.triu_indices(len(array), 1)
    used = array[first, second] > 0
    return np.stack([first[used], second[used]], axis=1), array[first[used], second[used]]


def distinct_gpus_between(pairs_per_token: float, top_k: int, slots: int) -> tuple[float, float]:
    """What the mean number of distinct GPUs can be at least and at most, given the mean pairs on one GPU."""
    least = max((2 * top_k * m - 2 * pairs_per_token) / (m * (m + 1)) for m in range(1, top_k + 1))
    width = min(top_k, slots)
    return max(least, float(-(-top_k // slots))), top_k - 2 * pairs_per_token / width


def _distinct(labels: Integers) -> Floats:
    ordered = np.sort(labels, axis=1)
    return np.asarray(1.0 + (np.diff(ordered, axis=1) != 0).sum(axis=1))
