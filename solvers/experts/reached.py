"""Which part of all tokens needs a place (a GPU, a node) for at least one of its experts.

Where the tokens are known, by counting their routes. Where loads alone are, by the router's rule: a token's k experts
come from M of K groups of consecutive experts, groups and experts drawn by their loads. With P_i the share of group i
in all load and q_ia what place a holds of the group's load, a token needs a with the probability

    1 - e_M(P_1 (1 - q_1a)^(k/M), ..., P_K (1 - q_Ka)^(k/M)) / e_M(P_1, ..., P_K),

e_M the elementary symmetric polynomial: the sum over all choices of M groups. K = M = 1 is routing without groups,
k independent draws.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


def symmetric(values: Floats, order: int) -> Floats:
    """e_order of the last axis of ``values`` [..., K]: [...]."""
    sums = [np.ones(values.shape[:-1]), *(np.zeros(values.shape[:-1]) for _ in range(order))]
    for k in range(values.shape[-1]):
        for degree in range(order, 0, -1):
            sums[degree] = sums[degree] + values[..., k] * sums[degree - 1]
    return sums[order]


def reached_by_rule(carried: Floats, weights: Floats, top_k: int, limit: int) -> Floats:
    """[...]: part of the tokens that need a place which carries ``carried`` [..., K] of all load, by group, of groups
    with the shares ``weights`` [K]; ``limit`` M of the K groups serve a token."""
    held = np.where(weights > 0, carried / np.where(weights > 0, weights, 1.0), 0.0)
    missed = np.maximum(1.0 - held, 0.0) ** (top_k / limit)
    return np.asarray(1.0 - symmetric(weights * missed, limit) / symmetric(weights, limit))
