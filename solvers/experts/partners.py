"""How many tokens can stay at most, whatever the assignment: two relaxations.

**Partners.** If each part (GPU or node) holds S experts of one layer and S of the next, every expert meets exactly S of
the other layer. With z[e, f] = 1 where e and f meet, the tokens that stay are at most

    max sum t[e, f] z[e, f],   sum_f z[e, f] = S,   sum_e z[e, f] = S,   0 <= z <= 1,

which forgets that those who meet form whole parts. By weak duality every u, v gives the upper bound

    S (sum_e u_e + sum_f v_f) + sum_ef max(0, t[e, f] - u_e - v_f).

For given v the best u_e lies between the S-th and the (S + 1)-th largest of t[e, f] - v_f: alternate, keep the
least. With one partner it is an assignment problem, and solved. Where the diagonal is excluded (experts of
one layer that share a part), S - 1 takes the place of S.

**Singular values.** Let X, Y be the one-hot assignments of both layers to G parts of S = E / G. What stays is
tr(X' t Y). As X = 11' / G + P X with P = I - 11' / E, and P X has G - 1 singular values sqrt(S) and no other,

    tr(X' t Y) <= sum(t) / G + S (sum of the G - 1 largest singular values of P t P).

Strong for few large parts (nodes), where the partners forget too much.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

ROUNDS = 10


def staying_at_most(counts: Floats, partners: int, *, rounds: int = ROUNDS) -> Floats:
    """Upper bound on the counts between experts that meet, of each matrix of ``counts`` [.., experts, experts].

    Each expert meets ``partners`` of the other side. Counts not negative.
    """
    experts = counts.shape[-1]
    if partners >= experts:
        return np.asarray(counts.sum(axis=(-2, -1)))
    if partners == 0:
        return np.zeros(counts.shape[:-2])
    if partners == 1:
        return np.array([_matched(step) for step in counts.reshape(-1, experts, experts)]).reshape(counts.shape[:-2])
    turned = np.ascontiguousarray(np.swapaxes(counts, -1, -2))
    columns = np.zeros(counts.shape[:-1])
    best = counts.sum(axis=(-2, -1))
    for _ in range(rounds):
        rows = _between(counts - columns[..., None, :], partners)
        columns = _between(turned - rows[..., None, :], partners)
        excess = np.maximum(counts - rows[..., None] - columns[..., None, :], 0.0).sum(axis=(-2, -1))
        best = np.minimum(best, partners * (rows.sum(axis=-1) + columns.sum(axis=-1)) + excess)
    return np.asarray(best)


def staying_in_parts(counts: Floats, parts: int) -> Floats:
    """Upper bound on the counts that stay in one of ``parts`` equal parts, of each [.., experts, experts]."""
    experts = counts.shape[-1]
    centred = counts - counts.mean(axis=-1, keepdims=True)
    centred -= centred.mean(axis=-2, keepdims=True)
    values = np.linalg.svd(centred, compute_uv=False)[..., : parts - 1].sum(axis=-1)
    tokens = counts.sum(axis=(-2, -1))
    return np.asarray(np.minimum(tokens, (tokens / parts + experts / parts * values) * (1 + 1e-9)))


def _matched(counts: Floats) -> float:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum())


def _between(values: Floats, rank: int) -> Floats:
    """The middle of the ``rank``-th and the next largest along the last axis."""
    size = values.shape[-1]
    parted = np.partition(values, [size - rank - 1, size - rank], axis=-1)
    return np.asarray((parted[..., size - rank - 1] + parted[..., size - rank]) / 2)
